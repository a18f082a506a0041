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
/* Columns of text that the widest line takes. */
size_t table_width(const struct table *t);
/* Leave out columns, in this order of headings, until no line is wider than `columns` (0: whatever that is). left_out gets
 * their headings. */
void table_fit(struct table *t, const char *const *order, size_t n, size_t columns, struct buf *left_out);
/* What people are told of columns that were left out; nothing when none were. */
void table_tell_left_out(const struct buf *left_out, struct buf *out);
