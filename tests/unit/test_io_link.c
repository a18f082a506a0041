#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "io_bench.h"

static struct bench b;
static struct {
    size_t messages, closed;
    int status;
    char text[256], message[64];
} seen;

static void on_message(void *ctx, const struct piece *pieces, size_t n) {
    assert_ptr_equal(ctx, &seen);
    assert_true(n >= 1);
    seen.messages++;
    snprintf(seen.message, sizeof seen.message, "%.*s", (int)pieces[0].len, (const char *)pieces[0].p);
}

static void on_closed(void *ctx, int rpc_status, const char *text) {
    assert_ptr_equal(ctx, &seen);
    seen.closed++;
    seen.status = rpc_status;
    snprintf(seen.text, sizeof seen.text, "%s", text);
}

static const struct link_events events = {.message = on_message, .closed = on_closed, .ctx = &seen};

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

/* As the agent does: the events are told after the link was opened. */
static void open_link(void) {
    size_t before = seen.messages + seen.closed;
    b.face->link.open(b.face->self);
    io_real_events(b.io, &events);
    assert_int_equal(seen.messages + seen.closed, before); /* nothing from inside the call */
}

static void expect_closed(size_t n, int status, const char *says) {
    bench_until(&b, &seen.closed, n);
    if (seen.status != status || strstr(seen.text, says) == NULL) {
        fail_msg("closed with %d '%s' instead of %d '%s'", seen.status, seen.text, status, says);
    }
}

static void test_talk(void **state) {
    (void)state;
    assert_false(b.face->link.send(b.face->self, "x", 1));
    open_link();
    assert_true(b.face->link.send(b.face->self, "hello", 5));
    bench_until(&b, &seen.messages, 1);
    assert_string_equal(seen.message, "hello");
    assert_string_equal(b.method, "/meshgate.v1.Gate/Connect");
    assert_string_equal(b.authorization, "Bearer secret-token");
    b.face->link.close(b.face->self);
    assert_false(b.face->link.send(b.face->self, "x", 1));
    bench_until(&b, &b.closed, 1);
    assert_int_equal(seen.closed, 0);
    /* again, with the token of that moment */
    bench_write(b.token_file, "rotated");
    open_link();
    assert_true(b.face->link.send(b.face->self, "again", 5));
    bench_until(&b, &seen.messages, 2);
    assert_string_equal(b.authorization, "Bearer rotated");
    rpc_server_stream_end(b.stream, RPC_UNAVAILABLE, "going away");
    expect_closed(1, RPC_UNAVAILABLE, "going away");
}

static void test_refused(void **state) {
    (void)state;
    b.refuse = true;
    b.end_status = RPC_UNAUTHENTICATED;
    b.end_text = "token of another node";
    open_link();
    expect_closed(1, RPC_UNAUTHENTICATED, "token of another node");
    assert_non_null(strstr(seen.text, "--token-file"));
}

static void test_trust(void **state) {
    (void)state;
    struct pem other;
    pem_init(&other, "DNS:x");
    bench_write(b.root_file, other.ca);
    open_link();
    expect_closed(1, RPC_UNAVAILABLE, "wrong CA: the certificate of the gate");
    assert_non_null(strstr(seen.text, "--gate-ca-file"));
    rpc_server_set_cert(b.server, other.cert, other.key);
    open_link();
    expect_closed(2, RPC_UNAVAILABLE, "wrong name: the certificate of the gate at 127.0.0.1:");
    assert_non_null(strstr(seen.text, "gate.test"));
    pem_done(&other);
}

static void test_files(void **state) {
    (void)state;
    unlink(b.token_file);
    open_link();
    assert_true(b.face->link.send(b.face->self, "hello", 5)); /* the end is on its way */
    expect_closed(1, RPC_UNAVAILABLE, "--token-file");
    assert_false(b.face->link.send(b.face->self, "hello", 5));
    bench_write(b.token_file, "t");
    bench_write(b.root_file, "");
    open_link();
    expect_closed(2, RPC_UNAVAILABLE, "--gate-ca-file");
    open_link();
    b.face->link.close(b.face->self);
    bench_turn(&b, 20);
    assert_int_equal(seen.closed, 2);
}

static void test_nobody(void **state) {
    (void)state;
    rpc_server_free(b.server);
    b.server = NULL;
    open_link();
    expect_closed(1, RPC_UNAVAILABLE, "the gate at 127.0.0.1:");
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {TEST(test_talk), TEST(test_refused), TEST(test_trust), TEST(test_files),
                                       TEST(test_nobody)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
