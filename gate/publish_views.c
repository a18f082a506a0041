/* The proxies as a table, and the metrics. */
#include "../core/decide.h"
#include "publish.h"
#include "row_text.h"

static void proxy_witnesses(struct jtext *t, const struct join_names *n, const struct snapshot *seen, uint32_t i) {
    const struct proxy_row *p = &seen->proxies[i];
    const struct attach_fact *a = n->attached[i];
    const struct local_fact *l = n->local[i];
    jtext_str(t, "expected", row_revision(n, seen, p->expected));
    jtext_str(t, "injected", row_revision(n, seen, p->injected));
    jtext_str(t, "attached", row_revision(n, seen, p->attached));
    jtext_str(t, "replica", p->replica < seen->n_replicas ? n->replicas[p->replica]->name : NULL);
    jtext_str(t, "sync", row_sync(p->sync));
    jtext_said(t, "error", a ? a->error : NULL);
    jtext_said(t, "error_type", a ? a->error_type : NULL);
    row_types(t, a);
    jtext_str(t, "dials", row_revision(n, seen, p->dials));
    jtext_said(t, "accepted_cds", l ? l->cds_version : NULL);
    jtext_said(t, "acked_cds", a ? a->cds_acked : NULL);
    jtext_said(t, "accepted_lds", l ? l->lds_version : NULL);
    jtext_said(t, "acked_lds", a ? a->lds_acked : NULL);
    jtext_str(t, "version", row_version(p->version));
    jtext_said(t, "istio_version", a ? a->istio_version : NULL);
}

static void proxy_object(struct jtext *t, const struct join_names *n, const struct snapshot *seen, uint32_t i,
                         int64_t now_ms) {
    const struct proxy_row *p = &seen->proxies[i];
    const struct inv_pod *pod = n->pods[i];
    struct row_owner owner = row_owner(n, seen, i);
    jtext_open(t, NULL, '{');
    jtext_str(t, "namespace", pod->namespace_);
    jtext_str(t, "pod", pod->name);
    jtext_said(t, "node", pod->node);
    jtext_str(t, "type", row_type(pod, n->attached[i]));
    jtext_str(t, "owner", owner.name);
    jtext_str(t, "owner_kind", owner.kind);
    jtext_str(t, "state", state_name(p->state));
    jtext_str(t, "reason", p->reason != REASON_NONE ? reason_name(p->reason) : NULL);
    jtext_int(t, "since_ms", p->state_since_ms != 0 && p->state_since_ms <= now_ms ? now_ms - p->state_since_ms : 0);
    proxy_witnesses(t, n, seen, i);
    jtext_str(t, "whose", whose_name(reason_whose(p->reason)));
    jtext_said(t, "image", pod->proxy_image);
    jtext_str(t, "sentence", p->reason == REASON_NONE ? "" : reason_sentence(p->reason));
    jtext_str(t, "remedy", reason_remedy(p->reason));
    jtext_close(t, '}');
}

void publish_proxies(const struct join *j, const struct snapshot *seen, const char *upgrade, int64_t now_ms,
                     struct buf *out) {
    struct jtext t;
    jtext_init(&t, out);
    jtext_open(&t, NULL, '{');
    jtext_str(&t, "upgrade", upgrade);
    jtext_open(&t, "proxies", '[');
    for (uint32_t i = 0; i < seen->n_proxies; i++) {
        const struct proxy_row *p = &seen->proxies[i];
        bool its = !upgrade || seen->namespaces[p->ns].wave != IDX_NONE;
        if (its && (proxy_counts(p) || p->reason != REASON_NONE)) {
            proxy_object(&t, join_names(j), seen, i, now_ms);
        }
    }
    jtext_close(&t, ']');
    jtext_close(&t, '}');
}

/* --- metrics --- */

static const struct {
    const char *name, *help;
} gauges[] = {
    {"meshgate_proxies", "Proxies that count, by state."},
    {"meshgate_wave_expected", "Proxies of a wave that count."},
    {"meshgate_wave_heard", "Of them heard of by every witness that the policy asks for."},
    {"meshgate_wave_moved", "Of them seen on the new revision from both ends."},
    {"meshgate_upgrade_phase", "1 for the phase that the upgrade is in."},
    {"meshgate_upgrade_verdict", "1 for what the gate says about going on."},
    {"meshgate_reasons", "Objects that stand against going on, by reason."},
};

enum { PROXIES, WAVE_EXPECTED, WAVE_HEARD, WAVE_MOVED, PHASE, VERDICT, REASONS, GAUGES };

static void set(struct metrics *m, int gauge, const struct upgrade *u, const char *key, const char *value, double v) {
    struct buf labels;
    buf_init(&labels, 1024);
    metrics_label(&labels, "upgrade", u->name);
    metrics_label(&labels, key, value);
    metric_set(metric_get(m, METRIC_GAUGE, gauges[gauge].name, gauges[gauge].help, labels.p), v);
    buf_done(&labels);
}

static void clear(struct metrics *m) {
    for (size_t i = 0; i < GAUGES; i++) {
        metric_clear(m, gauges[i].name);
    }
}

void publish_metrics_mesh(struct metrics *m, const struct snapshot *seen) {
    uint32_t states[STATE_COUNT] = {0};
    clear(m);
    for (uint32_t i = 0; i < seen->n_proxies; i++) {
        states[seen->proxies[i].state] += proxy_counts(&seen->proxies[i]);
    }
    for (unsigned s = 0; s < STATE_COUNT; s++) {
        struct buf label;
        buf_init(&label, 128);
        metrics_label(&label, "state", state_name((enum proxy_state)s));
        metric_set(metric_get(m, METRIC_GAUGE, gauges[PROXIES].name, gauges[PROXIES].help, label.p), states[s]);
        buf_done(&label);
    }
}

void publish_metrics(struct metrics *m, const struct publication *p) {
    const struct upgrade *u = p->upgrade;
    uint32_t states[STATE_COUNT] = {0};
    clear(m);
    for (uint32_t w = 0; w < u->policy.n_waves; w++) {
        const struct wave_tally *t = &p->tallies[w];
        set(m, WAVE_EXPECTED, u, "wave", u->wave_names[w], t->expected);
        set(m, WAVE_HEARD, u, "wave", u->wave_names[w], t->heard);
        set(m, WAVE_MOVED, u, "wave", u->wave_names[w], t->by_state[STATE_MOVED]);
        for (unsigned s = 0; s < STATE_COUNT; s++) {
            states[s] += t->by_state[s];
        }
    }
    for (unsigned s = 0; s < STATE_COUNT; s++) {
        set(m, PROXIES, u, "state", state_name((enum proxy_state)s), states[s]);
    }
    for (unsigned r = 0; r < REASON_COUNT; r++) {
        if (p->decision->by_reason[r] > 0) {
            set(m, REASONS, u, "reason", reason_name((enum reason)r), p->decision->by_reason[r]);
        }
    }
    set(m, PHASE, u, "phase", phase_name(p->decision->phase), 1);
    set(m, VERDICT, u, "verdict", verdict_name(p->decision->verdict), 1);
}
