/* Doubts and bad signals. */
#include "rules.h"

void findings_add(struct decision *out, enum reason reason, enum about about, uint32_t object) {
    if ((unsigned)reason >= REASON_COUNT) {
        reason = REASON_INVENTORY_STALE;
    }
    out->n_findings_total++;
    out->by_reason[reason]++;
    if (out->by_reason[reason] <= DECISION_MAX_PER_REASON && out->n_findings < DECISION_MAX_FINDINGS) {
        out->findings[out->n_findings++] = (struct finding){reason, about, object};
    }
}

bool findings_any(const struct decision *out, enum severity severity) {
    for (unsigned r = 0; r < REASON_COUNT; r++) {
        if (out->by_reason[r] > 0 && reason_severity((enum reason)r) == severity) {
            return true;
        }
    }
    return false;
}

static bool installed(const struct snapshot *seen, uint32_t revision) {
    return is_revision(seen, revision) && seen->revisions[revision].installed;
}

static void find_replicas(const struct policy *policy, const struct snapshot *seen, uint32_t revision, int64_t now_ms,
                          struct decision *out) {
    uint32_t rows = 0;
    for (uint32_t i = 0; i < seen->n_replicas; i++) {
        const struct replica_row *r = &seen->replicas[i];
        if (r->revision != revision) {
            continue;
        }
        rows++;
        if (!r->assigned || r->answered_ms == 0) {
            findings_add(out, REASON_REPLICA_UNREAD, ABOUT_REPLICA, i);
        } else if (r->failing || !fresh(r->answered_ms, now_ms, policy->evidence_max_age_ms)) {
            findings_add(out, REASON_REPLICA_SILENT, ABOUT_REPLICA, i);
        }
        if (r->push_blocked) {
            findings_add(out, REASON_PUSH_BLOCKED, ABOUT_REPLICA, i);
        }
    }
    if (rows < seen->revisions[revision].replicas || rows == 0) {
        findings_add(out, REASON_REPLICA_UNREAD, ABOUT_REVISION, revision);
    }
}

static bool rows_make_sense(const struct policy *policy, const struct snapshot *seen) {
    for (uint32_t i = 0; i < seen->n_namespaces; i++) {
        if (seen->namespaces[i].wave != IDX_NONE && seen->namespaces[i].wave >= policy->n_waves) {
            return false;
        }
    }
    for (uint32_t i = 0; i < seen->n_proxies; i++) {
        if (seen->proxies[i].ns >= seen->n_namespaces || (unsigned)seen->proxies[i].state >= STATE_COUNT ||
            (unsigned)seen->proxies[i].reason >= REASON_COUNT) {
            return false;
        }
    }
    return true;
}

void findings_upgrade(const struct policy *policy, const struct snapshot *seen, int64_t now_ms, struct decision *out) {
    if (!seen->inventory_fresh || !rows_make_sense(policy, seen)) {
        findings_add(out, REASON_INVENTORY_STALE, ABOUT_UPGRADE, 0);
    }
    bool from = installed(seen, policy->from);
    bool to = installed(seen, policy->to);
    if (!from) {
        findings_add(out, REASON_FROM_NOT_INSTALLED, ABOUT_UPGRADE, 0);
    }
    if (!to) {
        findings_add(out, REASON_TO_NOT_INSTALLED, ABOUT_UPGRADE, 0);
    }
    if (to && !seen->revisions[policy->to].has_injector) {
        findings_add(out, REASON_NO_INJECTOR, ABOUT_REVISION, policy->to);
    }
    for (uint32_t r = 0; r < seen->n_revisions; r++) {
        if ((r == policy->from || r == policy->to) && seen->revisions[r].old_builds > 0) {
            findings_add(out, REASON_UPGRADED_IN_PLACE, ABOUT_REVISION, r);
        }
    }
    if (to && seen->revisions[policy->to].ready == 0) {
        findings_add(out, REASON_NO_READY_REPLICA, ABOUT_REVISION, policy->to);
    }
    if (from) {
        find_replicas(policy, seen, policy->from, now_ms, out);
    }
    if (to && policy->to != policy->from) {
        find_replicas(policy, seen, policy->to, now_ms, out);
    }
    if (policy->from == policy->to) {
        findings_add(out, REASON_SAME_REVISION, ABOUT_UPGRADE, 0);
    }
}

/* Which doubt there is about a node that carries proxies of a wave up to the one at work; NONE: it is heard. */
static enum reason node_doubt(const struct policy *policy, const struct node_row *n, int64_t now_ms) {
    bool silent = !fresh(n->heard_ms, now_ms, policy->evidence_max_age_ms);
    if (n->disbelieved) {
        return REASON_NODE_DISBELIEVED;
    }
    if (!policy->node_witness) {
        return n->agent && n->witness && silent ? REASON_NODE_SILENT : REASON_NONE;
    }
    if (n->agent && !n->witness) {
        return REASON_NODE_NO_WITNESS;
    }
    if (!silent) {
        return REASON_NONE;
    }
    return n->agent || n->heard_ms != 0 ? REASON_NODE_SILENT : REASON_NODE_NO_AGENT;
}

static void find_nodes(const struct policy *policy, const struct snapshot *seen, int64_t now_ms, uint32_t last,
                       struct decision *out) {
    for (uint32_t i = 0; i < seen->n_nodes; i++) {
        const struct node_row *n = &seen->nodes[i];
        enum reason doubt =
            n->first_wave != IDX_NONE && n->first_wave <= last ? node_doubt(policy, n, now_ms) : REASON_NONE;
        if (doubt != REASON_NONE) {
            findings_add(out, doubt, ABOUT_NODE, i);
        }
    }
}

static bool too_many_bad(const struct policy *policy, const struct snapshot *seen, const struct wave_tally *tallies) {
    uint64_t bad = 0;
    for (uint32_t w = 0; w <= seen->progress.wave && w < policy->n_waves; w++) {
        bad += tallies[w].bad;
    }
    return bad > policy->max_bad;
}

/* Heaviest thing to say about the doubt that a proxy is in. */
static enum reason proxy_doubt(const struct policy *policy, const struct proxy_row *p, const struct wave_tally *t) {
    /* A contradiction about a proxy that the new revision has nothing to do with is no reason to leave it there. */
    if (!on_new(policy, p) && p->reason != REASON_EXPECTED_UNKNOWN && !is_missing(p->reason)) {
        return p->state == STATE_UNKNOWN ? REASON_CP_STALE : REASON_NONE;
    }
    if (p->reason != REASON_NONE && reason_severity(p->reason) == SEV_UNKNOWN) {
        return sums_tolerates_unheard(policy, p, t) ? REASON_UNHEARD_TOLERATED : p->reason;
    }
    return p->state == STATE_UNKNOWN ? REASON_CP_STALE : REASON_NONE;
}

enum reason findings_signals(const struct policy *policy, const struct snapshot *seen, int64_t now_ms, uint32_t last,
                             const struct wave_tally *tallies, struct decision *out) {
    bool too_many = too_many_bad(policy, seen, tallies);
    enum reason first = out->by_reason[REASON_PUSH_BLOCKED] > 0 ? REASON_PUSH_BLOCKED : REASON_NONE;
    if (last != IDX_NONE) {
        find_nodes(policy, seen, now_ms, last, out);
    }
    for (uint32_t i = 0; i < seen->n_proxies; i++) {
        const struct proxy_row *p = &seen->proxies[i];
        uint32_t wave = wave_of(seen, p);
        if (!proxy_counts(p) || wave >= policy->n_waves || wave > seen->progress.wave) {
            continue;
        }
        if (reason_severity(p->reason) == SEV_FAIL && on_new(policy, p)) {
            findings_add(out, too_many ? p->reason : REASON_BAD_TOLERATED, ABOUT_PROXY, i);
            if (too_many && first == REASON_NONE) {
                first = p->reason;
            }
        } else if (last != IDX_NONE && wave <= last) {
            enum reason doubt = proxy_doubt(policy, p, &tallies[wave]);
            if (doubt != REASON_NONE) {
                findings_add(out, doubt, ABOUT_PROXY, i);
            }
        }
    }
    return first;
}
