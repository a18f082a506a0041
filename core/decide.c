/*
 * The flow of an upgrade. Doubts and bad signals are collected first; only when there are none is anything begun, done or
 * passed. There is no way from "not known" to "go on".
 */
#include "rules.h"

#include <string.h>

struct flow {
    const struct policy *policy;
    const struct snapshot *seen;
    const struct wave_tally *tallies;
    int64_t now_ms;
    struct decision *out;
};

/* Field by field: what lies between the fields must not come out either. */
static void copy_progress(struct progress *to, const struct progress *from) {
    to->wave = from->wave;
    to->started = from->started;
    to->soak_started_ms = from->soak_started_ms;
    to->hold_id = from->hold_id;
    to->held = from->held;
    to->hold_reason = from->hold_reason;
}

/* A standing pause is lifted by its own number only; a signal that is (still) there makes a new pause. */
static void keep_hold(const struct flow *f, enum reason signal) {
    struct progress *next = &f->out->next;
    if (next->held && next->hold_id == 0) {
        next->hold_id = 1;
    }
    if (next->held && f->policy->resume_hold == next->hold_id) {
        next->held = false;
        next->hold_reason = REASON_NONE;
    }
    if (!next->held && signal != REASON_NONE) {
        next->held = true;
        next->hold_id = next->hold_id == UINT32_MAX ? 1 : next->hold_id + 1;
        next->hold_reason = signal;
    }
    if (next->held) {
        next->soak_started_ms = 0;
        findings_add(f->out, REASON_PAUSED_BY_SIGNAL, ABOUT_UPGRADE, 0);
    }
}

/* Every proxy of the wave that counts is MOVED, or within what the policy tolerates; nothing in it is left to do. */
static bool proven(const struct flow *f, const struct wave_tally *t) {
    if (findings_any(f->out, SEV_UNKNOWN) || findings_any(f->out, SEV_WAIT) || findings_any(f->out, SEV_FAIL)) {
        return false;
    }
    uint32_t bad = t->bad <= f->policy->max_bad ? t->bad : 0;
    return t->relabelled == t->namespaces &&
           (uint64_t)t->by_state[STATE_MOVED] + t->unheard_tolerated + bad == t->expected &&
           (uint64_t)t->heard * 1000 >= (uint64_t)f->policy->coverage_permille * t->expected;
}

static void pass(const struct flow *f) {
    struct progress *next = &f->out->next;
    next->wave++;
    next->started = false;
    next->soak_started_ms = 0;
    f->out->phase = next->wave == f->policy->n_waves ? PHASE_COMPLETED : PHASE_MOVING;
    f->out->verdict = VERDICT_PASS;
    f->out->wake_at_ms = f->now_ms;
}

/* Everybody has been looked at since then: evidence that is merely not too old would let a wave pass whose istiod went
 * silent while it soaked. */
static bool looked_since(const struct flow *f, int64_t since) {
    const struct snapshot *seen = f->seen;
    for (uint32_t i = 0; i < seen->n_replicas; i++) {
        const struct replica_row *r = &seen->replicas[i];
        if ((r->revision == f->policy->from || r->revision == f->policy->to) && r->answered_ms < since) {
            return false;
        }
    }
    for (uint32_t i = 0; i < seen->n_proxies; i++) {
        const struct proxy_row *p = &seen->proxies[i];
        if (!proxy_counts(p) || p->state != STATE_MOVED || wave_of(seen, p) != f->out->next.wave) {
            continue;
        }
        if (p->attached_at_ms < since || p->sync_at_ms < since || (f->policy->node_witness && p->node_at_ms < since)) {
            return false;
        }
    }
    return true;
}

static void soak(const struct flow *f) {
    struct progress *next = &f->out->next;
    const struct wave_policy *wave = &f->policy->waves[next->wave];
    if (next->soak_started_ms == 0 || next->soak_started_ms > f->now_ms) {
        next->soak_started_ms = f->now_ms;
    }
    bool over = f->now_ms - next->soak_started_ms >= wave->soak_ms;
    if (over && looked_since(f, next->soak_started_ms + wave->soak_ms)) {
        pass(f);
        return;
    }
    f->out->phase = PHASE_SOAKING;
    findings_add(f->out, over ? REASON_PROOF_DUE : REASON_SOAKING, ABOUT_WAVE, next->wave);
}

/* The wave has been let in and nothing speaks against working on it. */
static void work(const struct flow *f) {
    struct decision *out = f->out;
    const struct wave_tally *t = &f->tallies[out->next.wave];
    moves_plan(f->policy, f->seen, f->now_ms, out);
    if (out->n_actions > 0 || out->by_reason[REASON_RELABEL_PENDING] > 0 || out->by_reason[REASON_RESTART_DUE] > 0) {
        out->next.soak_started_ms = 0;
        out->phase = PHASE_MOVING;
    } else if (!proven(f, t)) {
        out->phase = out->next.soak_started_ms != 0 ? PHASE_SOAKING : PHASE_MOVING;
    } else if (t->namespaces == 0 && t->expected == 0) {
        pass(f);
    } else {
        soak(f);
    }
}

static enum verdict heaviest(const struct decision *out) {
    if (findings_any(out, SEV_FAIL)) {
        return VERDICT_FAIL;
    }
    return findings_any(out, SEV_UNKNOWN) ? VERDICT_UNKNOWN : VERDICT_WAIT;
}

static void decide_wave(const struct flow *f) {
    struct decision *out = f->out;
    struct progress *next = &out->next;
    const struct wave_policy *wave = &f->policy->waves[next->wave];
    const struct wave_tally *t = &f->tallies[next->wave];
    bool empty = t->namespaces == 0 && t->expected == 0;
    bool let_in = next->started || empty || !wave->manual || wave->approved;

    findings_upgrade(f->policy, f->seen, f->now_ms, out);
    uint32_t last = let_in ? next->wave : next->wave - 1;
    keep_hold(f, findings_signals(f->policy, f->seen, f->now_ms, last, f->tallies, out));
    bool doubt = findings_any(out, SEV_UNKNOWN);
    bool go = !next->held && !f->policy->paused && !doubt && let_in;
    if (go) {
        next->started = true;
    }
    waits_find(f->policy, f->seen, next->started, out);
    if (f->policy->paused) {
        findings_add(out, REASON_PAUSED_BY_REQUEST, ABOUT_UPGRADE, 0);
    }
    if (go) {
        work(f);
    } else if (next->held || f->policy->paused) {
        out->phase = PHASE_PAUSED;
    } else if (doubt) {
        out->phase = PHASE_HOLD;
    } else {
        findings_add(out, REASON_AWAITING_APPROVAL, ABOUT_WAVE, next->wave);
        out->phase = PHASE_AWAITING_APPROVAL;
    }
    if (out->verdict != VERDICT_PASS) {
        out->verdict = heaviest(out);
        out->wake_at_ms = wake_at(f->policy, f->seen, next, f->now_ms);
    }
}

void decide(const struct policy *policy, const struct snapshot *seen, int64_t now_ms, struct wave_tally *tallies,
            struct decision *out) {
    memset(out, 0, sizeof *out);
    copy_progress(&out->next, &seen->progress);
    if (policy->n_waves == 0 || !policy->waves || seen->progress.wave > policy->n_waves) {
        findings_add(out, REASON_NO_WAVES, ABOUT_UPGRADE, 0);
        return;
    }
    sums_tally(policy, seen, now_ms, tallies);
    if (seen->progress.wave == policy->n_waves) {
        out->phase = PHASE_COMPLETED;
        out->verdict = VERDICT_PASS;
        return;
    }
    decide_wave(&(struct flow){policy, seen, tallies, now_ms, out});
}
