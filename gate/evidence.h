/*
 * What agents have said, per proxy and witness: newest value, its age, who said it. Only gate/session writes, only
 * gate/join reads. Times are on the gate's monotonic clock: the age that came with a report is already taken off.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "../core/types.h"
#include "../lib/wire/wire.h"

struct evidence;

/* Node witness, by pod UID. */
struct local_fact {
    char *pod_ip, *dials, *program, *cds_version, *lds_version, *build;
    uint32_t connections, xds_connections;
    bool stats_ok, ready;
    uint64_t cds_rejected, lds_rejected;
    uint64_t xds_failures, csr_failures; /* of pilot-agent or ztunnel */
    int64_t cert_expires_ms;             /* monotonic; 0 not said */
    int64_t first_seen_ms;
};

/* Control plane witness, by replica and proxy id. */
struct attach_fact {
    char *id, *connection, *address, *error, *error_type, *cds_acked, *lds_acked, *istio_version, *proxy_type;
    int64_t connected_wall_ms; /* istiod's clock */
    enum sync_state sync;
    int64_t pending_since_ms; /* 0: not pending */
    uint32_t copies;
    char *types;  /* letters as in ProxyOnReplica.types, "" not read */
    bool blocked; /* pushes to it are locked on this replica */
};

/* Pushes to somebody on a replica are locked. */
struct blocked_fact {
    char *namespace_, *proxy; /* proxy POD.NAMESPACE, "" while it is looked for */
    int64_t since_ms;
};

struct replica_fact {
    char *id;
    char *reader; /* node of the agent whose word this is */
    Meshgate__V1__ReadStatus connections, syncz;
    char *error;
    int64_t connections_ms; /* time of the latest complete reading; 0 never */
    int64_t syncz_ms;
    double rejects;
    uint64_t bytes_read, questions;
    double streams, expired_nonces;
    bool status_only; /* sync comes from the protobuf status: no nonces, pending ages only between pushes */
    uint32_t looks;   /* complete `connections` readings so far, over all epochs */
};

struct node_fact {
    char *node, *version, *witness_why;
    bool connected, witness;
    int64_t scan_ms; /* time of the latest complete scan; 0 never */
    int64_t connected_since_ms;
    int64_t disbelieved_ms; /* when it last spoke of another node's pods; 0 never */
};

/* A node's test of a revision's xDS endpoint. */
struct reach_fact {
    bool ok;
    char *stage, *error;     /* tcp, tls, ready, ads: reached when ok, else what failed; error NULL when ok */
    int64_t at_ms;           /* of the latest test */
    int64_t stream_ms;       /* of the latest real ADS stream; 0 never */
    bool stream_ok;          /* it was answered */
    uint32_t rtt_us;         /* 0 not known */
    uint32_t first_byte_us;  /* of the latest ADS stream that was answered; 0 none */
    int64_t cert_expires_ms; /* of istiod's certificate, monotonic; 0 not known */
};

struct evidence *evidence_new(void);
void evidence_free(struct evidence *e);

/* One report of an authenticated agent. allowed(ctx, uid, node): does this pod run on that node, so far as the API servers
 * say (unknown pods: false)? Entries that are not allowed are dropped; returns how many. may_read(ctx, replica, node): is
 * that agent the assigned reader? */
struct evidence_rules {
    bool (*local_allowed)(void *ctx, const char *pod_uid, const char *node);
    bool (*may_read)(void *ctx, const char *replica, const char *node);
    /* What is held of a replica (NULL: of the node's own proxies) is not what its teller says that he told. May be NULL. */
    void (*differs)(void *ctx, const char *replica);
    void *ctx;
};
uint32_t evidence_take(struct evidence *e, const char *node, const Meshgate__V1__Report *r,
                       const struct evidence_rules *rules, int64_t now_ms);
void evidence_hello(struct evidence *e, const char *node, const Meshgate__V1__Hello *h, int64_t now_ms);
/* The session of a node is gone; its facts stand and age. */
void evidence_node_lost(struct evidence *e, const char *node, int64_t now_ms);
/* The agent of this node has spoken of another node's pods. */
void evidence_disbelieve(struct evidence *e, const char *node, int64_t now_ms);
/* Forget what is about things that no longer exist. */
void evidence_forget_replica(struct evidence *e, const char *replica);
void evidence_forget_pod(struct evidence *e, const char *pod_uid, const char *proxy_id);
void evidence_forget_node(struct evidence *e, const char *node);

/* Borrowed until the next change; NULL: nothing known. */
const struct local_fact *evidence_local(const struct evidence *e, const char *pod_uid);
const struct attach_fact *evidence_attached(const struct evidence *e, const char *replica, const char *proxy_id);
const struct replica_fact *evidence_replica(const struct evidence *e, const char *replica);
const struct node_fact *evidence_node(const struct evidence *e, const char *node);
/* Time at which the sync state of a proxy on a replica was last read (whole syncz or its namespace); 0 never. */
int64_t evidence_sync_ms(const struct evidence *e, const char *replica, const char *namespace_);
/* Result of the node's test of a revision's endpoint: -1 unknown, 0 no, 1 yes. *error borrowed. */
int evidence_reach(const struct evidence *e, const char *node, const char *revision, const char **error, int64_t *at_ms);
/* All of that test. Borrowed until the next change; NULL: not tested. */
const struct reach_fact *evidence_reach_fact(const struct evidence *e, const char *node, const char *revision);
/* All that stand on a replica now; *n of them. Borrowed until the next change. */
const struct blocked_fact *evidence_blocked(const struct evidence *e, const char *replica, size_t *n);
/* Calls fn for each attached proxy of a replica. */
void evidence_each_attached(const struct evidence *e, const char *replica,
                            void (*fn)(void *ctx, const struct attach_fact *f), void *ctx);
/* Rises with every change. */
uint64_t evidence_version(const struct evidence *e);
