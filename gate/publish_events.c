/* What has changed between two statuses: is it worth a write, and what is told of it as Events. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/decide.h"
#include "../lib/base/json.h"
#include "../lib/base/mem.h"
#include "publish.h"

/* A beginning of a soak is no mere time: the gate goes on from it. */
static bool mere_time(const char *key) {
    static const char *const keys[] = {"lastTransitionTime", "startedAt", "completedAt", "since"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (strcmp(keys[i], key) == 0) {
            return true;
        }
    }
    return false;
}

static bool same_objects(const json_t *a, const json_t *b) {
    const char *key;
    json_t *v;
    if (json_object_size(a) != json_object_size(b)) {
        return false;
    }
    json_object_foreach((json_t *)(uintptr_t)a, key, v) {
        const json_t *w = json_object_get(b, key);
        if (!w || (!mere_time(key) && !publish_same(v, w))) {
            return false;
        }
    }
    return true;
}

bool publish_same(const json_t *a, const json_t *b) {
    if (!a || !b || json_typeof(a) != json_typeof(b)) {
        return false;
    }
    if (json_is_object(a)) {
        return same_objects(a, b);
    }
    if (!json_is_array(a)) {
        return json_equal(a, b);
    }
    bool same = json_array_size(a) == json_array_size(b);
    for (size_t i = 0; same && i < json_array_size(a); i++) {
        same = publish_same(json_array_get(a, i), json_array_get(b, i));
    }
    return same;
}

static bool same_field(const json_t *a, const json_t *b, const char *key) {
    const json_t *x = json_object_get(a, key), *y = json_object_get(b, key);
    return (!x && !y) || publish_same(x, y);
}

static bool same_rows(const json_t *a, const json_t *b, const char *list, const char *key, const char *second) {
    const json_t *x = json_object_get(a, list), *y = json_object_get(b, list);
    bool same = json_array_size(x) == json_array_size(y);
    for (size_t i = 0; same && i < json_array_size(x); i++) {
        same = same_field(json_array_get(x, i), json_array_get(y, i), key) &&
               same_field(json_array_get(x, i), json_array_get(y, i), second);
    }
    return same;
}

bool publish_urgent(const json_t *before, const json_t *after) {
    static const char *const fields[] = {"phase", "verdict", "currentWave", "hold", "progress", "observedGeneration"};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (!same_field(before, after, fields[i])) {
            return true;
        }
    }
    return !same_rows(before, after, "waves", "state", "soakStartedAt") ||
           !same_rows(before, after, "reasons", "reason", "reason");
}

/* --- Events --- */

static const json_t *find_reason(const json_t *status, const char *name) {
    const json_t *list = json_object_get(status, "reasons");
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (strcmp(js_text(json_array_get(list, i), "reason", NULL), name) == 0) {
            return json_array_get(list, i);
        }
    }
    return NULL;
}

static bool is_bad(const char *severity) {
    return strcmp(severity, "Fail") == 0 || strcmp(severity, "Unknown") == 0;
}

static void tell_phase(struct execute *x, const struct inv_upgrade *o, const json_t *before, const json_t *after) {
    const char *phase = js_text(after, "phase", NULL), *verdict = js_text(after, "verdict", NULL);
    if (strcmp(js_text(before, "phase", NULL), phase) == 0) {
        return;
    }
    char *text = mem_printf("%s: %s", phase, js_text(after, "message", NULL));
    execute_event(x, o, is_bad(verdict) ? "Warning" : "Normal", phase, text);
    free(text);
}

static void tell_waves(struct execute *x, const struct inv_upgrade *o, const json_t *before, const json_t *after) {
    const json_t *now = json_object_get(after, "waves"), *then = json_object_get(before, "waves");
    for (size_t i = 0; i < json_array_size(now); i++) {
        const json_t *w = json_array_get(now, i);
        const char *state = js_text(w, "state", NULL);
        const char *was = js_text(json_array_get(then, i), "state", NULL);
        if (strcmp(state, was) == 0 || strcmp(state, "Pending") == 0) {
            continue;
        }
        char reason[40];
        snprintf(reason, sizeof reason, "Wave%s", state);
        char *text =
            mem_printf("wave %s: %lld of %lld proxies moved, %lld of %lld namespaces relabelled", js_text(w, "name", NULL),
                       (long long)js_int(w, 0, "moved", NULL), (long long)js_int(w, 0, "expected", NULL),
                       (long long)js_int(w, 0, "relabelled", NULL), (long long)js_int(w, 0, "namespaces", NULL));
        execute_event(x, o, "Normal", reason, text);
        free(text);
    }
}

static bool passing(const char *reason) {
    static const enum reason ordinary[] = {REASON_SOAKING,        REASON_PROOF_DUE,        REASON_STARTING,
                                           REASON_RECONNECTING,   REASON_NOT_READY,        REASON_RELABEL_PENDING,
                                           REASON_RESTART_DUE,    REASON_RESTARTING,       REASON_NODE_REACH_UNTESTED,
                                           REASON_WAVE_NOT_BEGUN, REASON_AWAITING_APPROVAL};
    enum reason r = reason_from_name(reason);
    for (size_t i = 0; i < sizeof ordinary / sizeof *ordinary; i++) {
        if (r == ordinary[i]) {
            return true;
        }
    }
    return false;
}

static void tell_reasons(struct execute *x, const struct inv_upgrade *o, const json_t *before, const json_t *after) {
    const json_t *list = json_object_get(after, "reasons");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *r = json_array_get(list, i);
        const char *name = js_text(r, "reason", NULL);
        if (find_reason(before, name) || passing(name)) {
            continue;
        }
        const json_t *first = json_array_get(json_object_get(r, "objects"), 0);
        const char *said = js_str(first, "message", NULL), *remedy = js_text(r, "remedy", NULL);
        char *text = mem_printf("%s: %s%s%s%s%s", js_text(first, "name", NULL), js_text(r, "sentence", NULL),
                                said ? ": " : "", said ? said : "", remedy[0] ? "; " : "", remedy);
        execute_event(x, o, strcmp(js_text(r, "severity", NULL), "Note") == 0 ? "Normal" : "Warning", name, text);
        free(text);
    }
}

void publish_events(struct execute *x, const struct inv_upgrade *o, const json_t *before, const json_t *after) {
    tell_phase(x, o, before, after);
    tell_waves(x, o, before, after);
    tell_reasons(x, o, before, after);
}
