#include "proxies_view.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/base/mem.h"
#include "../lib/base/text.h"
#include "plain.h"
#include "table.h"

enum { ERRORS_SHOWN = 3 };

/* ---- selection ---- */

/* "not-started" is NotStarted. */
static bool same_state(const char *a, const char *b) {
    for (;;) {
        a += strspn(a, "-_");
        b += strspn(b, "-_");
        if (tolower((unsigned char)*a) != tolower((unsigned char)*b)) {
            return false;
        }
        if (!*a) {
            return true;
        }
        a++;
        b++;
    }
}

static bool passes(const json_t *p, const struct proxies_filter *f) {
    const char *state = js_text(p, "state", NULL);
    bool calm = strcmp(state, "Moved") == 0 || strcmp(state, "NotStarted") == 0 || strcmp(state, "Settled") == 0;
    return !(f->stuck && calm) && (!f->state || same_state(state, f->state)) &&
           (!f->ns || strcmp(js_text(p, "namespace", NULL), f->ns) == 0);
}

static int by_name(const void *a, const void *b) {
    const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
    int d = strcmp(js_text(x, "namespace", NULL), js_text(y, "namespace", NULL));
    return d ? d : strcmp(js_text(x, "pod", NULL), js_text(y, "pod", NULL));
}

json_t *proxies_view_select(const json_t *view, const struct proxies_filter *f) {
    const json_t *all = js_at(view, "proxies", NULL);
    json_t **rows = mem_alloc((json_array_size(all) + 1) * sizeof(json_t *)), *p;
    json_t *out = json_array();
    size_t n = 0, i;
    json_array_foreach(all, i, p) {
        if (passes(p, f)) {
            rows[n++] = p;
        }
    }
    qsort(rows, n, sizeof(*rows), by_name);
    for (i = 0; i < n; i++) {
        json_array_append(out, rows[i]);
    }
    free(rows);
    return out;
}

/* ---- table ---- */

static void add_cell(struct table *t, const json_t *p, const char *key) {
    const json_t *v = js_at(p, key, NULL);
    if (json_is_integer(v)) {
        table_addf(t, "%lld", (long long)json_integer_value(v));
    } else if (json_is_boolean(v)) {
        table_add(t, json_is_true(v) ? "true" : "false");
    } else {
        table_add(t, json_string_value(v));
    }
}

static void add_table(const json_t *rows, bool wide, struct buf *out) {
    static const struct {
        const char *head, *key;
    } columns[] = {{"NAMESPACE", "namespace"}, {"POD", "pod"},           {"NODE", "node"}, {"OWNER", "owner"},
                   {"STATE", "state"},         {"REASON", "reason"},     {"AGE", NULL},    {"EXPECTED", "expected"},
                   {"INJECTED", "injected"},   {"ATTACHED", "attached"}, {"SYNC", "sync"}, {"VERSION", "version"},
                   {"REPLICA", "replica"}};
    enum { ALL = sizeof(columns) / sizeof(*columns), NARROW = 10 };
    const char *heads[ALL];
    size_t n = wide ? ALL : NARROW, i;
    json_t *p;
    for (i = 0; i < n; i++) {
        heads[i] = columns[i].head;
    }
    struct table t;
    table_init(&t, heads, n);
    json_array_foreach(rows, i, p) {
        for (size_t c = 0; c < n; c++) {
            if (columns[c].key) {
                add_cell(&t, p, columns[c].key);
                continue;
            }
            char age[32];
            text_age(js_int(p, 0, "since_ms", NULL), age, sizeof(age));
            table_add(&t, age);
        }
    }
    table_write(&t, 0, out);
    table_done(&t);
}

/* ---- what to do ---- */

struct group {
    const json_t *first; /* a proxy with this reason: all have the same sentence and remedy */
    int64_t count;
    const char *errors[ERRORS_SHOWN];
    size_t n_errors;
};

static void add_error(struct group *g, const char *error) {
    for (size_t i = 0; i < g->n_errors; i++) {
        if (strcmp(g->errors[i], error) == 0) {
            return;
        }
    }
    if (*error && g->n_errors < ERRORS_SHOWN) {
        g->errors[g->n_errors++] = error;
    }
}

static struct group *find_group(struct group *groups, size_t *n, const json_t *p) {
    const char *reason = js_text(p, "reason", NULL);
    for (size_t i = 0; i < *n; i++) {
        if (strcmp(js_text(groups[i].first, "reason", NULL), reason) == 0) {
            return &groups[i];
        }
    }
    groups[*n] = (struct group){.first = p};
    return &groups[(*n)++];
}

static int by_count(const void *a, const void *b) {
    const struct group *x = a, *y = b;
    if (x->count != y->count) {
        return x->count < y->count ? 1 : -1;
    }
    return strcmp(js_text(x->first, "reason", NULL), js_text(y->first, "reason", NULL));
}

static void write_group(const struct group *g, struct buf *out) {
    buf_str(out, "  ");
    plain_add(out, *js_text(g->first, "reason", NULL) ? js_text(g->first, "reason", NULL) : "without a reason");
    buf_printf(out, " (%lld)", (long long)g->count);
    if (*js_text(g->first, "sentence", NULL)) {
        buf_str(out, ": ");
        plain_add(out, js_text(g->first, "sentence", NULL));
    }
    buf_str(out, "\n");
    for (size_t i = 0; i < g->n_errors; i++) {
        buf_str(out, "      istiod says: ");
        plain_add(out, g->errors[i]);
        buf_str(out, "\n");
    }
    if (*js_text(g->first, "remedy", NULL)) {
        buf_str(out, "    > ");
        plain_add(out, js_text(g->first, "remedy", NULL));
        buf_str(out, "\n");
    }
}

static void add_remedies(const json_t *rows, struct buf *out) {
    struct group *groups = mem_alloc((json_array_size(rows) + 1) * sizeof(*groups));
    size_t n = 0, i;
    json_t *p;
    json_array_foreach(rows, i, p) {
        struct group *g = find_group(groups, &n, p);
        g->count++;
        add_error(g, js_text(p, "error", NULL));
    }
    qsort(groups, n, sizeof(*groups), by_count);
    buf_str(out, "\nWhat to do:\n");
    for (i = 0; i < n; i++) {
        write_group(&groups[i], out);
    }
    free(groups);
}

/* "Moved 30, Syncing 2" */
static void add_counts(const json_t *all, struct buf *out) {
    json_t *counts = json_object(), *p, *n;
    const char *state;
    size_t i;
    json_array_foreach(all, i, p) {
        const char *s = js_text(p, "state", NULL);
        json_object_set_new(counts, s, json_integer(js_int(counts, 0, s, NULL) + 1));
    }
    bool any = false;
    json_object_foreach(counts, state, n) {
        buf_str(out, any ? ", " : "");
        plain_add(out, state);
        buf_printf(out, " %lld", (long long)json_integer_value(n));
        any = true;
    }
    json_decref(counts);
}

void proxies_view(const json_t *view, const json_t *rows, const struct proxies_filter *f, bool wide, struct buf *out) {
    const json_t *all = js_at(view, "proxies", NULL);
    size_t n = json_array_size(rows), total = json_array_size(all);
    if (total == 0) {
        buf_str(out, "The gate knows no proxies of this upgrade.\n");
        return;
    }
    if (n == 0) {
        buf_printf(out, "No proxy %s. There are %zu: ", f->stuck && !f->state && !f->ns ? "is stuck" : "matches", total);
        add_counts(all, out);
        buf_str(out, "\n");
        return;
    }
    add_table(rows, wide, out);
    if (f->stuck) {
        add_remedies(rows, out);
    }
    buf_printf(out, "\n%zu of %zu proxies: ", n, total);
    add_counts(rows, out);
    buf_str(out, "\n");
}
