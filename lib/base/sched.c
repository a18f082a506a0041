#include "sched.h"

#include <stddef.h>

int64_t sched_now(struct sched *s) {
    return s->ops->now_ms(s);
}

int64_t sched_wall(struct sched *s) {
    return s->ops->wall_ms(s);
}

void timer_set(struct sched *s, struct timer *t, int64_t at_ms, void (*fn)(void *ctx), void *ctx) {
    t->fn = fn;
    t->ctx = ctx;
    t->at_ms = at_ms;
    s->ops->set(s, t);
}

void timer_cancel(struct sched *s, struct timer *t) {
    s->ops->cancel(s, t);
}

bool timer_is_set(const struct timer *t) {
    return t->impl != NULL;
}
