/*
 * One state and one reason per proxy, from three witnesses: intent first, then bad news of the control plane (which counts
 * without the other witnesses), then what is missing, and only at the very end MOVED.
 */
#include "judge.h"

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
    case KIND_ROLLOUT:
        return REASON_ROLLOUT;
    case KIND_GATEWAY:
        return REASON_GATEWAY;
    case KIND_UNKNOWN:
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
        return create_cause(w);
    }
    if (w->overdue) {
        return REASON_ROLLOUT_OVERDUE;
    }
    if (!w->restarted) {
        return REASON_RESTART_DUE;
    }
    return w->settled ? REASON_RESTART_WITHOUT_EFFECT : REASON_RESTARTING;
}

/* Injected as expected or not, it stays where it is for now: an upgrade has to do with it, but not yet. */
static struct judgement judge_elsewhere(const struct case_ *c) {
    const struct proxy_row *p = c->p;
    enum reason cause =
        p->ns < c->seen->n_namespaces ? namespace_cause(&c->seen->namespaces[p->ns]) : REASON_WAVE_NOT_BEGUN;
    struct judgement bad;
    if (p->injected != p->expected) {
        return judged(STATE_CONFLICT, cause);
    }
    if (judge_place(c, p->injected, &bad) || judge_node(c, false, false, &bad)) {
        return bad;
    }
    return judged(STATE_NOT_STARTED, cause);
}

/* Of no upgrade: it shall be well where it is. */
static struct judgement judge_settled(const struct case_ *c) {
    const struct proxy_row *p = c->p;
    struct judgement bad;
    if (p->injected == REV_FOREIGN) {
        return judged(STATE_RESTART_PENDING, REASON_REVISION_GONE);
    }
    if (is_revision(c->seen, p->expected) && p->injected != p->expected) {
        enum reason cause = classify_restart_cause(c->seen, p->workload);
        return judged(STATE_RESTART_PENDING, cause == REASON_RESTART_DUE ? REASON_RESTART_NEEDED : cause);
    }
    if (judge_place(c, p->injected, &bad) || judge_node(c, false, true, &bad)) {
        return bad;
    }
    struct judgement j = judge_ready(c, STATE_SETTLED);
    return j.state == STATE_SETTLED ? judged(STATE_SETTLED, p->note) : j;
}

/* Expected on and injected by the new revision. */
static struct judgement judge_new(const struct case_ *c) {
    const struct proxy_row *p = c->p;
    struct judgement j;
    if (judge_place(c, c->policy->to, &j)) {
        return j;
    }
    bool synced = p->sync != SYNC_UNKNOWN && fresh(p->sync_at_ms, c->now_ms, c->policy->evidence_max_age_ms);
    if (!synced && c->watched) {
        return c->young ? judged(STATE_SYNCING, REASON_STARTING) : judged(STATE_UNKNOWN, REASON_CP_STALE);
    }
    if (judge_node(c, synced, true, &j)) {
        return j;
    }
    /* A busy mesh has an update under way most of the time; only a new proxy must be seen without one once. */
    if (c->young && c->watched && p->sync != SYNC_SYNCED) {
        return judged(STATE_SYNCING, REASON_STARTING);
    }
    return judge_ready(c, STATE_MOVED);
}

/* No injector would take it if it were created now. */
static struct judgement judge_unwanted(const struct case_ *c) {
    const struct proxy_row *p = c->p;
    if (!c->concerned && !p->asks && p->injected != REV_NONE) {
        return is_revision(c->seen, p->injected) || p->injected == REV_FOREIGN
                   ? judge_settled(c)
                   : judged(STATE_UNKNOWN, REASON_EXPECTED_UNKNOWN);
    }
    return judged(STATE_UNINJECTED,
                  p->dangling || p->expected == REV_FOREIGN ? REASON_NOT_INSTALLED : REASON_NO_INJECTOR_MATCHES);
}

static struct judgement judge(const struct case_ *c) {
    const struct proxy_row *p = c->p;
    if (p->expected == REV_CONFLICT) {
        return judged(STATE_CONFLICT, REASON_TWO_INJECTORS);
    }
    if (p->expected == REV_NONE || p->expected == REV_FOREIGN) {
        return judge_unwanted(c);
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
    if (!c->concerned) {
        return judge_settled(c);
    }
    if (p->expected != c->policy->to) {
        return judge_elsewhere(c);
    }
    if (p->injected != p->expected) {
        return judged(STATE_RESTART_PENDING, classify_restart_cause(c->seen, p->workload));
    }
    return judge_new(c);
}

/* Holds nothing up; but somebody may ask why it has no proxy. */
static struct judgement judge_uncounted(const struct proxy_row *p) {
    bool missing = p->opted_out && p->asks && !p->deleting && !p->finished && p->injected == REV_NONE;
    return missing ? judged(STATE_UNINJECTED, p->host_network ? REASON_HOST_NETWORK : REASON_OPTED_OUT)
                   : judged(STATE_UNKNOWN, REASON_NONE);
}

static void count_answering(const struct policy *policy, struct snapshot *seen, int64_t now_ms) {
    for (uint32_t i = 0; i < seen->n_revisions; i++) {
        seen->revisions[i].answering = seen->revisions[i].old_builds = 0;
    }
    for (uint32_t i = 0; i < seen->n_replicas; i++) {
        const struct replica_row *r = &seen->replicas[i];
        if (is_revision(seen, r->revision)) {
            seen->revisions[r->revision].answering +=
                !r->failing && fresh(r->answered_ms, now_ms, policy->evidence_max_age_ms);
        }
    }
}

void classify(const struct policy *policy, struct snapshot *seen, int64_t now_ms) {
    count_answering(policy, seen, now_ms);
    for (uint32_t i = 0; i < seen->n_proxies; i++) {
        struct proxy_row *p = &seen->proxies[i];
        uint32_t wave = wave_of(seen, p);
        struct case_ c = {
            .policy = policy,
            .seen = seen,
            .p = p,
            .now_ms = now_ms,
            .young = within(p->created_ms, now_ms, policy->dwell_start_ms),
            .watched = wave < policy->n_waves && wave == seen->progress.wave,
            .concerned = wave < policy->n_waves,
            .node_seen = fresh(p->node_at_ms, now_ms, policy->evidence_max_age_ms) &&
                         !(p->node < seen->n_nodes && seen->nodes[p->node].disbelieved),
        };
        struct judgement j = proxy_counts(p) ? judge(&c) : judge_uncounted(p);
        p->state = j.state;
        p->reason = j.reason;
        if (p->old_build && proxy_counts(p) && is_revision(seen, p->attached)) {
            seen->revisions[p->attached].old_builds++;
        }
    }
    sums_fill(policy, seen, now_ms);
}
