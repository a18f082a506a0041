/* Text of others made fit for a terminal: no control characters, no escape sequences, one line. */
#pragma once

#include <stddef.h>

#include "../lib/base/buf.h"

/* Append s; newlines and tabs become spaces, other control characters and broken UTF-8 become '?'. NULL: nothing. */
void plain_add(struct buf *b, const char *s);
/* Columns of clean text: one a character. */
size_t plain_width(const char *s);
/* Bytes of the first `columns` characters of the n bytes at s. */
size_t plain_cut(const char *s, size_t n, size_t columns);
