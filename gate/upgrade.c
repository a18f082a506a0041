#include "upgrade.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/decide.h"
#include "../lib/base/err.h"
#include "../lib/base/json.h"
#include "../lib/base/mem.h"
#include "../lib/base/text.h"

#define MAX_WAVES 64
#define MAX_DURATION_MS (INT64_C(30) * 24 * 3600 * 1000)

/* --- spec --- */

static bool take_duration(const json_t *o, const char *where, const char *key, const char *absent, int64_t *out,
                          struct err *err) {
    const json_t *v = json_object_get(o, key);
    const char *text = v ? json_string_value(v) : absent;
    if (!text || !text_duration(text, out) || *out > MAX_DURATION_MS) {
        return err_set(err, ERR_INVALID, "%s.%s: \"%s\" is no duration between 0s and 720h, such as 15m", where, key,
                       text ? text : "(no text)");
    }
    return true;
}

static bool take_number(const json_t *o, const char *where, const char *key, int64_t absent, int64_t min, int64_t max,
                        uint32_t *out, struct err *err) {
    const json_t *v = json_object_get(o, key);
    int64_t n = v ? json_integer_value(v) : absent;
    if ((v && !json_is_integer(v)) || n < min || n > max) {
        return err_set(err, ERR_INVALID, "%s.%s: must be a whole number from %lld to %lld", where, key, (long long)min,
                       (long long)max);
    }
    *out = (uint32_t)n;
    return true;
}

/* One of two words; *out says whether it is the second. */
static bool take_choice(const json_t *o, const char *where, const char *key, const char *first, const char *second,
                        bool *out, struct err *err) {
    const json_t *v = json_object_get(o, key);
    const char *text = v ? json_string_value(v) : first;
    *out = text && strcmp(text, second) == 0;
    if (!text || (!*out && strcmp(text, first) != 0)) {
        return err_set(err, ERR_INVALID, "%s.%s: \"%s\" is not known; give %s or %s", where, key, text ? text : "(no text)",
                       first, second);
    }
    return true;
}

static bool take_revisions(struct upgrade *u, const json_t *spec, const struct inventory *inv, struct err *err) {
    const char *from = js_str(spec, "from", "revision", NULL);
    const char *to = js_str(spec, "to", "revision", NULL);
    if (!from || !*from || !to || !*to) {
        return err_set(err, ERR_INVALID, "spec.%s.revision: is missing; give the name of a revision",
                       from && *from ? "to" : "from");
    }
    u->from_name = mem_dup(from);
    u->to_name = mem_dup(to);
    u->from = mem_dup(inventory_resolve(inv, from));
    u->to = mem_dup(inventory_resolve(inv, to));
    const char *move = js_str(spec, "move", NULL);
    if (json_object_get(spec, "move") && (!move || strcmp(move, "NamespaceLabel") != 0)) {
        return err_set(err, ERR_INVALID, "spec.move: \"%s\" is not known; give NamespaceLabel", move ? move : "(no text)");
    }
    return true;
}

static bool listed(const json_t *array, const char *text) {
    for (size_t i = 0; i < json_array_size(array); i++) {
        const char *s = json_string_value(json_array_get(array, i));
        if (s && strcmp(s, text) == 0) {
            return true;
        }
    }
    return false;
}

static bool check_select(const json_t *select, const char *where, struct err *err) {
    const json_t *names = json_object_get(select, "names");
    const json_t *selector = json_object_get(select, "selector");
    const json_t *percent = json_object_get(select, "percent");
    uint32_t share;
    if (select && !json_is_object(select)) {
        return err_set(err, ERR_INVALID, "%s.namespaces: must be an object with names, selector or percent", where);
    }
    if ((names != NULL) + (selector != NULL) + (percent != NULL) > 1) {
        return err_set(err, ERR_INVALID, "%s.namespaces: give one of names, selector, percent; make a wave of each", where);
    }
    if (names && !json_is_array(names)) {
        return err_set(err, ERR_INVALID, "%s.namespaces.names: must be a list of names", where);
    }
    if (selector && (!json_is_object(selector) || selector_matches(selector, NULL) < 0)) {
        return err_set(err, ERR_INVALID,
                       "%s.namespaces.selector: is of a form that is not known; give matchLabels or "
                       "matchExpressions",
                       where);
    }
    char inside[60];
    snprintf(inside, sizeof inside, "%s.namespaces", where);
    return !percent || take_number(select, inside, "percent", 0, 1, 100, &share, err);
}

static bool take_wave(struct upgrade *u, uint32_t i, const json_t *wave, const json_t *approved, struct err *err) {
    char where[40];
    snprintf(where, sizeof where, "spec.waves[%u]", i);
    const char *name = js_str(wave, "name", NULL);
    if (!name || !*name) {
        return err_set(err, ERR_INVALID, "%s.name: is missing; each wave needs a name", where);
    }
    for (uint32_t k = 0; k < i; k++) {
        if (strcmp(u->wave_names[k], name) == 0) {
            return err_set(err, ERR_INVALID, "%s.name: \"%s\" stands twice; names of waves must differ", where, name);
        }
    }
    u->wave_names[i] = mem_dup(name);
    json_t *select = json_object_get(wave, "namespaces");
    if (!check_select(select, where, err)) {
        return false;
    }
    u->wave_selects[i] = select ? json_incref(select) : NULL;
    u->waves[i].approved = listed(approved, name);
    return take_duration(wave, where, "soak", "5m", &u->waves[i].soak_ms, err) &&
           take_choice(wave, where, "approval", "Auto", "Manual", &u->waves[i].manual, err);
}

static bool take_waves(struct upgrade *u, const json_t *spec, struct err *err) {
    const json_t *waves = json_object_get(spec, "waves");
    size_t n = json_array_size(waves);
    if (n == 0 || n > MAX_WAVES) {
        return err_set(err, ERR_INVALID, "spec.waves: must be a list of 1 to %d waves", MAX_WAVES);
    }
    u->waves = mem_alloc(n * sizeof *u->waves);
    u->wave_names = mem_alloc(n * sizeof *u->wave_names);
    u->wave_selects = mem_alloc(n * sizeof *u->wave_selects);
    u->policy.waves = u->waves;
    u->policy.n_waves = (uint32_t)n;
    for (uint32_t i = 0; i < n; i++) {
        if (!take_wave(u, i, json_array_get(waves, i), json_object_get(spec, "approvedWaves"), err)) {
            return false;
        }
    }
    return true;
}

static bool take_policy(struct upgrade *u, const json_t *spec, struct err *err) {
    struct policy *p = &u->policy;
    const json_t *o = json_object_get(spec, "policy");
    const char *where = "spec.policy";
    uint32_t coverage = 100;
    bool optional, unused;
    if (!take_choice(o, where, "nodeWitness", "Required", "Optional", &optional, err) ||
        !take_choice(o, where, "onFail", "Pause", "Pause", &unused, err) ||
        !take_number(o, where, "coveragePercent", 100, 1, 100, &coverage, err) ||
        !take_number(o, where, "maxBadProxies", 0, 0, INT32_MAX, &p->max_bad, err) ||
        !take_number(js_at(o, "maxInFlight", NULL), "spec.policy.maxInFlight", "namespaces", 0, 0, INT32_MAX,
                     &p->max_namespaces, err) ||
        !take_number(spec, "spec", "resumeHold", 0, 0, INT32_MAX, &p->resume_hold, err)) {
        return false;
    }
    const json_t *paused = json_object_get(spec, "paused");
    if (paused && !json_is_boolean(paused)) {
        return err_set(err, ERR_INVALID, "spec.paused: must be true or false");
    }
    p->paused = json_is_true(paused);
    p->node_witness = !optional;
    p->coverage_permille = coverage * 10;
    return take_duration(o, where, "evidenceMaxAge", "45s", &p->evidence_max_age_ms, err) &&
           take_duration(o, where, "startDwell", "3m", &p->dwell_start_ms, err) &&
           take_duration(o, where, "absentDwell", "60s", &p->dwell_absent_ms, err) &&
           take_duration(o, where, "ackDwell", "30s", &p->dwell_ack_ms, err) &&
           take_duration(o, where, "conflictDwell", "60s", &p->dwell_conflict_ms, err);
}

/* --- status --- */

static int64_t wall_at(const json_t *o, const char *key) {
    const char *text = json_string_value(json_object_get(o, key));
    int64_t wall;
    return text && text_rfc3339(text, &wall) ? wall : 0;
}

/* How many of the waves that were done bear the names that the spec has now. */
static uint32_t done_waves(const struct upgrade *u, const json_t *status, uint32_t done) {
    const json_t *waves = json_object_get(status, "waves");
    uint32_t i = 0;
    while (i < done && i < u->policy.n_waves &&
           strcmp(js_text(json_array_get(waves, i), "name", NULL), u->wave_names[i]) == 0) {
        i++;
    }
    return i;
}

static void take_soak(struct upgrade *u, const json_t *wave, int64_t now_ms, int64_t wall_ms) {
    int64_t since = wall_at(wave, "soakStartedAt");
    if (since == 0) {
        return;
    }
    int64_t at = since < wall_ms ? now_ms - (wall_ms - since) : now_ms;
    u->progress.soak_started_ms = at != 0 ? at : -1;
}

static void take_status(struct upgrade *u, const json_t *status, int64_t now_ms, int64_t wall_ms) {
    struct progress *p = &u->progress;
    u->fresh = json_object_get(status, "progress") == NULL;
    u->started_wall_ms = wall_at(status, "startedAt");
    u->completed_wall_ms = wall_at(status, "completedAt");
    int64_t said = js_int(status, -1, "progress", "wave", NULL);
    bool sense = said >= 0 && said <= MAX_WAVES;
    uint32_t done = sense ? (uint32_t)said : 0;
    p->wave = done_waves(u, status, done);
    const json_t *wave = json_array_get(json_object_get(status, "waves"), p->wave);
    bool same = sense && p->wave == done && p->wave < u->policy.n_waves &&
                strcmp(js_text(wave, "name", NULL), u->wave_names[p->wave]) == 0;
    if (same && js_bool(status, false, "progress", "started", NULL)) {
        p->started = true;
        u->wave_started_wall_ms = wall_at(wave, "startedAt");
        take_soak(u, wave, now_ms, wall_ms);
    }
    int64_t id = js_int(status, 0, "hold", "id", NULL);
    p->hold_id = id > 0 && id <= UINT32_MAX ? (uint32_t)id : 0;
    p->held = js_bool(status, false, "hold", "active", NULL);
    p->hold_reason = p->held ? reason_from_name(js_str(status, "hold", "reason", NULL)) : REASON_NONE;
}

/* --- the face --- */

bool upgrade_parse(const struct inv_upgrade *o, const struct inventory *inv, int64_t now_ms, int64_t wall_ms,
                   struct upgrade *out, struct err *err) {
    memset(out, 0, sizeof *out);
    out->name = mem_dup(o->name);
    out->uid = mem_dup(o->uid ? o->uid : "");
    out->generation = o->generation;
    out->policy.from = out->policy.to = REV_FOREIGN;
    if (!take_revisions(out, o->spec, inv, err) || !take_waves(out, o->spec, err) || !take_policy(out, o->spec, err)) {
        return false;
    }
    take_status(out, o->status, now_ms, wall_ms);
    return true;
}

void upgrade_none(struct upgrade *out, int64_t evidence_max_age_ms) {
    memset(out, 0, sizeof *out);
    out->policy.from = out->policy.to = REV_FOREIGN;
    check(take_policy(out, NULL, NULL));
    out->policy.evidence_max_age_ms = evidence_max_age_ms;
}

void upgrade_done(struct upgrade *u) {
    for (uint32_t i = 0; i < u->policy.n_waves; i++) {
        free(u->wave_names[i]);
        json_decref(u->wave_selects[i]);
    }
    free(u->wave_names);
    free(u->wave_selects);
    free(u->waves);
    free(u->name);
    free(u->uid);
    free(u->from_name);
    free(u->to_name);
    free(u->from);
    free(u->to);
    memset(u, 0, sizeof *u);
}

static bool same_text(const char *a, const char *b) {
    return a && b && strcmp(a, b) == 0;
}

bool upgrade_concerns(const struct upgrade *u, const struct inventory *inv, const struct inv_namespace *ns) {
    const char *revision = NULL;
    if (!u->name) {
        return false;
    }
    const char *label = js_str(ns->labels, "istio.io/rev", NULL);
    if (upgrade_moved(u, ns)) {
        return true;
    }
    if (label) {
        const char *meant = inventory_resolve(inv, label);
        if (same_text(meant, u->from) || same_text(meant, u->to) || same_text(label, u->from_name) ||
            same_text(label, u->to_name)) {
            return !same_text(js_str(ns->labels, "istio-injection", NULL), "disabled");
        }
    }
    switch (injectors_for(inv->injectors, ns->name, ns->labels, NULL, &revision)) {
    case INJECTOR_ONE:
        return same_text(revision, u->from) || same_text(revision, u->to);
    case INJECTOR_SEVERAL:
    case INJECTOR_UNKNOWN:
        /* Who it is cannot be said; that it wants one can. */
        return label || same_text(js_str(ns->labels, "istio-injection", NULL), "enabled");
    case INJECTOR_NONE:
        return false;
    }
    return false;
}

static bool takes_by_name(const json_t *select, const char *name, const json_t *labels) {
    const json_t *names = json_object_get(select, "names");
    const json_t *selector = json_object_get(select, "selector");
    return (names && listed(names, name)) || (selector && selector_matches(selector, labels) == 1);
}

static bool takes_the_rest(const json_t *select) {
    return json_object_size(select) == 0;
}

uint32_t upgrade_wave_of(const struct upgrade *u, const char *namespace_, const json_t *labels) {
    for (uint32_t i = 0; i < u->policy.n_waves; i++) {
        if (takes_by_name(u->wave_selects[i], namespace_, labels)) {
            return i;
        }
    }
    uint64_t hash = text_hash(text_hash(0, u->uid, strlen(u->uid)), namespace_, strlen(namespace_));
    int64_t place = (int64_t)((hash ^ hash >> 32) % 100), taken = 0;
    for (uint32_t i = 0; i < u->policy.n_waves; i++) {
        taken += js_int(u->wave_selects[i], 0, "percent", NULL);
        if (takes_the_rest(u->wave_selects[i]) || place < taken) {
            return i;
        }
    }
    return IDX_NONE;
}

void upgrade_mark(const struct upgrade *u, char *out, size_t cap) {
    snprintf(out, cap, "%.200s/%.8s", u->name, u->uid);
}

bool upgrade_moved(const struct upgrade *u, const struct inv_namespace *ns) {
    char mark[UPGRADE_MARK_MAX];
    upgrade_mark(u, mark, sizeof mark);
    return same_text(js_str(ns->annotations, MESHGATE_MARK_NAMESPACE, NULL), mark);
}

bool upgrade_completed(const struct inv_upgrade *o) {
    return same_text(js_str(o->status, "phase", NULL), "Completed") &&
           js_int(o->status, -1, "observedGeneration", NULL) == o->generation;
}
