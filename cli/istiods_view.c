#include "istiods_view.h"

#include <stdlib.h>
#include <string.h>

#include "../lib/base/mem.h"
#include "../lib/base/text.h"
#include "plain.h"
#include "table.h"

enum { WORD_MAX = 4096 };

static void add_age(struct table *t, const json_t *ms) {
    char age[32];
    if (!json_is_integer(ms)) {
        table_add(t, "never");
        return;
    }
    text_age(json_integer_value(ms), age, sizeof(age));
    table_add(t, age);
}

static void add_bytes(struct table *t, int64_t n) {
    if (n < 10000) {
        table_addf(t, "%lld", (long long)n);
    } else if (n < 10000000) {
        table_addf(t, "%lldk", (long long)(n / 1000));
    } else {
        table_addf(t, "%lldM", (long long)(n / 1000000));
    }
}

/* A number, or "-" where the gate does not know it. */
static void add_number(struct table *t, const json_t *v) {
    if (json_is_number(v)) {
        table_addf(t, "%.0f", json_number_value(v));
    } else {
        table_add(t, NULL);
    }
}

static int by_name(const void *a, const void *b) {
    return strcmp(js_text(*(json_t *const *)a, "name", NULL), js_text(*(json_t *const *)b, "name", NULL));
}

/* A copy of the array, by name; the caller decref()s. */
static json_t *sorted(const json_t *list) {
    size_t n = json_array_size(list), i;
    json_t **rows = mem_alloc((n + 1) * sizeof(json_t *)), *out = json_array();
    for (i = 0; i < n; i++) {
        rows[i] = json_array_get(list, i);
    }
    qsort(rows, n, sizeof(*rows), by_name);
    for (i = 0; i < n; i++) {
        json_array_append(out, rows[i]);
    }
    free(rows);
    return out;
}

/* ---- revisions ---- */

static void add_tags(struct table *t, const json_t *revision) {
    struct buf b;
    size_t i;
    json_t *tag;
    buf_init(&b, WORD_MAX);
    json_array_foreach(js_at(revision, "tags", NULL), i, tag) {
        buf_printf(&b, "%s%s", i ? "," : "", json_is_string(tag) ? json_string_value(tag) : "?");
    }
    table_add(t, b.p);
    buf_done(&b);
}

static void add_revisions(const json_t *revisions, struct buf *out) {
    static const char *const all[] = {"REVISION", "VERSION", "TAGS", "INJECTOR", "READY", "PROXIES", "OTHER VERSION"};
    struct table t;
    size_t i, k;
    json_t *r, *x;
    table_init(&t, all, sizeof(all) / sizeof(*all));
    json_array_foreach(revisions, i, r) {
        const json_t *replicas = js_at(r, "replicas", NULL);
        size_t ready = 0;
        int64_t proxies = 0;
        json_array_foreach(replicas, k, x) {
            ready += js_bool(x, false, "ready", NULL);
            proxies += js_int(x, 0, "proxies", NULL);
        }
        table_add(&t, js_text(r, "name", NULL));
        table_add(&t, js_text(r, "version", NULL));
        add_tags(&t, r);
        table_add(&t, js_bool(r, false, "injector", NULL) ? "yes" : "no");
        table_addf(&t, "%zu/%zu", ready, json_array_size(replicas));
        table_addf(&t, "%lld", (long long)proxies);
        add_number(&t, js_at(r, "other_version", NULL));
    }
    table_write(&t, 0, out);
    table_done(&t);
}

/* ---- replicas ---- */

static const char *const heads[] = {"REVISION", "REPLICA", "READY",     "READER",  "STANDBY", "LISTED",
                                    "SYNC",     "PROXIES", "REJECTS",   "BLOCKED", "VERSION", "STREAMS",
                                    "EXPIRED",  "BYTES",   "QUESTIONS", "NODE",    "ZONE",    "ADDRESS"};
enum { ALL = sizeof(heads) / sizeof(*heads), NARROW = 10 };

static void add_replica(struct table *t, const char *revision, const json_t *x, bool wide) {
    table_add(t, revision);
    table_add(t, js_text(x, "name", NULL));
    table_add(t, js_bool(x, false, "ready", NULL) ? "yes" : "no");
    table_add(t, js_text(x, "reader", NULL));
    table_add(t, js_text(x, "standby", NULL));
    add_age(t, js_at(x, "connections_age_ms", NULL));
    add_age(t, js_at(x, "syncz_age_ms", NULL));
    add_number(t, js_at(x, "proxies", NULL));
    add_number(t, js_at(x, "rejects", NULL));
    table_addf(t, "%zu", json_array_size(js_at(x, "blocked", NULL)));
    if (wide) {
        table_add(t, js_text(x, "version", NULL));
        add_number(t, js_at(x, "streams", NULL));
        add_number(t, js_at(x, "expired_nonces", NULL));
        add_bytes(t, js_int(x, 0, "bytes_read", NULL));
        add_number(t, js_at(x, "questions", NULL));
        table_add(t, js_text(x, "node", NULL));
        table_add(t, js_text(x, "zone", NULL));
        table_add(t, js_text(x, "address", NULL));
    }
}

static void add_replicas(const json_t *revisions, bool wide, size_t columns, struct buf *out) {
    static const char *const go_first[] = {"STANDBY", "REJECTS", "READER"};
    struct table t;
    struct buf left_out;
    size_t i, k;
    json_t *r, *x;
    buf_init(&left_out, WORD_MAX);
    table_init(&t, heads, wide ? ALL : NARROW);
    json_array_foreach(revisions, i, r) {
        json_t *replicas = sorted(js_at(r, "replicas", NULL));
        json_array_foreach(replicas, k, x) {
            add_replica(&t, js_text(r, "name", NULL), x, wide);
        }
        json_decref(replicas);
    }
    buf_str(out, "\n");
    table_fit(&t, go_first, sizeof(go_first) / sizeof(*go_first), wide ? 0 : columns, &left_out);
    table_write(&t, 0, out);
    table_tell_left_out(&left_out, out);
    buf_done(&left_out);
    table_done(&t);
}

/* ---- what is not as it should be ---- */

static void add_trouble(const json_t *x, struct buf *out) {
    static const char *const questions[] = {"connections", "syncz"};
    const char *name = js_text(x, "name", NULL), *error = js_text(x, "error", NULL);
    size_t i;
    json_t *b;
    for (i = 0; i < 2; i++) {
        const char *status = js_text(x, questions[i], NULL);
        if (strcmp(status, "Ok") != 0 && strcmp(status, "Unknown") != 0 && *status) {
            plain_add(out, name);
            buf_printf(out, ": %s: ", questions[i]);
            plain_add(out, status);
            buf_str(out, *error ? ": " : "");
            plain_add(out, error);
            buf_str(out, "\n");
        }
    }
    json_array_foreach(js_at(x, "blocked", NULL), i, b) {
        char age[32];
        const char *proxy = js_text(b, "proxy", NULL);
        text_age(js_int(b, 0, "for_ms", NULL), age, sizeof(age));
        plain_add(out, name);
        buf_str(out, ": pushes are locked in namespace ");
        plain_add(out, js_text(b, "namespace", NULL));
        buf_printf(out, " for %s: ", age);
        plain_add(out, *proxy ? proxy : "the proxy is not known yet");
        buf_str(out, "\n");
    }
    if (js_bool(x, false, "status_only", NULL)) {
        plain_add(out, name);
        buf_str(out, ": answers only the protobuf status: read rarely, without versions\n");
    }
}

static void add_troubles(const json_t *revisions, struct buf *out) {
    struct buf lines;
    size_t i, k;
    json_t *r, *x;
    buf_init(&lines, 1 << 20);
    json_array_foreach(revisions, i, r) {
        json_array_foreach(js_at(r, "replicas", NULL), k, x) {
            add_trouble(x, &lines);
        }
        int64_t other = js_int(r, 0, "other_version", NULL);
        if (other > 0) {
            plain_add(&lines, js_text(r, "name", NULL));
            buf_printf(&lines,
                       ": %lld proxies run another version than its istiods: it was upgraded in place, or they keep "
                       "an older sidecar\n",
                       (long long)other);
        }
    }
    if (lines.len > 0) {
        buf_printf(out, "\n%s", lines.p);
    }
    buf_done(&lines);
}

void istiods_view(const json_t *view, bool wide, size_t columns, struct buf *out) {
    json_t *revisions = sorted(js_at(view, "revisions", NULL));
    if (json_array_size(revisions) == 0) {
        buf_str(out, "The gate knows no control plane.\n");
    } else {
        add_revisions(revisions, out);
        add_replicas(revisions, wide, columns, out);
        add_troubles(revisions, out);
    }
    json_decref(revisions);
}
