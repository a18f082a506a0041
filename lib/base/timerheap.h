/* The timers of a sched, ordered by time and then by when they were set. Shared by loop.c and vclock.c. */
#pragma once

#include <stddef.h>

#include "sched.h"

struct timerheap_entry {
    int64_t at_ms;
    uint64_t seq;
    struct timer *t;
};

struct timerheap {
    struct timerheap_entry *e;
    size_t n, cap;
    uint64_t seq; /* of the timer set last */
};

void timerheap_done(struct timerheap *h);
void timerheap_set(struct timerheap *h, struct timer *t);
void timerheap_cancel(struct timerheap *h, struct timer *t);
/* The first entry, NULL when none. */
const struct timerheap_entry *timerheap_first(const struct timerheap *h);
/* Take the first timer out (it is not set any more) and call it. */
void timerheap_fire(struct timerheap *h);
