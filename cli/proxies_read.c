#include "proxies_read.h"

#include <stdlib.h>
#include <string.h>

#include "../lib/base/mem.h"

/* Where we are in the text. */
struct cursor {
    const char *p, *end;
    struct err *err;
};

static bool garbled(struct cursor *c, const char *what) {
    return err_set(c->err, ERR_PROTOCOL, "the gate's answer about proxies is no JSON as it should be: %s", what);
}

static void skip_spaces(struct cursor *c) {
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\t' || *c->p == '\r' || *c->p == '\n')) {
        c->p++;
    }
}

static bool take_char(struct cursor *c, char wanted) {
    skip_spaces(c);
    if (c->p == c->end || *c->p != wanted) {
        return false;
    }
    c->p++;
    return true;
}

/* One value, the caller's to decref(). NULL and *err: it is none. */
static json_t *take_value(struct cursor *c) {
    json_error_t error;
    size_t flags = JSON_REJECT_DUPLICATES | JSON_DISABLE_EOF_CHECK | JSON_DECODE_ANY;
    json_t *v = json_loadb(c->p, (size_t)(c->end - c->p), flags, &error);
    if (!v) {
        garbled(c, error.text);
        return NULL;
    }
    c->p += error.position;
    return v;
}

/* ---- one proxy ---- */

static void keep(json_t *to, const json_t *from, const char *const *keys, size_t n) {
    for (size_t i = 0; i < n; i++) {
        json_t *v = json_object_get(from, keys[i]);
        if (v) {
            json_object_set(to, keys[i], v);
        }
    }
}

static json_t *shrunk(const json_t *p, bool stuck) {
    static const char *const always[] = {"namespace", "pod",      "owner",    "owner_kind", "state",
                                         "reason",    "since_ms", "expected", "attached"};
    static const char *const for_remedies[] = {"whose", "sentence", "remedy", "error"};
    json_t *o = json_object();
    keep(o, p, always, sizeof(always) / sizeof(*always));
    keep(o, p, for_remedies, stuck ? sizeof(for_remedies) / sizeof(*for_remedies) : 0);
    return o;
}

static void take_proxy(struct proxies_seen *s, json_t *p, const struct filter *f, bool whole) {
    const char *state = js_text(p, "state", NULL);
    s->total++;
    json_object_set_new(s->counts, state, json_integer(js_int(s->counts, 0, state, NULL) + 1));
    if (filter_passes(f, p)) {
        json_array_append_new(s->rows, whole ? json_incref(p) : shrunk(p, f->stuck));
    }
}

static bool take_proxies(struct cursor *c, struct proxies_seen *s, const struct filter *f, bool whole) {
    if (!take_char(c, '[')) {
        return garbled(c, "\"proxies\" is no list");
    }
    if (take_char(c, ']')) {
        return true;
    }
    do {
        json_t *p = take_value(c);
        if (!p) {
            return false;
        }
        if (!json_is_object(p)) {
            json_decref(p);
            return garbled(c, "a proxy is no object");
        }
        take_proxy(s, p, f, whole);
        json_decref(p);
    } while (take_char(c, ','));
    return take_char(c, ']') || garbled(c, "the list of proxies does not end");
}

/* ---- the whole ---- */

static bool take_member(struct cursor *c, struct proxies_seen *s, const struct filter *f, bool whole, bool *found) {
    json_t *key = take_value(c);
    if (!json_is_string(key) || !take_char(c, ':')) {
        json_decref(key);
        return garbled(c, "a name was expected");
    }
    bool proxies = strcmp(json_string_value(key), "proxies") == 0, ok = true;
    if (proxies) {
        ok = (!*found || garbled(c, "two lists of proxies")) && take_proxies(c, s, f, whole);
        *found = true;
    } else {
        json_t *v = take_value(c);
        ok = v != NULL;
        if (ok && strcmp(json_string_value(key), "upgrade") == 0) {
            json_decref(s->upgrade);
            s->upgrade = json_incref(v);
        }
        json_decref(v);
    }
    json_decref(key);
    return ok;
}

static int by_name(const void *a, const void *b) {
    const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
    int d = strcmp(js_text(x, "namespace", NULL), js_text(y, "namespace", NULL));
    return d ? d : strcmp(js_text(x, "pod", NULL), js_text(y, "pod", NULL));
}

static void sort(struct proxies_seen *s) {
    size_t n = json_array_size(s->rows), i;
    json_t **rows = mem_alloc((n + 1) * sizeof(json_t *)), *p, *sorted = json_array();
    json_array_foreach(s->rows, i, p) {
        rows[i] = p;
    }
    qsort(rows, n, sizeof(*rows), by_name);
    for (i = 0; i < n; i++) {
        json_array_append(sorted, rows[i]);
    }
    free(rows);
    json_decref(s->rows);
    s->rows = sorted;
}

bool proxies_read(const char *text, size_t n, const struct filter *f, bool whole, struct proxies_seen *out,
                  struct err *err) {
    struct cursor c = {text, text + n, err};
    bool found = false;
    *out = (struct proxies_seen){.rows = json_array(), .counts = json_object()};
    if (!take_char(&c, '{')) {
        return garbled(&c, "it is no object");
    }
    while (!take_char(&c, '}')) {
        if (!take_member(&c, out, f, whole, &found)) {
            return false;
        }
        if (!take_char(&c, ',') && (c.p == c.end || *c.p != '}')) {
            return garbled(&c, "it does not end");
        }
    }
    skip_spaces(&c);
    if (c.p != c.end) {
        return garbled(&c, "something follows it");
    }
    if (!found) {
        return err_set(err, ERR_PROTOCOL, "the gate's answer has no list of proxies; is the gate of another version?");
    }
    sort(out);
    return true;
}

void proxies_seen_done(struct proxies_seen *s) {
    json_decref(s->rows);
    json_decref(s->counts);
    json_decref(s->upgrade);
    *s = (struct proxies_seen){0};
}
