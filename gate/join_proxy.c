/* One row a pod: what the API server says of it, who lists it, what its node sees; and the memory of how long. */
#include "join_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/base/mem.h"
#include "../lib/base/text.h"
#include "push_version.h"

#define CREATED_SLACK_MS 1000 /* creationTimestamp is cut to seconds */
#define SAME_ADDRESS_SLACK_MS 60000

static struct pod_memory *remember(struct join *j, const char *uid) {
    struct pod_memory *m;
    HASH_FIND_STR(j->pods, uid, m);
    if (!m) {
        m = mem_alloc(sizeof *m);
        m->uid = mem_dup(uid);
        HASH_ADD_KEYPTR(hh, j->pods, m->uid, strlen(m->uid), m);
    }
    m->round = j->round;
    return m;
}

/* A time of the wall clock on ours; never 0, never in the future (clocks of machines differ). */
static int64_t monotonic(const struct round *r, int64_t wall_ms) {
    if (wall_ms == 0) {
        return 0;
    }
    int64_t t = wall_ms < r->wall_ms ? r->now_ms - (r->wall_ms - wall_ms) : r->now_ms;
    return t != 0 ? t : -1;
}

static uint32_t workload_of(struct round *r, const struct inv_pod *pod, uint32_t ns) {
    struct join *j = r->j;
    enum workload_kind kind;
    const char *name;
    const struct inv_workload *w = inventory_owner(r->watch, pod, &kind, &name);
    uint32_t i = w ? index_find(&j->by_workload, j->workload_keys, w->key) : IDX_NONE;
    if (i != IDX_NONE || kind == KIND_BARE_POD) {
        return i;
    }
    /* Has an owner, but which is not known yet. */
    join_room_workload(j);
    i = j->seen.n_workloads++;
    j->seen.workloads[i] = (struct workload_row){.ns = ns, .kind = KIND_UNKNOWN};
    j->names.workloads[i] = NULL;
    j->names.workload_pods[i] = pod;
    j->workload_keys[i] = "";
    return i;
}

/* --- control plane --- */

/* The pods of a StatefulSet bear one name after the other, and may get the same address again: is this stream of this pod,
 * or of the one before it? Clocks that differ are only believed where the revision speaks for this pod. */
static bool stream_of(const struct attach_fact *f, const struct inv_pod *pod, bool own_revision) {
    if (!f->connection || !f->connection[0] || f->connected_wall_ms == 0) {
        return false;
    }
    int64_t early_ms = pod->created_wall_ms - f->connected_wall_ms;
    bool same_address = f->address && pod->ip && f->address[0] && strcmp(f->address, pod->ip) == 0;
    return early_ms <= CREATED_SLACK_MS || (same_address && own_revision && early_ms <= SAME_ADDRESS_SLACK_MS);
}

/*
 * The protobuf syncz lists names without streams or times. It is believed of this pod when it was read after the pod was
 * made, and when its own revision speaks, or nobody better does.
 */
static bool listed(const struct round *r, const char *replica, const struct inv_pod *pod, bool own_revision, bool better) {
    const struct replica_fact *f = evidence_replica(r->evidence, replica);
    return f && f->status_only && f->connections_ms > monotonic(r, pod->created_wall_ms) && (own_revision || !better);
}

static const struct attach_fact *find_stream(struct round *r, struct proxy_row *p, const struct inv_pod *pod) {
    char id[600];
    const struct attach_fact *best = NULL;
    snprintf(id, sizeof id, "%s.%s", pod->name, pod->namespace_);
    for (uint32_t i = 0; i < r->j->seen.n_replicas; i++) {
        const char *uid = r->j->names.replicas[i]->uid;
        const struct attach_fact *f = evidence_attached(r->evidence, uid, id);
        bool own_revision = r->j->seen.replicas[i].revision == p->injected;
        bool nameless = f && !f->connection[0];
        if (!f || (nameless ? !listed(r, uid, pod, own_revision, best != NULL) : !stream_of(f, pod, own_revision)) ||
            (!nameless && best && f->connected_wall_ms <= best->connected_wall_ms)) {
            continue;
        }
        best = f;
        p->replica = i;
        p->attached = r->j->seen.replicas[i].revision;
        p->attached_at_ms = r->j->seen.replicas[i].answered_ms;
        p->sync = f->sync;
        p->sync_at_ms = evidence_sync_ms(r->evidence, uid, pod->namespace_);
        p->pending_since_ms = f->pending_since_ms;
        p->blocked = f->blocked;
    }
    return best;
}

static void take_control_plane(struct round *r, struct proxy_row *p, const struct inv_pod *pod, struct pod_memory *m) {
    const struct attach_fact *f = find_stream(r, p, pod);
    r->j->names.attached[p - r->j->seen.proxies] = f;
    if (f) {
        m->detached_since_ms = 0;
        m->absent_looks = 0;
    } else {
        p->replica = IDX_NONE;
        p->attached = r->all_answered ? REV_NONE : REV_UNKNOWN;
        p->attached_at_ms = r->look_ms;
        /* A look before the pod was there says nothing about it. */
        if (r->all_answered && r->look_ms > m->look_ms && r->look_ms >= p->created_ms) {
            m->absent_looks++;
            m->detached_since_ms = m->detached_since_ms ? m->detached_since_ms : r->look_ms;
        }
    }
    m->look_ms = r->look_ms > m->look_ms ? r->look_ms : m->look_ms;
    p->detached_since_ms = m->detached_since_ms;
    p->absent_looks = m->absent_looks;
}

/* --- node --- */

/* Revision behind "IP:PORT" or "[IP]:PORT". */
static uint32_t dialled(const struct round *r, const char *dials) {
    char ip[64];
    const char *colon = dials ? strrchr(dials, ':') : NULL;
    if (!dials || !dials[0]) {
        return REV_NONE;
    }
    size_t n = colon ? (size_t)(colon - dials) : strlen(dials);
    if (n >= 2 && dials[0] == '[' && dials[n - 1] == ']') {
        dials++;
        n -= 2;
    }
    snprintf(ip, sizeof ip, "%.*s", (int)(n < sizeof ip ? n : sizeof ip - 1), dials);
    const char *revision = inventory_revision_by_ip(r->inv, ip);
    return revision ? join_revision(r->j, revision) : REV_UNKNOWN;
}

static bool said(const char *a, const char *b) {
    return a && b && a[0] && b[0];
}

static enum version_match compare_versions(const struct local_fact *l, const struct attach_fact *a) {
    if (!a || !l->stats_ok || !said(l->cds_version, a->cds_acked) || !said(l->lds_version, a->lds_acked)) {
        return VERSION_UNKNOWN;
    }
    int cds = push_version_order(l->cds_version, a->cds_acked), lds = push_version_order(l->lds_version, a->lds_acked);
    if (cds < 0 || lds < 0) {
        return VERSION_DIFFERS;
    }
    return cds > 0 || lds > 0 ? VERSION_AHEAD : VERSION_MATCHES;
}

/* What was acknowledged on a stream only grows: an Envoy that is behind it stays so, however long ago istiod was read. */
static bool fell_behind(const struct local_fact *l, const struct attach_fact *a) {
    return a && l->stats_ok &&
           ((said(l->cds_version, a->cds_acked) && push_version_before(l->cds_version, a->cds_acked)) ||
            (said(l->lds_version, a->lds_acked) && push_version_before(l->lds_version, a->lds_acked)));
}

static void since(int64_t *memory_ms, bool holds, int64_t now_ms) {
    *memory_ms = !holds ? 0 : *memory_ms ? *memory_ms : now_ms;
}

/* In a busy mesh the two ends are read at different moments and often differ; an Envoy that goes on accepting is not stuck.
 */
static void take_version(struct round *r, struct proxy_row *p, const struct local_fact *l, const struct attach_fact *a,
                         struct pod_memory *m) {
    bool fresh = p->sync_at_ms != 0 && p->sync_at_ms >= r->now_ms - r->u->policy.evidence_max_age_ms;
    p->version = fresh ? compare_versions(l, a) : fell_behind(l, a) ? VERSION_DIFFERS : VERSION_UNKNOWN;
    const char *cds = l->cds_version ? l->cds_version : "", *lds = l->lds_version ? l->lds_version : "";
    uint64_t hash = text_hash(text_hash(1, cds, strlen(cds)), lds, strlen(lds));
    if (l->stats_ok && hash != m->version_hash) {
        m->accepted_ms = r->now_ms; /* seen for the first time as well: it has not been seen to stand still yet */
        m->version_hash = hash;
        m->version_since_ms = 0;
    }
    since(&m->version_since_ms, p->version == VERSION_DIFFERS, r->now_ms);
    p->version_differs_since_ms = m->version_since_ms;
    p->accepted_ms = m->accepted_ms;
}

/*
 * Has it no control plane by its own word, and is that because it is turned away? One that has a certificate was let in
 * once; what fails now is its control plane, not its credentials. An Envoy that was never let in does not open its stats
 * port: only its agent speaks.
 */
static void take_cut(struct round *r, struct proxy_row *p, const struct local_fact *l, struct pod_memory *m) {
    bool served = l && l->stats_ok && l->xds_connections > 0;
    p->refused = l && !served && l->csr_failures > 0 && l->cert_expires_ms == 0;
    since(&m->cut_since_ms, p->refused || (l && l->stats_ok && !served), r->now_ms);
    p->cut_since_ms = m->cut_since_ms;
}

static void take_node(struct round *r, struct proxy_row *p, const struct inv_pod *pod, struct pod_memory *m) {
    uint32_t i = (uint32_t)(p - r->j->seen.proxies);
    const struct local_fact *l = evidence_local(r->evidence, pod->uid);
    p->node = pod->node && pod->node[0] ? join_node(r, pod->node) : IDX_NONE;
    r->j->names.local[i] = l;
    p->dials = REV_UNKNOWN;
    take_cut(r, p, p->node != IDX_NONE ? l : NULL, m);
    if (!l || p->node == IDX_NONE) {
        since(&m->dials_since_ms, false, 0);
        since(&m->xds_since_ms, false, 0);
        since(&m->version_since_ms, false, 0);
        return;
    }
    p->node_at_ms = r->j->seen.nodes[p->node].heard_ms;
    p->dials = dialled(r, l->dials);
    p->xds_up = l->stats_ok && l->xds_connections > 0;
    p->cert_expired = l->cert_expires_ms != 0 && l->cert_expires_ms <= r->now_ms;
    bool attached = p->attached < r->j->seen.n_revisions;
    since(&m->dials_since_ms, attached && p->dials != p->attached, r->now_ms);
    since(&m->xds_since_ms, attached && !p->xds_up, r->now_ms);
    p->dials_differ_since_ms = m->dials_since_ms;
    p->xds_down_since_ms = m->xds_since_ms;
    take_version(r, p, l, r->j->names.attached[i], m);
}

static void join_pod(struct round *r, const struct inv_pod *pod, uint32_t ns) {
    struct join *j = r->j;
    struct pod_memory *m = remember(j, pod->uid);
    join_room_proxy(j);
    uint32_t i = j->seen.n_proxies;
    struct proxy_row *p = &j->seen.proxies[i];
    memset(p, 0, sizeof *p);
    p->ns = ns;
    if (!join_wish(r, p, pod, m)) {
        return;
    }
    j->seen.n_proxies++;
    j->memories[i] = m;
    j->names.pods[i] = pod;
    p->created_ms = monotonic(r, pod->created_wall_ms);
    p->workload = workload_of(r, pod, ns);
    take_control_plane(r, p, pod, m);
    take_node(r, p, pod, m);
    if (pod->type == POD_ZTUNNEL) {
        join_wish_ztunnel(p);
    }
    p->old_build = join_old_build(r, p, j->names.attached[i]);
    p->note = join_note(r, p, pod);
    p->moved_at_ms = m->moved_at_ms;
    p->state_since_ms = m->state_since_ms;
}

void join_proxies(struct round *r) {
    struct join *j = r->j;
    for (const struct inv_pod *pod = r->inv->pods; pod; pod = pod->hh.next) {
        uint32_t ns = index_find(&j->by_namespace, j->names.namespaces, pod->namespace_);
        if (ns != IDX_NONE) {
            join_pod(r, pod, ns);
        }
    }
}
