/*
 * One state and one reason per proxy, from three witnesses: intent first, then bad news of the control plane (which counts
 * without the other witnesses), then what is missing, and only at the very end MOVED.
 */
#include "rules.h"

#define ABSENT_LOOKS 2 /* complete looks in a row that make an absence */

struct judgement {
    enum proxy_state state;
    enum reason reason;
};

struct case_ {
    const struct policy *policy;
    const struct snapshot *seen;
    const struct proxy_row *p;
    int64_t now_ms;
    bool young;   /* still has time to attach and sync */
    bool watched; /* its wave is at work */
    bool node_seen;
};

static struct judgement judged(enum proxy_state state, enum reason reason) {
    return (struct judgement){state, reason};
}

bool proxy_counts(const struct proxy_row *p) {
    return !p->finished && !p->opted_out && !p->deleting;
}

enum reason classify_restart_cause(const struct snapshot *seen, uint32_t workload) {
    if (workload >= seen->n_workloads) {
        return REASON_BARE_POD;
    }
    const struct workload_row *w = &seen->workloads[workload];
    switch (w->kind) {
    case KIND_DEPLOYMENT:
    case KIND_STATEFULSET:
    case KIND_DAEMONSET:
        break;
    case KIND_REPLICASET:
        return REASON_REPLICASET;
    case KIND_JOB:
    case KIND_CRONJOB:
        return REASON_JOB;
    case KIND_BARE_POD:
        return REASON_BARE_POD;
    case KIND_UNKNOWN:
    case KIND_ROLLOUT:
    case KIND_GATEWAY:
    case KIND_OTHER:
        return REASON_OTHER_OWNER;
    }
    if (w->paused) {
        return REASON_WORKLOAD_PAUSED;
    }
    if (w->on_delete) {
        return REASON_ON_DELETE;
    }
    if (w->failed_create) {
        return REASON_FAILED_CREATE;
    }
    if (w->overdue) {
        return REASON_ROLLOUT_OVERDUE;
    }
    if (!w->restarted) {
        return REASON_RESTART_DUE;
    }
    return w->settled ? REASON_RESTART_WITHOUT_EFFECT : REASON_RESTARTING;
}

/* Nobody lists it, and all replicas were asked. */
static struct judgement judge_absent(const struct case_ *c) {
    const struct proxy_row *p = c->p;
    const struct policy *policy = c->policy;
    if (p->node == IDX_NONE) {
        return judged(STATE_SYNCING, REASON_NOT_READY);
    }
    bool on_to = p->expected == policy->to;
    bool connected = c->node_seen ? p->xds_up && p->dials == policy->to && !p->cert_expired : !policy->node_witness;
    if (on_to && p->absent_looks < ABSENT_LOOKS && p->ready && connected &&
        fresh(p->moved_at_ms, c->now_ms, policy->evidence_max_age_ms)) {
        return judged(STATE_MOVED, REASON_NONE);
    }
    if (c->young) {
        return judged(STATE_SYNCING, REASON_STARTING);
    }
    if (p->absent_looks < ABSENT_LOOKS || within(p->detached_since_ms, c->now_ms, policy->dwell_absent_ms)) {
        return judged(STATE_SYNCING, REASON_RECONNECTING);
    }
    if (on_to && policy->node_witness && p->node_at_ms == 0) {
        return judged(STATE_UNKNOWN, REASON_NODE_NOT_SEEN);
    }
    return judged(STATE_DETACHED, REASON_NO_STREAM);
}

/* A rejection or an overdue acknowledgement, if fresh evidence says so. */
static bool judge_sync(const struct case_ *c, struct judgement *out) {
    const struct proxy_row *p = c->p;
    if (!fresh(p->sync_at_ms, c->now_ms, c->policy->evidence_max_age_ms)) {
        return false;
    }
    switch (p->sync) {
    case SYNC_ERROR:
        *out = judged(STATE_NACKING, REASON_NACK);
        return true;
    case SYNC_PENDING:
        if (p->pending_since_ms > c->now_ms) {
            *out = judged(STATE_UNKNOWN, REASON_CP_STALE);
            return true;
        }
        if (p->pending_since_ms != 0 && !within(p->pending_since_ms, c->now_ms, c->policy->dwell_ack_ms)) {
            *out = judged(STATE_STALE, REASON_ACK_OVERDUE);
            return true;
        }
        return false;
    case SYNC_UNKNOWN:
    case SYNC_SYNCED:
        return false;
    }
    return false;
}

/* Stays where it is for now: injected as expected, not expected on the new revision. */
static struct judgement judge_elsewhere(const struct case_ *c) {
    const struct proxy_row *p = c->p;
    enum reason cause =
        p->ns < c->seen->n_namespaces ? namespace_cause(&c->seen->namespaces[p->ns]) : REASON_WAVE_NOT_BEGUN;
    struct judgement bad;
    if (p->injected != p->expected) {
        return judged(STATE_CONFLICT, cause);
    }
    if (!fresh(p->attached_at_ms, c->now_ms, c->policy->evidence_max_age_ms)) {
        return judged(STATE_UNKNOWN, REASON_CP_STALE);
    }
    if (p->attached == REV_NONE) {
        return judge_absent(c);
    }
    if (!is_revision(c->seen, p->attached)) {
        return judged(STATE_UNKNOWN, REASON_CP_STALE);
    }
    if (p->attached != p->injected) {
        return judged(STATE_MISPLACED, REASON_WRONG_CONTROL_PLANE);
    }
    if (judge_sync(c, &bad)) {
        return bad;
    }
    return judged(STATE_NOT_STARTED, cause);
}

/* Does the node contradict, or is its word demanded and missing? */
static bool judge_node(const struct case_ *c, bool synced, struct judgement *out) {
    const struct proxy_row *p = c->p;
    const struct policy *policy = c->policy;
    bool demanded = policy->node_witness;
    *out = judged(STATE_SYNCING, REASON_STARTING);
    if (!c->node_seen) {
        if (!c->young) {
            *out = judged(STATE_UNKNOWN, p->node_at_ms == 0 ? REASON_NODE_NOT_SEEN : REASON_NODE_STALE);
        }
        return demanded;
    }
    if (p->cert_expired) {
        *out = judged(STATE_CONFLICT, REASON_CERT_EXPIRED);
        return true;
    }
    if (p->dials != p->attached && (demanded || p->dials != REV_UNKNOWN)) {
        if (!within(p->dials_differ_since_ms, c->now_ms, policy->dwell_conflict_ms)) {
            *out = judged(STATE_CONFLICT, REASON_DIAL_DISAGREES);
        }
        return true;
    }
    if (!p->xds_up) {
        *out = within(p->xds_down_since_ms, c->now_ms, policy->dwell_conflict_ms)
                   ? judged(STATE_SYNCING, REASON_RECONNECTING)
                   : judged(STATE_CONFLICT, REASON_NODE_LOST_XDS);
        return true;
    }
    switch (p->version) {
    case VERSION_MATCHES:
        return false;
    case VERSION_DIFFERS:
        *out = judged(STATE_CONFLICT, REASON_VERSION_DISAGREES);
        return !within(p->version_differs_since_ms, c->now_ms, policy->dwell_conflict_ms);
    case VERSION_UNKNOWN:
        break;
    }
    /* Without a fresh reading of its sync there is nothing to compare with. */
    if (!c->young) {
        *out = judged(STATE_UNKNOWN, REASON_VERSION_UNSEEN);
    }
    return demanded && synced;
}

/* Expected on and injected by the new revision. */
static struct judgement judge_new(const struct case_ *c) {
    const struct proxy_row *p = c->p;
    const struct policy *policy = c->policy;
    struct judgement j;
    if (!fresh(p->attached_at_ms, c->now_ms, policy->evidence_max_age_ms)) {
        return judged(STATE_UNKNOWN, REASON_CP_STALE);
    }
    if (p->attached == REV_NONE) {
        return judge_absent(c);
    }
    if (!is_revision(c->seen, p->attached)) {
        return judged(STATE_UNKNOWN, REASON_CP_STALE);
    }
    if (p->attached != policy->to) {
        return judged(STATE_MISPLACED, REASON_WRONG_CONTROL_PLANE);
    }
    if (judge_sync(c, &j)) {
        return j;
    }
    bool synced = p->sync != SYNC_UNKNOWN && fresh(p->sync_at_ms, c->now_ms, policy->evidence_max_age_ms);
    if (!synced && c->watched) {
        return c->young ? judged(STATE_SYNCING, REASON_STARTING) : judged(STATE_UNKNOWN, REASON_CP_STALE);
    }
    if (judge_node(c, synced, &j)) {
        return j;
    }
    /* A busy mesh has an update under way most of the time; only a new proxy must be seen without one once. */
    if (c->young && c->watched && p->sync != SYNC_SYNCED) {
        return judged(STATE_SYNCING, REASON_STARTING);
    }
    return p->ready ? judged(STATE_MOVED, REASON_NONE) : judged(STATE_SYNCING, REASON_NOT_READY);
}

static struct judgement judge(const struct case_ *c) {
    const struct proxy_row *p = c->p;
    if (p->expected == REV_CONFLICT) {
        return judged(STATE_CONFLICT, REASON_TWO_INJECTORS);
    }
    if (p->expected == REV_NONE || p->expected == REV_FOREIGN) {
        return judged(STATE_UNINJECTED, REASON_NO_INJECTOR_MATCHES);
    }
    if (!is_revision(c->seen, p->expected)) {
        return judged(STATE_UNKNOWN, REASON_EXPECTED_UNKNOWN);
    }
    if (p->injected == REV_NONE) {
        return judged(STATE_UNINJECTED, REASON_NO_SIDECAR);
    }
    if (p->injected != REV_FOREIGN && !is_revision(c->seen, p->injected)) {
        return judged(STATE_UNKNOWN, REASON_EXPECTED_UNKNOWN);
    }
    if (p->expected != c->policy->to) {
        return judge_elsewhere(c);
    }
    if (p->injected != p->expected) {
        return judged(STATE_RESTART_PENDING, classify_restart_cause(c->seen, p->workload));
    }
    return judge_new(c);
}

void classify(const struct policy *policy, struct snapshot *seen, int64_t now_ms) {
    for (uint32_t i = 0; i < seen->n_proxies; i++) {
        struct proxy_row *p = &seen->proxies[i];
        uint32_t wave = wave_of(seen, p);
        struct case_ c = {
            .policy = policy,
            .seen = seen,
            .p = p,
            .now_ms = now_ms,
            .young = within(p->created_ms, now_ms, policy->dwell_start_ms),
            .watched = wave == seen->progress.wave,
            .node_seen = fresh(p->node_at_ms, now_ms, policy->evidence_max_age_ms),
        };
        struct judgement j = proxy_counts(p) ? judge(&c) : judged(STATE_UNKNOWN, REASON_NONE);
        p->state = j.state;
        p->reason = j.reason;
    }
    sums_fill(policy, seen, now_ms);
}
