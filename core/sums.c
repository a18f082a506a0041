#include "rules.h"

#include <string.h>

/* A pod that is created right after the relabel may still meet an API server that has not seen it. */
#define SETTLE_MS 1000

static void reset(struct snapshot *seen) {
    for (uint32_t i = 0; i < seen->n_nodes; i++) {
        seen->nodes[i].first_wave = IDX_NONE;
        seen->nodes[i].unmoved = 0;
    }
    for (uint32_t i = 0; i < seen->n_namespaces; i++) {
        struct namespace_row *ns = &seen->namespaces[i];
        ns->expected = ns->moved = 0;
        ns->unreachable = ns->untested = ns->rolling = false;
    }
    for (uint32_t i = 0; i < seen->n_workloads; i++) {
        struct workload_row *w = &seen->workloads[i];
        w->rows = w->expected = w->odd = w->astray = 0;
        w->cause = REASON_NONE;
        w->due_at_ms = 0;
    }
}

static bool waits_for_restart(const struct policy *policy, const struct proxy_row *p) {
    return p->expected == policy->to &&
           (p->state == STATE_RESTART_PENDING || (p->state == STATE_UNINJECTED && p->reason == REASON_NO_SIDECAR));
}

static void sum_workload(const struct policy *policy, struct snapshot *seen, const struct proxy_row *p, int64_t now_ms) {
    struct workload_row *w = &seen->workloads[p->workload];
    w->expected++;
    if (p->expected != policy->to) {
        w->odd++;
        if (is_revision(seen, p->expected)) {
            w->astray++;
        }
    }
    if (waits_for_restart(policy, p)) {
        w->cause = classify_restart_cause(seen, p->workload);
        /* Since when it is expected is not known: begin to count now. */
        int64_t since = p->expected_since_ms != 0 && p->expected_since_ms <= now_ms ? p->expected_since_ms : now_ms;
        if (w->due_at_ms == 0 || since + SETTLE_MS > w->due_at_ms) {
            w->due_at_ms = since + SETTLE_MS;
        }
    }
}

static void sum_node(const struct policy *policy, struct snapshot *seen, const struct proxy_row *p) {
    struct node_row *node = &seen->nodes[p->node];
    uint32_t wave = wave_of(seen, p);
    if (wave < node->first_wave) {
        node->first_wave = wave;
    }
    if (p->injected == policy->to) {
        return;
    }
    if (wave == seen->progress.wave) {
        node->unmoved++;
    }
    if (p->ns < seen->n_namespaces) {
        struct namespace_row *ns = &seen->namespaces[p->ns];
        ns->unreachable |= node->reach_known && !node->reach_ok;
        ns->untested |= !node->reach_known && (node->agent || policy->node_witness);
    }
}

static void sum_rolling(struct snapshot *seen) {
    for (uint32_t i = 0; i < seen->n_workloads; i++) {
        const struct workload_row *w = &seen->workloads[i];
        if (w->restarted && !w->settled && w->ns < seen->n_namespaces) {
            seen->namespaces[w->ns].rolling = true;
        }
    }
}

void sums_fill(const struct policy *policy, struct snapshot *seen, int64_t now_ms) {
    reset(seen);
    for (uint32_t i = 0; i < seen->n_proxies; i++) {
        const struct proxy_row *p = &seen->proxies[i];
        bool owned = p->workload < seen->n_workloads;
        if (owned && !p->deleting && !p->finished) {
            seen->workloads[p->workload].rows++;
        }
        if (!proxy_counts(p)) {
            continue;
        }
        if (owned) {
            sum_workload(policy, seen, p, now_ms);
        }
        if (p->node < seen->n_nodes) {
            sum_node(policy, seen, p);
        }
        if (p->ns < seen->n_namespaces) {
            seen->namespaces[p->ns].expected++;
            seen->namespaces[p->ns].moved += p->state == STATE_MOVED;
        }
    }
    sum_rolling(seen);
}

static void hears(struct hearing *h, bool *witness, bool heard, int64_t at_ms) {
    *witness = heard;
    if (heard && (h->oldest_ms == 0 || at_ms < h->oldest_ms)) {
        h->oldest_ms = at_ms;
    }
}

struct hearing proxy_hearing(const struct policy *policy, const struct snapshot *seen, const struct proxy_row *p,
                             int64_t now_ms) {
    int64_t age = policy->evidence_max_age_ms;
    struct hearing h = {.all = false};
    bool failing = p->replica < seen->n_replicas && seen->replicas[p->replica].failing;
    bool disbelieved = p->node < seen->n_nodes && seen->nodes[p->node].disbelieved;
    bool placed = p->attached == REV_NONE || is_revision(seen, p->attached);
    hears(&h, &h.control_plane, placed && !failing && fresh(p->attached_at_ms, now_ms, age), p->attached_at_ms);
    hears(&h, &h.sync, h.control_plane && p->sync != SYNC_UNKNOWN && fresh(p->sync_at_ms, now_ms, age), p->sync_at_ms);
    hears(&h, &h.node, !disbelieved && fresh(p->node_at_ms, now_ms, age), p->node_at_ms);
    bool sync_demanded = concerned(policy, seen, p) && wave_of(seen, p) == seen->progress.wave && p->attached == policy->to;
    h.all = h.control_plane && (h.node || !policy->node_witness) && (h.sync || !sync_demanded);
    return h;
}

/* Unheard, and nothing else is wrong with it so far as anybody knows. */
static bool merely_unheard(const struct policy *policy, const struct proxy_row *p) {
    return p->state == STATE_UNKNOWN && is_missing(p->reason) && p->expected == policy->to && p->injected == policy->to;
}

bool sums_tolerates_unheard(const struct policy *policy, const struct proxy_row *p, const struct wave_tally *t) {
    return merely_unheard(policy, p) && (uint64_t)t->heard * 1000 >= (uint64_t)policy->coverage_permille * t->expected;
}

static void tally_namespaces(const struct policy *policy, const struct snapshot *seen, struct wave_tally *tallies) {
    for (uint32_t i = 0; i < seen->n_namespaces; i++) {
        const struct namespace_row *ns = &seen->namespaces[i];
        if (ns->wave < policy->n_waves && !ns->terminating) {
            tallies[ns->wave].namespaces++;
            tallies[ns->wave].relabelled += ns->relabelled;
        }
    }
}

void sums_tally(const struct policy *policy, const struct snapshot *seen, int64_t now_ms, struct wave_tally *tallies) {
    memset(tallies, 0, policy->n_waves * sizeof *tallies);
    tally_namespaces(policy, seen, tallies);
    for (uint32_t i = 0; i < seen->n_proxies; i++) {
        const struct proxy_row *p = &seen->proxies[i];
        uint32_t wave = wave_of(seen, p);
        if (!proxy_counts(p) || wave >= policy->n_waves || (unsigned)p->state >= STATE_COUNT) {
            continue;
        }
        struct wave_tally *t = &tallies[wave];
        t->expected++;
        t->by_state[p->state]++;
        t->heard += proxy_hearing(policy, seen, p, now_ms).all;
        t->bad += reason_severity(p->reason) == SEV_FAIL && on_new(policy, p);
    }
    for (uint32_t i = 0; i < seen->n_proxies; i++) {
        const struct proxy_row *p = &seen->proxies[i];
        uint32_t wave = wave_of(seen, p);
        if (proxy_counts(p) && wave < policy->n_waves) {
            tallies[wave].unheard_tolerated += sums_tolerates_unheard(policy, p, &tallies[wave]);
        }
    }
}
