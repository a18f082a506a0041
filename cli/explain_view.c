#include "explain_view.h"

#include <string.h>

#include "../lib/base/text.h"
#include "plain.h"
#include "table.h"
#include "wrap.h"

enum { LABEL_WIDTH = 10, WORD_MAX = 4096 };

static const struct {
    const char *key, *name;
} witnesses[] = {{"intent", "API server"}, {"control_plane", "control plane"}, {"node", "node"}};
enum { N_WITNESSES = sizeof(witnesses) / sizeof(*witnesses) };

static const char *whose_text(const char *whose) {
    static const char *const texts[][2] = {
        {"nobody", "nobody's: it passes by itself"},           {"operator", "of who runs the upgrade"},
        {"platform", "of who runs the control planes"},        {"node", "of who runs the node and the agent on it"},
        {"namespace", "of who writes the namespace's labels"},
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        if (strcmp(texts[i][0], whose) == 0) {
            return texts[i][1];
        }
    }
    return NULL;
}

static void label(struct buf *out, const char *name) {
    buf_printf(out, "%-*s", LABEL_WIDTH, name);
}

static void line(struct buf *out, const char *name, const char *text, size_t columns) {
    if (text && *text) {
        label(out, name);
        wrap_add(out, text, LABEL_WIDTH, LABEL_WIDTH, columns);
    }
}

static void owner_of(const json_t *view, struct buf *out) {
    const char *kind = js_text(view, "owner_kind", NULL);
    if (strcmp(kind, "Pod") == 0) {
        buf_str(out, "bare pod");
    } else {
        buf_printf(out, "%s/%s", kind, js_text(view, "owner", NULL));
    }
}

/* ---- head ---- */

static void add_state(const json_t *view, size_t columns, struct buf *out) {
    struct buf b;
    char age[32];
    buf_init(&b, WORD_MAX);
    text_age(js_int(view, 0, "since_ms", NULL), age, sizeof(age));
    buf_printf(&b, "%s for %s", js_text(view, "state", NULL), age);
    if (*js_text(view, "meaning", NULL)) {
        buf_printf(&b, ": %s", js_text(view, "meaning", NULL));
    }
    line(out, "State:", b.p, columns);
    buf_done(&b);
}

static void add_reason(const json_t *view, size_t columns, struct buf *out) {
    const char *reason = js_text(view, "reason", NULL), *whose = js_text(view, "whose", NULL);
    struct buf b;
    if (!*reason) {
        return;
    }
    buf_init(&b, WORD_MAX);
    buf_printf(&b, "%s (%s): %s", reason, js_text(view, "severity", NULL), js_text(view, "sentence", NULL));
    line(out, "Reason:", b.p, columns);
    buf_reset(&b);
    if (whose_text(whose)) {
        buf_str(&b, whose_text(whose));
    } else if (strcmp(whose, "owner") == 0) {
        buf_str(&b, "of the owner: ");
        owner_of(view, &b);
    }
    line(out, "Whose:", b.p, columns);
    line(out, "Remedy:", js_text(view, "remedy", NULL), columns);
    buf_done(&b);
}

/* ---- witnesses ---- */

static void add_age(const json_t *w, char *age, size_t cap) {
    const json_t *ms = js_at(w, "age_ms", NULL);
    if (json_is_integer(ms)) {
        text_age(json_integer_value(ms), age, cap);
    } else {
        (void)snprintf(age, cap, "never");
    }
}

static void add_witnesses(const json_t *view, size_t columns, struct buf *out) {
    enum { NAME = 15, AGE = 7 };
    buf_printf(out, "\n%-*s%-*s%s\n", NAME, "WITNESS", AGE, "AGE", "SAYS");
    for (size_t i = 0; i < N_WITNESSES; i++) {
        const json_t *w = js_at(view, "witnesses", witnesses[i].key, NULL);
        char age[32];
        add_age(w, age, sizeof(age));
        buf_printf(out, "%-*s%-*s", NAME, witnesses[i].name, AGE, age);
        wrap_add(out, *js_text(w, "says", NULL) ? js_text(w, "says", NULL) : "nothing", NAME + AGE, NAME + AGE, columns);
    }
}

/* ---- evidence ---- */

/* "sync_age_ms" is a time: "sync age". */
static bool name_of(const char *key, struct buf *out) {
    size_t n = strlen(key);
    bool time = n > 3 && strcmp(key + n - 3, "_ms") == 0;
    buf_reset(out);
    buf_add(out, key, time ? n - 3 : n);
    for (size_t i = 0; i < out->len; i++) {
        out->p[i] = out->p[i] == '_' ? ' ' : out->p[i];
    }
    return time;
}

static void types_of(const json_t *types, struct buf *out) {
    const char *type;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)types, type, v) {
        buf_printf(out, "%s%s %s", out->len ? ", " : "", type, json_is_string(v) ? json_string_value(v) : "?");
    }
}

/* false: there is nothing to show. */
static bool value_of(const json_t *v, bool time, struct buf *out) {
    char age[32];
    buf_reset(out);
    if (json_is_string(v)) {
        buf_str(out, json_string_value(v));
    } else if (json_is_integer(v) && time) {
        int64_t ms = json_integer_value(v);
        text_age(ms < 0 ? -ms : ms, age, sizeof(age));
        buf_printf(out, "%s%s", ms < 0 ? "-" : "", age);
    } else if (json_is_integer(v)) {
        buf_printf(out, "%lld", (long long)json_integer_value(v));
    } else if (json_is_boolean(v)) {
        buf_str(out, json_is_true(v) ? "yes" : "no");
    } else if (json_is_object(v)) {
        types_of(v, out);
    }
    return out->len > 0;
}

/* Whatever facts the gate gives: a gate of another version may know others. */
static void add_evidence(const json_t *view, size_t columns, struct buf *out) {
    enum { INDENT = 2, NAME = 25 };
    struct buf name, value;
    buf_init(&name, WORD_MAX);
    buf_init(&value, WORD_MAX);
    for (size_t i = 0; i < N_WITNESSES; i++) {
        const char *key;
        json_t *v, *w = js_at(view, "witnesses", witnesses[i].key, NULL);
        buf_printf(out, "\nEvidence of the %s\n", witnesses[i].name);
        json_object_foreach(w, key, v) {
            bool time = name_of(key, &name);
            bool told = strcmp(key, "says") == 0 || strcmp(key, "age_ms") == 0;
            if (!told && value_of(v, time, &value)) {
                buf_printf(out, "%*s", INDENT, "");
                size_t before = out->len;
                plain_add(out, name.p);
                buf_str(out, ":");
                size_t at = out->len - before;
                buf_printf(out, "%*s", (int)(at < NAME ? NAME - at : 1), "");
                wrap_add(out, value.p, INDENT + NAME, INDENT + NAME, columns);
            }
        }
    }
    buf_done(&name);
    buf_done(&value);
}

void explain_view(const json_t *view, size_t columns, struct buf *out) {
    struct buf b;
    buf_init(&b, WORD_MAX);
    buf_printf(&b, "%s/%s, %s, ", js_text(view, "namespace", NULL), js_text(view, "pod", NULL),
               js_text(view, "type", NULL));
    owner_of(view, &b);
    const char *node = js_text(view, "witnesses", "node", "node", NULL);
    buf_printf(&b, "%s%s", *node ? ", on " : "", node);
    line(out, "Proxy:", b.p, columns);
    buf_done(&b);
    add_state(view, columns, out);
    add_reason(view, columns, out);
    line(out, "Rule:", js_text(view, "rule", NULL), columns);
    add_witnesses(view, columns, out);
    add_evidence(view, columns, out);
}
