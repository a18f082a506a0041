#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io_bench.h"

static struct bench b;
static struct bench_heard heard;

static int setup(void **state) {
    (void)state;
    bench_init(&b);
    heard = (struct bench_heard){0};
    return 0;
}

static int teardown(void **state) {
    (void)state;
    bench_done(&b);
    bench_heard_done(&heard);
    return 0;
}

static struct io_question *ask(const char *resource, int64_t timeout_ms) {
    struct io_target t = bench_target(&b);
    size_t before = heard.calls;
    struct io_question *q = b.face->ask(b.face->self, &t, resource, timeout_ms, bench_on_answer, &heard);
    assert_int_equal(heard.calls, before); /* never from inside the call */
    return q;
}

static void ask_and_wait(const char *resource) {
    size_t want = heard.calls + 1;
    ask(resource, PATIENCE_MS);
    bench_until(&b, &heard.calls, want);
}

static void expect(enum io_status status, const char *says) {
    if (heard.status != status || strstr(heard.error, says) == NULL) {
        fail_msg("status %d '%s' instead of %d '%s'", heard.status, heard.error, status, says);
    }
}

static void test_answers(void **state) {
    (void)state;
    b.body = "{\"totalClients\":0}\n";
    ask_and_wait("connections");
    assert_int_equal(heard.status, IO_OK);
    assert_string_equal(heard.body.p, b.body);
    assert_string_equal(b.authorization, "Bearer secret-token");
    assert_string_equal(b.node, "sidecar~10.1.2.3~node-1.istio-system~istio-system.svc.cluster.local");
    assert_string_equal(b.namespace_, "istio-system");
    assert_string_equal(b.type, "istio.io/debug");
    assert_string_equal(b.resource, "connections");
    b.body = "[]";
    ask_and_wait("syncz?namespace=shop");
    assert_string_equal(heard.body.p, "[]");
    assert_string_equal(b.resource, "syncz?namespace=shop");
    /* one stream, introduced once, and nothing is ever acknowledged */
    assert_int_equal(b.opened, 1);
    assert_int_equal(b.introduced, 1);
    assert_int_equal(b.asked, 2);
}

static void test_large(void **state) {
    (void)state;
    b.body_len = 6 * 1024 * 1024; /* more than gRPC's own limit */
    char *body = malloc(b.body_len);
    assert_non_null(body);
    memset(body, 'x', b.body_len);
    b.body = body;
    ask_and_wait("syncz");
    assert_int_equal(heard.status, IO_OK);
    assert_int_equal(heard.body.len, b.body_len);
    assert_true(heard.pieces > 1);
    assert_memory_equal(heard.body.p, body, b.body_len);
    free(body);
}

/* The answer to a question that was given up must never be taken for the next one's. */
static void test_late(void **state) {
    (void)state;
    ask_and_wait("connections"); /* connecting must not use up the time */
    b.mode = BENCH_SILENT;
    ask("syncz", 1500);
    bench_until(&b, &b.asked, 2);
    bench_until(&b, &heard.calls, 2);
    expect(IO_TIMEOUT, "did not answer syncz within 1500 ms");
    if (b.stream != NULL) {
        bench_answer(&b, "late", 4);
    }
    b.mode = BENCH_ANSWER;
    b.body = "fresh";
    ask_and_wait("connections");
    assert_int_equal(heard.status, IO_OK);
    assert_string_equal(heard.body.p, "fresh");
    assert_int_equal(b.opened, 2);
    bench_until(&b, &b.closed, 1);
    assert_int_equal(heard.calls, 3);
}

static void test_dropped(void **state) {
    (void)state;
    b.mode = BENCH_SILENT;
    struct io_question *q = ask("syncz", PATIENCE_MS);
    bench_until(&b, &b.asked, 1);
    bench_answer(&b, "late", 4);
    b.face->drop(b.face->self, q);
    b.mode = BENCH_ANSWER;
    b.body = "fresh";
    ask_and_wait("connections");
    assert_string_equal(heard.body.p, "fresh");
    assert_int_equal(heard.calls, 1);
    assert_int_equal(b.opened, 2);
}

static void test_forgotten(void **state) {
    (void)state;
    ask_and_wait("connections");
    b.mode = BENCH_SILENT;
    ask("syncz", 1500);
    bench_until(&b, &b.asked, 2);
    b.face->forget(b.face->self, "replica-1");
    b.face->forget(b.face->self, "nosuch");
    bench_until(&b, &b.closed, 1);
    bench_turn(&b, 1600);
    assert_int_equal(heard.calls, 1);
}

static const struct {
    int status;
    const char *text;
    enum io_status want;
    const char *says;
} ends[] = {
    {RPC_UNAUTHENTICATED, "authentication failure", IO_DENIED, "--istio-token-file"},
    {RPC_PERMISSION_DENIED, "authorization failed: no identities matched", IO_DENIED, "authorization failed"},
    {RPC_RESOURCE_EXHAUSTED, "request rate limit exceeded: context deadline exceeded", IO_BUSY, "rate limit"},
    {RPC_RESOURCE_EXHAUSTED, "Received message larger than max", IO_GARBLED, "larger than max"},
    {RPC_UNAVAILABLE, "server is not ready to serve discovery information", IO_UNREACHABLE, "not ready"},
    {RPC_INVALID_ARGUMENT, "exactly one debug request is required", IO_REFUSED, "exactly one"},
    {RPC_UNIMPLEMENTED, "unknown method", IO_REFUSED, "unknown method"},
    {RPC_OK, "", IO_UNREACHABLE, "closed"},
    {2, "what", IO_GARBLED, "what"},
};

static void test_ends(void **state) {
    (void)state;
    b.mode = BENCH_END;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        b.end_status = ends[i].status;
        b.end_text = ends[i].text;
        ask_and_wait("syncz");
        expect(ends[i].want, ends[i].says);
    }
    b.refuse = true; /* before any question was read */
    b.end_status = RPC_UNAUTHENTICATED;
    b.end_text = "authentication failure";
    ask_and_wait("syncz");
    expect(IO_DENIED, "authentication failure");
}

/* istiod recycles connections; a question that meets that is put again, once. */
static void test_recycled(void **state) {
    (void)state;
    b.body = "[]";
    ask_and_wait("connections");
    b.mode = BENCH_END;
    b.end_status = RPC_UNAVAILABLE;
    b.end_text = "transport is closing";
    ask_and_wait("connections");
    expect(IO_UNREACHABLE, "transport is closing");
    assert_int_equal(b.opened, 2);
    assert_int_equal(b.asked, 3);
    b.mode = BENCH_ANSWER;
    ask_and_wait("connections");
    assert_int_equal(heard.status, IO_OK);
    assert_int_equal(b.opened, 3);
    /* the same, but the new stream works: the asker sees nothing of it */
    rpc_server_stream_end(b.stream, RPC_UNAVAILABLE, "draining");
    ask_and_wait("connections");
    assert_int_equal(heard.status, IO_OK);
    assert_int_equal(b.opened, 4);
}

static void test_garbage(void **state) {
    (void)state;
    static const char *const bodies[] = {"", "\xff\xff\xff\xff", "GET / HTTP/1.1\r\n\r\n"};
    b.mode = BENCH_RAW;
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        b.body = bodies[i];
        ask_and_wait("syncz");
        expect(IO_GARBLED, "istiod at 127.0.0.1:");
    }
    b.mode = BENCH_OTHER_TYPE;
    ask_and_wait("syncz");
    expect(IO_GARBLED, "type.googleapis.com/x");
    b.mode = BENCH_NO_RESOURCE;
    ask_and_wait("syncz");
    expect(IO_GARBLED, "0 resources");
    b.mode = BENCH_ANSWER;
    b.body = "[]";
    ask_and_wait("syncz");
    assert_int_equal(heard.status, IO_OK);
}

static void test_switched_off(void **state) {
    (void)state;
    b.body = "404 page not found\n";
    ask_and_wait("connections");
    expect(IO_REFUSED, "ENABLE_DEBUG_ON_HTTP");
    b.body = "Proxy not connected to this Pilot instance.";
    ask_and_wait("adsz?proxyID=a.b");
    assert_int_equal(heard.status, IO_OK);
    assert_string_equal(heard.body.p, b.body);
}

static void test_trust(void **state) {
    (void)state;
    struct pem other;
    pem_init(&other, "DNS:x");
    bench_write(b.root_file, other.ca);
    ask_and_wait("connections");
    expect(IO_UNREACHABLE, "wrong CA: the certificate of istiod at 127.0.0.1");
    expect(IO_UNREACHABLE, "--istio-root-file");
    assert_int_equal(b.opened, 0);
    /* the file is read again for each stream */
    bench_write(b.root_file, b.pem.ca);
    ask_and_wait("connections");
    assert_int_equal(heard.status, IO_OK);
    pem_done(&other);
    struct io_target t = bench_target(&b);
    t.server_name = "istiod-old.istio-system.svc";
    b.face->ask(b.face->self, &t, "connections", PATIENCE_MS, bench_on_answer, &heard);
    bench_until(&b, &heard.calls, 3);
    expect(IO_UNREACHABLE, "wrong name");
    expect(IO_UNREACHABLE, "istiod-old.istio-system.svc");
}

static void test_files(void **state) {
    (void)state;
    bench_write(b.token_file, "\n");
    ask_and_wait("connections");
    expect(IO_DENIED, "is empty");
    unlink(b.token_file);
    ask_and_wait("connections");
    expect(IO_DENIED, "--istio-token-file");
    bench_write(b.token_file, "two\nlines");
    ask_and_wait("connections");
    assert_int_not_equal(heard.status, IO_OK);
    bench_write(b.token_file, "rotated");
    bench_write(b.root_file, "none");
    ask_and_wait("connections");
    expect(IO_UNREACHABLE, "holds no PEM certificate");
    bench_write(b.root_file, b.pem.ca);
    ask_and_wait("connections");
    assert_int_equal(heard.status, IO_OK);
    assert_string_equal(b.authorization, "Bearer rotated");
}

static void test_nobody(void **state) {
    (void)state;
    struct canned c;
    canned_init(&c, &b, "this is no gRPC server\r\n");
    struct io_target t = bench_target(&b);
    t.xds_port = c.port;
    b.face->ask(b.face->self, &t, "connections", PATIENCE_MS, bench_on_answer, &heard);
    bench_until(&b, &heard.calls, 1);
    expect(IO_UNREACHABLE, "istiod at 127.0.0.1:");
    canned_done(&c, &b);
    b.face->ask(b.face->self, &t, "connections", PATIENCE_MS, bench_on_answer, &heard);
    bench_until(&b, &heard.calls, 2);
    expect(IO_UNREACHABLE, "onnect");
    t.address = "istiod.example.com";
    b.face->ask(b.face->self, &t, "connections", PATIENCE_MS, bench_on_answer, &heard);
    bench_until(&b, &heard.calls, 3);
    expect(IO_UNREACHABLE, "not an IP address");
}

/* A server that takes the connection and never shakes hands. */
static void test_frozen(void **state) {
    (void)state;
    struct canned c;
    canned_init(&c, &b, NULL);
    struct io_target t = bench_target(&b);
    t.xds_port = c.port;
    b.face->ask(b.face->self, &t, "connections", 500, bench_on_answer, &heard);
    bench_until(&b, &heard.calls, 1);
    expect(IO_TIMEOUT, "did not answer");
    canned_done(&c, &b);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_answers), TEST(test_large),    TEST(test_late),    TEST(test_dropped),      TEST(test_forgotten),
        TEST(test_ends),    TEST(test_recycled), TEST(test_garbage), TEST(test_switched_off), TEST(test_trust),
        TEST(test_files),   TEST(test_nobody),   TEST(test_frozen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
