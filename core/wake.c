#include "rules.h"

struct alarm {
    int64_t now_ms, at_ms;
};

static void at(struct alarm *a, int64_t t) {
    if (t > a->now_ms && (a->at_ms == 0 || t < a->at_ms)) {
        a->at_ms = t;
    }
}

/* Evidence of time t grows too old. */
static void ages(struct alarm *a, const struct policy *policy, int64_t t) {
    if (t != 0) {
        at(a, t + policy->evidence_max_age_ms + 1);
    }
}

static void lasts(struct alarm *a, int64_t since, int64_t dwell_ms) {
    if (since != 0) {
        at(a, since + dwell_ms);
    }
}

static void wake_proxy(struct alarm *a, const struct policy *policy, const struct proxy_row *p) {
    ages(a, policy, p->attached_at_ms);
    ages(a, policy, p->sync_at_ms);
    ages(a, policy, p->node_at_ms);
    ages(a, policy, p->moved_at_ms);
    lasts(a, p->created_ms, policy->dwell_start_ms);
    lasts(a, p->detached_since_ms, policy->dwell_absent_ms);
    lasts(a, p->pending_since_ms, policy->dwell_ack_ms);
    lasts(a, p->accepted_ms, policy->dwell_ack_ms);
    lasts(a, p->dials_differ_since_ms, policy->dwell_conflict_ms);
    lasts(a, p->xds_down_since_ms, policy->dwell_conflict_ms);
    lasts(a, p->cut_since_ms, policy->dwell_absent_ms);
    lasts(a, p->version_differs_since_ms, policy->dwell_conflict_ms);
}

int64_t wake_at(const struct policy *policy, const struct snapshot *seen, const struct progress *next, int64_t now_ms) {
    struct alarm a = {.now_ms = now_ms};
    for (uint32_t i = 0; i < seen->n_replicas; i++) {
        ages(&a, policy, seen->replicas[i].answered_ms);
    }
    for (uint32_t i = 0; i < seen->n_nodes; i++) {
        ages(&a, policy, seen->nodes[i].heard_ms);
    }
    for (uint32_t i = 0; i < seen->n_workloads; i++) {
        at(&a, seen->workloads[i].due_at_ms);
    }
    for (uint32_t i = 0; i < seen->n_proxies; i++) {
        if (proxy_counts(&seen->proxies[i])) {
            wake_proxy(&a, policy, &seen->proxies[i]);
        }
    }
    if (next->soak_started_ms != 0 && next->wave < policy->n_waves) {
        at(&a, next->soak_started_ms + policy->waves[next->wave].soak_ms);
    }
    return a.at_ms;
}
