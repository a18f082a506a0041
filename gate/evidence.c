#include "evidence.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/base/mem.h"
#include "evidence_replica.h"
#include "utlist.h"

enum { MAX_REVISIONS = 64 };

struct local_entry {
    struct local_fact fact;
    char *uid;
    uint64_t told;                   /* wire_local_hash() */
    bool ghost;                      /* forgotten here, but its agent has not said yet that it is gone */
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
    struct wire_digest digest; /* of all that its agent told in this session */
    bool partial;              /* some of it was not believed: the digests cannot agree */
    UT_hash_handle hh;
};

struct evidence {
    struct local_entry *locals;
    struct replica_entry *replicas; /* evidence_replica.c */
    struct node_entry *nodes;
    uint64_t version;
};

int64_t evidence_before(int64_t now_ms, int64_t age_ms) {
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
    int64_t at = evidence_before(now_ms, in->age_ms);
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
    wire_digest_change(&l->node->digest, l->told, 0);
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
        wire_digest_change(&l->node->digest, l->told, 0);
        l->told = 0;
        l->ghost = false;
    }
    l->node = n;
    DL_APPEND(n->locals, l);
    return l;
}

static void take_local(struct evidence *e, struct node_entry *n, const Meshgate__V1__LocalProxy *p, int64_t now_ms) {
    struct local_entry *l = local_make(e, p->pod_uid, n);
    struct local_fact *f = &l->fact;
    l->told = wire_local_hash(p);
    wire_digest_change(&n->digest, 0, l->told);
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
    f->first_seen_ms = evidence_before(now_ms, p->first_seen_ms);
}

static void forget_locals_of(struct evidence *e, struct node_entry *n) {
    struct local_entry *l, *next;
    DL_FOREACH_SAFE(n->locals, l, next) {
        local_drop(e, l);
    }
    n->digest = (struct wire_digest){0};
    n->partial = false;
}

/* An agent that says nothing of it (0 and none) is an older one, or has nothing. */
static bool scan_agrees(const struct node_entry *n, const Meshgate__V1__NodeScan *s) {
    bool said = s->digest != 0 || s->entries != 0;
    return !said || n->partial || (s->digest == n->digest.sum && s->entries == n->digest.entries);
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
    n->partial |= dropped > 0;
    if (!scan_agrees(n, s) && rules->differs != NULL) {
        rules->differs(rules->ctx, NULL);
    }
    /* An incomplete scan stands for an older one: that time is known already. */
    if (s->complete) {
        n->fact.scan_ms = evidence_before(now_ms, s->age_ms);
    }
    return dropped;
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
    evidence_replica_drop_all(&e->replicas);
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
            struct telling from = {.node = n->fact.node, .session = n->session, .epoch = r->replicas[i]->epoch};
            dropped += evidence_replica_take(&e->replicas, &from, r->replicas[i], rules, now_ms);
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
    struct replica_entry *r = evidence_replica_get(e->replicas, replica);
    if (r != NULL) {
        evidence_replica_drop(&e->replicas, r);
        e->version++;
    }
}

void evidence_forget_pod(struct evidence *e, const char *pod_uid, const char *proxy_id) {
    /* What replicas list stays: the next pod of a StatefulSet has the same proxy id, its reader says when it is gone. */
    (void)proxy_id;
    struct local_entry *l;
    HASH_FIND_STR(e->locals, pod_uid, l);
    if (l != NULL && !l->ghost) {
        l->ghost = true;
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
    return l != NULL && !l->ghost ? &l->fact : NULL;
}

const struct attach_fact *evidence_attached(const struct evidence *e, const char *replica, const char *proxy_id) {
    const struct replica_entry *r = evidence_replica_get(e->replicas, replica);
    struct attach_entry *a = NULL;
    if (r != NULL) {
        HASH_FIND_STR(r->current.entries, proxy_id, a);
    }
    return a != NULL ? &a->fact : NULL;
}

const struct replica_fact *evidence_replica(const struct evidence *e, const char *replica) {
    const struct replica_entry *r = evidence_replica_get(e->replicas, replica);
    return r != NULL ? &r->fact : NULL;
}

const struct node_fact *evidence_node(const struct evidence *e, const char *node) {
    const struct node_entry *n = node_get(e, node);
    return n != NULL ? &n->fact : NULL;
}

int64_t evidence_sync_ms(const struct evidence *e, const char *replica, const char *namespace_) {
    const struct replica_entry *r = evidence_replica_get(e->replicas, replica);
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

const struct blocked_fact *evidence_blocked(const struct evidence *e, const char *replica, size_t *n) {
    const struct replica_entry *r = evidence_replica_get(e->replicas, replica);
    *n = r != NULL ? r->n_blocked : 0;
    return r != NULL ? r->blocked : NULL;
}

void evidence_each_attached(const struct evidence *e, const char *replica,
                            void (*fn)(void *ctx, const struct attach_fact *f), void *ctx) {
    const struct replica_entry *r = evidence_replica_get(e->replicas, replica);
    for (struct attach_entry *a = r != NULL ? r->current.entries : NULL; a != NULL; a = a->hh.next) {
        fn(ctx, &a->fact);
    }
}

uint64_t evidence_version(const struct evidence *e) {
    return e->version;
}
