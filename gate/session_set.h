/* Inside of gate/session: all sessions, the seat that each node has, and the life of one session. */
#pragma once

#include "roster.h"
#include "session.h"
#include "slots.h"
#include "uthash.h"

enum stage {
    STAGE_ENDED,   /* zero: nothing is taken from it */
    STAGE_WAITING, /* for its turn to be reviewed */
    STAGE_REVIEW,  /* its token is at the API server; messages are kept */
    STAGE_HELLO,   /* known; its first message must be a Hello */
    STAGE_LIVE,
};

/* A message that came before the review was done. */
struct early {
    struct early *next;
    size_t n;
    uint8_t bytes[];
};

struct session {
    struct sessions *set;
    struct session *prev, *next;
    const struct session_ops *ops;
    void *peer;
    enum stage stage;
    char *token; /* until the review has begun */
    char *node;  /* that the token is bound to */
    struct kube_call *review;
    struct early *early, *early_last;
    size_t early_bytes;
    uint64_t seq;       /* of the last message taken */
    struct timer timer; /* patience, lifetime, or the end that is due */
    int end_status;
    char *end_text;
    struct buf assignment; /* as last sent */
    uint32_t unknown_pods; /* in the report at hand */
    uint32_t foreign_pods; /* the same: of other nodes */
    int64_t resync_ms;     /* earliest time to ask for everything again */
    int64_t resync_wait_ms;
    bool resync_owed;
    bool complained;
};

/* The place of a node among the agents; outlives its session for a moment when that is only renewed. */
struct seat {
    struct sessions *set;
    char *node;
    struct session *session; /* NULL while it is renewed */
    struct timer renewal;
    bool wave; /* pods of the wave at work were there at the latest look */
    UT_hash_handle hh;
};

struct session_counters {
    struct metric *reports, *agents, *slots;
    struct metric *garbage, *sequence, *foreign_pod, *unknown_pod, *not_reader, *too_many, *refused;
    struct metric *differs;
};

struct sessions {
    struct sessions_opts opts;
    struct sched *sched;
    struct session *all;
    struct seat *seats;
    uint32_t reviews; /* at the API server */
    struct session_counters count;
    /* assignment */
    struct roster *roster;
    char **focus;
    size_t n_focus;
    bool idle;
    uint64_t seats_version, done_seats, done_inventory;
    int64_t look_again_ms; /* for readers without a word; 0 never */
    struct timer assign;
    /* slots */
    struct slots *slots;
    struct timer slot;
    int64_t wave_ms; /* when to look up again which nodes the wave is on */
};

/* Say why (unless it is only to come again), take nothing more, and end the stream from the loop. */
void session_end(struct session *x, int status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Send a packed GateMessage; an agent that does not read is ended from the loop. */
void session_send(struct session *x, const struct buf *b);
/* session_assign.c */
void session_assign_soon(struct sessions *s);
/* Tell one agent what it does, if that differs from what it was told. */
void session_assign_tell(struct session *x);
void session_assign_done(struct sessions *s);
/* session_slots.c: the inventory's revisions have changed; x's agent is there; a node's is gone; x has reported. */
void session_slots_revisions(struct sessions *s);
void session_slots_join(struct session *x);
void session_slots_leave(struct sessions *s, const char *node);
void session_slots_heard(struct session *x, const Meshgate__V1__Report *r);
/* session_seat.c: x is the agent of its node from now on; one before it is ended. */
void session_seat_take(struct session *x);
/* x is not the agent of its node any more. renewal: it will be back in a moment. */
void session_seat_leave(struct session *x, bool renewal);
void session_seat_free_all(struct sessions *s);
