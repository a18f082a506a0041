/* Prometheus text as istiod (15014), pilot-agent (15020) and Envoy (15090) write it. */
#pragma once

#include "../lib/base/buf.h"
#include "../lib/base/err.h"

struct prom_sample {
    const char *name;
    const char *labels; /* text between the braces, "" none */
    double value;
};

/* Longest line that is taken. */
#define PROM_MAX_LINE (64 * 1024)

/* Call fn for each sample line; returns their number, -1 with *err (line number) on a malformed line. Comments are skipped.
 * A last line without its newline is a cut answer: -1. */
int64_t prom_parse(const char *text, size_t len, void (*fn)(void *ctx, const struct prom_sample *s), void *ctx,
                   struct err *err);
/* One line without its newline. 1: *out is filled, borrowed from scratch (its max bounds the line); 0: empty or comment;
 * -1. */
int prom_line(const char *line, size_t len, struct buf *scratch, struct prom_sample *out);
/* Value of one label, unescaped; false when absent or longer than cap-1. */
bool prom_label(const char *labels, const char *key, char *out, size_t cap);
