/* Slots on virtual time: agents that answer, fail, are silent, come and go. */
#include "gate/slots.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define MAX_NODES 5000
#define MAX_GIVEN 40000
#define ANSWER_MS 200

/* One revision's slots as they were given. */
struct log {
    int64_t at[MAX_GIVEN];
    int node[MAX_GIVEN];
    size_t n, told; /* told: results so far */
};

static struct slots *s;
static struct log logs[2]; /* of "canary" and "old" */
static unsigned times[2][MAX_NODES];
static int failing, silent; /* nodes below these numbers fail, the first of them say nothing at all */
static int wave_from, wave_to;

static int setup(void **state) {
    (void)state;
    s = slots_new();
    memset(logs, 0, sizeof logs);
    memset(times, 0, sizeof times);
    failing = silent = wave_from = wave_to = 0;
    return 0;
}

static int teardown(void **state) {
    (void)state;
    slots_free(s);
    return 0;
}

static const char *name(int n) {
    static char text[16];
    snprintf(text, sizeof text, "n%04d", n);
    return text;
}

static bool in_wave(void *ctx, const char *node) {
    (void)ctx;
    int n = atoi(node + 1);
    return n >= wave_from && n < wave_to;
}

static void revisions(uint32_t canary, uint32_t old) {
    struct slots_revision list[] = {{"canary", canary}, {"old", old}};
    slots_revisions(s, list, old > 0 ? 2 : 1);
}

static void join(int from, int to, int64_t now) {
    for (int n = from; n < to; n++) {
        slots_join(s, name(n), now);
    }
}

static void tell(struct log *l, const char *revision, int64_t now) {
    for (; l->told < l->n && l->at[l->told] + ANSWER_MS <= now; l->told++) {
        int n = l->node[l->told];
        if (n >= silent) {
            slots_result(s, name(n), revision, n >= failing, now);
        }
    }
}

/* The gate's loop: sleeps until told to wake, or until an agent answers. */
static void run(int64_t from, int64_t to) {
    for (int64_t now = from; now <= to;) {
        const char *node, *revision;
        tell(&logs[0], "canary", now);
        tell(&logs[1], "old", now);
        while (slots_next(s, now, &node, &revision)) {
            int which = revision[0] == 'o', n = atoi(node + 1);
            struct log *l = &logs[which];
            assert_true(l->n < MAX_GIVEN);
            l->at[l->n] = now;
            l->node[l->n++] = n;
            times[which][n]++;
        }
        int64_t next = slots_wake(s, now);
        assert_true(next == 0 || next > now);
        next = next == 0 ? to + 1 : next;
        for (int i = 0; i < 2; i++) {
            if (logs[i].told < logs[i].n && logs[i].at[logs[i].told] + ANSWER_MS < next) {
                next = logs[i].at[logs[i].told] + ANSWER_MS;
            }
        }
        now = next;
    }
}

/* Most slots of a revision in any window of one second. */
static size_t most_a_second(const struct log *l) {
    size_t most = 0;
    for (size_t i = 0, from = 0; i < l->n; i++) {
        while (l->at[i] - l->at[from] >= 1000) {
            from++;
        }
        most = i - from + 1 > most ? i - from + 1 : most;
    }
    return most;
}

static int without(int which, int from, int to) {
    int n = 0;
    for (int i = from; i < to; i++) {
        n += times[which][i] == 0;
    }
    return n;
}

/* The arithmetic of the header: n / replicas seconds, at replicas a second and not more. */
static void test_large_mesh_is_through_in_time(void **state) {
    (void)state;
    revisions(2, 2);
    join(0, 5000, 1000);
    run(1000, 1000 + 2500 * 1000);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(most_a_second(&logs[i]), 2);
        assert_int_equal(without(i, 0, 5000), 0);
        assert_in_range(logs[i].n, 5000, 5001);
    }
}

static void test_odd_number_of_replicas(void **state) {
    (void)state;
    revisions(3, 7);
    join(0, 500, 1000);
    run(1000, 200 * 1000);
    assert_int_equal(most_a_second(&logs[0]), 3);
    assert_int_equal(most_a_second(&logs[1]), 7);
    assert_int_equal(logs[0].n, 500);
}

static void test_wave_comes_first(void **state) {
    (void)state;
    revisions(2, 0);
    join(0, 1000, 1000);
    wave_from = 700, wave_to = 900;
    slots_wave(s, in_wave, NULL);
    run(1000, 1000 + 135 * 1000); /* 200 at three of four slots */
    assert_int_equal(without(0, 700, 900), 0);
    assert_true(without(0, 0, 1000) > 700);
    run(1000 + 135 * 1000, 1000 + 520 * 1000);
    assert_int_equal(without(0, 0, 1000), 0);
}

/* 200 nodes of the wave fail and want to be tested every 30 s, which is more than there is. */
static void test_failing_nodes_starve_nobody(void **state) {
    (void)state;
    revisions(1, 0);
    join(0, 400, 1000);
    wave_to = failing = 200;
    slots_wave(s, in_wave, NULL);
    run(1000, 1000 + 1600 * 1000);
    assert_int_equal(most_a_second(&logs[0]), 1);
    assert_int_equal(without(0, 0, 400), 0);
    for (int n = 0; n < 200; n++) {
        assert_true(times[0][n] >= 2);
    }
}

static void test_good_results_last(void **state) {
    (void)state;
    revisions(1, 0);
    join(0, 20, 1000);
    failing = 1;
    wave_from = 1, wave_to = 2;
    slots_wave(s, in_wave, NULL);
    run(1000, 1000 + 30 * 60 * 1000);
    assert_in_range(times[0][0], 55, 61); /* failed: every 30 s */
    assert_in_range(times[0][1], 3, 4);   /* of the wave: every 10 min */
    assert_int_equal(times[0][2], 1);     /* every hour */
    run(1000 + 30 * 60 * 1000, 1000 + 65 * 60 * 1000);
    assert_int_equal(times[0][2], 2);
}

/* Those that never answer hold a bounded number of slots, which come back. */
static void test_silent_agents(void **state) {
    (void)state;
    revisions(2, 0);
    join(0, 200, 1000);
    silent = failing = 200;
    run(1000, 1000 + SLOTS_LOST_MS - 1);
    assert_int_equal(logs[0].n, 20); /* 10 a replica */
    run(1000 + SLOTS_LOST_MS, 1000 + 400 * 1000);
    assert_int_equal(most_a_second(&logs[0]), 2);
    assert_int_equal(without(0, 0, 200), 0);
}

static void test_lost_with_its_session(void **state) {
    (void)state;
    const char *node, *revision;
    revisions(1, 0);
    join(0, 1, 1000);
    assert_true(slots_next(s, 1000, &node, &revision));
    assert_false(slots_next(s, 3000, &node, &revision));
    slots_leave(s, "n0000");
    assert_int_equal(slots_wake(s, 3000), 0);
    slots_result(s, "n0000", "canary", true, 3000); /* nobody any more */
    join(0, 1, 3500);
    assert_int_equal(slots_wake(s, 3500), 3501);
    assert_true(slots_next(s, 3501, &node, &revision));
    assert_string_equal(node, "n0000");
    assert_string_equal(revision, "canary");
    join(0, 1, 5000); /* came again without having been seen to leave */
    assert_true(slots_next(s, 5000, &node, &revision));
}

static void test_old_result_does_not_end_a_slot(void **state) {
    (void)state;
    const char *node, *revision;
    revisions(1, 0);
    join(0, 1, 1000);
    assert_true(slots_next(s, 10000, &node, &revision));
    slots_result(s, "n0000", "canary", false, 2000); /* told again after a resync */
    assert_int_equal(slots_wake(s, 10000), 2000 + SLOTS_FAILED_AGAIN_MS);
    slots_result(s, "n0000", "canary", true, 10500);
    assert_int_equal(slots_wake(s, 11000), 10500 + SLOTS_AGAIN_MS);
    slots_result(s, "n0000", "nosuch", true, 10500);
}

static void test_revisions_come_and_go(void **state) {
    (void)state;
    const char *node, *revision;
    join(0, 2, 1000);
    assert_int_equal(slots_wake(s, 1000), 0);
    assert_false(slots_next(s, 1000, &node, &revision));
    revisions(0, 0);
    assert_int_equal(slots_wake(s, 1000), 0);
    assert_false(slots_next(s, 1000, &node, &revision)); /* nobody there to dial */
    revisions(1, 1);
    run(1000, 10000);
    assert_int_equal(logs[0].n, 2);
    assert_int_equal(logs[1].n, 2);
    struct slots_revision only = {"old", 1};
    slots_revisions(s, &only, 1);
    run(10000, 20000);
    assert_int_equal(logs[1].n, 2); /* what was known of it has not moved */
    revisions(1, 1);
    run(20000, 30000);
    assert_int_equal(logs[0].n, 4);
    assert_int_equal(logs[1].n, 2);
    join(2, 3, 30000);
    run(30000, 40000);
    assert_int_equal(times[0][2] + times[1][2], 2);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_large_mesh_is_through_in_time),
        TEST(test_odd_number_of_replicas),
        TEST(test_wave_comes_first),
        TEST(test_failing_nodes_starve_nobody),
        TEST(test_good_results_last),
        TEST(test_silent_agents),
        TEST(test_lost_with_its_session),
        TEST(test_old_result_does_not_end_a_slot),
        TEST(test_revisions_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
