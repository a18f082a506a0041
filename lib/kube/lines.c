#include "lines.h"

#include <string.h>

void lines_init(struct lines *l, size_t max_line) {
    buf_init(&l->part, max_line);
}

void lines_done(struct lines *l) {
    buf_done(&l->part);
}

void lines_reset(struct lines *l) {
    buf_reset(&l->part);
}

static size_t strip_cr(const char *p, size_t n) {
    return n > 0 && p[n - 1] == '\r' ? n - 1 : n;
}

enum lines_result lines_feed(struct lines *l, const char *p, size_t n, bool (*fn)(void *ctx, const char *line, size_t len),
                             void *ctx) {
    while (n > 0) {
        const char *nl = memchr(p, '\n', n);
        size_t take = nl ? (size_t)(nl - p) : n;
        const char *line = p;
        size_t len = take;
        if (!nl || l->part.len > 0) {
            if (!buf_add(&l->part, p, take)) {
                return LINES_TOO_LONG;
            }
            if (!nl) {
                return LINES_OK;
            }
            line = l->part.p;
            len = l->part.len;
        } else if (take > l->part.max) {
            return LINES_TOO_LONG;
        }
        p += take + 1;
        n -= take + 1;
        len = strip_cr(line, len);
        bool more = len == 0 || fn(ctx, line, len);
        buf_reset(&l->part);
        if (!more) {
            return LINES_STOPPED;
        }
    }
    return LINES_OK;
}
