#include "buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "mem.h"

void buf_init(struct buf *b, size_t max) {
    *b = (struct buf){.max = max};
}

void buf_done(struct buf *b) {
    free(b->p);
    *b = (struct buf){.max = b->max};
}

void buf_reset(struct buf *b) {
    b->len = 0;
    b->over = false;
    if (b->p) {
        b->p[0] = '\0';
    }
}

/* Room for n more bytes and the NUL. */
static bool buf_room(struct buf *b, size_t n) {
    if (n > b->max || b->len > b->max - n) {
        b->over = true;
        return false;
    }
    size_t need = b->len + n + 1;
    if (need > b->cap) {
        size_t cap = b->cap ? b->cap : 64;
        while (cap < need) {
            cap *= 2;
        }
        b->p = mem_grow(b->p, cap);
        b->cap = cap;
    }
    return true;
}

bool buf_add(struct buf *b, const void *p, size_t n) {
    if (!buf_room(b, n)) {
        return false;
    }
    if (n) {
        memcpy(b->p + b->len, p, n);
    }
    b->len += n;
    b->p[b->len] = '\0';
    return true;
}

bool buf_str(struct buf *b, const char *s) {
    return buf_add(b, s, strlen(s));
}

bool buf_printf(struct buf *b, const char *fmt, ...) {
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    check(n >= 0);
    bool ok = buf_room(b, (size_t)n);
    if (ok) {
        (void)vsnprintf(b->p + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
    return ok;
}

char *buf_take(struct buf *b) {
    char *p = b->p ? b->p : mem_alloc(1);
    *b = (struct buf){.max = b->max};
    return p;
}
