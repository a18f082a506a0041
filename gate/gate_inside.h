/* Inside of the gate's controller: what it owns, and what it knows of each MeshUpgrade from one tick to the next. */
#pragma once

#include "execute.h"
#include "gate.h"
#include "join.h"
#include "lag.h"
#include "publish.h"
#include "session.h"
#include "uthash.h"

/* One MeshUpgrade. Its progress counts only as far as it has been written: nothing is done on one that could be lost. */
struct tracked {
    struct gate *gate;
    char *uid;
    uint64_t round;     /* in which the inventory last had it */
    bool known;         /* progress below is valid */
    bool written;       /* ... and stands in the cluster */
    int64_t generation; /* of the spec that it was last read for */
    struct progress progress;
    struct progress unwritten; /* a pause that is decided stands before it is written ... */
    bool pause_unwritten;      /* ... while this is set */
    json_t *status;            /* as last written or found */
    json_t *latest;            /* as last made, for views */
    bool writing;
    json_t *writing_status;
    struct progress writing_progress;
    int64_t written_ms; /* when the latest write was begun */
    int64_t retry_ms;   /* a failed one is not repeated before this */
    UT_hash_handle hh;
};

struct gate {
    struct gate_opts opts; /* texts are the gate's own */
    struct kube *kube;
    struct sched *sched;
    struct metrics *metrics;
    struct metric *decisions, *writes, *write_failures;
    struct evidence *evidence;
    struct inventory_watch *inventory;
    struct sessions *sessions;
    struct execute *execute;
    struct join *join;
    struct lag *lag;
    struct tracked *tracked;
    struct timer timer;
    bool dirty;
    int64_t ticked_ms;
    uint64_t round;
    /* the upgrade at work, of the latest tick; NULL name: none */
    struct upgrade upgrade;
    struct upgrade nobody; /* what the mesh is judged by while there is none */
    bool watching;         /* by that one */
    struct wave_tally *tallies;
    struct decision decision;
};

/* Something has changed: decide again soon. */
void gate_dirty(struct gate *g);
const char *gate_reader(void *ctx, const char *replica);
/* gate_follow.c: the whole mesh as it is now, classified; its rows are in g->join until inventory or evidence change.
 * Returns what it was judged by: the upgrade at work, or nobody's. */
const struct upgrade *gate_look(struct gate *g);
/* gate_follow.c: one tick without an upgrade at work. */
void gate_watch(struct gate *g);

/* gate_follow.c: one tick for the upgrade at work, g->upgrade. Returns when to come again at the latest; 0: never. */
int64_t gate_follow(struct gate *g, struct tracked *t, const struct inv_upgrade *o);
/* The upgrade waits or cannot be followed; status is taken. Returns when to come again, 0: never. */
int64_t gate_publish(struct gate *g, struct tracked *t, const struct inv_upgrade *o, json_t *status,
                     const struct progress *next);
/* What is known of an upgrade, made when there is nothing yet; and forgetting those that the inventory has no more. */
struct tracked *gate_track(struct gate *g, const struct inv_upgrade *o);
void gate_untrack(struct gate *g, bool all);
