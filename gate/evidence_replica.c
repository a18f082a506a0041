#include "evidence_replica.h"

#include <stdlib.h>
#include <string.h>

#include "../lib/base/mem.h"

/* Two reports of the same reading differ by what the network did to them; a new one is later by more than this. */
enum { SAME_READING_MS = 500, MAX_BLOCKED = 256 };

struct replica_entry *evidence_replica_get(struct replica_entry *all, const char *id) {
    struct replica_entry *r;
    HASH_FIND_STR(all, id, r);
    return r;
}

static struct replica_entry *replica_make(struct replica_entry **all, const char *id) {
    struct replica_entry *r = evidence_replica_get(*all, id);
    if (r == NULL) {
        r = mem_alloc(sizeof *r);
        r->fact.id = mem_dup(id);
        HASH_ADD_KEYPTR(hh, *all, r->fact.id, strlen(r->fact.id), r);
    }
    return r;
}

static void blocked_clear(struct replica_entry *r) {
    for (size_t i = 0; i < r->n_blocked; i++) {
        free(r->blocked[i].namespace_);
        free(r->blocked[i].proxy);
    }
    free(r->blocked);
    r->blocked = NULL;
    r->n_blocked = 0;
}

void evidence_replica_drop(struct replica_entry **all, struct replica_entry *r) {
    HASH_DELETE(hh, *all, r);
    attach_set_clear(&r->current);
    attach_set_clear(&r->next);
    blocked_clear(r);
    free(r->fact.id);
    free(r->fact.reader);
    free(r->fact.error);
    free(r);
}

void evidence_replica_drop_all(struct replica_entry **all) {
    while (*all != NULL) {
        evidence_replica_drop(all, *all);
    }
}

/* The set that this message adds to: the current one, or one built aside for a newer telling. */
static struct attach_set *set_for(struct replica_entry *r, const struct telling *from) {
    if (attach_set_is(&r->current, from->node, from->session, from->epoch)) {
        return &r->current;
    }
    if (!attach_set_is(&r->next, from->node, from->session, from->epoch)) {
        attach_set_begin(&r->next, from->node, from->session, from->epoch);
    }
    return &r->next;
}

static void take_times(struct replica_entry *r, struct attach_set *s, const Meshgate__V1__ReplicaReading *in,
                       int64_t now_ms) {
    if (in->has_connections) {
        int64_t at = evidence_before(now_ms, in->connections_age_ms);
        bool newer = s->connections_ms == 0 || (at > s->connections_ms + SAME_READING_MS && in->questions != s->questions);
        if (newer) {
            s->connections_ms = at;
            s->questions = in->questions;
            r->fact.looks++;
        }
    }
    if (in->has_syncz) {
        int64_t at = evidence_before(now_ms, in->syncz_age_ms);
        s->syncz_ms = at > s->syncz_ms ? at : s->syncz_ms;
    }
}

static void take_counts(struct replica_entry *r, const struct telling *from, const Meshgate__V1__ReplicaReading *in) {
    struct replica_fact *f = &r->fact;
    mem_set(&f->reader, from->node);
    f->connections = in->connections;
    f->syncz = in->syncz;
    mem_set(&f->error, in->error);
    f->rejects = in->rejects;
    f->streams = in->streams;
    f->expired_nonces = in->expired_nonces;
    f->status_only = in->status_only;
    f->bytes_read = in->bytes_read;
    f->questions = in->questions;
}

static struct attach_entry *attached(const struct replica_entry *r, const char *proxy) {
    struct attach_entry *a;
    HASH_FIND_STR(r->current.entries, proxy, a);
    return a;
}

static void mark(struct replica_entry *r, bool blocked) {
    for (size_t i = 0; i < r->n_blocked; i++) {
        struct attach_entry *a = attached(r, r->blocked[i].proxy);
        if (a != NULL) {
            a->fact.blocked = blocked;
        }
    }
}

/* The list stands as it was last told, whole; entries may have been told anew since, so marks are set each time. */
static void take_blocked(struct replica_entry *r, const Meshgate__V1__ReplicaReading *in, int64_t now_ms) {
    mark(r, false);
    blocked_clear(r);
    size_t n = in->n_blocked < MAX_BLOCKED ? in->n_blocked : MAX_BLOCKED;
    r->blocked = n > 0 ? mem_alloc(n * sizeof *r->blocked) : NULL;
    for (; r->n_blocked < n; r->n_blocked++) {
        const Meshgate__V1__Blocked *b = in->blocked[r->n_blocked];
        r->blocked[r->n_blocked] = (struct blocked_fact){.namespace_ = mem_dup(b->namespace_),
                                                         .proxy = mem_dup(b->proxy),
                                                         .since_ms = evidence_before(now_ms, b->for_ms)};
    }
    mark(r, true);
}

static void turn_to_next(struct replica_entry *r) {
    attach_set_inherit(&r->next, &r->current);
    attach_set_clear(&r->current);
    r->current = r->next;
    r->next = (struct attach_set){.entries = NULL};
}

uint32_t evidence_replica_take(struct replica_entry **all, const struct telling *from,
                               const Meshgate__V1__ReplicaReading *in, const struct evidence_rules *rules, int64_t now_ms) {
    struct replica_entry *r = replica_make(all, in->replica);
    take_counts(r, from, in);
    struct attach_set *s = set_for(r, from);
    uint32_t refused = attach_set_apply(s, in, now_ms);
    if (in->more) {
        mark(r, true);
        return refused;
    }
    if (!attach_set_agrees(s, in) && rules->differs != NULL) {
        rules->differs(rules->ctx, in->replica);
    }
    take_times(r, s, in, now_ms);
    if (s == &r->next && s->connections_ms != 0) {
        turn_to_next(r);
    }
    take_blocked(r, in, now_ms);
    r->fact.connections_ms = r->current.connections_ms;
    r->fact.syncz_ms = r->current.syncz_ms;
    return refused;
}
