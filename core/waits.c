/* What has to happen first, each owner and pod named once, with the one cause that a person can do something about. */
#include "rules.h"

static void find_namespaces(const struct policy *policy, const struct snapshot *seen, bool begun, struct decision *out) {
    uint32_t at_work = seen->progress.wave;
    for (uint32_t i = 0; i < seen->n_namespaces; i++) {
        const struct namespace_row *ns = &seen->namespaces[i];
        if (ns->wave >= policy->n_waves || ns->wave > at_work || (ns->wave == at_work && !begun)) {
            continue;
        }
        if (ns->terminating) {
            findings_add(out, REASON_NS_TERMINATING, ABOUT_NAMESPACE, i);
        } else if (ns->relabelled) {
            continue;
        } else if (ns->relabelled_by_us) {
            findings_add(out, namespace_cause(ns), ABOUT_NAMESPACE, i);
        } else {
            findings_add(out, ns->wave == at_work ? REASON_RELABEL_PENDING : REASON_FELL_BACK, ABOUT_NAMESPACE, i);
        }
    }
}

/* Nodes that keep a namespace from being touched. */
static void find_reach(const struct policy *policy, const struct snapshot *seen, struct decision *out) {
    for (uint32_t i = 0; i < seen->n_nodes; i++) {
        const struct node_row *n = &seen->nodes[i];
        if (n->unmoved == 0) {
            continue;
        }
        if (n->reach_known && !n->reach_ok) {
            findings_add(out, REASON_NODE_UNREACHABLE_XDS, ABOUT_NODE, i);
        } else if (!n->reach_known && (n->agent || policy->node_witness)) {
            findings_add(out, REASON_NODE_REACH_UNTESTED, ABOUT_NODE, i);
        }
    }
}

static enum reason rollout_cause(const struct workload_row *w) {
    /* Without any pod nobody can say that it would have had a proxy, nor that it would not. */
    bool concerned = w->expected > 0 || w->restarted || (w->rows == 0 && w->replicas > 0);
    if (!concerned || !restartable(w->kind) || w->paused || w->on_delete) {
        return REASON_NONE;
    }
    if (w->failed_create) {
        return create_cause(w);
    }
    if (w->overdue) {
        return REASON_ROLLOUT_OVERDUE;
    }
    return w->settled ? REASON_NONE : REASON_RESTARTING;
}

static enum reason workload_cause(const struct workload_row *w) {
    if (w->astray > 0) {
        return REASON_POD_LABEL_WINS;
    }
    return w->cause != REASON_NONE ? w->cause : rollout_cause(w);
}

static void find_workloads(const struct snapshot *seen, struct decision *out) {
    for (uint32_t i = 0; i < seen->n_workloads; i++) {
        const struct workload_row *w = &seen->workloads[i];
        if (w->ns >= seen->n_namespaces) {
            continue;
        }
        const struct namespace_row *ns = &seen->namespaces[w->ns];
        if (ns->wave != seen->progress.wave || !ns->relabelled || ns->terminating) {
            continue;
        }
        enum reason cause = workload_cause(w);
        if (cause != REASON_NONE) {
            findings_add(out, cause, ABOUT_WORKLOAD, i);
        }
    }
}

/* A proxy of the wave at work whose trouble is its own, not its namespace's or its owner's. */
static enum reason proxy_cause(const struct policy *policy, const struct snapshot *seen, const struct proxy_row *p) {
    bool owned = p->workload < seen->n_workloads;
    if (p->state == STATE_SYNCING) {
        return p->reason;
    }
    if (!seen->namespaces[p->ns].relabelled) {
        return REASON_NONE;
    }
    if (p->reason == REASON_TWO_INJECTORS || p->reason == REASON_NO_INJECTOR_MATCHES) {
        return p->reason;
    }
    if (p->expected != policy->to) {
        return owned ? REASON_NONE : REASON_POD_LABEL_WINS;
    }
    return p->injected != policy->to && !owned ? REASON_BARE_POD : REASON_NONE;
}

/* A proxy whose wave is done: it has been on the new revision, or was never there to be moved. */
static enum reason done_cause(const struct policy *policy, const struct snapshot *seen, const struct proxy_row *p) {
    bool there = p->expected == policy->to && p->injected == policy->to;
    return there || !seen->namespaces[p->ns].relabelled ? REASON_NONE : REASON_FELL_BACK;
}

static bool is_trouble(const struct proxy_row *p) {
    return reason_severity(p->reason) == SEV_FAIL ||
           (p->state == STATE_CONFLICT && reason_severity(p->reason) == SEV_UNKNOWN);
}

static void find_proxies(const struct policy *policy, const struct snapshot *seen, bool begun, struct decision *out) {
    uint32_t at_work = seen->progress.wave;
    for (uint32_t i = 0; i < seen->n_proxies; i++) {
        const struct proxy_row *p = &seen->proxies[i];
        uint32_t wave = wave_of(seen, p);
        if (!proxy_counts(p) || wave >= policy->n_waves || p->state == STATE_MOVED || p->state == STATE_UNKNOWN) {
            continue;
        }
        enum reason cause = REASON_NONE;
        if (wave >= at_work && is_trouble(p) && (wave > at_work || !on_new(policy, p))) {
            findings_add(out, REASON_TROUBLE_BEFORE_MOVE, ABOUT_PROXY, i);
        }
        if (wave < at_work) {
            cause = done_cause(policy, seen, p);
        } else if (wave == at_work && begun) {
            cause = proxy_cause(policy, seen, p);
        }
        if (cause != REASON_NONE) {
            findings_add(out, cause, ABOUT_PROXY, i);
        }
    }
}

void waits_find(const struct policy *policy, const struct snapshot *seen, bool begun, struct decision *out) {
    find_namespaces(policy, seen, begun, out);
    if (begun) {
        find_reach(policy, seen, out);
        find_workloads(seen, out);
    }
    find_proxies(policy, seen, begun, out);
    for (uint32_t w = 0; w < policy->n_waves && w <= seen->progress.wave; w++) {
        bool empty = true;
        for (uint32_t i = 0; i < seen->n_namespaces && empty; i++) {
            empty = seen->namespaces[i].wave != w || seen->namespaces[i].terminating;
        }
        if (empty) {
            findings_add(out, REASON_EMPTY_WAVE, ABOUT_WAVE, w);
        }
    }
}
