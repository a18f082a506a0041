#include "table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/base/err.h"
#include "../lib/base/mem.h"
#include "plain.h"

enum { CELL_MAX = 4096, GAP = 2 };

void table_init(struct table *t, const char *const *headings, size_t columns) {
    check(columns > 0);
    *t = (struct table){.columns = columns};
    for (size_t i = 0; i < columns; i++) {
        table_add(t, headings[i]);
    }
}

void table_done(struct table *t) {
    for (size_t i = 0; i < t->n; i++) {
        free(t->cells[i]);
    }
    free(t->cells);
    *t = (struct table){0};
}

void table_add(struct table *t, const char *text) {
    struct buf b;
    buf_init(&b, CELL_MAX);
    plain_add(&b, text && *text ? text : "-");
    if (t->n == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 64;
        t->cells = mem_grow(t->cells, t->cap * sizeof(*t->cells));
    }
    t->cells[t->n++] = buf_take(&b);
}

void table_addf(struct table *t, const char *fmt, ...) {
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    table_add(t, text);
}

static void write_row(const struct table *t, size_t row, const size_t *widths, size_t indent, struct buf *out) {
    size_t last = t->columns - 1;
    buf_printf(out, "%*s", (int)indent, "");
    for (size_t c = 0; c <= last; c++) {
        size_t i = row * t->columns + c;
        const char *cell = i < t->n ? t->cells[i] : "-";
        buf_str(out, cell);
        if (c < last) {
            buf_printf(out, "%*s", (int)(widths[c] - plain_width(cell) + GAP), "");
        }
    }
    buf_str(out, "\n");
}

static size_t *column_widths(const struct table *t) {
    size_t *widths = mem_alloc(t->columns * sizeof(*widths));
    for (size_t i = 0; i < t->n; i++) {
        size_t w = plain_width(t->cells[i]);
        if (w > widths[i % t->columns]) {
            widths[i % t->columns] = w;
        }
    }
    return widths;
}

void table_write(const struct table *t, size_t indent, struct buf *out) {
    size_t *widths = column_widths(t);
    for (size_t row = 0; row * t->columns < t->n; row++) {
        write_row(t, row, widths, indent, out);
    }
    free(widths);
}

size_t table_width(const struct table *t) {
    size_t *widths = column_widths(t), sum = (t->columns - 1) * GAP;
    for (size_t c = 0; c < t->columns; c++) {
        sum += widths[c];
    }
    free(widths);
    return sum;
}

static void drop(struct table *t, size_t c) {
    size_t kept = 0;
    for (size_t i = 0; i < t->n; i++) {
        if (i % t->columns == c) {
            free(t->cells[i]);
        } else {
            t->cells[kept++] = t->cells[i];
        }
    }
    t->n = kept;
    t->columns--;
}

void table_fit(struct table *t, const char *const *order, size_t n, size_t columns, struct buf *left_out) {
    for (size_t i = 0; columns > 0 && i < n && t->columns > 1 && table_width(t) > columns; i++) {
        size_t c = 0;
        while (c < t->columns && strcmp(t->cells[c], order[i]) != 0) {
            c++;
        }
        if (c < t->columns) {
            drop(t, c);
            buf_printf(left_out, "%s%s", left_out->len ? ", " : "", order[i]);
        }
    }
}

void table_tell_left_out(const struct buf *left_out, struct buf *out) {
    if (left_out->len > 0) {
        buf_printf(out, "(%s left out to fit this terminal; -o wide shows all)\n", left_out->p);
    }
}
