/* Inside of gate/join: the tables, and what is remembered of pods and replicas from one round to the next. */
#pragma once

#include "join.h"
#include "uthash.h"

/* Name -> index, with open addressing; made anew each round in memory that stays. */
struct index {
    uint32_t *slots; /* index + 1, 0: free */
    uint32_t cap;
};

struct pod_memory {
    char *uid;
    uint64_t round; /* in which it was last seen */
    enum proxy_state state;
    int64_t state_since_ms;
    int64_t moved_at_ms;
    int64_t look_ms; /* latest complete look */
    int64_t detached_since_ms;
    uint32_t absent_looks;
    int64_t dials_since_ms, xds_since_ms, version_since_ms;
    uint64_t version_hash; /* of what Envoy had accepted then */
    int64_t accepted_ms;   /* when that became another */
    int64_t cut_since_ms;
    /* what its labels ask for: worked out anew when they are others */
    json_t *pod_labels, *namespace_labels;
    bool asks;
    UT_hash_handle hh;
};

struct replica_memory {
    char *uid;
    uint64_t round;
    uint32_t stuck_looks;   /* looks at the connections when syncz was first seen without an answer */
    int64_t stuck_since_ms; /* 0: it answers */
    UT_hash_handle hh;
};

struct join {
    struct snapshot seen;
    struct join_names names;
    struct revision_row *revisions;
    const char **versions; /* of the istiods of each revision, NULL not known */
    struct replica_row *replicas;
    const char **workload_keys;
    const struct inv_namespace **namespace_objects;
    uint32_t cap_revisions, cap_replicas, cap_nodes, cap_namespaces, cap_workloads, cap_proxies;
    struct index by_node, by_namespace, by_workload;
    struct pod_memory *pods;
    struct pod_memory **memories; /* by the index of the proxy */
    struct replica_memory *replica_memories;
    struct buf trouble;
    uint64_t round;
};

/* What one round is built from. */
struct round {
    struct join *j;
    struct inventory_watch *watch;
    const struct inventory *inv;
    const struct evidence *evidence;
    struct upgrade *u;
    const char *(*reader)(void *ctx, const char *replica);
    void *reader_ctx;
    int64_t now_ms, wall_ms;
    bool all_answered; /* every replica has been read lately */
    int64_t look_ms;   /* ... and this is the oldest of those readings */
};

/* Make room for one more; the arrays grow together. */
void join_room_namespace(struct join *j);
void join_room_workload(struct join *j);
void join_room_proxy(struct join *j);
uint32_t join_node(struct round *r, const char *name);
void index_reset(struct index *x, uint32_t expected);
uint32_t index_find(const struct index *x, const char *const *keys, const char *key);
void index_add(struct index *x, const char *const *keys, uint32_t i);
/* Index of a revision's name, REV_FOREIGN when there is no such row. */
uint32_t join_revision(const struct join *j, const char *name);

/* join_mesh.c */
void join_revisions(struct round *r);
void join_namespaces(struct round *r);
void join_workloads(struct round *r);
/* join_proxy.c */
void join_proxies(struct round *r);
/* join_wish.c: what the API server says of a pod; false: it has nothing to do with the mesh. */
bool join_wish(struct round *r, struct proxy_row *p, const struct inv_pod *pod, struct pod_memory *m);
/* join_wish.c: a ztunnel belongs where it says, or else where it is. After the witnesses have been asked. */
void join_wish_ztunnel(struct proxy_row *p);
void join_wish_forget(struct pod_memory *m);
/* join_wish.c: is its sidecar of another version than the revision that lists it? a: NULL nobody. */
bool join_old_build(const struct round *r, const struct proxy_row *p, const struct attach_fact *a);
/* join_wish.c: something worth telling beside a good state. */
enum reason join_note(const struct round *r, const struct proxy_row *p, const struct inv_pod *pod);
