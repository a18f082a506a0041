#include "coverage_view.h"

#include "../lib/base/text.h"
#include "table.h"

/* Every witness that is asked for is heard of every proxy. */
static bool is_whole(const json_t *row) {
    int64_t expected = js_int(row, -1, "expected", NULL);
    return expected >= 0 && js_int(row, -1, "heard", NULL) >= expected;
}

static void add_row(struct table *t, const char *what, const json_t *row) {
    static const char *const keys[] = {"expected", "heard", "control_plane", "sync", "node"};
    char age[32];
    table_add(t, what);
    table_add(t, js_text(row, "name", NULL));
    for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
        table_addf(t, "%lld", (long long)js_int(row, 0, keys[i], NULL));
    }
    const json_t *oldest = js_at(row, "oldest_ms", NULL);
    if (json_is_integer(oldest)) {
        text_age(json_integer_value(oldest), age, sizeof(age));
        table_add(t, age);
    } else {
        table_add(t, NULL);
    }
}

/* Returns how many were left out because nothing is missing in them. */
static size_t add_rows(struct table *t, const char *what, const json_t *rows, bool all) {
    size_t i, left_out = 0;
    json_t *row;
    json_array_foreach(rows, i, row) {
        if (all || !is_whole(row)) {
            add_row(t, what, row);
        } else {
            left_out++;
        }
    }
    return left_out;
}

void coverage_view(const json_t *view, bool wide, struct buf *out) {
    static const char *const heads[] = {"OF", "NAME", "EXPECTED", "HEARD", "LISTED", "SYNC", "NODE", "OLDEST"};
    struct table t;
    table_init(&t, heads, sizeof(heads) / sizeof(*heads));
    add_row(&t, "cluster", js_at(view, "cluster", NULL));
    add_rows(&t, "revision", js_at(view, "revisions", NULL), true);
    add_rows(&t, "wave", js_at(view, "waves", NULL), true);
    size_t left_out = add_rows(&t, "namespace", js_at(view, "namespaces", NULL), wide);
    table_write(&t, 0, out);
    if (left_out > 0) {
        buf_printf(out, "\n%zu namespace%s in which every proxy is heard of left out; -o wide shows all\n", left_out,
                   left_out == 1 ? "" : "s");
    }
    table_done(&t);
}
