/* What the files of core/ share among themselves. Times: 0 is "never", later than now is evidence from the future. */
#pragma once

#include "decide.h"

/* Evidence of time t is there, is not from the future and is not older than max_age_ms. */
static inline bool fresh(int64_t t, int64_t now_ms, int64_t max_age_ms) {
    return t != 0 && t <= now_ms && t >= now_ms - max_age_ms;
}

/* Something that began at `since` has lasted for less than `dwell_ms`. Without a beginning it has lasted too long. */
static inline bool within(int64_t since, int64_t now_ms, int64_t dwell_ms) {
    return since != 0 && since <= now_ms && since > now_ms - dwell_ms;
}

/* Does the field name a row of the table of revisions? */
static inline bool is_revision(const struct snapshot *seen, uint32_t revision) {
    return revision < seen->n_revisions;
}

/* Wave of a proxy, IDX_NONE when it is in none. */
static inline uint32_t wave_of(const struct snapshot *seen, const struct proxy_row *p) {
    return p->ns < seen->n_namespaces ? seen->namespaces[p->ns].wave : IDX_NONE;
}

/* The new revision has to do with this proxy already. */
static inline bool on_new(const struct policy *policy, const struct proxy_row *p) {
    return p->injected == policy->to || p->attached == policy->to;
}

static inline bool restartable(enum workload_kind kind) {
    return kind == KIND_DEPLOYMENT || kind == KIND_STATEFULSET || kind == KIND_DAEMONSET;
}

/* Why a workload cannot create pods. */
static inline enum reason create_cause(const struct workload_row *w) {
    return w->create != REASON_NONE ? w->create : REASON_FAILED_CREATE;
}

/* Why a namespace's pods are expected elsewhere than on the new revision. */
static inline enum reason namespace_cause(const struct namespace_row *ns) {
    if (ns->relabelled) {
        return REASON_POD_LABEL_WINS;
    }
    if (!ns->relabelled_by_us) {
        return REASON_WAVE_NOT_BEGUN;
    }
    return ns->leftover ? REASON_LEFTOVER_LABEL : REASON_NS_RELABEL_LOST;
}

/* The upgrade has to do with the namespace of this proxy. */
static inline bool concerned(const struct policy *policy, const struct snapshot *seen, const struct proxy_row *p) {
    return wave_of(seen, p) < policy->n_waves;
}

/* Evidence that is not there, unlike evidence that contradicts itself. */
static inline bool is_missing(enum reason r) {
    return r == REASON_CP_STALE || r == REASON_REPLICA_SILENT || r == REASON_NODE_STALE || r == REASON_NODE_NOT_SEEN ||
           r == REASON_NODE_NO_AGENT || r == REASON_NODE_NO_WITNESS || r == REASON_NODE_DISBELIEVED;
}

/* classify.c: why a pod that another revision injected is not re-created; RESTART_DUE: its owner can be restarted. */
enum reason classify_restart_cause(const struct snapshot *seen, uint32_t workload);

/* sums.c: the sums over proxies in the tables of nodes, namespaces and workloads; called by classify. */
void sums_fill(const struct policy *policy, struct snapshot *seen, int64_t now_ms);
/* sums.c: per wave. `heard` needs every witness that the policy demands of a proxy of that wave. */
void sums_tally(const struct policy *policy, const struct snapshot *seen, int64_t now_ms, struct wave_tally *tallies);
/* sums.c: is this unheard proxy within the coverage that the policy asks of its wave? */
bool sums_tolerates_unheard(const struct policy *policy, const struct proxy_row *p, const struct wave_tally *t);

/* findings.c */
void findings_add(struct decision *out, enum reason reason, enum about about, uint32_t object);
bool findings_any(const struct decision *out, enum severity severity);
/* What stands against going on whatever the wave: revisions, replicas, inventory. */
void findings_upgrade(const struct policy *policy, const struct snapshot *seen, int64_t now_ms, struct decision *out);
/* Doubt and bad signals in the waves up to `last` (bad signals: up to the one at work). Returns the first bad signal,
 * REASON_NONE when there are no more of them than are tolerated. */
enum reason findings_signals(const struct policy *policy, const struct snapshot *seen, int64_t now_ms, uint32_t last,
                             const struct wave_tally *tallies, struct decision *out);
/* waits.c: everything that has to happen first, in the wave at work (if it has begun) and those before it. */
void waits_find(const struct policy *policy, const struct snapshot *seen, bool begun, struct decision *out);

/* moves.c: actions for the wave at work. */
void moves_plan(const struct policy *policy, const struct snapshot *seen, int64_t now_ms, struct decision *out);
/* wake.c: the earliest time at which the passing of time alone changes something; 0: none. */
int64_t wake_at(const struct policy *policy, const struct snapshot *seen, const struct progress *next, int64_t now_ms);
