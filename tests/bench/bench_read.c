/*
 * Cost of reading an istiod's answers, per proxy: parser alone and with the reader's table, over pieces of 8 KiB as TLS
 * delivers them. The answers come from the embedded istiod. Prints one JSON line a case.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/replica.h"
#include "lib/base/mem.h"
#include "lib/base/vclock.h"
#include "probes/istiod_status.h"
#include "tests/sim/ads_pack.h"
#include "tests/sim/istiod.h"

#define PIECE 8192

static const char *const types[] = {"type.googleapis.com/envoy.config.cluster.v3.Cluster",
                                    "type.googleapis.com/envoy.config.listener.v3.Listener",
                                    "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
                                    "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"};

static int64_t cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void connect_all(struct istiod *i, size_t n) {
    for (size_t k = 0; k < n; k++) {
        char id[128], address[32], ns[16];
        snprintf(ns, sizeof ns, "ns-%zu", k % 100);
        snprintf(id, sizeof id, "sidecar~10.1.%zu.%zu~web-7d9c6b8f5d-%05zu.%s~%s.svc.cluster.local", k / 250, k % 250, k,
                 ns, ns);
        snprintf(address, sizeof address, "10.1.%zu.%zu:4000", k / 250, k % 250);
        struct istiod_peer p = {
            .node_id = id, .address = address, .namespace_ = ns, .istio_version = "1.30.3", .proxy_config = true};
        const char *why;
        struct istiod_conn *c = istiod_connect(i, &p, &why);
        for (size_t t = 0; c && t < sizeof types / sizeof *types; t++) {
            struct istiod_push push;
            if (istiod_request(c, types[t], "", NULL, &push)) {
                istiod_request(c, types[t], push.nonce, NULL, &push);
            }
        }
    }
}

static size_t cut(const char *body, size_t len, struct piece **out) {
    size_t n = (len + PIECE - 1) / PIECE;
    *out = mem_alloc(sizeof(struct piece) * (n + 1));
    for (size_t i = 0; i < n; i++) {
        size_t at = i * PIECE;
        (*out)[i] = (struct piece){(const uint8_t *)body + at, len - at < PIECE ? len - at : PIECE};
    }
    return n;
}

static void no_conn(void *ctx, const struct conn_seen *c) {
    (void)c;
    ++*(size_t *)ctx;
}

static void no_sync(void *ctx, const struct sync_seen *s) {
    (void)s;
    ++*(size_t *)ctx;
}

enum call { CONNECTIONS, SYNCZ, STATUS, CALLS };

static int64_t parse(enum call call, bool table, struct replica *r, const struct piece *p, size_t n, size_t *seen) {
    struct err err;
    void (*sync)(void *, const struct sync_seen *) = table ? replica_sync : no_sync;
    void *ctx = table ? (void *)r : (void *)seen;
    switch (call) {
    case CONNECTIONS:
        return istiod_connections(p, n, table ? replica_conn : no_conn, ctx, &err);
    case SYNCZ:
        return istiod_syncz(p, n, sync, ctx, &err);
    case STATUS:
        return istiod_status(p, n, sync, ctx, &err);
    case CALLS:
        break;
    }
    return -1;
}

static int64_t read_once(enum call call, bool table, struct replica *r, const struct piece *p, size_t n, size_t *seen) {
    *seen = 0;
    if (!table) {
        return parse(call, false, r, p, n, seen);
    }
    replica_begin(r);
    int64_t got = parse(call, true, r, p, n, seen);
    if (call == CONNECTIONS) {
        replica_commit_connections(r);
    } else {
        replica_commit_syncz(r, NULL, 1000);
    }
    return got;
}

/* The caller's to free(). */
static char *answer_of(struct istiod *i, enum call call, size_t *len) {
    if (call != STATUS) {
        return istiod_debug(i, call == SYNCZ ? "syncz" : "connections", NULL, len);
    }
    struct buf b;
    ads_pack_syncz(&b, false, i, NULL);
    *len = b.len;
    return buf_take(&b);
}

static int measure(const char *name, enum call call, bool table, struct replica *r, const char *body, size_t len,
                   size_t proxies) {
    struct piece *p;
    size_t n = cut(body, len, &p), seen;
    const int rounds = 20;
    int64_t got = read_once(call, table, r, p, n, &seen);
    int64_t start = cpu_ns();
    for (int i = 0; i < rounds && got > 0; i++) {
        got = read_once(call, table, r, p, n, &seen);
    }
    double ns = (double)(cpu_ns() - start) / rounds / (double)proxies;
    printf("{\"bench\":\"read\",\"case\":\"%s\",\"proxies\":%zu,\"bytes\":%zu,\"pieces\":%zu,\"ns_per_proxy\":%.0f}\n",
           name, proxies, len, n, ns);
    free(p);
    return got == (int64_t)proxies ? 0 : 1;
}

static size_t heap(void) {
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

/* Heap of a table after both readings, and while the second is being taken in. */
static int measure_heap(struct istiod *i, size_t proxies) {
    size_t at_rest = 0, reading = 0, n, seen, before = heap();
    struct replica *r = replica_new();
    for (int syncz = 0; syncz < 2; syncz++) {
        size_t len;
        struct piece *p;
        struct err err;
        char *body = istiod_debug(i, syncz ? "syncz" : "connections", NULL, &len);
        n = cut(body, len, &p);
        size_t own = heap();
        read_once(syncz ? SYNCZ : CONNECTIONS, true, r, p, n, &seen);
        replica_begin(r);
        int64_t got = syncz ? istiod_syncz(p, n, replica_sync, r, &err) : 0;
        reading = got > 0 ? heap() - own : 0;
        replica_drop(r);
        free(p);
        free(body);
    }
    at_rest = heap() - before;
    printf("{\"bench\":\"read\",\"case\":\"heap of a table\",\"proxies\":%zu,\"at_rest\":%zu,\"more_while_reading\":%zu}\n",
           proxies, at_rest, reading);
    size_t known = replica_count(r);
    replica_free(r);
    return known == proxies ? 0 : 1;
}

int main(void) {
    const size_t proxies = 5000;
    struct vclock *clock = vclock_new(1795400000000);
    struct istiod *i = istiod_new("canary", "1.30.3", "istiod-canary-1", vclock_sched(clock), 1);
    connect_all(i, proxies);
    struct replica *r = replica_new();
    int bad = 0;
    for (int call = 0; call < CALLS; call++) {
        static const char *const names[CALLS][2] = {{"connections, parse", "connections, parse and table"},
                                                    {"syncz, parse", "syncz, parse and table"},
                                                    {"protobuf syncz, parse", "protobuf syncz, parse and table"}};
        size_t len;
        char *body = answer_of(i, (enum call)call, &len);
        for (int table = 0; table < 2; table++) {
            bad += measure(names[call][table], (enum call)call, table, r, body, len, proxies);
        }
        free(body);
    }
    replica_free(r);
    bad += measure_heap(i, proxies);
    istiod_free(i);
    vclock_free(clock);
    return bad ? 1 : 0;
}
