#include <stdlib.h>

#include "cmocka_all.h"
#include "lib/base/vclock.h"

static struct vclock *clock_;
static struct sched *sched;
static int order[4096];
static int64_t when[4096];
static int n_fired;

struct item {
    struct timer t;
    int id;
    int64_t again_ms;
    struct timer *kill;
};

static void fire(void *ctx) {
    struct item *x = ctx;
    assert_false(timer_is_set(&x->t));
    when[n_fired] = sched_now(sched);
    order[n_fired++] = x->id;
    if (x->again_ms) {
        timer_set(sched, &x->t, sched_now(sched) + x->again_ms, fire, x);
    }
    if (x->kill) {
        timer_cancel(sched, x->kill);
    }
}

static int setup(void **state) {
    (void)state;
    clock_ = vclock_new(1700000000000);
    sched = vclock_sched(clock_);
    n_fired = 0;
    return 0;
}

static int teardown(void **state) {
    (void)state;
    vclock_free(clock_);
    return 0;
}

static void runs_in_order_of_time_then_of_setting(void **state) {
    (void)state;
    struct item a = {.id = 1}, b = {.id = 2}, c = {.id = 3}, d = {.id = 4};
    timer_set(sched, &a.t, 300, fire, &a);
    timer_set(sched, &b.t, 200, fire, &b);
    timer_set(sched, &c.t, 300, fire, &c);
    timer_set(sched, &d.t, 200, fire, &d);
    assert_true(timer_is_set(&a.t));
    assert_int_equal(vclock_next(clock_), 200);
    vclock_run_until(clock_, 299);
    assert_int_equal(n_fired, 2);
    vclock_run_until(clock_, 300);
    assert_int_equal(n_fired, 4);
    const int expected[] = {2, 4, 1, 3};
    assert_memory_equal(order, expected, sizeof(expected));
    assert_int_equal(when[1], 200);
    assert_int_equal(vclock_next(clock_), -1);
}

static void time_jumps_and_wall_follows(void **state) {
    (void)state;
    assert_true(sched_now(sched) > 0);
    assert_int_equal(sched_wall(sched), 1700000000000);
    int64_t start = sched_now(sched);
    vclock_run_until(clock_, start + 5000);
    assert_int_equal(sched_now(sched), start + 5000);
    assert_int_equal(sched_wall(sched), 1700000005000);
    vclock_run_until(clock_, start); /* never back */
    assert_int_equal(sched_now(sched), start + 5000);
}

static void set_again_replaces_and_late_fires_now(void **state) {
    (void)state;
    struct item a = {.id = 1};
    timer_set(sched, &a.t, 100, fire, &a);
    timer_set(sched, &a.t, 1000, fire, &a);
    vclock_run_until(clock_, 999);
    assert_int_equal(n_fired, 0);
    timer_set(sched, &a.t, 5, fire, &a); /* in the past: as soon as possible */
    assert_int_equal(n_fired, 0);
    vclock_run_until(clock_, 999);
    assert_int_equal(n_fired, 1);
    assert_int_equal(when[0], 999);
}

static void timers_set_and_cancel_timers(void **state) {
    (void)state;
    struct item b = {.id = 2};
    struct item a = {.id = 1, .again_ms = 10, .kill = &b.t};
    timer_set(sched, &b.t, 105, fire, &b);
    timer_set(sched, &a.t, 100, fire, &a);
    vclock_run_until(clock_, 145);
    assert_int_equal(n_fired, 5); /* 100, 110 ... 140 */
    assert_int_equal(order[4], 1);
    timer_cancel(sched, &a.t);
    timer_cancel(sched, &a.t);
    assert_false(timer_is_set(&a.t));
    assert_int_equal(vclock_next(clock_), -1);
}

static void many_timers_stay_sorted(void **state) {
    (void)state;
    enum { N = 3000 };
    static struct item items[N];
    unsigned seed = 7;
    for (int i = 0; i < N; i++) {
        seed = seed * 1103515245u + 12345u;
        items[i] = (struct item){.id = i};
        timer_set(sched, &items[i].t, 2 + (int64_t)(seed >> 16) % 500, fire, &items[i]);
    }
    for (int i = 0; i < N; i += 3) {
        timer_cancel(sched, &items[i].t);
    }
    vclock_run_until(clock_, 1000);
    assert_int_equal(n_fired, N - N / 3);
    for (int i = 1; i < n_fired; i++) {
        assert_true(when[i - 1] <= when[i]);
        assert_true(when[i - 1] < when[i] || order[i - 1] < order[i]);
        assert_int_not_equal(order[i] % 3, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(runs_in_order_of_time_then_of_setting, setup, teardown),
        cmocka_unit_test_setup_teardown(time_jumps_and_wall_follows, setup, teardown),
        cmocka_unit_test_setup_teardown(set_again_replaces_and_late_fires_now, setup, teardown),
        cmocka_unit_test_setup_teardown(timers_set_and_cancel_timers, setup, teardown),
        cmocka_unit_test_setup_teardown(many_timers_stay_sorted, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
