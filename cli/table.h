/* Aligned columns of text. */
#pragma once

#include "../lib/base/buf.h"

struct table {
    size_t columns, n, cap;
    char **cells; /* row by row, the heading first */
};

void table_init(struct table *t, const char *const *headings, size_t columns);
void table_done(struct table *t);
/* The next cell, made plain; NULL or "" shows as "-". */
void table_add(struct table *t, const char *text);
void table_addf(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Every column as wide as its widest cell, two spaces between, no spaces at the end of a line; indent in front. */
void table_write(const struct table *t, size_t indent, struct buf *out);
