/*
 * One embedded istiod process without its sockets: connections, watches, pushes with nonces, rejections, and what its debug
 * calls and /metrics say of them. The world drives it with its proxies; tests/sim/ads.c puts real gRPC streams on it.
 * Shapes of answers: recordings of istiod 1.29.6 and 1.30.3.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../lib/base/sched.h"

struct istiod;
struct istiod_conn;

/* version: "1.30.3". epoch of push versions is the sched's wall clock. */
struct istiod *istiod_new(const char *revision, const char *version, const char *pod, struct sched *sched, uint64_t seed);
void istiod_free(struct istiod *i);

struct istiod_peer {
    const char *node_id;       /* "sidecar~IP~POD.NS~NS.svc.cluster.local" */
    const char *address;       /* "IP:PORT" */
    const char *namespace_;    /* metadata NAMESPACE or "" */
    const char *istio_version; /* metadata ISTIO_VERSION or "" */
    bool proxy_config;         /* metadata PROXY_CONFIG present */
    bool outside;              /* on a real socket: the world neither drives nor drops it */
    const char *cluster_id;    /* metadata CLUSTER_ID, "" none; NULL: "Kubernetes" */
};
/* NULL + *why ("InvalidArgument" text) for a bad node id. */
struct istiod_conn *istiod_connect(struct istiod *i, const struct istiod_peer *p, const char **why);
void istiod_disconnect(struct istiod_conn *c);

struct istiod_push {
    char version[64], nonce[128];
    const char *type_url;
};
/* A request of the proxy: a new watch, an ACK (nonce without error) or a NACK. true: *out is the answer to send at once. */
bool istiod_request(struct istiod_conn *c, const char *type_url, const char *nonce, const char *error,
                    struct istiod_push *out);
/* A full push: new version; fn for each connection and type that it watches. fn may call istiod_request. */
void istiod_push_all(struct istiod *i, void (*fn)(void *ctx, struct istiod_conn *c, const struct istiod_push *p),
                     void *ctx);
/* Endpoints changed and nothing else: the version stands, only EDS goes out. */
void istiod_push_endpoints(struct istiod *i, void (*fn)(void *ctx, struct istiod_conn *c, const struct istiod_push *p),
                           void *ctx);
/* A type that is subscribed to and for which nothing is there to be sent (NOT_SENT). */
void istiod_watch_silently(struct istiod_conn *c, const char *type_url);
/*
 * Somebody's protobuf syncz has locked this proxy for good (docs/protocol.md): nothing is sent to it, nothing of it is
 * heard, and questions that look at it never answer. Its stream's end heals it.
 */
void istiod_lock(struct istiod_conn *c);
/* true: would protobuf syncz (namespace_ NULL: of all) wait for a locked proxy? */
bool istiod_status_hangs(const struct istiod *i, const char *namespace_);
/* ENABLE_DEBUG_ON_HTTP=false: every debug question of the type istio.io/debug is refused; protobuf syncz is served. */
void istiod_refuse_debug(struct istiod *i, bool on);
/* The user pointer of a connection. */
void istiod_conn_set(struct istiod_conn *c, void *user);
void *istiod_conn_get(const struct istiod_conn *c);
size_t istiod_connections_count(const struct istiod *i);

/* Body of a debug call by resource name ("connections", "syncz", "syncz?namespace=NS", "adsz?proxyID=..." ...), errors as
 * plain text like the real one. asker: own connection of the caller, or NULL. The caller's to free(). NULL: there will
 * never be an answer, somebody whom it looks at is locked. */
char *istiod_debug(struct istiod *i, const char *resource, const struct istiod_conn *asker, size_t *len);
/* Text of /metrics. The caller's to free(). */
char *istiod_metrics(const struct istiod *i, size_t *len);
