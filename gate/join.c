#include "join_inside.h"

#include <stdlib.h>
#include <string.h>

#include "../lib/base/mem.h"
#include "../lib/base/text.h"

#define DISBELIEF_MS (10 * 60 * 1000) /* that a node's word counts for nothing after it spoke of another's pods */

/* --- index --- */

void index_reset(struct index *x, uint32_t expected) {
    uint32_t want = 64;
    while (want < expected * 2) {
        want *= 2;
    }
    if (want > x->cap) {
        free(x->slots);
        x->slots = mem_alloc(want * sizeof *x->slots);
        x->cap = want;
    }
    memset(x->slots, 0, x->cap * sizeof *x->slots);
}

static uint32_t slot_of(const struct index *x, const char *const *keys, const char *key) {
    uint32_t i = (uint32_t)text_hash(0, key, strlen(key)) & (x->cap - 1);
    while (x->slots[i] != 0 && strcmp(keys[x->slots[i] - 1], key) != 0) {
        i = (i + 1) & (x->cap - 1);
    }
    return i;
}

uint32_t index_find(const struct index *x, const char *const *keys, const char *key) {
    uint32_t held = x->cap ? x->slots[slot_of(x, keys, key)] : 0;
    return held ? held - 1 : IDX_NONE;
}

/* Room must be there: index_reset() with at least as many as are added, or grown by the caller. */
void index_add(struct index *x, const char *const *keys, uint32_t i) {
    x->slots[slot_of(x, keys, keys[i])] = i + 1;
}

/* --- room --- */

static bool grows(uint32_t used, uint32_t *cap) {
    if (used < *cap) {
        return false;
    }
    *cap = *cap ? *cap * 2 : 64;
    return true;
}

void join_room_namespace(struct join *j) {
    if (grows(j->seen.n_namespaces, &j->cap_namespaces)) {
        j->seen.namespaces = mem_grow(j->seen.namespaces, j->cap_namespaces * sizeof *j->seen.namespaces);
        j->names.namespaces = mem_grow(j->names.namespaces, j->cap_namespaces * sizeof *j->names.namespaces);
        j->namespace_objects = mem_grow(j->namespace_objects, j->cap_namespaces * sizeof *j->namespace_objects);
    }
}

void join_room_workload(struct join *j) {
    if (grows(j->seen.n_workloads, &j->cap_workloads)) {
        j->seen.workloads = mem_grow(j->seen.workloads, j->cap_workloads * sizeof *j->seen.workloads);
        j->names.workloads = mem_grow(j->names.workloads, j->cap_workloads * sizeof *j->names.workloads);
        j->names.workload_pods = mem_grow(j->names.workload_pods, j->cap_workloads * sizeof *j->names.workload_pods);
        j->workload_keys = mem_grow(j->workload_keys, j->cap_workloads * sizeof *j->workload_keys);
    }
}

void join_room_proxy(struct join *j) {
    if (grows(j->seen.n_proxies, &j->cap_proxies)) {
        j->seen.proxies = mem_grow(j->seen.proxies, j->cap_proxies * sizeof *j->seen.proxies);
        j->names.pods = mem_grow(j->names.pods, j->cap_proxies * sizeof *j->names.pods);
        j->names.attached = mem_grow(j->names.attached, j->cap_proxies * sizeof *j->names.attached);
        j->names.local = mem_grow(j->names.local, j->cap_proxies * sizeof *j->names.local);
        j->memories = mem_grow(j->memories, j->cap_proxies * sizeof *j->memories);
    }
}

static void room_node(struct join *j) {
    if (!grows(j->seen.n_nodes, &j->cap_nodes)) {
        return;
    }
    j->seen.nodes = mem_grow(j->seen.nodes, j->cap_nodes * sizeof *j->seen.nodes);
    j->names.nodes = mem_grow(j->names.nodes, j->cap_nodes * sizeof *j->names.nodes);
    j->names.node_troubles = mem_grow(j->names.node_troubles, j->cap_nodes * sizeof *j->names.node_troubles);
    index_reset(&j->by_node, j->cap_nodes);
    for (uint32_t i = 0; i < j->seen.n_nodes; i++) {
        index_add(&j->by_node, j->names.nodes, i);
    }
}

/* --- nodes: those that pods are on --- */

uint32_t join_node(struct round *r, const char *name) {
    struct join *j = r->j;
    uint32_t i = index_find(&j->by_node, j->names.nodes, name);
    if (i != IDX_NONE) {
        return i;
    }
    room_node(j);
    i = j->seen.n_nodes++;
    const struct node_fact *f = evidence_node(r->evidence, name);
    const char *error = NULL;
    int64_t at_ms = 0;
    int reach = r->u->to ? evidence_reach(r->evidence, name, r->u->to, &error, &at_ms) : -1;
    j->names.nodes[i] = name;
    j->names.node_troubles[i] = reach == 0 ? error : f && !f->witness ? f->witness_why : NULL;
    j->seen.nodes[i] = (struct node_row){
        .agent = f && f->connected,
        .witness = f && f->witness,
        .disbelieved = f && f->disbelieved_ms != 0 && r->now_ms - f->disbelieved_ms < DISBELIEF_MS,
        .heard_ms = f ? f->scan_ms : 0,
        .reach_known = reach >= 0,
        .reach_ok = reach == 1,
    };
    index_add(&j->by_node, j->names.nodes, i);
    return i;
}

/* --- memory --- */

static void forget_pod(struct join *j, struct pod_memory *m) {
    HASH_DEL(j->pods, m);
    join_wish_forget(m);
    free(m->uid);
    free(m);
}

static void forget_replica(struct join *j, struct replica_memory *m) {
    HASH_DEL(j->replica_memories, m);
    free(m->uid);
    free(m);
}

static void forget_before(struct join *j, uint64_t round) {
    struct pod_memory *m, *next;
    struct replica_memory *rm, *rnext;
    HASH_ITER(hh, j->pods, m, next) {
        if (m->round < round) {
            forget_pod(j, m);
        }
    }
    HASH_ITER(hh, j->replica_memories, rm, rnext) {
        if (rm->round < round) {
            forget_replica(j, rm);
        }
    }
}

void join_remember_states(struct join *j, int64_t now_ms) {
    for (uint32_t i = 0; i < j->seen.n_proxies; i++) {
        struct proxy_row *p = &j->seen.proxies[i];
        struct pod_memory *m = j->memories[i];
        if (m->state_since_ms == 0 || m->state != p->state) {
            m->state = p->state;
            m->state_since_ms = now_ms;
        }
        p->state_since_ms = m->state_since_ms;
        if (p->state == STATE_MOVED && p->attached != REV_NONE) {
            m->moved_at_ms = p->attached_at_ms;
        }
    }
}

/* --- the whole --- */

struct join *join_new(void) {
    struct join *j = mem_alloc(sizeof *j);
    buf_init(&j->trouble, 4096);
    return j;
}

void join_free(struct join *j) {
    if (!j) {
        return;
    }
    forget_before(j, UINT64_MAX);
    free(j->revisions);
    free(j->replicas);
    free(j->seen.nodes);
    free(j->seen.namespaces);
    free(j->seen.workloads);
    free(j->seen.proxies);
    free(j->names.revisions);
    free(j->versions);
    free(j->names.nodes);
    free(j->names.node_troubles);
    free(j->names.namespaces);
    free(j->names.replicas);
    free(j->names.replica_facts);
    free(j->names.replica_blocked);
    free(j->names.workloads);
    free(j->names.workload_pods);
    free(j->names.pods);
    free(j->names.attached);
    free(j->names.local);
    free(j->memories);
    free(j->workload_keys);
    free(j->namespace_objects);
    free(j->by_node.slots);
    free(j->by_namespace.slots);
    free(j->by_workload.slots);
    buf_done(&j->trouble);
    free(j);
}

void join_build(struct join *j, struct inventory_watch *w, const struct evidence *e, struct upgrade *u,
                const char *(*reader)(void *ctx, const char *replica), void *ctx, int64_t now_ms, int64_t wall_ms) {
    struct round r = {.j = j,
                      .watch = w,
                      .inv = inventory_of(w),
                      .evidence = e,
                      .u = u,
                      .reader = reader,
                      .reader_ctx = ctx,
                      .now_ms = now_ms,
                      .wall_ms = wall_ms};
    struct snapshot *s = &j->seen;
    s->n_revisions = s->n_replicas = s->n_nodes = s->n_namespaces = s->n_workloads = s->n_proxies = 0;
    index_reset(&j->by_node, j->cap_nodes);
    buf_reset(&j->trouble);
    j->round++;
    s->inventory_fresh = inventory_fresh(w, &j->trouble) && inventory_loaded(w);
    j->names.inventory_trouble = s->inventory_fresh || j->trouble.len == 0 ? NULL : j->trouble.p;
    s->progress = u->progress;
    join_revisions(&r);
    u->policy.from = join_revision(j, u->from);
    u->policy.to = join_revision(j, u->to);
    join_namespaces(&r);
    join_workloads(&r);
    join_proxies(&r);
    forget_before(j, j->round);
}

struct snapshot *join_snapshot(struct join *j) {
    return &j->seen;
}

const struct join_names *join_names(const struct join *j) {
    return &j->names;
}

static void workload_name(const struct join *j, uint32_t i, struct buf *out) {
    const struct inv_workload *w = j->names.workloads[i];
    const struct inv_pod *p = j->names.workload_pods[i];
    if (w) {
        buf_printf(out, "%s/%.*s/%s", w->namespace_, (int)strcspn(w->key, "/"), w->key, w->name);
    } else {
        buf_printf(out, "%s/%s/%s", p->namespace_, p->owner_kind, p->owner_name);
    }
}

void join_object_name(const struct join *j, const struct upgrade *u, enum about about, uint32_t object, struct buf *out) {
    const struct join_names *n = &j->names;
    switch (about) {
    case ABOUT_UPGRADE:
        buf_str(out, u->name);
        return;
    case ABOUT_WAVE:
        buf_str(out, object < u->policy.n_waves ? u->wave_names[object] : "?");
        return;
    case ABOUT_REVISION:
        buf_str(out, n->revisions[object]);
        return;
    case ABOUT_REPLICA:
        buf_printf(out, "%s (%s)", n->replicas[object]->name, n->replicas[object]->revision);
        return;
    case ABOUT_NODE:
        buf_str(out, n->nodes[object]);
        return;
    case ABOUT_NAMESPACE:
        buf_str(out, n->namespaces[object]);
        return;
    case ABOUT_WORKLOAD:
        workload_name(j, object, out);
        return;
    case ABOUT_PROXY:
        buf_printf(out, "%s/%s", n->pods[object]->namespace_, n->pods[object]->name);
        return;
    }
}
