/* Inside of an embedded istiod, shared by istiod.c (what happens) and istiod_text.c (what it tells). */
#pragma once

#include "../../lib/base/buf.h"
#include "istiod.h"

#define ISTIOD_NONCE 80
#define ISTIOD_WATCHES 12

struct istiod_watch {
    const char *type_url; /* interned with the istiod */
    char sent[ISTIOD_NONCE], acked[ISTIOD_NONCE];
    int64_t sent_ns; /* wall clock of the last send, 0 never */
    char *error;
};

struct istiod_conn {
    struct istiod *istiod;
    struct istiod_conn *prev, *next;
    char *node_id, *id, *connection, *address, *namespace_, *version, *type, *cluster_id;
    bool proxy_config;
    bool locked;
    bool outside; /* a stream on a real socket: whoever holds the socket ends it */
    int64_t connected_ns;
    struct istiod_watch watches[ISTIOD_WATCHES];
    size_t n_watches;
    void *user;
};

/* One labelled series: a type, and for rejections the node. */
struct istiod_count {
    const char *type;
    char *node;
    double value;
    struct istiod_count *next;
};

struct istiod {
    char *revision, *version, *pod;
    struct sched *sched;
    uint64_t random;
    int64_t started_ms;
    char push_version[64];
    uint64_t pushes, connected_ever;
    struct istiod_conn *conns;
    size_t n_conns, n_locked;
    bool refuses_debug;
    struct istiod_count *rejects, *rejecting_nodes, *expired, *sent;
    uint64_t triggers_full, triggers_endpoints;
    char *types[ISTIOD_WATCHES * 2];
    size_t n_types;
};

const struct istiod_watch *istiod_watch_of(const struct istiod_conn *c, const char *type_url);
/* "cds" ... of a type URL; the URL itself when it is none of the five. */
const char *istiod_short_type(const char *type_url);
