#include "evidence_set.h"

#include <stdlib.h>
#include <string.h>

#include "../lib/base/err.h"
#include "../lib/base/mem.h"

enum { MAX_PROXIES = 100000, MAX_NAMESPACES = 20000 };

/* Copies texts into the tail of a block. */
static char *put(char **at, const char *s) {
    size_t n = strlen(s) + 1;
    char *to = *at;
    memcpy(to, s, n);
    *at += n;
    return to;
}

struct source {
    const char *id, *connection, *address, *error, *error_type, *cds_acked, *lds_acked, *istio_version, *proxy_type, *types;
};

static struct attach_entry *entry_new(const struct source *x) {
    size_t texts = strlen(x->id) + strlen(x->connection) + strlen(x->address) + strlen(x->error) + strlen(x->error_type) +
                   strlen(x->cds_acked) + strlen(x->lds_acked) + strlen(x->istio_version) + strlen(x->proxy_type) +
                   strlen(x->types) + 10;
    struct attach_entry *e = mem_alloc(sizeof *e + texts);
    char *at = (char *)(e + 1);
    e->fact.id = put(&at, x->id);
    e->fact.connection = put(&at, x->connection);
    e->fact.address = put(&at, x->address);
    e->fact.error = put(&at, x->error);
    e->fact.error_type = put(&at, x->error_type);
    e->fact.cds_acked = put(&at, x->cds_acked);
    e->fact.lds_acked = put(&at, x->lds_acked);
    e->fact.istio_version = put(&at, x->istio_version);
    e->fact.proxy_type = put(&at, x->proxy_type);
    e->fact.types = put(&at, x->types);
    return e;
}

static enum sync_state sync_of(Meshgate__V1__Sync s) {
    switch (s) {
    case MESHGATE__V1__SYNC__SYNC_IS_PENDING:
        return SYNC_PENDING;
    case MESHGATE__V1__SYNC__SYNC_IS_ERROR:
        return SYNC_ERROR;
    case MESHGATE__V1__SYNC__SYNC_IS_SYNCED:
        return SYNC_SYNCED;
    case MESHGATE__V1__SYNC__SYNC_NOT_READ:
    case _MESHGATE__V1__SYNC_IS_INT_SIZE:
        break;
    }
    return SYNC_UNKNOWN;
}

static struct attach_entry *entry_of(const Meshgate__V1__ProxyOnReplica *p, int64_t now_ms) {
    struct attach_entry *e = entry_new(&(struct source){.id = p->id,
                                                        .connection = p->connection,
                                                        .address = p->address,
                                                        .error = p->error,
                                                        .error_type = p->error_type,
                                                        .cds_acked = p->cds_acked,
                                                        .lds_acked = p->lds_acked,
                                                        .istio_version = p->istio_version,
                                                        .proxy_type = p->proxy_type,
                                                        .types = p->types});
    e->told = wire_proxy_hash(p);
    e->fact.connected_wall_ms = p->connected_at_ms;
    e->fact.sync = sync_of(p->sync);
    e->fact.copies = p->copies;
    if (e->fact.sync == SYNC_PENDING && p->pending_ms > 0) {
        e->fact.pending_since_ms = now_ms > p->pending_ms ? now_ms - p->pending_ms : 1;
    }
    return e;
}

static void drop(struct attach_set *s, struct attach_entry *e) {
    HASH_DELETE(hh, s->entries, e);
    wire_digest_change(&s->digest, e->told, 0);
    free(e);
}

static void add(struct attach_set *s, struct attach_entry *e) {
    struct attach_entry *old;
    HASH_FIND_STR(s->entries, e->fact.id, old);
    if (old != NULL) {
        drop(s, old);
    }
    HASH_ADD_KEYPTR(hh, s->entries, e->fact.id, strlen(e->fact.id), e);
    wire_digest_change(&s->digest, 0, e->told);
}

static void set_age(struct attach_set *s, const char *name, int64_t syncz_ms) {
    struct age_entry *a;
    HASH_FIND_STR(s->ages, name, a);
    if (a == NULL && HASH_COUNT(s->ages) < MAX_NAMESPACES) {
        a = mem_alloc(sizeof *a);
        a->name = mem_dup(name);
        HASH_ADD_KEYPTR(hh, s->ages, a->name, strlen(a->name), a);
    }
    if (a != NULL && syncz_ms > a->syncz_ms) {
        a->syncz_ms = syncz_ms;
    }
}

uint32_t attach_set_apply(struct attach_set *s, const Meshgate__V1__ReplicaReading *r, int64_t now_ms) {
    uint32_t refused = 0;
    for (size_t i = 0; i < r->n_gone; i++) {
        struct attach_entry *e;
        HASH_FIND_STR(s->entries, r->gone[i], e);
        if (e != NULL) {
            drop(s, e);
        }
    }
    for (size_t i = 0; i < r->n_changed; i++) {
        if (HASH_COUNT(s->entries) < MAX_PROXIES) {
            add(s, entry_of(r->changed[i], now_ms));
        } else {
            refused++;
        }
    }
    for (size_t i = 0; i < r->n_namespaces; i++) {
        int64_t age = r->namespaces[i]->syncz_age_ms;
        set_age(s, r->namespaces[i]->name, now_ms > age ? now_ms - age : 1);
    }
    s->partial |= refused > 0;
    return refused;
}

/* A reader that says nothing of it (0 and none) is an older one, or has nothing. */
bool attach_set_agrees(const struct attach_set *s, const Meshgate__V1__ReplicaReading *r) {
    bool said = r->digest != 0 || r->entries != 0;
    return !said || s->partial || (r->digest == s->digest.sum && r->entries == s->digest.entries);
}

static void entries_clear(struct attach_set *s) {
    struct attach_entry *e, *next;
    HASH_ITER(hh, s->entries, e, next) {
        drop(s, e);
    }
}

void attach_set_clear(struct attach_set *s) {
    entries_clear(s);
    struct age_entry *a, *next;
    HASH_ITER(hh, s->ages, a, next) {
        HASH_DELETE(hh, s->ages, a);
        free(a->name);
        free(a);
    }
    free(s->from.node);
    *s = (struct attach_set){.entries = NULL};
}

bool attach_set_is(const struct attach_set *s, const char *node, uint64_t session, uint32_t epoch) {
    return s->from.node != NULL && s->from.session == session && s->from.epoch == epoch && strcmp(s->from.node, node) == 0;
}

void attach_set_begin(struct attach_set *s, const char *node, uint64_t session, uint32_t epoch) {
    attach_set_clear(s);
    s->from = (struct telling){.node = mem_dup(node), .session = session, .epoch = epoch};
}

/* The new entry with the old one's word on synchronisation. */
static struct attach_entry *with_sync_of(const struct attach_entry *own, const struct attach_fact *old) {
    const struct attach_fact *f = &own->fact;
    struct attach_entry *e = entry_new(&(struct source){.id = f->id,
                                                        .connection = f->connection,
                                                        .address = f->address,
                                                        .error = old->error,
                                                        .error_type = old->error_type,
                                                        .cds_acked = old->cds_acked,
                                                        .lds_acked = old->lds_acked,
                                                        .istio_version = old->istio_version,
                                                        .proxy_type = old->proxy_type,
                                                        .types = old->types});
    e->told = own->told;
    e->fact.connected_wall_ms = f->connected_wall_ms;
    e->fact.copies = f->copies;
    e->fact.sync = old->sync;
    e->fact.pending_since_ms = old->pending_since_ms;
    return e;
}

void attach_set_inherit(struct attach_set *s, struct attach_set *before) {
    if (s->syncz_ms != 0) {
        return;
    }
    s->syncz_ms = before->syncz_ms;
    for (struct age_entry *a = before->ages; a != NULL; a = a->hh.next) {
        set_age(s, a->name, a->syncz_ms);
    }
    struct attach_entry *e, *next;
    HASH_ITER(hh, s->entries, e, next) {
        struct attach_entry *old;
        HASH_FIND_STR(before->entries, e->fact.id, old);
        /* What is inherited is added at the end and met again: it must not look like one that has nothing yet. */
        bool knows = old != NULL && old->fact.sync != SYNC_UNKNOWN;
        if (knows && e->fact.sync == SYNC_UNKNOWN && e->fact.connection[0] != '\0' &&
            strcmp(old->fact.connection, e->fact.connection) == 0) {
            add(s, with_sync_of(e, &old->fact));
        }
    }
}
