#include <signal.h>
#include <unistd.h>

#include "cmocka_all.h"
#include "lib/base/loop.h"

static struct loop *loop;
static int fired[8], n_fired;
static struct timer timers[3];

static void stop(void *ctx) {
    fired[n_fired++] = *(int *)ctx;
    loop_stop(loop);
}

static void note(void *ctx) {
    fired[n_fired++] = *(int *)ctx;
}

static int setup(void **state) {
    (void)state;
    loop = loop_new();
    n_fired = 0;
    return 0;
}

static int teardown(void **state) {
    (void)state;
    loop_free(loop);
    return 0;
}

static void timers_run_in_order(void **state) {
    (void)state;
    static int one = 1, two = 2, three = 3;
    struct sched *s = loop_sched(loop);
    int64_t now = sched_now(s);
    assert_true(now > 0);
    timer_set(s, &timers[2], now + 20, stop, &three);
    timer_set(s, &timers[0], now, note, &one);
    timer_set(s, &timers[1], now + 10, note, &two);
    timer_cancel(s, &timers[1]);
    timer_set(s, &timers[1], now + 5, note, &two);
    loop_run(loop);
    assert_int_equal(n_fired, 3);
    assert_int_equal(fired[0], 1);
    assert_int_equal(fired[1], 2);
    assert_int_equal(fired[2], 3);
    assert_true(sched_now(s) >= now + 20);
}

static int spins;

static void spin(void *ctx) {
    struct sched *s = ctx;
    spins++;
    timer_set(s, &timers[0], sched_now(s), spin, s);
}

static void a_timer_that_sets_itself_starves_nobody(void **state) {
    (void)state;
    static int done = 9;
    struct sched *s = loop_sched(loop);
    spins = 0;
    timer_set(s, &timers[0], sched_now(s), spin, s);
    timer_set(s, &timers[1], sched_now(s) + 3, stop, &done);
    loop_run(loop);
    assert_int_equal(fired[0], 9);
    assert_true(spins > 1);
    timer_cancel(s, &timers[0]);
}

static void poster(void *ctx) {
    static int values[] = {1, 2, 3};
    (void)ctx;
    loop_post(loop, note, &values[0]);
    loop_post(loop, note, &values[1]);
    loop_post(loop, stop, &values[2]);
}

static void other_threads_post(void **state) {
    (void)state;
    uv_thread_t t;
    assert_int_equal(uv_thread_create(&t, poster, NULL), 0);
    loop_run(loop);
    uv_thread_join(&t);
    assert_int_equal(n_fired, 3);
    assert_int_equal(fired[0], 1);
    assert_int_equal(fired[2], 3);
}

static void posts_left_over_are_dropped(void **state) {
    (void)state;
    static int value = 1;
    loop_post(loop, note, &value);
    assert_int_equal(n_fired, 0); /* teardown frees it: seen by the leak checker */
}

static void stop_signal_arrives_on_the_loop(void **state) {
    (void)state;
    static int value = 15;
    loop_on_stop_signal(loop, stop, &value);
    assert_int_equal(kill(getpid(), SIGTERM), 0);
    loop_run(loop);
    assert_int_equal(fired[0], 15);
    assert_int_equal(kill(getpid(), SIGINT), 0);
    loop_run(loop); /* and again after the first */
    assert_int_equal(n_fired, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(timers_run_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(a_timer_that_sets_itself_starves_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(other_threads_post, setup, teardown),
        cmocka_unit_test_setup_teardown(posts_left_over_are_dropped, setup, teardown),
        cmocka_unit_test_setup_teardown(stop_signal_arrives_on_the_loop, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
