/* What of the table the gate has been told, and the rest. */
#include <stdlib.h>
#include <string.h>

#include "agent/replica_inside.h"
#include "lib/base/mem.h"

void gone_add(struct replica *r, const char *id, uint64_t told) {
    struct gone *g = mem_alloc(sizeof *g);
    g->id = mem_dup(id);
    g->told = told;
    HASH_ADD_KEYPTR(hh, r->gone, g->id, strlen(g->id), g);
}

uint64_t gone_forget(struct replica *r, const char *id) {
    struct gone *g;
    HASH_FIND_STR(r->gone, id, g);
    if (!g) {
        return 0;
    }
    uint64_t told = g->told;
    HASH_DEL(r->gone, g);
    free(g->id);
    free(g);
    return told;
}

void gone_clear(struct replica *r) {
    struct gone *g, *next;
    HASH_ITER(hh, r->gone, g, next) {
        HASH_DEL(r->gone, g);
        free(g->id);
        free(g);
    }
}

void replica_all_dirty(struct replica *r) {
    gone_clear(r);
    r->digest = (struct wire_digest){0};
    struct entry *e, *next;
    HASH_ITER(hh, r->entries, e, next) {
        e->dirty = true;
        e->told = 0;
    }
}

bool replica_dirty(const struct replica *r) {
    if (r->gone) {
        return true;
    }
    for (const struct entry *e = r->entries; e; e = e->hh.next) {
        if (e->dirty) {
            return true;
        }
    }
    return false;
}

static char *text(char *s) {
    static char empty[1] = "";
    return s ? s : empty;
}

static void fill_one(struct replica *r, struct report *rep, Meshgate__V1__ReplicaReading *on, struct entry *e,
                     int64_t now_ms) {
    Meshgate__V1__ProxyOnReplica *x = report_proxy(rep, on);
    x->id = e->id;
    x->connection = text(e->connection);
    x->connected_at_ms = e->connected_at_ms;
    x->address = text(e->address);
    x->sync = e->sync;
    x->pending_ms = e->pending_since_ms ? (uint32_t)(now_ms - e->pending_since_ms) : 0;
    x->error = text(e->error);
    x->error_type = e->error_type ? report_keep(rep, mem_dup(e->error_type)) : text(NULL);
    x->cds_acked = text(e->shared.cds_acked);
    x->lds_acked = text(e->shared.lds_acked);
    x->istio_version = text(e->shared.version);
    x->proxy_type = text(e->shared.proxy_type);
    x->types = text(e->shared.types);
    x->copies = e->copies;
    report_count(rep, strlen(x->id) + strlen(x->connection) + strlen(x->error) + 144);
    uint64_t now = wire_proxy_hash(x);
    wire_digest_change(&r->digest, e->told, now);
    e->told = now;
    e->dirty = false;
}

static bool fill_gone(struct replica *r, struct report *rep, Meshgate__V1__ReplicaReading *on) {
    struct gone *g, *next;
    HASH_ITER(hh, r->gone, g, next) {
        if (report_full(rep)) {
            return false;
        }
        HASH_DEL(r->gone, g);
        wire_digest_change(&r->digest, g->told, 0);
        report_proxy_gone(rep, on, g->id);
        free(g);
    }
    return true;
}

bool replica_fill(struct replica *r, struct report *rep, Meshgate__V1__ReplicaReading *on, int64_t now_ms) {
    if (!fill_gone(r, rep, on)) {
        return false;
    }
    struct entry *e, *next;
    HASH_ITER(hh, r->entries, e, next) {
        if (!e->dirty) {
            continue;
        }
        if (report_full(rep)) {
            return false;
        }
        fill_one(r, rep, on, e, now_ms);
    }
    on->digest = r->digest.sum;
    on->entries = r->digest.entries;
    return true;
}
