#include "status_view.h"

#include <string.h>

#include "../lib/base/text.h"
#include "plain.h"
#include "table.h"

enum { BAR_WIDTH = 20, OBJECTS_SHOWN = 5, LABEL_WIDTH = 12 };

static const json_t *status_of(const json_t *upgrade) {
    return js_at(upgrade, "status", NULL);
}

/* A spec that the gate has not read yet says nothing about "complete". */
static bool is_behind(const json_t *upgrade) {
    int64_t seen = js_int(upgrade, 0, "status", "observedGeneration", NULL);
    return seen < js_int(upgrade, 0, "metadata", "generation", NULL);
}

enum exit_code status_view_exit(const json_t *upgrade) {
    const char *phase = js_text(status_of(upgrade), "phase", NULL);
    if (strcmp(phase, "Completed") == 0) {
        return is_behind(upgrade) ? EXIT_PROGRESS : EXIT_DONE;
    }
    if (strcmp(phase, "Moving") == 0 || strcmp(phase, "Soaking") == 0) {
        return EXIT_PROGRESS;
    }
    return EXIT_HELD;
}

void status_view_bar(int64_t part, int64_t whole, int width, struct buf *out) {
    int64_t full = whole > 0 && part > 0 ? part * width / whole : 0;
    full = full > width ? width : full;
    buf_str(out, "[");
    for (int i = 0; i < width; i++) {
        buf_str(out, i < full ? "#" : "-");
    }
    buf_str(out, "]");
}

static int percent(int64_t part, int64_t whole) {
    if (whole <= 0 || part <= 0) {
        return 0;
    }
    return part >= whole ? 100 : (int)(part * 100 / whole);
}

static void label(struct buf *out, const char *name) {
    buf_printf(out, "%-*s", LABEL_WIDTH, name);
}

static void age_since(const char *time, int64_t wall_ms, char *out, size_t cap) {
    int64_t at;
    out[0] = '\0';
    if (text_rfc3339(time, &at)) {
        text_age(wall_ms - at, out, cap);
    }
}

/* 1-based; 0 when there is no such wave. */
static size_t wave_number(const json_t *waves, const char *name) {
    size_t i;
    json_t *w;
    json_array_foreach(waves, i, w) {
        if (strcmp(js_text(w, "name", NULL), name) == 0) {
            return i + 1;
        }
    }
    return 0;
}

/* ---- head ---- */

static void add_phase(const json_t *status, struct buf *out) {
    const char *wave = js_text(status, "currentWave", NULL);
    const json_t *waves = js_at(status, "waves", NULL);
    label(out, "Phase:");
    plain_add(out, js_text(status, "phase", NULL));
    if (*wave && strcmp(js_text(status, "phase", NULL), "Completed") != 0) {
        buf_str(out, ", wave ");
        plain_add(out, wave);
        buf_printf(out, " (%zu of %zu)", wave_number(waves, wave), json_array_size(waves));
    }
    buf_str(out, "\n");
    label(out, "Verdict:");
    plain_add(out, js_text(status, "verdict", NULL));
    if (*js_text(status, "message", NULL)) {
        buf_str(out, ": ");
        plain_add(out, js_text(status, "message", NULL));
    }
    buf_str(out, "\n");
}

static void add_states(const json_t *status, struct buf *out) {
    const char *state;
    json_t *n;
    bool any = false;
    json_object_foreach(js_at(status, "summary", "byState", NULL), state, n) {
        if (json_integer_value(n) > 0) {
            if (any) {
                buf_str(out, ", ");
            } else {
                label(out, "States:");
            }
            plain_add(out, state);
            buf_printf(out, " %lld", (long long)json_integer_value(n));
            any = true;
        }
    }
    buf_str(out, any ? "\n" : "");
}

static void add_progress(const json_t *status, struct buf *out) {
    const json_t *s = js_at(status, "summary", NULL);
    int64_t moved = js_int(s, 0, "moved", NULL), expected = js_int(s, 0, "expected", NULL);
    if (!s) {
        return;
    }
    label(out, "Progress:");
    status_view_bar(moved, expected, BAR_WIDTH, out);
    buf_printf(out, " %d%%  %lld of %lld proxies moved, %lld heard\n", percent(moved, expected), (long long)moved,
               (long long)expected, (long long)js_int(s, 0, "heard", NULL));
    label(out, "Relabelled:");
    buf_printf(out, "%lld of %lld namespaces\n", (long long)js_int(s, 0, "relabelled", NULL),
               (long long)js_int(s, 0, "namespaces", NULL));
    add_states(status, out);
}

static void add_times(const json_t *status, int64_t wall_ms, struct buf *out) {
    static const struct { const char *key, *label; } times[] = {{"startedAt", "Started:"}, {"completedAt", "Completed:"}};
    for (size_t i = 0; i < sizeof(times) / sizeof(*times); i++) {
        const char *at = js_str(status, times[i].key, NULL);
        char age[32];
        age_since(at, wall_ms, age, sizeof(age));
        if (*age) {
            label(out, times[i].label);
            plain_add(out, at);
            buf_printf(out, " (%s ago)\n", age);
        }
    }
}

static void add_hold(const json_t *upgrade, int64_t wall_ms, struct buf *out) {
    const json_t *hold = js_at(upgrade, "status", "hold", NULL);
    if (!js_bool(hold, false, "active", NULL)) {
        return;
    }
    char age[32];
    age_since(js_str(hold, "since", NULL), wall_ms, age, sizeof(age));
    label(out, "Held:");
    plain_add(out, js_text(hold, "reason", NULL));
    buf_printf(out, "%s%s; once mended: kubectl meshgate resume ", *age ? ", since " : "", age);
    plain_add(out, js_text(upgrade, "metadata", "name", NULL));
    buf_str(out, "\n");
}

static void add_head(const json_t *upgrade, int64_t wall_ms, struct buf *out) {
    const json_t *status = status_of(upgrade);
    label(out, "Upgrade:");
    plain_add(out, js_text(upgrade, "metadata", "name", NULL));
    buf_str(out, ", from ");
    plain_add(out, js_text(upgrade, "spec", "from", "revision", NULL));
    buf_str(out, " to ");
    plain_add(out, js_text(upgrade, "spec", "to", "revision", NULL));
    buf_str(out, "\n");
    if (!*js_text(status, "phase", NULL)) {
        label(out, "Phase:");
        buf_str(out, "none: the gate has not looked at this upgrade yet; does it run?\n");
        return;
    }
    add_phase(status, out);
    add_hold(upgrade, wall_ms, out);
    add_progress(status, out);
    add_times(status, wall_ms, out);
    if (is_behind(upgrade)) {
        label(out, "Note:");
        buf_str(out, "the spec was changed; the gate has not read the change yet\n");
    }
}

/* ---- waves ---- */

static bool is_approved(const json_t *spec, const char *wave) {
    size_t i;
    json_t *a;
    json_array_foreach(js_at(spec, "approvedWaves", NULL), i, a) {
        if (strcmp(js_text(a, NULL), wave) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_manual(const json_t *spec, const char *wave) {
    const json_t *waves = js_at(spec, "waves", NULL);
    size_t n = wave_number(waves, wave);
    return n > 0 && strcmp(js_text(json_array_get(waves, n - 1), "approval", NULL), "Manual") == 0;
}

static void add_took(const json_t *wave, int64_t wall_ms, struct buf *out) {
    int64_t from, to = wall_ms;
    bool done = text_rfc3339(js_str(wave, "completedAt", NULL), &to);
    if (text_rfc3339(js_str(wave, "startedAt", NULL), &from)) {
        char age[32];
        text_age(to - from, age, sizeof(age));
        buf_printf(out, done ? "took %s" : "for %s", age);
    }
}

static void wave_note(const json_t *upgrade, const json_t *wave, int64_t wall_ms, struct buf *out) {
    const json_t *spec = js_at(upgrade, "spec", NULL);
    const char *name = js_text(wave, "name", NULL), *state = js_text(wave, "state", NULL);
    int64_t until;
    buf_reset(out);
    if (strcmp(state, "Soaking") == 0 && text_rfc3339(js_str(wave, "soakUntil", NULL), &until)) {
        char left[32];
        text_age(until - wall_ms, left, sizeof(left));
        buf_printf(out, "%s left", left);
    } else if (strcmp(state, "AwaitingApproval") == 0) {
        buf_printf(out, "kubectl meshgate approve %s %s", js_text(upgrade, "metadata", "name", NULL), name);
    } else if (strcmp(state, "Pending") == 0) {
        buf_str(out, !is_manual(spec, name) ? "" : is_approved(spec, name) ? "approved" : "will need approval");
    } else {
        add_took(wave, wall_ms, out);
    }
}

static void add_waves(const json_t *upgrade, int64_t wall_ms, bool wide, struct buf *out) {
    static const char *const narrow_heads[] = {"WAVE", "STATE", "NAMESPACES", "MOVED", "PROGRESS", "NOTE"};
    static const char *const wide_heads[] = {"WAVE",     "STATE", "NAMESPACES", "MOVED",
                                             "PROGRESS", "HEARD", "STARTED",    "NOTE"};
    const json_t *waves = js_at(upgrade, "status", "waves", NULL);
    size_t i;
    json_t *w;
    if (json_array_size(waves) == 0) {
        return;
    }
    struct table t;
    struct buf cell;
    buf_init(&cell, 1024);
    table_init(&t, wide ? wide_heads : narrow_heads, wide ? 8 : 6);
    json_array_foreach(waves, i, w) {
        int64_t moved = js_int(w, 0, "moved", NULL), expected = js_int(w, 0, "expected", NULL);
        bool done = strcmp(js_text(w, "state", NULL), "Done") == 0;
        int64_t whole = expected > 0 ? expected : done ? 1 : 0, part = expected > 0 ? moved : done;
        table_add(&t, js_text(w, "name", NULL));
        table_add(&t, js_text(w, "state", NULL));
        table_addf(&t, "%lld/%lld", (long long)js_int(w, 0, "relabelled", NULL),
                   (long long)js_int(w, 0, "namespaces", NULL));
        table_addf(&t, "%lld/%lld", (long long)moved, (long long)expected);
        buf_reset(&cell);
        status_view_bar(part, whole, BAR_WIDTH, &cell);
        buf_printf(&cell, " %3d%%", percent(part, whole));
        table_add(&t, cell.p);
        if (wide) {
            table_addf(&t, "%lld", (long long)js_int(w, 0, "heard", NULL));
            table_add(&t, js_text(w, "startedAt", NULL));
        }
        wave_note(upgrade, w, wall_ms, &cell);
        table_add(&t, cell.p);
    }
    buf_str(out, "\n");
    table_write(&t, 0, out);
    table_done(&t);
    buf_done(&cell);
}

/* ---- reasons ---- */

static void add_reason(const json_t *r, bool wide, struct buf *out) {
    const json_t *objects = js_at(r, "objects", NULL);
    size_t n = json_array_size(objects), shown = wide || n < OBJECTS_SHOWN ? n : OBJECTS_SHOWN;
    int64_t count = js_int(r, 0, "count", NULL);
    buf_printf(out, "  %-8s", js_text(r, "severity", NULL));
    plain_add(out, js_text(r, "reason", NULL));
    buf_printf(out, " (%lld): ", (long long)count);
    plain_add(out, js_text(r, "sentence", NULL));
    buf_str(out, "\n");
    for (size_t i = 0; i < shown; i++) {
        const json_t *o = json_array_get(objects, i);
        buf_str(out, "            ");
        plain_add(out, js_text(o, "name", NULL));
        if (*js_text(o, "message", NULL)) {
            buf_str(out, ": ");
            plain_add(out, js_text(o, "message", NULL));
        }
        buf_str(out, "\n");
    }
    if (count > (int64_t)shown && shown > 0) {
        buf_printf(out, "            and %lld more\n", (long long)(count - (int64_t)shown));
    }
    if (*js_text(r, "remedy", NULL)) {
        buf_str(out, "          > ");
        plain_add(out, js_text(r, "remedy", NULL));
        buf_str(out, "\n");
    }
}

static void add_reasons(const json_t *upgrade, bool wide, struct buf *out) {
    const json_t *reasons = js_at(upgrade, "status", "reasons", NULL);
    size_t i;
    json_t *r;
    if (json_array_size(reasons) == 0) {
        return;
    }
    buf_str(out, "\nReasons:\n");
    json_array_foreach(reasons, i, r) {
        add_reason(r, wide, out);
    }
}

static void add_conditions(const json_t *upgrade, int64_t wall_ms, struct buf *out) {
    static const char *const heads[] = {"CONDITION", "STATUS", "SINCE", "REASON", "MESSAGE"};
    const json_t *conditions = js_at(upgrade, "status", "conditions", NULL);
    size_t i;
    json_t *c;
    if (json_array_size(conditions) == 0) {
        return;
    }
    struct table t;
    table_init(&t, heads, sizeof(heads) / sizeof(*heads));
    json_array_foreach(conditions, i, c) {
        char age[32];
        age_since(js_str(c, "lastTransitionTime", NULL), wall_ms, age, sizeof(age));
        table_add(&t, js_text(c, "type", NULL));
        table_add(&t, js_text(c, "status", NULL));
        table_add(&t, age);
        table_add(&t, js_text(c, "reason", NULL));
        table_add(&t, js_text(c, "message", NULL));
    }
    buf_str(out, "\n");
    table_write(&t, 0, out);
    table_done(&t);
}

void status_view(const json_t *upgrade, int64_t wall_ms, bool wide, struct buf *out) {
    add_head(upgrade, wall_ms, out);
    add_waves(upgrade, wall_ms, wide, out);
    add_reasons(upgrade, wide, out);
    if (wide) {
        add_conditions(upgrade, wall_ms, out);
    }
}

void status_view_line(const json_t *upgrade, struct buf *out) {
    const json_t *status = status_of(upgrade), *waves = js_at(status, "waves", NULL);
    const char *phase = js_str(status, "phase", NULL), *wave = js_text(status, "currentWave", NULL);
    size_t n = wave_number(waves, wave), i;
    json_t *r;
    plain_add(out, phase ? phase : "NotBegun");
    buf_str(out, " ");
    plain_add(out, js_text(status, "verdict", NULL));
    if (n > 0) {
        const json_t *w = json_array_get(waves, n - 1);
        buf_str(out, " wave=");
        plain_add(out, wave);
        buf_printf(out, " (%zu/%zu) %lld/%lld moved", n, json_array_size(waves), (long long)js_int(w, 0, "moved", NULL),
                   (long long)js_int(w, 0, "expected", NULL));
    }
    buf_printf(out, " total=%lld/%lld", (long long)js_int(status, 0, "summary", "moved", NULL),
               (long long)js_int(status, 0, "summary", "expected", NULL));
    json_array_foreach(js_at(status, "reasons", NULL), i, r) {
        buf_printf(out, "%s%s", i ? ", " : " reasons: ", js_text(r, "severity", NULL));
        buf_str(out, " ");
        plain_add(out, js_text(r, "reason", NULL));
        buf_printf(out, "(%lld)", (long long)js_int(r, 0, "count", NULL));
    }
}
