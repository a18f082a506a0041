/*
 * Where time comes from. Every module that waits has a struct sched; in the programs it is the libuv loop (loop.h),
 * in scenario tests a virtual clock (vclock.h). Single thread: all functions only from the thread that owns it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct sched;

/* One-shot timer embedded in its owner. Zeroed = not set. */
struct timer {
    void (*fn)(void *ctx);
    void *ctx;
    int64_t at_ms;
    void *impl; /* of the sched */
};

struct sched_ops {
    int64_t (*now_ms)(struct sched *s);
    int64_t (*wall_ms)(struct sched *s);
    void (*set)(struct sched *s, struct timer *t);
    void (*cancel)(struct sched *s, struct timer *t);
};

struct sched {
    const struct sched_ops *ops;
};

/* Monotonic milliseconds; constant within one turn of the loop. Never 0. */
int64_t sched_now(struct sched *s);
/* Milliseconds since the epoch, for what people or other machines read; may jump. */
int64_t sched_wall(struct sched *s);
/* The earlier of two times to come again at; 0 means never. */
static inline int64_t sched_sooner(int64_t a, int64_t b) {
    return a == 0 || (b != 0 && b < a) ? b : a;
}
/* Call fn(ctx) once at at_ms or as soon as possible after it (never from inside this call). Setting again replaces. */
void timer_set(struct sched *s, struct timer *t, int64_t at_ms, void (*fn)(void *ctx), void *ctx);
/* Forget the timer; allowed when not set. The owner must do so before it frees the memory. */
void timer_cancel(struct sched *s, struct timer *t);
bool timer_is_set(const struct timer *t);
