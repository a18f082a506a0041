/* Long sentences in a narrow place. */
#pragma once

#include "../lib/base/buf.h"

/*
 * Append s, made plain, and a newline. The line has `at` columns already; it is broken at spaces so that no line is longer
 * than `columns` (words longer than that are not cut), and each line after the first is indented by `indent`.
 */
void wrap_add(struct buf *out, const char *s, size_t at, size_t indent, size_t columns);
