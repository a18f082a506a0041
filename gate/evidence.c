#include "evidence.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/base/mem.h"
#include "evidence_set.h"
#include "utlist.h"

/* Two reports of the same reading differ by what the network did to them; a new one is later by more than this. */
enum { SAME_READING_MS = 500, MAX_REVISIONS = 64 };

struct local_entry {
    struct local_fact fact;
    char *uid;
    struct node_entry *node;         /* who says so */
    struct local_entry *prev, *next; /* of the same node */
    UT_hash_handle hh;
};

struct reach_entry {
    struct reach_fact fact;
    char *revision;
    char *trouble; /* "STAGE: ERROR", NULL when ok */
    UT_hash_handle hh;
};

struct node_entry {
    struct node_fact fact; /* node is the key */
    uint64_t session;      /* counts Hellos */
    struct reach_entry *reach;
    struct local_entry *locals;
    UT_hash_handle hh;
};

struct replica_entry {
    struct replica_fact fact; /* id is the key */
    struct attach_set current;
    struct attach_set next; /* of a newer telling, until its first complete reading is there */
    UT_hash_handle hh;
};

struct evidence {
    struct local_entry *locals;
    struct replica_entry *replicas;
    struct node_entry *nodes;
    uint64_t version;
};

/* Ages come off on arrival; never 0, which means never. */
static int64_t before(int64_t now_ms, int64_t age_ms) {
    return now_ms > age_ms ? now_ms - age_ms : 1;
}

/* --- nodes --- */

static struct node_entry *node_get(const struct evidence *e, const char *node) {
    struct node_entry *n;
    HASH_FIND_STR(e->nodes, node, n);
    return n;
}

static struct node_entry *node_make(struct evidence *e, const char *node) {
    struct node_entry *n = node_get(e, node);
    if (n == NULL) {
        n = mem_alloc(sizeof *n);
        n->fact.node = mem_dup(node);
        HASH_ADD_KEYPTR(hh, e->nodes, n->fact.node, strlen(n->fact.node), n);
    }
    return n;
}

static void node_drop(struct evidence *e, struct node_entry *n) {
    HASH_DELETE(hh, e->nodes, n);
    struct reach_entry *r, *next;
    HASH_ITER(hh, n->reach, r, next) {
        HASH_DELETE(hh, n->reach, r);
        free(r->revision);
        free(r->trouble);
        free(r->fact.stage);
        free(r->fact.error);
        free(r);
    }
    free(n->fact.node);
    free(n->fact.version);
    free(n->fact.witness_why);
    free(n);
}

void evidence_hello(struct evidence *e, const char *node, const Meshgate__V1__Hello *h, int64_t now_ms) {
    struct node_entry *n = node_make(e, node);
    n->session++;
    mem_set(&n->fact.version, h->version);
    mem_set(&n->fact.witness_why, h->node_witness_why);
    n->fact.witness = h->node_witness;
    n->fact.connected = true;
    n->fact.connected_since_ms = now_ms;
    e->version++;
}

void evidence_node_lost(struct evidence *e, const char *node, int64_t now_ms) {
    (void)now_ms;
    struct node_entry *n = node_get(e, node);
    if (n != NULL && n->fact.connected) {
        n->fact.connected = false;
        e->version++;
    }
}

void evidence_disbelieve(struct evidence *e, const char *node, int64_t now_ms) {
    struct node_entry *n = node_make(e, node);
    n->fact.disbelieved_ms = now_ms;
    e->version++;
}

/* On our clock; never 0, which means not said. */
static int64_t expiry(int64_t now_ms, int64_t left_s) {
    int64_t at = now_ms + left_s * 1000;
    return at > 0 ? at : 1;
}

static void take_reach(struct node_entry *n, const Meshgate__V1__Reach *in, int64_t now_ms) {
    struct reach_entry *r;
    HASH_FIND_STR(n->reach, in->revision, r);
    if (r == NULL) {
        if (HASH_COUNT(n->reach) >= MAX_REVISIONS) {
            return;
        }
        r = mem_alloc(sizeof *r);
        r->revision = mem_dup(in->revision);
        HASH_ADD_KEYPTR(hh, n->reach, r->revision, strlen(r->revision), r);
    }
    struct reach_fact *f = &r->fact;
    int64_t at = before(now_ms, in->age_ms);
    free(r->trouble);
    r->trouble = in->ok ? NULL : mem_printf("%s: %s", in->stage, in->error);
    mem_set(&f->stage, in->stage);
    mem_set(&f->error, in->ok ? NULL : in->error);
    f->ok = in->ok;
    f->at_ms = at > f->at_ms ? at : f->at_ms;
    if (strcmp(in->stage, "ads") == 0) {
        f->stream_ms = at;
        f->stream_ok = in->ok;
    }
    f->rtt_us = in->rtt_us != 0 ? in->rtt_us : f->rtt_us;
    f->first_byte_us = in->first_byte_us != 0 ? in->first_byte_us : f->first_byte_us;
    f->cert_expires_ms = in->cert_expiry_s != 0 ? expiry(now_ms, in->cert_expiry_s) : f->cert_expires_ms;
}

/* --- local proxies --- */

static void local_drop(struct evidence *e, struct local_entry *l) {
    HASH_DELETE(hh, e->locals, l);
    DL_DELETE(l->node->locals, l);
    free(l->uid);
    free(l->fact.pod_ip);
    free(l->fact.dials);
    free(l->fact.program);
    free(l->fact.cds_version);
    free(l->fact.lds_version);
    free(l->fact.build);
    free(l);
}

static struct local_entry *local_make(struct evidence *e, const char *uid, struct node_entry *n) {
    struct local_entry *l;
    HASH_FIND_STR(e->locals, uid, l);
    if (l == NULL) {
        l = mem_alloc(sizeof *l);
        l->uid = mem_dup(uid);
        HASH_ADD_KEYPTR(hh, e->locals, l->uid, strlen(l->uid), l);
    } else {
        DL_DELETE(l->node->locals, l);
    }
    l->node = n;
    DL_APPEND(n->locals, l);
    return l;
}

static void take_local(struct evidence *e, struct node_entry *n, const Meshgate__V1__LocalProxy *p, int64_t now_ms) {
    struct local_fact *f = &local_make(e, p->pod_uid, n)->fact;
    mem_set(&f->pod_ip, p->pod_ip);
    mem_set(&f->dials, p->dials);
    mem_set(&f->program, p->program);
    mem_set(&f->cds_version, p->cds_version);
    mem_set(&f->lds_version, p->lds_version);
    mem_set(&f->build, p->build);
    f->connections = p->connections;
    f->xds_connections = p->xds_connections;
    f->stats_ok = p->stats_ok;
    f->ready = p->ready;
    f->cds_rejected = p->cds_rejected;
    f->lds_rejected = p->lds_rejected;
    f->xds_failures = p->xds_failures;
    f->csr_failures = p->csr_failures;
    f->cert_expires_ms = p->cert_expiry_s != 0 ? expiry(now_ms, p->cert_expiry_s) : 0;
    f->first_seen_ms = before(now_ms, p->first_seen_ms);
}

static void forget_locals_of(struct evidence *e, struct node_entry *n) {
    struct local_entry *l, *next;
    DL_FOREACH_SAFE(n->locals, l, next) {
        local_drop(e, l);
    }
}

static uint32_t take_scan(struct evidence *e, struct node_entry *n, const Meshgate__V1__NodeScan *s,
                          const struct evidence_rules *rules, int64_t now_ms) {
    uint32_t dropped = 0;
    for (size_t i = 0; i < s->n_gone; i++) {
        struct local_entry *l;
        HASH_FIND_STR(e->locals, s->gone[i], l);
        if (l != NULL && l->node == n) {
            local_drop(e, l);
        } else if (l != NULL) {
            dropped++;
        }
    }
    for (size_t i = 0; i < s->n_changed; i++) {
        if (rules->local_allowed(rules->ctx, s->changed[i]->pod_uid, n->fact.node)) {
            take_local(e, n, s->changed[i], now_ms);
        } else {
            dropped++;
        }
    }
    /* An incomplete scan stands for an older one: that time is known already. */
    if (s->complete) {
        n->fact.scan_ms = before(now_ms, s->age_ms);
    }
    return dropped;
}

/* --- replicas --- */

static struct replica_entry *replica_get(const struct evidence *e, const char *id) {
    struct replica_entry *r;
    HASH_FIND_STR(e->replicas, id, r);
    return r;
}

static struct replica_entry *replica_make(struct evidence *e, const char *id) {
    struct replica_entry *r = replica_get(e, id);
    if (r == NULL) {
        r = mem_alloc(sizeof *r);
        r->fact.id = mem_dup(id);
        HASH_ADD_KEYPTR(hh, e->replicas, r->fact.id, strlen(r->fact.id), r);
    }
    return r;
}

static void replica_drop(struct evidence *e, struct replica_entry *r) {
    HASH_DELETE(hh, e->replicas, r);
    attach_set_clear(&r->current);
    attach_set_clear(&r->next);
    free(r->fact.id);
    free(r->fact.reader);
    free(r->fact.error);
    free(r);
}

/* The set that this message adds to: the current one, or one built aside for a newer telling. */
static struct attach_set *set_for(struct replica_entry *r, const struct node_entry *n, uint32_t epoch) {
    const char *node = n->fact.node;
    if (attach_set_is(&r->current, node, n->session, epoch)) {
        return &r->current;
    }
    if (!attach_set_is(&r->next, node, n->session, epoch)) {
        attach_set_begin(&r->next, node, n->session, epoch);
    }
    return &r->next;
}

static void take_times(struct replica_entry *r, struct attach_set *s, const Meshgate__V1__ReplicaReading *in,
                       int64_t now_ms) {
    if (in->has_connections) {
        int64_t at = before(now_ms, in->connections_age_ms);
        bool newer = s->connections_ms == 0 || (at > s->connections_ms + SAME_READING_MS && in->questions != s->questions);
        if (newer) {
            s->connections_ms = at;
            s->questions = in->questions;
            r->fact.looks++;
        }
    }
    if (in->has_syncz) {
        int64_t at = before(now_ms, in->syncz_age_ms);
        s->syncz_ms = at > s->syncz_ms ? at : s->syncz_ms;
    }
}

static uint32_t take_reading(struct evidence *e, const struct node_entry *n, const Meshgate__V1__ReplicaReading *in,
                             int64_t now_ms) {
    struct replica_entry *r = replica_make(e, in->replica);
    struct replica_fact *f = &r->fact;
    mem_set(&f->reader, n->fact.node);
    f->connections = in->connections;
    f->syncz = in->syncz;
    mem_set(&f->error, in->error);
    f->rejects = in->rejects;
    f->bytes_read = in->bytes_read;
    f->questions = in->questions;
    struct attach_set *s = set_for(r, n, in->epoch);
    uint32_t refused = attach_set_apply(s, in, now_ms);
    if (in->more) {
        return refused;
    }
    take_times(r, s, in, now_ms);
    if (s == &r->next && s->connections_ms != 0) {
        attach_set_inherit(&r->next, &r->current);
        attach_set_clear(&r->current);
        r->current = r->next;
        r->next = (struct attach_set){.entries = NULL};
    }
    f->connections_ms = r->current.connections_ms;
    f->syncz_ms = r->current.syncz_ms;
    return refused;
}

/* --- the face --- */

struct evidence *evidence_new(void) {
    return mem_alloc(sizeof(struct evidence));
}

void evidence_free(struct evidence *e) {
    if (e == NULL) {
        return;
    }
    struct local_entry *l, *next_l;
    HASH_ITER(hh, e->locals, l, next_l) {
        local_drop(e, l);
    }
    struct replica_entry *r, *next_r;
    HASH_ITER(hh, e->replicas, r, next_r) {
        replica_drop(e, r);
    }
    struct node_entry *n, *next_n;
    HASH_ITER(hh, e->nodes, n, next_n) {
        node_drop(e, n);
    }
    free(e);
}

uint32_t evidence_take(struct evidence *e, const char *node, const Meshgate__V1__Report *r,
                       const struct evidence_rules *rules, int64_t now_ms) {
    struct node_entry *n = node_make(e, node);
    uint32_t dropped = 0;
    if (r->full) {
        forget_locals_of(e, n);
    }
    if (r->scan != NULL) {
        dropped += take_scan(e, n, r->scan, rules, now_ms);
    }
    for (size_t i = 0; i < r->n_replicas; i++) {
        if (rules->may_read(rules->ctx, r->replicas[i]->replica, node)) {
            dropped += take_reading(e, n, r->replicas[i], now_ms);
        } else {
            dropped++;
        }
    }
    for (size_t i = 0; i < r->n_reach; i++) {
        take_reach(n, r->reach[i], now_ms);
    }
    e->version++;
    return dropped;
}

void evidence_forget_replica(struct evidence *e, const char *replica) {
    struct replica_entry *r = replica_get(e, replica);
    if (r != NULL) {
        replica_drop(e, r);
        e->version++;
    }
}

void evidence_forget_pod(struct evidence *e, const char *pod_uid, const char *proxy_id) {
    /* What replicas list stays: the next pod of a StatefulSet has the same proxy id, its reader says when it is gone. */
    (void)proxy_id;
    struct local_entry *l;
    HASH_FIND_STR(e->locals, pod_uid, l);
    if (l != NULL) {
        local_drop(e, l);
        e->version++;
    }
}

void evidence_forget_node(struct evidence *e, const char *node) {
    struct node_entry *n = node_get(e, node);
    if (n != NULL && !n->fact.connected) {
        forget_locals_of(e, n);
        node_drop(e, n);
        e->version++;
    }
}

const struct local_fact *evidence_local(const struct evidence *e, const char *pod_uid) {
    struct local_entry *l;
    HASH_FIND_STR(e->locals, pod_uid, l);
    return l != NULL ? &l->fact : NULL;
}

const struct attach_fact *evidence_attached(const struct evidence *e, const char *replica, const char *proxy_id) {
    const struct replica_entry *r = replica_get(e, replica);
    struct attach_entry *a = NULL;
    if (r != NULL) {
        HASH_FIND_STR(r->current.entries, proxy_id, a);
    }
    return a != NULL ? &a->fact : NULL;
}

const struct replica_fact *evidence_replica(const struct evidence *e, const char *replica) {
    const struct replica_entry *r = replica_get(e, replica);
    return r != NULL ? &r->fact : NULL;
}

const struct node_fact *evidence_node(const struct evidence *e, const char *node) {
    const struct node_entry *n = node_get(e, node);
    return n != NULL ? &n->fact : NULL;
}

int64_t evidence_sync_ms(const struct evidence *e, const char *replica, const char *namespace_) {
    const struct replica_entry *r = replica_get(e, replica);
    if (r == NULL) {
        return 0;
    }
    struct age_entry *a;
    HASH_FIND_STR(r->current.ages, namespace_, a);
    return a != NULL && a->syncz_ms > r->current.syncz_ms ? a->syncz_ms : r->current.syncz_ms;
}

static const struct reach_entry *reach_get(const struct evidence *e, const char *node, const char *revision) {
    const struct node_entry *n = node_get(e, node);
    struct reach_entry *r = NULL;
    if (n != NULL) {
        HASH_FIND_STR(n->reach, revision, r);
    }
    return r;
}

int evidence_reach(const struct evidence *e, const char *node, const char *revision, const char **error, int64_t *at_ms) {
    const struct reach_entry *r = reach_get(e, node, revision);
    *error = r != NULL ? r->trouble : NULL;
    *at_ms = r != NULL ? r->fact.at_ms : 0;
    return r == NULL ? -1 : r->fact.ok ? 1 : 0;
}

const struct reach_fact *evidence_reach_fact(const struct evidence *e, const char *node, const char *revision) {
    const struct reach_entry *r = reach_get(e, node, revision);
    return r != NULL ? &r->fact : NULL;
}

void evidence_each_attached(const struct evidence *e, const char *replica,
                            void (*fn)(void *ctx, const struct attach_fact *f), void *ctx) {
    const struct replica_entry *r = replica_get(e, replica);
    for (struct attach_entry *a = r != NULL ? r->current.entries : NULL; a != NULL; a = a->hh.next) {
        fn(ctx, &a->fact);
    }
}

uint64_t evidence_version(const struct evidence *e) {
    return e->version;
}
