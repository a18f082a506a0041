#include "ads_pack.h"

#include <stdlib.h>
#include <string.h>

#include "../../lib/base/mem.h"
#include "../../lib/base/text.h"
#include "istiod_state.h"

#define MAX_ANSWER ((size_t)1 << 28)

/* --- protobuf by hand: these messages are not in our contract --- */

static void varint(struct buf *b, uint64_t v) {
    do {
        uint8_t c = (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
        buf_add(b, &c, 1);
        v >>= 7;
    } while (v);
}

static void put_bytes(struct buf *b, unsigned number, const void *p, size_t n) {
    varint(b, number << 3 | 2);
    varint(b, n);
    buf_add(b, p, n);
}

static void put_text(struct buf *b, unsigned number, const char *s) {
    if (s && *s) {
        put_bytes(b, number, s, strlen(s));
    }
}

static void put_number(struct buf *b, unsigned number, uint64_t v) {
    if (v) {
        varint(b, number << 3);
        varint(b, v);
    }
}

/* Adds inner as field `number` and empties it. */
static void put_message(struct buf *b, unsigned number, struct buf *inner) {
    put_bytes(b, number, inner->p ? inner->p : "", inner->len);
    buf_done(inner);
}

static void put_any(struct buf *b, unsigned number, const char *type_url, const void *p, size_t n) {
    struct buf any;
    buf_init(&any, MAX_ANSWER);
    put_text(&any, 1, type_url);
    put_bytes(&any, 2, p, n);
    put_message(b, number, &any);
}

/* One resource in the form of the stream. */
static void put_resource(struct buf *b, bool delta, const char *name, const char *version, const char *type_url,
                         const void *p, size_t n) {
    if (!delta) {
        put_any(b, 2, type_url, p, n);
        return;
    }
    struct buf r;
    buf_init(&r, MAX_ANSWER);
    put_text(&r, 1, version);
    put_any(&r, 2, type_url, p, n);
    put_text(&r, 3, name);
    put_message(b, 2, &r);
}

/* The answers of debug types carry the push version and a nonce like any other; nobody keeps them. */
static void put_head(struct buf *b, struct istiod *istiod, const char *type_url) {
    uint64_t x = istiod->random = text_hash(istiod->random, "debug", 5), y = text_hash(x, "nonce", 5);
    put_text(b, 1, istiod->push_version);
    put_text(b, 4, type_url);
    char *nonce = mem_printf("%s%08x-%04x-4%03x-8%03x-%012llx", istiod->push_version, (unsigned)(x >> 32),
                             (unsigned)(x >> 16) & 0xffffu, (unsigned)x & 0xfffu, (unsigned)(y >> 52),
                             (unsigned long long)(y & 0xffffffffffffu));
    put_text(b, 5, nonce);
    free(nonce);
}

void ads_pack_debug(struct buf *b, bool delta, struct istiod *istiod, const char *name, const char *body, size_t len) {
    buf_init(b, MAX_ANSWER);
    put_resource(b, delta, name, "", "istio.io/debug", body, len);
    put_head(b, istiod, "istio.io/debug");
}

void ads_pack_nothing(struct buf *b, bool delta, struct istiod *istiod, const char *type_url) {
    (void)delta; /* the head is the same in both forms */
    buf_init(b, 4096);
    put_head(b, istiod, type_url);
}

/* --- protobuf syncz --- */

static void put_timestamp(struct buf *b, unsigned number, int64_t ns) {
    struct buf t;
    buf_init(&t, 64);
    if (ns) {
        put_number(&t, 1, (uint64_t)(ns / 1000000000));
        put_number(&t, 2, (uint64_t)(ns % 1000000000));
    } else {
        put_number(&t, 1, (uint64_t)INT64_C(-62135596800)); /* Go's zero time */
    }
    put_message(b, number, &t);
}

static uint64_t status_of(const struct istiod_watch *w) {
    enum { SYNCED = 1, NOT_SENT, STALE, ERROR };
    return w->error ? ERROR : !*w->sent ? NOT_SENT : !strcmp(w->sent, w->acked) ? SYNCED : STALE;
}

static void put_watch(struct buf *b, const struct istiod_watch *w) {
    struct buf x;
    buf_init(&x, MAX_ANSWER);
    put_text(&x, 1, w->type_url);
    put_timestamp(&x, 5, w->sent_ns);
    put_number(&x, 6, status_of(w));
    if (w->error) {
        struct buf e;
        buf_init(&e, MAX_ANSWER);
        put_timestamp(&e, 2, w->sent_ns);
        put_text(&e, 3, w->error);
        put_message(&x, 8, &e);
    }
    put_message(b, 3, &x);
}

static void put_metadata(struct buf *b, const char *key, const char *value) {
    struct buf entry, v;
    if (value && *value) {
        buf_init(&entry, 1024);
        buf_init(&v, 1024);
        put_text(&v, 3, value);
        put_text(&entry, 1, key);
        put_message(&entry, 2, &v);
        put_message(b, 1, &entry);
    }
}

static int by_type(const void *a, const void *b) {
    return strcmp((*(const struct istiod_watch *const *)a)->type_url, (*(const struct istiod_watch *const *)b)->type_url);
}

static void put_client(struct buf *b, const struct istiod_conn *c) {
    const struct istiod_watch *order[ISTIOD_WATCHES];
    struct buf node, metadata;
    buf_init(&node, 4096);
    buf_init(&metadata, 4096);
    put_metadata(&metadata, "CLUSTER_ID", c->cluster_id);
    put_metadata(&metadata, "ISTIO_VERSION", c->version);
    put_metadata(&metadata, "NAMESPACE", c->namespace_);
    put_text(&node, 1, c->id);
    put_message(&node, 3, &metadata);
    put_message(b, 1, &node);
    for (size_t n = 0; n < c->n_watches; n++) {
        order[n] = &c->watches[n];
    }
    qsort(order, c->n_watches, sizeof *order, by_type);
    for (size_t n = 0; n < c->n_watches; n++) {
        put_watch(b, order[n]);
    }
}

void ads_pack_syncz(struct buf *b, bool delta, struct istiod *istiod, const char *namespace_) {
    static const char type[] = "type.googleapis.com/envoy.service.status.v3.ClientConfig";
    buf_init(b, MAX_ANSWER);
    for (const struct istiod_conn *c = istiod->conns; c; c = c->next) {
        bool shown = c->proxy_config || !strcmp(c->type, "ztunnel");
        if (!shown || (namespace_ && strcmp(namespace_, c->namespace_))) {
            continue;
        }
        struct buf client;
        buf_init(&client, MAX_ANSWER);
        put_client(&client, c);
        put_resource(b, delta, c->id, "", type, client.p, client.len);
        buf_done(&client);
    }
    put_head(b, istiod, "istio.io/debug/syncz");
    struct buf plane;
    char *identifier =
        mem_printf("{\"Component\":\"istiod\",\"ID\":\"%s\",\"Info\":{\"version\":\"%s\",\"revision\":\"unknown\","
                   "\"golang_version\":\"\",\"status\":\"Clean\",\"tag\":\"%s\"}}",
                   istiod->pod, istiod->version, istiod->version);
    buf_init(&plane, 1024);
    put_text(&plane, 1, identifier);
    free(identifier);
    put_message(b, delta ? 7 : 6, &plane);
}

/* --- configuration --- */

/* All xDS resources that we send have their name as field 1. */
static void put_named(struct buf *b, bool delta, const struct istiod_push *p, const char *name) {
    struct buf r;
    buf_init(&r, 65536);
    put_text(&r, 1, name);
    put_resource(b, delta, name, p->version, p->type_url, r.p, r.len);
    buf_done(&r);
}

void ads_pack_push(struct buf *b, bool delta, const struct istiod_push *p, char *const *names, size_t n_names,
                   bool poison) {
    const char *kind = istiod_short_type(p->type_url);
    buf_init(b, MAX_ANSWER);
    put_text(b, 1, p->version);
    if (!strcmp(kind, "cds")) {
        put_named(b, delta, p, "outbound|80||web.default.svc.cluster.local");
    } else if (!strcmp(kind, "lds")) {
        put_named(b, delta, p, poison ? "meshgate-test-rejected-by-every-proxy" : "virtualInbound");
    } else {
        for (size_t i = 0; i < n_names; i++) {
            if (*names[i] && strcmp(names[i], "*")) {
                put_named(b, delta, p, names[i]);
            }
        }
    }
    put_text(b, 4, p->type_url);
    put_text(b, 5, p->nonce);
}
