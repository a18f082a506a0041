/* Rows of revisions and their replicas, of namespaces and of workloads. */
#include "join_inside.h"

#include <stdlib.h>
#include <string.h>

#include "../lib/base/json.h"
#include "../lib/base/mem.h"
#include "execute.h"

#define STUCK_LOOKS 3 /* readings of the connections that a silent syncz outlasts until it counts as blocked */

static int by_revision_name(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int by_replica(const void *a, const void *b) {
    const struct inv_replica *x = *(const struct inv_replica *const *)a, *y = *(const struct inv_replica *const *)b;
    int order = strcmp(x->revision, y->revision);
    return order ? order : strcmp(x->uid, y->uid);
}

static int by_namespace_name(const void *a, const void *b) {
    const struct inv_namespace *x = *(const struct inv_namespace *const *)a, *y = *(const struct inv_namespace *const *)b;
    return strcmp(x->name, y->name);
}

uint32_t join_revision(const struct join *j, const char *name) {
    for (uint32_t i = 0; name && i < j->seen.n_revisions; i++) {
        if (strcmp(j->names.revisions[i], name) == 0) {
            return i;
        }
    }
    return REV_FOREIGN;
}

/*
 * syncz has no answer while connections go on being answered: a proxy of the replica is locked. A replica that was frozen
 * for a while looks the same for a moment, so several readings of the connections must have come since.
 */
static bool stays_silent(struct round *r, const char *uid, const struct replica_fact *f) {
    struct join *j = r->j;
    struct replica_memory *m;
    HASH_FIND_STR(j->replica_memories, uid, m);
    if (!m) {
        m = mem_alloc(sizeof *m);
        m->uid = mem_dup(uid);
        HASH_ADD_KEYPTR(hh, j->replica_memories, m->uid, strlen(m->uid), m);
    }
    m->round = j->round;
    bool stuck =
        f && f->syncz == MESHGATE__V1__READ_STATUS__READ_TIMEOUT && f->connections == MESHGATE__V1__READ_STATUS__READ_OK;
    if (!stuck) {
        m->stuck_since_ms = 0;
        return false;
    }
    if (m->stuck_since_ms == 0) {
        m->stuck_since_ms = r->now_ms;
        m->stuck_looks = f->looks;
    }
    return f->looks - m->stuck_looks >= STUCK_LOOKS && r->now_ms - m->stuck_since_ms >= r->u->policy.dwell_ack_ms;
}

/* A rate limit says nothing about its proxies. */
static bool failing(Meshgate__V1__ReadStatus s) {
    return s != MESHGATE__V1__READ_STATUS__READ_UNKNOWN && s != MESHGATE__V1__READ_STATUS__READ_OK &&
           s != MESHGATE__V1__READ_STATUS__READ_BUSY;
}

static void join_replica(struct round *r, const struct inv_replica *o, uint32_t i) {
    struct join *j = r->j;
    const struct replica_fact *f = evidence_replica(r->evidence, o->uid);
    size_t n_blocked = 0;
    const struct blocked_fact *blocked = evidence_blocked(r->evidence, o->uid, &n_blocked);
    bool silent = stays_silent(r, o->uid, f);
    j->names.replicas[i] = o;
    j->names.replica_facts[i] = f;
    j->names.replica_blocked[i] = n_blocked > 0 ? blocked : NULL;
    j->replicas[i] = (struct replica_row){
        .revision = join_revision(j, o->revision),
        .ready = o->ready,
        .assigned = r->reader(r->reader_ctx, o->uid) != NULL,
        .answered_ms = f ? f->connections_ms : 0,
        .failing = f && failing(f->connections),
        /* The reader has found who it is, or the silence says that there is somebody. */
        .push_blocked = n_blocked > 0 || silent,
    };
    int64_t at = j->replicas[i].answered_ms;
    r->all_answered &= at != 0 && at <= r->now_ms && at >= r->now_ms - r->u->policy.evidence_max_age_ms;
    r->look_ms = i == 0 || at < r->look_ms ? at : r->look_ms;
    if (j->replicas[i].revision < j->seen.n_revisions) {
        struct revision_row *row = &j->revisions[j->replicas[i].revision];
        row->installed = true;
        row->replicas++;
        row->ready += o->ready;
    }
}

void join_revisions(struct round *r) {
    struct join *j = r->j;
    uint32_t n = HASH_COUNT(r->inv->revisions), n_replicas = HASH_COUNT(r->inv->replicas), i = 0;
    if (n > j->cap_revisions) {
        j->cap_revisions = n;
        j->revisions = mem_grow(j->revisions, n * sizeof *j->revisions);
        j->names.revisions = mem_grow(j->names.revisions, n * sizeof *j->names.revisions);
        j->versions = mem_grow(j->versions, n * sizeof *j->versions);
    }
    if (n_replicas > j->cap_replicas) {
        j->cap_replicas = n_replicas;
        j->replicas = mem_grow(j->replicas, n_replicas * sizeof *j->replicas);
        j->names.replicas = mem_grow(j->names.replicas, n_replicas * sizeof *j->names.replicas);
        j->names.replica_facts = mem_grow(j->names.replica_facts, n_replicas * sizeof *j->names.replica_facts);
        j->names.replica_blocked = mem_grow(j->names.replica_blocked, n_replicas * sizeof *j->names.replica_blocked);
    }
    for (const struct inv_revision *o = r->inv->revisions; o; o = o->hh.next) {
        j->names.revisions[i++] = o->name;
    }
    qsort(j->names.revisions, n, sizeof *j->names.revisions, by_revision_name);
    j->seen.revisions = j->revisions;
    j->seen.n_revisions = n;
    for (i = 0; i < n; i++) {
        const struct inv_revision *o;
        HASH_FIND_STR(r->inv->revisions, j->names.revisions[i], o);
        j->versions[i] = o->version && o->version[0] ? o->version : NULL;
        j->revisions[i] = (struct revision_row){.has_injector = o->has_injector};
    }
    i = 0;
    for (const struct inv_replica *o = r->inv->replicas; o; o = o->hh.next) {
        j->names.replicas[i++] = o;
    }
    qsort(j->names.replicas, n_replicas, sizeof *j->names.replicas, by_replica);
    r->all_answered = n_replicas > 0;
    for (i = 0; i < n_replicas; i++) {
        join_replica(r, j->names.replicas[i], i);
    }
    j->seen.replicas = j->replicas;
    j->seen.n_replicas = n_replicas;
}

static bool labelled_for_new(const struct round *r, const struct inv_namespace *ns) {
    const char *label = js_str(ns->labels, "istio.io/rev", NULL);
    const char *meant = label ? inventory_resolve(r->inv, label) : NULL;
    return meant && r->u->to && strcmp(meant, r->u->to) == 0;
}

static struct namespace_row namespace_row(const struct round *r, const struct inv_namespace *ns) {
    const struct upgrade *u = r->u;
    bool labelled = labelled_for_new(r, ns);
    bool injection = js_str(ns->labels, "istio-injection", NULL) != NULL;
    struct namespace_row row = {
        .wave = upgrade_concerns(u, r->inv, ns) ? upgrade_wave_of(u, ns->name, ns->labels) : IDX_NONE,
        .relabelled = labelled && !injection,
        .leftover = labelled && injection,
        .relabelled_by_us = upgrade_moved(u, ns),
        .terminating = ns->terminating,
    };
    /* A namespace that came after its wave was done moves with the wave at work. */
    bool untouched = !row.relabelled && !row.leftover && !row.relabelled_by_us;
    if (row.wave < u->progress.wave && untouched && u->progress.wave < u->policy.n_waves) {
        row.wave = u->progress.wave;
    }
    return row;
}

void join_namespaces(struct round *r) {
    struct join *j = r->j;
    for (const struct inv_namespace *ns = r->inv->namespaces; ns; ns = ns->hh.next) {
        join_room_namespace(j);
        j->namespace_objects[j->seen.n_namespaces++] = ns;
    }
    uint32_t n = j->seen.n_namespaces;
    if (n > 0) {
        qsort(j->namespace_objects, n, sizeof *j->namespace_objects, by_namespace_name);
    }
    index_reset(&j->by_namespace, n);
    for (uint32_t i = 0; i < n; i++) {
        j->names.namespaces[i] = j->namespace_objects[i]->name;
        j->seen.namespaces[i] = namespace_row(r, j->namespace_objects[i]);
        index_add(&j->by_namespace, j->names.namespaces, i);
    }
}

static enum reason create_reason(enum create_trouble t) {
    switch (t) {
    case CREATE_QUOTA:
        return REASON_QUOTA_EXCEEDED;
    case CREATE_INJECTOR:
        return REASON_INJECTOR_AWAY;
    case CREATE_DENIED:
        return REASON_ADMISSION_DENIED;
    case CREATE_OK:
    case CREATE_OTHER:
        break;
    }
    return REASON_NONE;
}

void join_workloads(struct round *r) {
    struct join *j = r->j;
    char mark[UPGRADE_MARK_MAX];
    upgrade_mark(r->u, mark, sizeof mark);
    index_reset(&j->by_workload, HASH_COUNT(r->inv->workloads));
    for (const struct inv_workload *w = r->inv->workloads; w; w = w->hh.next) {
        uint32_t ns = index_find(&j->by_namespace, j->names.namespaces, w->namespace_);
        if (ns == IDX_NONE) {
            continue;
        }
        join_room_workload(j);
        uint32_t i = j->seen.n_workloads++;
        j->seen.workloads[i] = (struct workload_row){
            .ns = ns,
            .kind = w->kind,
            .replicas = w->replicas,
            .restarted = w->restart_mark && strcmp(w->restart_mark, mark) == 0,
            .paused = w->paused,
            .on_delete = w->on_delete,
            .settled = w->settled,
            .failed_create = w->failed_create,
            .create = create_reason(w->create_trouble),
            .overdue = w->overdue,
        };
        j->names.workloads[i] = w;
        j->names.workload_pods[i] = NULL;
        j->workload_keys[i] = w->key;
        index_add(&j->by_workload, j->workload_keys, i);
    }
}
