#include "timerheap.h"

#include <stdlib.h>

#include "err.h"
#include "mem.h"

/* timer.impl is the entry's index + 1: no allocation a timer, and a zeroed timer is not set. */
static void place(struct timerheap *h, size_t i, struct timerheap_entry e) {
    h->e[i] = e;
    e.t->impl = (void *)(uintptr_t)(i + 1);
}

static bool before(const struct timerheap_entry *a, const struct timerheap_entry *b) {
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->seq < b->seq;
}

static void sift(struct timerheap *h, size_t i, struct timerheap_entry e) {
    while (i > 0 && before(&e, &h->e[(i - 1) / 2])) {
        place(h, i, h->e[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= h->n) {
            break;
        }
        if (child + 1 < h->n && before(&h->e[child + 1], &h->e[child])) {
            child++;
        }
        if (!before(&h->e[child], &e)) {
            break;
        }
        place(h, i, h->e[child]);
        i = child;
    }
    place(h, i, e);
}

void timerheap_done(struct timerheap *h) {
    for (size_t i = 0; i < h->n; i++) {
        h->e[i].t->impl = NULL;
    }
    free(h->e);
    *h = (struct timerheap){0};
}

void timerheap_set(struct timerheap *h, struct timer *t) {
    timerheap_cancel(h, t);
    if (h->n == h->cap) {
        h->cap = h->cap ? 2 * h->cap : 64;
        h->e = mem_grow(h->e, h->cap * sizeof(*h->e));
    }
    size_t i = h->n++;
    sift(h, i, (struct timerheap_entry){t->at_ms, ++h->seq, t});
}

void timerheap_cancel(struct timerheap *h, struct timer *t) {
    if (!t->impl) {
        return;
    }
    size_t i = (size_t)(uintptr_t)t->impl - 1;
    check(i < h->n && h->e[i].t == t);
    t->impl = NULL;
    struct timerheap_entry last = h->e[--h->n];
    if (i < h->n) {
        sift(h, i, last);
    }
}

const struct timerheap_entry *timerheap_first(const struct timerheap *h) {
    return h->n ? &h->e[0] : NULL;
}

void timerheap_fire(struct timerheap *h) {
    struct timer *t = h->e[0].t;
    timerheap_cancel(h, t);
    t->fn(t->ctx);
}
