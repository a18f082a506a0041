#include "rules.h"

static bool act(struct decision *out, enum action_kind kind, uint32_t object) {
    if (out->n_actions >= DECISION_MAX_ACTIONS) {
        return false;
    }
    out->actions[out->n_actions++] = (struct action){kind, object};
    return true;
}

static bool in_flight(const struct namespace_row *ns) {
    return ns->relabelled && (ns->moved < ns->expected || ns->rolling);
}

static bool may_relabel(const struct namespace_row *ns, uint32_t wave) {
    return ns->wave == wave && !ns->terminating && !ns->relabelled && !ns->relabelled_by_us && !ns->unreachable &&
           !ns->untested;
}

static void plan_relabels(const struct policy *policy, const struct snapshot *seen, struct decision *out) {
    uint32_t room = policy->max_namespaces == 0 ? UINT32_MAX : policy->max_namespaces;
    uint32_t wave = seen->progress.wave;
    for (uint32_t i = 0; i < seen->n_namespaces; i++) {
        if (room > 0 && seen->namespaces[i].wave == wave && in_flight(&seen->namespaces[i])) {
            room -= policy->max_namespaces != 0;
        }
    }
    for (uint32_t i = 0; i < seen->n_namespaces && room > 0; i++) {
        if (may_relabel(&seen->namespaces[i], wave) && act(out, ACTION_RELABEL, i)) {
            room -= policy->max_namespaces != 0;
        }
    }
}

static bool may_restart(const struct snapshot *seen, const struct workload_row *w, int64_t now_ms) {
    if (w->ns >= seen->n_namespaces || w->cause != REASON_RESTART_DUE || w->odd > 0 || now_ms < w->due_at_ms) {
        return false;
    }
    const struct namespace_row *ns = &seen->namespaces[w->ns];
    return ns->wave == seen->progress.wave && ns->relabelled && !ns->terminating && !ns->unreachable && !ns->untested;
}

void moves_plan(const struct policy *policy, const struct snapshot *seen, int64_t now_ms, struct decision *out) {
    /* What has been begun is finished first. */
    for (uint32_t i = 0; i < seen->n_workloads; i++) {
        if (may_restart(seen, &seen->workloads[i], now_ms)) {
            act(out, ACTION_RESTART, i);
        }
    }
    plan_relabels(policy, seen, out);
}
