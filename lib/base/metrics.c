#include "metrics.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "mem.h"

struct metric {
    char *labels; /* "" without labels */
    double value;
};

struct family {
    char *name, *help;
    enum metric_type type;
    struct metric **series; /* sorted by labels */
    size_t n, cap;
};

struct metrics {
    struct family **families; /* sorted by name */
    size_t n, cap;
};

struct metrics *metrics_new(void) {
    return mem_alloc(sizeof(struct metrics));
}

static void family_clear(struct family *f) {
    for (size_t i = 0; i < f->n; i++) {
        free(f->series[i]->labels);
        free(f->series[i]);
    }
    f->n = 0;
}

void metrics_free(struct metrics *m) {
    if (!m) {
        return;
    }
    for (size_t i = 0; i < m->n; i++) {
        struct family *f = m->families[i];
        family_clear(f);
        free(f->series);
        free(f->name);
        free(f->help);
        free(f);
    }
    free(m->families);
    free(m);
}

static bool name_is_legal(const char *name) {
    if (strncmp(name, "meshgate_", 9) != 0) {
        return false;
    }
    for (const char *s = name; *s; s++) {
        if (!isalnum((unsigned char)*s) && *s != '_') {
            return false;
        }
    }
    return true;
}

/* Where name is or belongs. */
static size_t family_index(const struct metrics *m, const char *name, bool *found) {
    size_t lo = 0, hi = m->n;
    *found = false;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int d = strcmp(m->families[mid]->name, name);
        if (d == 0) {
            *found = true;
            return mid;
        }
        if (d < 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

static size_t series_index(const struct family *f, const char *labels, bool *found) {
    size_t lo = 0, hi = f->n;
    *found = false;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int d = strcmp(f->series[mid]->labels, labels);
        if (d == 0) {
            *found = true;
            return mid;
        }
        if (d < 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

/* Open a gap at i in an array of pointers. */
static void *make_room(void *array, size_t *n, size_t *cap, size_t i) {
    if (*n == *cap) {
        *cap = *cap ? 2 * *cap : 8;
        array = mem_grow(array, *cap * sizeof(void *));
    }
    void **a = array;
    memmove(a + i + 1, a + i, (*n - i) * sizeof(void *));
    (*n)++;
    return array;
}

struct metric *metric_get(struct metrics *m, enum metric_type type, const char *name, const char *help,
                          const char *labels) {
    check(name_is_legal(name));
    bool found;
    size_t i = family_index(m, name, &found);
    if (!found) {
        struct family *f = mem_alloc(sizeof(*f));
        f->name = mem_dup(name);
        f->help = mem_dup(help ? help : "");
        f->type = type;
        m->families = make_room(m->families, &m->n, &m->cap, i);
        m->families[i] = f;
    }
    struct family *f = m->families[i];
    labels = labels ? labels : "";
    size_t k = series_index(f, labels, &found);
    if (!found) {
        struct metric *x = mem_alloc(sizeof(*x));
        x->labels = mem_dup(labels);
        f->series = make_room(f->series, &f->n, &f->cap, k);
        f->series[k] = x;
    }
    return f->series[k];
}

void metric_add(struct metric *x, double v) {
    x->value += v;
}

void metric_set(struct metric *x, double v) {
    x->value = v;
}

double metric_value(const struct metric *x) {
    return x->value;
}

void metric_clear(struct metrics *m, const char *name) {
    bool found;
    size_t i = family_index(m, name, &found);
    if (found) {
        family_clear(m->families[i]);
    }
}

static void add_escaped(struct buf *b, const char *s, bool quotes) {
    for (; *s; s++) {
        if (*s == '\\') {
            buf_str(b, "\\\\");
        } else if (*s == '\n') {
            buf_str(b, "\\n");
        } else if (*s == '"' && quotes) {
            buf_str(b, "\\\"");
        } else {
            buf_add(b, s, 1);
        }
    }
}

void metrics_label(struct buf *b, const char *key, const char *value) {
    buf_printf(b, "%s%s=\"", b->len ? "," : "", key);
    add_escaped(b, value, true);
    buf_str(b, "\"");
}

static void add_value(struct buf *out, double v) {
    if (isnan(v)) {
        buf_str(out, "NaN");
    } else if (isinf(v)) {
        buf_str(out, v > 0 ? "+Inf" : "-Inf");
    } else if (v == floor(v) && fabs(v) < 9007199254740992.0) {
        buf_printf(out, "%.0f", v);
    } else {
        buf_printf(out, "%.17g", v);
    }
}

void metrics_write(const struct metrics *m, struct buf *out) {
    for (size_t i = 0; i < m->n; i++) {
        const struct family *f = m->families[i];
        if (f->n == 0) {
            continue;
        }
        buf_printf(out, "# HELP %s ", f->name);
        add_escaped(out, f->help, false);
        buf_printf(out, "\n# TYPE %s %s\n", f->name, f->type == METRIC_COUNTER ? "counter" : "gauge");
        for (size_t k = 0; k < f->n; k++) {
            const struct metric *x = f->series[k];
            buf_printf(out, *x->labels ? "%s{%s} " : "%s%s ", f->name, x->labels);
            add_value(out, x->value);
            buf_str(out, "\n");
        }
    }
}
