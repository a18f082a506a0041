/* The proxies as a table, and the metrics. */
#include <stdlib.h>
#include <string.h>

#include "../core/decide.h"
#include "../lib/base/mem.h"
#include "publish.h"

static json_t *text_or_null(const char *s) {
    json_t *text = s && s[0] ? json_string(s) : NULL;
    return text ? text : json_null();
}

static const char *revision_text(const struct join *j, const struct snapshot *seen, uint32_t revision) {
    switch (revision) {
    case REV_UNKNOWN:
        return "?";
    case REV_NONE:
        return "-";
    case REV_CONFLICT:
        return "several";
    case REV_FOREIGN:
        return "not installed";
    default:
        return revision < seen->n_revisions ? join_names(j)->revisions[revision] : "?";
    }
}

static const char *sync_text(enum sync_state s) {
    switch (s) {
    case SYNC_UNKNOWN:
        return "?";
    case SYNC_PENDING:
        return "Pending";
    case SYNC_ERROR:
        return "Error";
    case SYNC_SYNCED:
        return "Synced";
    }
    return "?";
}

static const char *version_text(enum version_match v) {
    switch (v) {
    case VERSION_UNKNOWN:
        return "?";
    case VERSION_DIFFERS:
        return "Differs";
    case VERSION_MATCHES:
        return "Matches";
    case VERSION_AHEAD:
        return "Ahead";
    }
    return "?";
}

static json_t *owner_text(const struct join *j, const struct proxy_row *p, const struct upgrade *u) {
    struct buf b;
    if (p->workload == IDX_NONE) {
        return json_string("Pod");
    }
    buf_init(&b, 1024);
    join_object_name(j, u, ABOUT_WORKLOAD, p->workload, &b);
    const char *slash = b.p ? strchr(b.p, '/') : NULL; /* its namespace stands in a column of its own */
    json_t *text = text_or_null(slash ? slash + 1 : b.p);
    buf_done(&b);
    return text;
}

static json_t *proxy_object(const struct join *j, const struct snapshot *seen, const struct upgrade *u, uint32_t i,
                            int64_t now_ms) {
    const struct proxy_row *p = &seen->proxies[i];
    const struct join_names *n = join_names(j);
    const struct inv_pod *pod = n->pods[i];
    const struct attach_fact *a = n->attached[i];
    const struct local_fact *l = n->local[i];
    int64_t since_ms = p->state_since_ms != 0 && p->state_since_ms <= now_ms ? now_ms - p->state_since_ms : 0;
    json_t *o = json_object();
    json_object_set_new(o, "namespace", text_or_null(pod->namespace_));
    json_object_set_new(o, "pod", text_or_null(pod->name));
    json_object_set_new(o, "node", text_or_null(pod->node));
    json_object_set_new(o, "owner", owner_text(j, p, u));
    json_object_set_new(o, "state", json_string(state_name(p->state)));
    json_object_set_new(o, "reason", p->reason != REASON_NONE ? json_string(reason_name(p->reason)) : json_null());
    json_object_set_new(o, "since_ms", json_integer(since_ms));
    json_object_set_new(o, "expected", json_string(revision_text(j, seen, p->expected)));
    json_object_set_new(o, "injected", json_string(revision_text(j, seen, p->injected)));
    json_object_set_new(o, "attached", json_string(revision_text(j, seen, p->attached)));
    json_object_set_new(o, "replica",
                        p->replica < seen->n_replicas ? text_or_null(n->replicas[p->replica]->name) : json_null());
    json_object_set_new(o, "sync", json_string(sync_text(p->sync)));
    json_object_set_new(o, "error", text_or_null(a ? a->error : NULL));
    json_object_set_new(o, "dials", json_string(revision_text(j, seen, p->dials)));
    json_object_set_new(o, "accepted_cds", text_or_null(l ? l->cds_version : NULL));
    json_object_set_new(o, "acked_cds", text_or_null(a ? a->cds_acked : NULL));
    json_object_set_new(o, "version", json_string(version_text(p->version)));
    json_object_set_new(o, "sentence", json_string(p->reason == REASON_NONE ? "" : reason_sentence(p->reason)));
    json_object_set_new(o, "remedy", json_string(reason_remedy(p->reason)));
    return o;
}

json_t *publish_proxies(const struct join *j, const struct snapshot *seen, const struct upgrade *u, int64_t now_ms) {
    json_t *list = json_array();
    for (uint32_t i = 0; i < seen->n_proxies; i++) {
        bool its = !u->name || seen->namespaces[seen->proxies[i].ns].wave != IDX_NONE;
        if (its && proxy_counts(&seen->proxies[i])) {
            json_array_append_new(list, proxy_object(j, seen, u, i, now_ms));
        }
    }
    json_t *o = json_object();
    json_object_set_new(o, "upgrade", json_string(u->name));
    json_object_set_new(o, "proxies", list);
    return o;
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
