/* Cuts a stream of bytes into lines, with a bound on the length of one. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "../base/buf.h"

struct lines {
    struct buf part; /* the line that has no end yet */
};

enum lines_result { LINES_TOO_LONG, LINES_STOPPED, LINES_OK };

void lines_init(struct lines *l, size_t max_line);
void lines_done(struct lines *l);
void lines_reset(struct lines *l);
/* Hand each whole line (without its newline; empty ones are left out) to fn; false from fn stops and drops the rest.
 * fn must not touch l. */
enum lines_result lines_feed(struct lines *l, const char *p, size_t n, bool (*fn)(void *ctx, const char *line, size_t len),
                             void *ctx);
