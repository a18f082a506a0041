#include "loop.h"

#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "err.h"
#include "mem.h"
#include "timerheap.h"

enum { LOOP_SIGNALS = 2 };

struct post {
    struct post *next;
    void (*fn)(void *ctx);
    void *ctx;
};

struct loop {
    struct sched sched; /* first: a sched * is a loop * */
    uv_loop_t uv;
    struct timerheap timers;
    uv_timer_t alarm; /* for the first of timers */
    uv_async_t wake;
    uv_mutex_t lock; /* guards the two below */
    struct post *first, **last;
    uv_signal_t signals[LOOP_SIGNALS];
    bool has_signals, stopping, firing;
    void (*on_stop)(void *ctx);
    void *on_stop_ctx;
};

static int64_t loop_now(struct sched *s) {
    struct loop *l = (struct loop *)s;
    int64_t now = (int64_t)uv_now(&l->uv);
    return now > 0 ? now : 1;
}

static int64_t loop_wall(struct sched *s) {
    (void)s;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void loop_alarm(uv_timer_t *h);

static void loop_rearm(struct loop *l, int64_t least_ms) {
    const struct timerheap_entry *e = timerheap_first(&l->timers);
    if (!e) {
        uv_timer_stop(&l->alarm);
        return;
    }
    int64_t wait = e->at_ms - loop_now(&l->sched);
    uv_timer_start(&l->alarm, loop_alarm, wait > least_ms ? (uint64_t)wait : (uint64_t)least_ms, 0);
}

static void loop_alarm(uv_timer_t *h) {
    struct loop *l = h->data;
    /* Timers set from here on wait for the next turn, so that one that sets itself to "now" starves nobody. */
    uint64_t newest = l->timers.seq;
    int64_t now = loop_now(&l->sched);
    l->firing = true;
    for (;;) {
        const struct timerheap_entry *e = timerheap_first(&l->timers);
        if (!e || e->at_ms > now || e->seq > newest) {
            break;
        }
        timerheap_fire(&l->timers);
    }
    l->firing = false;
    loop_rearm(l, 1); /* with 0, libuv would call this again before it looks at any descriptor */
}

static void loop_set(struct sched *s, struct timer *t) {
    struct loop *l = (struct loop *)s;
    timerheap_set(&l->timers, t);
    if (!l->firing && timerheap_first(&l->timers)->t == t) {
        loop_rearm(l, 0);
    }
}

static void loop_cancel(struct sched *s, struct timer *t) {
    struct loop *l = (struct loop *)s;
    timerheap_cancel(&l->timers, t); /* an alarm that finds nothing due re-arms itself */
}

static void loop_woken(uv_async_t *h) {
    struct loop *l = h->data;
    uv_mutex_lock(&l->lock);
    struct post *p = l->first;
    l->first = NULL;
    l->last = &l->first;
    uv_mutex_unlock(&l->lock);
    while (p) {
        struct post *next = p->next;
        p->fn(p->ctx);
        free(p);
        p = next;
    }
}

static const struct sched_ops loop_ops = {loop_now, loop_wall, loop_set, loop_cancel};

struct loop *loop_new(void) {
    struct loop *l = mem_alloc(sizeof(*l));
    l->sched.ops = &loop_ops;
    l->last = &l->first;
    /* A peer that hangs up is an error of the write, not the end of the process. */
    signal(SIGPIPE, SIG_IGN);
    check(uv_loop_init(&l->uv) == 0);
    check(uv_mutex_init(&l->lock) == 0);
    check(uv_timer_init(&l->uv, &l->alarm) == 0);
    check(uv_async_init(&l->uv, &l->wake, loop_woken) == 0);
    l->alarm.data = l;
    l->wake.data = l;
    return l;
}

void loop_free(struct loop *l) {
    if (!l) {
        return;
    }
    uv_close((uv_handle_t *)&l->alarm, NULL);
    uv_close((uv_handle_t *)&l->wake, NULL);
    for (int i = 0; l->has_signals && i < LOOP_SIGNALS; i++) {
        uv_close((uv_handle_t *)&l->signals[i], NULL);
    }
    /* Close callbacks of others may still be on their way; a handle left open is a bug of its owner. */
    int rc = UV_EBUSY;
    for (int i = 0; i < 100 && rc == UV_EBUSY; i++) {
        uv_run(&l->uv, UV_RUN_NOWAIT);
        rc = uv_loop_close(&l->uv);
    }
    check(rc == 0);
    while (l->first) {
        struct post *p = l->first;
        l->first = p->next;
        free(p);
    }
    uv_mutex_destroy(&l->lock);
    timerheap_done(&l->timers);
    free(l);
}

struct sched *loop_sched(struct loop *l) {
    return &l->sched;
}

uv_loop_t *loop_uv(struct loop *l) {
    return &l->uv;
}

void loop_run(struct loop *l) {
    while (!l->stopping) {
        uv_run(&l->uv, UV_RUN_DEFAULT);
    }
    l->stopping = false;
}

void loop_stop(struct loop *l) {
    l->stopping = true;
    uv_stop(&l->uv);
}

static void loop_signalled(uv_signal_t *h, int signum) {
    (void)signum;
    struct loop *l = h->data;
    l->on_stop(l->on_stop_ctx);
}

void loop_on_stop_signal(struct loop *l, void (*fn)(void *ctx), void *ctx) {
    static const int which[LOOP_SIGNALS] = {SIGTERM, SIGINT};
    l->on_stop = fn;
    l->on_stop_ctx = ctx;
    for (int i = 0; !l->has_signals && i < LOOP_SIGNALS; i++) {
        check(uv_signal_init(&l->uv, &l->signals[i]) == 0);
        l->signals[i].data = l;
        check(uv_signal_start(&l->signals[i], loop_signalled, which[i]) == 0);
    }
    l->has_signals = true;
}

void loop_post(struct loop *l, void (*fn)(void *ctx), void *ctx) {
    struct post *p = mem_alloc(sizeof(*p));
    p->fn = fn;
    p->ctx = ctx;
    uv_mutex_lock(&l->lock);
    *l->last = p;
    l->last = &p->next;
    uv_mutex_unlock(&l->lock);
    uv_async_send(&l->wake);
}
