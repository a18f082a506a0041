#include "vclock.h"

#include <stdlib.h>

#include "mem.h"
#include "timerheap.h"

struct vclock {
    struct sched sched; /* first: a sched * is a vclock * */
    struct timerheap timers;
    int64_t now_ms, wall_minus_now;
};

static int64_t vclock_now(struct sched *s) {
    return ((struct vclock *)s)->now_ms;
}

static int64_t vclock_wall(struct sched *s) {
    struct vclock *v = (struct vclock *)s;
    return v->now_ms + v->wall_minus_now;
}

static void vclock_set(struct sched *s, struct timer *t) {
    timerheap_set(&((struct vclock *)s)->timers, t);
}

static void vclock_cancel(struct sched *s, struct timer *t) {
    timerheap_cancel(&((struct vclock *)s)->timers, t);
}

static const struct sched_ops vclock_ops = {vclock_now, vclock_wall, vclock_set, vclock_cancel};

struct vclock *vclock_new(int64_t start_wall_ms) {
    struct vclock *v = mem_alloc(sizeof(*v));
    v->sched.ops = &vclock_ops;
    v->now_ms = 1;
    v->wall_minus_now = start_wall_ms - v->now_ms;
    return v;
}

void vclock_free(struct vclock *v) {
    if (v) {
        timerheap_done(&v->timers);
        free(v);
    }
}

struct sched *vclock_sched(struct vclock *v) {
    return &v->sched;
}

void vclock_run_until(struct vclock *v, int64_t until_ms) {
    for (;;) {
        const struct timerheap_entry *e = timerheap_first(&v->timers);
        if (!e || e->at_ms > until_ms) {
            break;
        }
        if (e->at_ms > v->now_ms) {
            v->now_ms = e->at_ms;
        }
        timerheap_fire(&v->timers);
    }
    if (until_ms > v->now_ms) {
        v->now_ms = until_ms;
    }
}

int64_t vclock_next(const struct vclock *v) {
    const struct timerheap_entry *e = timerheap_first(&v->timers);
    if (!e) {
        return -1;
    }
    return e->at_ms > v->now_ms ? e->at_ms : v->now_ms;
}
