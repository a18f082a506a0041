#include "proxies_view.h"

#include <stdlib.h>
#include <string.h>

#include "../lib/base/mem.h"
#include "../lib/base/text.h"
#include "plain.h"
#include "table.h"
#include "wrap.h"

enum { ERRORS_SHOWN = 3, CELL_MAX = 4096 };

/* ---- table ---- */

enum column {
    NAMESPACE,
    POD,
    NODE,
    TYPE,
    OWNER,
    STATE,
    REASON,
    AGE,
    EXPECTED,
    INJECTED,
    ATTACHED,
    REPLICA,
    XDS,
    CONFIG,
    VERSION,
    COLUMNS
};

static const struct {
    const char *head, *key;
    bool narrow;
} columns_of[COLUMNS] = {
    [NAMESPACE] = {"NAMESPACE", "namespace", true},
    [POD] = {"POD", "pod", true},
    [NODE] = {"NODE", "node", false},
    [TYPE] = {"TYPE", "type", false},
    [OWNER] = {"OWNER", NULL, true},
    [STATE] = {"STATE", "state", true},
    [REASON] = {"REASON", "reason", true},
    [AGE] = {"AGE", NULL, true},
    [EXPECTED] = {"EXPECTED", "expected", true},
    [INJECTED] = {"INJECTED", "injected", false},
    [ATTACHED] = {"ATTACHED", "attached", true},
    [REPLICA] = {"REPLICA", "replica", false},
    [XDS] = {"XDS", NULL, false},
    [CONFIG] = {"CONFIG", "version", false},
    [VERSION] = {"VERSION", "istio_version", false},
};

/* "CDS LDS EDS RDS", or only what is not in sync: "LDS:Error". */
static void types_text(const json_t *p, struct buf *out) {
    json_t *types = js_at(p, "types", NULL), *v;
    const char *type;
    size_t odd = 0, n = 0;
    json_object_foreach(types, type, v) {
        const char *s = json_string_value(v);
        odd += s && strcmp(s, "Synced") != 0 && strcmp(s, "NotSent") != 0;
    }
    json_object_foreach(types, type, v) {
        const char *s = json_string_value(v);
        bool well = s && (strcmp(s, "Synced") == 0 || strcmp(s, "NotSent") == 0);
        if (s && (odd == 0 || !well)) {
            buf_printf(out, "%s%s%s%s", n++ ? " " : "", type, well ? "" : ":", well ? "" : s);
        }
    }
    if (n == 0) {
        buf_str(out, js_text(p, "sync", NULL));
    }
}

/* As kubectl names kinds: "deploy/web". */
static void owner_text(const json_t *p, struct buf *out) {
    static const char *const shorts[][2] = {{"Deployment", "deploy"}, {"StatefulSet", "sts"}, {"DaemonSet", "ds"},
                                            {"ReplicaSet", "rs"},     {"CronJob", "cronjob"}, {"Job", "job"}};
    const char *kind = js_text(p, "owner_kind", NULL);
    if (strcmp(kind, "Pod") == 0) {
        return; /* nobody's */
    }
    for (size_t i = 0; i < sizeof(shorts) / sizeof(*shorts); i++) {
        kind = strcmp(kind, shorts[i][0]) == 0 ? shorts[i][1] : kind;
    }
    buf_printf(out, "%s/%s", kind, js_text(p, "owner", NULL));
}

static void add_cell(struct table *t, const json_t *p, enum column c) {
    struct buf b;
    if (columns_of[c].key) {
        table_add(t, js_text(p, columns_of[c].key, NULL));
        return;
    }
    buf_init(&b, CELL_MAX);
    if (c == AGE) {
        char age[32];
        text_age(js_int(p, 0, "since_ms", NULL), age, sizeof(age));
        buf_str(&b, age);
    } else if (c == OWNER) {
        owner_text(p, &b);
    } else {
        types_text(p, &b);
    }
    table_add(t, b.len ? b.p : NULL);
    buf_done(&b);
}

static void add_table(const json_t *rows, bool wide, size_t columns, struct buf *left_out, struct buf *out) {
    static const char *const go_first[] = {"OWNER", "EXPECTED", "AGE"}; /* those that can be missed most easily */
    const char *heads[COLUMNS];
    enum column shown[COLUMNS];
    size_t n = 0, i;
    json_t *p;
    for (enum column c = 0; c < COLUMNS; c++) {
        if (wide || columns_of[c].narrow) {
            heads[n] = columns_of[c].head;
            shown[n++] = c;
        }
    }
    struct table t;
    table_init(&t, heads, n);
    json_array_foreach(rows, i, p) {
        for (size_t c = 0; c < n; c++) {
            add_cell(&t, p, shown[c]);
        }
    }
    table_fit(&t, go_first, sizeof(go_first) / sizeof(*go_first), wide ? 0 : columns, left_out);
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

/* columns 0: in one line */
static void write_line(const char *before, size_t indent, const char *text, size_t columns, struct buf *out) {
    buf_printf(out, "%*s%s", (int)indent, "", before);
    wrap_add(out, text, indent + plain_width(before), indent + plain_width(before), columns ? columns : SIZE_MAX);
}

static void write_group(const struct group *g, size_t columns, struct buf *out) {
    const char *reason = js_text(g->first, "reason", NULL), *whose = js_text(g->first, "whose", NULL);
    const char *sentence = js_text(g->first, "sentence", NULL), *remedy = js_text(g->first, "remedy", NULL);
    struct buf b;
    buf_init(&b, CELL_MAX);
    buf_printf(&b, "%s (%lld%s%s)%s%s", *reason ? reason : "without a reason", (long long)g->count, *whose ? ", " : "",
               whose, *sentence ? ": " : "", sentence);
    write_line("", 2, b.p, columns, out);
    buf_done(&b);
    for (size_t i = 0; i < g->n_errors; i++) {
        write_line("istiod says: ", 6, g->errors[i], columns, out);
    }
    if (*remedy) {
        write_line("> ", 4, remedy, columns, out);
    }
}

static void add_remedies(const json_t *rows, size_t columns, struct buf *out) {
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
        write_group(&groups[i], columns, out);
    }
    free(groups);
}

static json_t *count_states(const json_t *rows) {
    json_t *counts = json_object(), *p;
    size_t i;
    json_array_foreach(rows, i, p) {
        const char *s = js_text(p, "state", NULL);
        json_object_set_new(counts, s, json_integer(js_int(counts, 0, s, NULL) + 1));
    }
    return counts;
}

/* "Moved 30, Syncing 2" */
static void add_counts(const json_t *counts, struct buf *out) {
    const char *state;
    json_t *n;
    bool any = false;
    json_object_foreach((json_t *)(uintptr_t)counts, state, n) {
        buf_str(out, any ? ", " : "");
        plain_add(out, state);
        buf_printf(out, " %lld", (long long)json_integer_value(n));
        any = true;
    }
}

static void add_sum(const struct proxies_seen *seen, struct buf *out) {
    size_t n = json_array_size(seen->rows);
    json_t *counts = count_states(seen->rows);
    if (n == seen->total) {
        buf_printf(out, "\n%zu prox%s: ", n, n == 1 ? "y" : "ies");
    } else {
        buf_printf(out, "\n%zu of %zu proxies: ", n, seen->total);
    }
    add_counts(counts, out);
    buf_str(out, "\n");
    json_decref(counts);
}

void proxies_view(const struct proxies_seen *seen, const struct filter *f, bool wide, size_t columns, struct buf *out) {
    if (seen->total == 0) {
        buf_printf(out, "The gate knows no proxies%s.\n", json_is_string(seen->upgrade) ? " of this upgrade" : "");
        return;
    }
    if (json_array_size(seen->rows) == 0) {
        buf_printf(out, "No proxy %s. There are %zu: ", f->stuck && filter_is_plain(f) ? "is stuck" : "matches",
                   seen->total);
        add_counts(seen->counts, out);
        buf_str(out, "\n");
        return;
    }
    struct buf left_out;
    buf_init(&left_out, CELL_MAX);
    add_table(seen->rows, wide, columns, &left_out, out);
    if (f->stuck) {
        add_remedies(seen->rows, columns, out);
    }
    add_sum(seen, out);
    table_tell_left_out(&left_out, out);
    buf_done(&left_out);
}
