/*
 * The gate without its sockets: inventory (what the API servers say), sessions and evidence (what agents say), join,
 * decision, execution, publication. Programs and scenario tests build it from a Kubernetes transport and a clock.
 *
 *   session -> evidence -\
 *   reflectors -> inventory -> join -> core/classify, decide -> execute -> (API server)
 *                                                            -> publish -> (API server, admin pages)
 */
#pragma once

#include "../lib/base/buf.h"
#include "../lib/base/metrics.h"
#include "../lib/base/sched.h"
#include "../lib/kube/kube.h"

struct gate;

struct gate_opts {
    const char *version;
    const char *cluster;         /* name of this cluster in output; "Kubernetes" */
    const char *istio_namespace; /* "istio-system" */
    const char *agent_namespace; /* ServiceAccount that agents must have ... */
    const char *agent_account;   /* ... "meshgate-agent" */
    const char *audience;        /* of agent tokens: "meshgate" */
    const char *identity;        /* own pod name, source of Events */
    int64_t reading_period_ms;   /* while something moves; 10 s */
    int64_t idle_period_ms;      /* 60 s */
    int64_t
        decide_floor_ms; /* least time between two decisions; 200 ms. 1 ms more for each 25 proxies, at most 600 ms more */
    uint64_t seed;
};

struct gate *gate_new(const struct gate_opts *opts, struct kube *kube, struct sched *sched, struct metrics *metrics);
void gate_free(struct gate *g);
/* Every watch has been in sync once. */
bool gate_ready(const struct gate *g, struct buf *why_not);

/* --- the agents' side: whoever owns the listening socket calls these --- */
struct session;
struct session_ops {
    bool (*send)(void *peer, const void *p, size_t n);
    /* End the stream with a gRPC status; `gate_session_closed` follows. */
    void (*end)(void *peer, int status, const char *text);
};
/* A new stream. authorization: value of that header ("Bearer ..."), or NULL. peer is handed to ops. The token is reviewed
 * with the cluster's TokenReview before anything the agent says is believed. Never NULL. */
struct session *gate_session_open(struct gate *g, const char *authorization, const struct session_ops *ops, void *peer);
void gate_session_message(struct session *s, const struct piece *pieces, size_t n);
void gate_session_closed(struct session *s);

/* --- read-only views as JSON, for the admin server and tests; the caller decref()s --- */
json_t *gate_view_upgrades(const struct gate *g); /* phase, waves, reasons of each MeshUpgrade */
json_t *gate_view_revisions(struct gate *g);      /* revisions, replicas, readers, their answers */
json_t *gate_view_coverage(struct gate *g);       /* expected and heard, by witness: coverage.h */
json_t *gate_view_nodes(const struct gate *g);    /* agents and what they say of themselves */
/* One proxy with every witness's evidence, the rule that decided and the remedy. NULL: no such pod. */
json_t *gate_view_explain(struct gate *g, const char *namespace_, const char *pod);
/* The pre-flight of what is seen: check.h. */
json_t *gate_view_check(struct gate *g);
/* Every proxy: state, reason, witnesses, as JSON text (there may be many thousands). upgrade NULL: of the whole mesh.
 * false: no such upgrade, or a spec that cannot be followed. */
bool gate_write_proxies(struct gate *g, const char *upgrade, struct buf *out);
