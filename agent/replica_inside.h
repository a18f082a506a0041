/* Inside of agent/replica: how a reading is staged (replica_stage.c), kept (replica.c), compared (replica_pace.c), told
 * (replica_tell.c). */
#pragma once

#include "agent/replica.h"
#include "agent/words.h"
#include "lib/wire/digest.h"
#include "uthash.h"

/* What syncz says of a proxy in texts that it shares with many. */
struct shared {
    char *cds_acked, *lds_acked, *version, *proxy_type, *types;
};

/* One line of a reading that is being taken in. */
struct staged {
    char *id, *connection, *address, *error;
    struct shared shared;
    int64_t connected_at_ms;
    const char *error_type;
    bool pending, synced, known;
    char types[XDS_TYPES + 1]; /* letters as in ProxyOnReplica.types */
    uint64_t *acked; /* by type: hash of the nonce where sent differs from acked, 0: in step or not sent. NULL: all 0 */
    uint64_t sent;   /* hash over what was sent of all types */
    UT_hash_handle hh;
    uint32_t copies;
};

/* Types that are behind, as staged.acked of the latest reading, and since when. */
struct behind {
    uint64_t acked[XDS_TYPES];
    int64_t since_ms[XDS_TYPES];
};

struct entry {
    char *id, *connection, *address, *error;
    struct shared shared;
    const char *error_type;
    int64_t connected_at_ms;
    Meshgate__V1__Sync sync;
    struct behind *behind; /* NULL: none */
    int64_t pending_since_ms;
    uint64_t told;   /* wire_proxy_hash() of what the gate was told of it in this epoch, 0: nothing */
    uint64_t sent;   /* as staged.sent of the latest reading; 0: not read on this stream */
    int64_t sent_ms; /* when `sent` was first read so */
    uint32_t copies;
    uint32_t look; /* of the latest connections reading that had it */
    uint8_t stood; /* readings in which its neighbours were sent something and it was not */
    bool moved;    /* in the reading at hand */
    bool spared;   /* its question was answered: these pushes did not concern it */
    bool fresh;    /* no syncz has been read since its stream came */
    bool dirty;
    UT_hash_handle hh;
};

struct gone {
    char *id;
    uint64_t told;
    UT_hash_handle hh;
};

struct replica {
    struct entry *entries;
    struct staged *staged;
    struct gone *gone;
    struct words *words;
    struct wire_digest digest;
    int64_t synced_ms; /* when the latest syncz was asked */
    uint32_t look;
    bool fixed_types, false_stale; /* as probes/drift.def says of this istiod */
};

void staged_free(struct replica *r, struct staged *s);
void shared_drop(struct replica *r, struct shared *s);
bool replica_in_namespace(const char *id, const char *namespace_);
/* The entry has left the table; its going is to be told. */
void gone_add(struct replica *r, const char *id, uint64_t told);
/* It is back before its going was told. Returns what was told of it. */
uint64_t gone_forget(struct replica *r, const char *id);
void gone_clear(struct replica *r);
/* After a syncz of these namespaces: who stands while its neighbours move. */
void replica_pace(struct replica *r, const char *namespace_);
