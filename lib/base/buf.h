/* A growing byte buffer with a mandatory maximum, and pieces of memory that belong to somebody else. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    char *p; /* always NUL-terminated once something was added */
    size_t len, cap, max;
    bool over; /* something did not fit and was left out */
};

/* A borrowed piece of bytes. A message of gRPC comes as an array of these (its slices). */
struct piece {
    const uint8_t *p;
    size_t len;
};

void buf_init(struct buf *b, size_t max);
void buf_done(struct buf *b);
void buf_reset(struct buf *b);
/* false and b->over when it would pass max; then nothing is added. */
bool buf_add(struct buf *b, const void *p, size_t n);
bool buf_str(struct buf *b, const char *s);
bool buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Give the memory to the caller (free()); b is empty afterwards. Never NULL. */
char *buf_take(struct buf *b);
