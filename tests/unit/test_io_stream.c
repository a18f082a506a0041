#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "io_bench.h"

static struct bench b;
static struct {
    size_t calls;
    bool ok, busy;
    char stage[16], error[256];
    uint32_t first_byte_us;
} seen;

static int setup(void **state) {
    (void)state;
    bench_init(&b);
    memset(&seen, 0, sizeof seen);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    bench_done(&b);
    return 0;
}

static void on_result(void *ctx, const struct io_reach *r) {
    (void)ctx;
    seen.calls++;
    seen.ok = r->ok;
    seen.busy = r->busy;
    seen.first_byte_us = r->first_byte_us;
    snprintf(seen.stage, sizeof seen.stage, "%s", r->stage);
    snprintf(seen.error, sizeof seen.error, "%s", r->error != NULL ? r->error : "");
}

static void stream(const struct io_target *t, int64_t timeout_ms) {
    size_t want = seen.calls + 1;
    b.face->stream(b.face->self, t, timeout_ms, on_result, NULL);
    assert_int_equal(seen.calls, want - 1);
    bench_until(&b, &seen.calls, want);
    assert_string_equal(seen.stage, "ads");
}

static void expect_failed(const char *says) {
    if (seen.ok || seen.busy || strstr(seen.error, says) == NULL) {
        fail_msg("%d %d '%s' instead of '%s'", seen.ok, seen.busy, seen.error, says);
    }
    assert_int_equal(seen.first_byte_us, 0);
}

static void test_served(void **state) {
    (void)state;
    struct io_target t = bench_target(&b);
    b.body = "[\"adsz\"]";
    stream(&t, PATIENCE_MS);
    assert_true(seen.ok);
    assert_true(seen.first_byte_us > 0);
    assert_string_equal(b.resource, "list");
    assert_string_equal(b.authorization, "Bearer secret-token");
    bench_until(&b, &b.closed, 1); /* at once */
    stream(&t, PATIENCE_MS);
    assert_true(seen.ok);
    bench_until(&b, &b.closed, 2);
    assert_int_equal(b.opened, 2); /* each test is a stream of its own */
    b.body = "404 page not found\n";
    stream(&t, PATIENCE_MS); /* debug calls are switched off: the way there is good */
    assert_true(seen.ok && seen.first_byte_us > 0);
}

/* A reader of the same replica keeps its own stream. */
static void test_beside_a_reader(void **state) {
    (void)state;
    struct io_target t = bench_target(&b);
    struct bench_heard heard = {0};
    b.face->ask(b.face->self, &t, "connections", PATIENCE_MS, bench_on_answer, &heard);
    bench_until(&b, &heard.calls, 1);
    stream(&t, PATIENCE_MS);
    bench_until(&b, &b.closed, 1);
    assert_true(seen.ok);
    assert_int_equal(b.opened, 2);
    bench_heard_done(&heard);
}

static void test_turned_away(void **state) {
    (void)state;
    struct io_target t = bench_target(&b);
    b.mode = BENCH_END;
    b.end_status = RPC_UNAUTHENTICATED;
    b.end_text = "authentication failure";
    stream(&t, PATIENCE_MS);
    expect_failed("refused the token of --istio-token-file");
    b.end_status = RPC_RESOURCE_EXHAUSTED;
    b.end_text = "request rate limit exceeded: too many";
    stream(&t, PATIENCE_MS);
    assert_true(seen.busy);
    assert_false(seen.ok);
    b.end_status = RPC_UNAVAILABLE;
    b.end_text = "server is shutting down";
    stream(&t, PATIENCE_MS);
    expect_failed("server is shutting down");
    b.mode = BENCH_SILENT;
    stream(&t, 1500);
    expect_failed("did not answer list within 1500 ms");
}

static void test_wrong_name(void **state) {
    (void)state;
    struct io_target t = bench_target(&b);
    t.server_name = "istiod-old.istio-system.svc";
    stream(&t, PATIENCE_MS);
    expect_failed("wrong name: the certificate of istiod at 127.0.0.1:");
    unlink(b.token_file);
    stream(&t, PATIENCE_MS);
    expect_failed("--istio-token-file");
}

static void test_dropped(void **state) {
    (void)state;
    struct io_target t = bench_target(&b);
    b.mode = BENCH_SILENT;
    struct io_question *q = b.face->stream(b.face->self, &t, PATIENCE_MS, on_result, NULL);
    bench_until(&b, &b.asked, 1);
    b.face->drop(b.face->self, q);
    bench_until(&b, &b.closed, 1);
    bench_turn(&b, 20);
    assert_int_equal(seen.calls, 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {TEST(test_served), TEST(test_beside_a_reader), TEST(test_turned_away),
                                       TEST(test_wrong_name), TEST(test_dropped)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
