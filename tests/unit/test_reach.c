/* The tests of the way to a revision, alone, on virtual time. */
#include "agent/reach.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/mem.h"
#include "lib/base/vclock.h"

#define PERIOD_MS 60000

struct io_question {
    struct timer timer;
    bool stream;
    char address[16];
    void (*fn)(void *ctx, const struct io_reach *r);
    void *ctx;
};

static struct play {
    struct vclock *clock;
    struct sched *sched;
    struct agent_io io;
    struct reach *reach;
    struct report report;
    const char *plain_error, *stream_error; /* NULL: good */
    const char *bad_address;                /* plain_error holds for this one only; NULL: for all */
    bool busy;
    unsigned plain, streams, ready, open, news;
    char last[16]; /* address of the latest test */
} p;

static void fire(void *ctx) {
    struct io_question *q = ctx;
    bool bad = p.plain_error && (!p.bad_address || strcmp(q->address, p.bad_address) == 0);
    struct io_reach r = {.ok = true, .stage = "ready", .rtt_us = 900, .cert_expiry_s = 3600};
    if (q->stream) {
        r = (struct io_reach){.ok = !p.stream_error && !p.busy, .busy = p.busy, .stage = "ads", .error = p.stream_error};
        r.first_byte_us = r.ok ? 6000 : 0;
    } else if (bad) {
        r = (struct io_reach){.stage = "tls", .error = p.plain_error};
    }
    p.open--;
    q->fn(q->ctx, &r);
    free(q);
}

static struct io_question *begin(const struct io_target *t, bool stream, void (*fn)(void *ctx, const struct io_reach *r),
                                 void *ctx) {
    struct io_question *q = mem_alloc(sizeof *q);
    *q = (struct io_question){.stream = stream, .fn = fn, .ctx = ctx};
    snprintf(q->address, sizeof q->address, "%s", t->address);
    memcpy(p.last, q->address, sizeof p.last);
    assert_string_equal(t->server_name, "istiod-canary.istio-system.svc");
    assert_int_equal(t->xds_port, 15012);
    p.ready += !stream && t->http_port == 8080;
    *(stream ? &p.streams : &p.plain) += 1;
    p.open++;
    timer_set(p.sched, &q->timer, sched_now(p.sched) + 5, fire, q);
    return q;
}

static struct io_question *io_reach(void *self, const struct io_target *t, int64_t timeout_ms,
                                    void (*fn)(void *ctx, const struct io_reach *r), void *ctx) {
    (void)self, (void)timeout_ms;
    return begin(t, false, fn, ctx);
}

static struct io_question *io_stream(void *self, const struct io_target *t, int64_t timeout_ms,
                                     void (*fn)(void *ctx, const struct io_reach *r), void *ctx) {
    (void)self, (void)timeout_ms;
    return begin(t, true, fn, ctx);
}

static void io_drop(void *self, struct io_question *q) {
    (void)self;
    timer_cancel(p.sched, &q->timer);
    p.open--;
    free(q);
}

static void on_news(void *ctx) {
    (void)ctx;
    p.news++;
}

static void assign(size_t replicas) {
    static char name[] = "canary", host[] = "istiod-canary.istio-system.svc", service[] = "10.96.0.7",
                ips[2][16] = {"10.9.0.1", "10.9.0.2"};
    char *services[] = {service}, *replica_ips[] = {ips[0], ips[1]};
    Meshgate__V1__Assignment__Revision v = MESHGATE__V1__ASSIGNMENT__REVISION__INIT, *list[] = {&v};
    v.name = name, v.server_name = host, v.xds_port = 15012;
    v.service_ips = services, v.n_service_ips = 1, v.replica_ips = replica_ips, v.n_replica_ips = replicas;
    reach_set(p.reach, list, 1, PERIOD_MS);
}

static int setup(void **state) {
    (void)state;
    memset(&p, 0, sizeof p);
    p.clock = vclock_new(1795400000000);
    p.sched = vclock_sched(p.clock);
    p.io = (struct agent_io){.reach = io_reach, .stream = io_stream, .drop = io_drop};
    report_init(&p.report);
    p.reach = reach_new(&(struct reach_env){.io = &p.io, .sched = p.sched, .news = on_news, .seed = 3});
    return 0;
}

static int teardown(void **state) {
    (void)state;
    reach_free(p.reach);
    assert_int_equal(p.open, 0);
    report_done(&p.report);
    vclock_free(p.clock);
    return 0;
}

static void run(int64_t ms) {
    vclock_run_until(p.clock, sched_now(p.sched) + ms);
}

/* Entries to be told, n of them; the last one. */
static const Meshgate__V1__Reach *told(size_t n) {
    report_done(&p.report);
    assert_int_equal(reach_has_news(p.reach), n > 0);
    reach_fill(p.reach, &p.report);
    assert_int_equal(p.report.msg.n_reach, n);
    return n ? p.report.msg.reach[n - 1] : NULL;
}

static void test_each_place_in_turn(void **state) {
    (void)state;
    assign(2);
    run(PERIOD_MS / 10 + 10);
    assert_string_equal(p.last, "10.96.0.7");
    const Meshgate__V1__Reach *x = told(1);
    assert_true(x->ok);
    assert_string_equal(x->stage, "ready");
    assert_in_range(x->cert_expiry_s, 3590, 3601);
    assert_int_equal(x->first_byte_us, 0);
    run(PERIOD_MS);
    assert_string_equal(p.last, "10.9.0.1");
    run(PERIOD_MS);
    assert_string_equal(p.last, "10.9.0.2");
    run(PERIOD_MS);
    assert_string_equal(p.last, "10.96.0.7");
    assert_int_equal(p.ready, 2); /* of replicas only */
    assert_int_equal(p.streams, 0);
    told(1);
}

/* A replica that cannot be reached is not hidden by its neighbour. */
static void test_failure_stays(void **state) {
    (void)state;
    p.plain_error = "wrong name: x";
    p.bad_address = "10.9.0.1";
    assign(2);
    run(2 * PERIOD_MS);
    const Meshgate__V1__Reach *x = told(1);
    assert_false(x->ok);
    assert_string_equal(x->stage, "tls");
    assert_string_equal(x->error, "wrong name: x");
    unsigned before = p.plain;
    run(PERIOD_MS);
    assert_in_range(p.plain - before, 5, 7); /* looked at sooner, the same place */
    assert_string_equal(p.last, "10.9.0.1");
    assert_false(told(1)->ok);
    p.plain_error = NULL;
    run(PERIOD_MS / 6 + 10);
    assert_true(told(1)->ok);
}

static void test_failed_place_has_gone(void **state) {
    (void)state;
    p.plain_error = "connection refused";
    p.bad_address = "10.9.0.2";
    assign(2);
    run(3 * PERIOD_MS);
    assert_false(told(1)->ok);
    assign(1);
    run(PERIOD_MS / 10 + 10);
    assert_true(told(1)->ok);
}

static void test_slot(void **state) {
    (void)state;
    assign(2);
    run(PERIOD_MS / 10 + 10);
    told(1);
    reach_slot(p.reach, "canary");
    reach_slot(p.reach, "canary"); /* under test already */
    reach_slot(p.reach, "nosuch");
    run(10);
    assert_int_equal(p.streams, 1);
    assert_string_equal(p.last, "10.96.0.7"); /* where proxies dial */
    assert_true(told(2)->ok);
    const Meshgate__V1__Reach *x = p.report.msg.reach[0];
    assert_string_equal(x->stage, "ads");
    assert_true(x->ok);
    assert_int_equal(x->first_byte_us, 6000);
    told(0);
}

static void test_refused_token_stays_until_the_next_slot(void **state) {
    (void)state;
    assign(2);
    run(PERIOD_MS / 10 + 10);
    told(1);
    p.stream_error = "refused the token";
    reach_slot(p.reach, "canary");
    run(5);
    const Meshgate__V1__Reach *x = told(1);
    assert_false(x->ok);
    assert_string_equal(x->stage, "ads");
    unsigned before = p.plain;
    run(20);
    assert_int_equal(p.plain, before + 1); /* is it the way? */
    run(3 * PERIOD_MS);
    assert_false(told(1)->ok); /* good ways do not make a good token */
    p.stream_error = NULL;
    reach_slot(p.reach, "canary");
    run(10);
    assert_true(told(2)->ok);
}

/* The stream failed because the way was cut: the plain test names it, and its mending mends both. */
static void test_cut_and_joined(void **state) {
    (void)state;
    assign(2);
    run(PERIOD_MS / 10 + 10);
    p.stream_error = p.plain_error = "connection refused";
    reach_slot(p.reach, "canary");
    run(20);
    const Meshgate__V1__Reach *x = told(2);
    assert_string_equal(p.report.msg.reach[0]->stage, "ads");
    assert_string_equal(x->stage, "tls");
    p.stream_error = p.plain_error = NULL;
    run(PERIOD_MS / 6 + 20);
    assert_true(told(1)->ok);
}

static void test_busy_says_nothing(void **state) {
    (void)state;
    assign(2);
    run(PERIOD_MS / 10 + 10);
    told(1);
    p.busy = true;
    reach_slot(p.reach, "canary");
    run(20);
    told(0);
    p.busy = false;
    reach_slot(p.reach, "canary");
    run(20);
    assert_int_equal(p.streams, 2);
    assert_true(told(2)->ok);
}

static void test_all_again(void **state) {
    (void)state;
    assign(2);
    run(PERIOD_MS / 10 + 10);
    reach_slot(p.reach, "canary");
    run(20);
    told(2);
    told(0);
    run(5000);
    reach_all_dirty(p.reach);
    assert_in_range(told(2)->age_ms, 5000, 12000);
    assert_in_range(p.report.msg.reach[0]->age_ms, 5000, 5020);
}

static void test_freed_under_way(void **state) {
    (void)state;
    assign(2);
    reach_slot(p.reach, "canary");
    assert_int_equal(p.open, 1);
    reach_set(p.reach, NULL, 0, PERIOD_MS);
    assert_int_equal(p.open, 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_each_place_in_turn),
        TEST(test_failure_stays),
        TEST(test_failed_place_has_gone),
        TEST(test_slot),
        TEST(test_refused_token_stays_until_the_next_slot),
        TEST(test_cut_and_joined),
        TEST(test_busy_says_nothing),
        TEST(test_all_again),
        TEST(test_freed_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
