#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "io_bench.h"

static struct bench b;
static struct {
    size_t calls;
    bool ok;
    char stage[16], error[256];
    uint32_t rtt_us;
    int64_t cert_expiry_s;
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
    seen.rtt_us = r->rtt_us;
    seen.cert_expiry_s = r->cert_expiry_s;
    snprintf(seen.stage, sizeof seen.stage, "%s", r->stage);
    snprintf(seen.error, sizeof seen.error, "%s", r->error != NULL ? r->error : "");
}

static void reach(const struct io_target *t, int64_t timeout_ms) {
    size_t want = seen.calls + 1;
    b.face->reach(b.face->self, t, timeout_ms, on_result, NULL);
    assert_int_equal(seen.calls, want - 1);
    bench_until(&b, &seen.calls, want);
}

static void expect(bool ok, const char *stage, const char *says) {
    if (seen.ok != ok || strcmp(seen.stage, stage) != 0 || strstr(seen.error, says) == NULL) {
        fail_msg("%d %s '%s' instead of %d %s '%s'", seen.ok, seen.stage, seen.error, ok, stage, says);
    }
}

static void test_good(void **state) {
    (void)state;
    struct io_target t = bench_target(&b);
    reach(&t, PATIENCE_MS);
    expect(true, "tls", "");
    assert_true(seen.rtt_us > 0);
    assert_in_range(seen.cert_expiry_s, 86000, 86400);
    reach(&t, PATIENCE_MS); /* with the roots of before */
    expect(true, "tls", "");
    assert_int_equal(b.opened, 0); /* no stream, no token */
}

static void test_trust(void **state) {
    (void)state;
    struct io_target t = bench_target(&b);
    struct pem other;
    pem_init(&other, "DNS:x");
    bench_write(b.root_file, other.ca);
    reach(&t, PATIENCE_MS);
    expect(false, "tls", "wrong CA: istiod's certificate at 127.0.0.1:");
    expect(false, "tls", "--istio-root-file");
    /* both roots in one file, as during a rotation */
    char both[8192];
    snprintf(both, sizeof both, "%s%s", other.ca, b.pem.ca);
    bench_write(b.root_file, both);
    reach(&t, PATIENCE_MS);
    expect(true, "tls", "");
    t.server_name = "istiod-old.istio-system.svc";
    reach(&t, PATIENCE_MS);
    expect(false, "tls", "wrong name: the certificate of istiod at 127.0.0.1:");
    expect(false, "tls", "istiod-old.istio-system.svc");
    bench_write(b.root_file, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    reach(&t, PATIENCE_MS);
    expect(false, "tcp", "--istio-root-file");
    unlink(b.root_file);
    reach(&t, PATIENCE_MS);
    expect(false, "tcp", "--istio-root-file");
    pem_done(&other);
}

static void test_no_tls(void **state) {
    (void)state;
    struct io_target t = bench_target(&b);
    struct canned c;
    canned_init(&c, &b, "HTTP/1.1 400 Bad Request\r\n\r\n");
    t.xds_port = c.port;
    reach(&t, PATIENCE_MS);
    expect(false, "tls", "does not speak TLS");
    c.reply = "";
    c.reply_len = 0;
    reach(&t, PATIENCE_MS);
    expect(false, "tls", "closed during the TLS handshake");
    c.reply = NULL;
    reach(&t, 500);
    expect(false, "tls", "is it frozen?");
    struct io_question *q = b.face->reach(b.face->self, &t, PATIENCE_MS, on_result, NULL);
    bench_until(&b, &c.connections, 4);
    b.face->drop(b.face->self, q);
    bench_turn(&b, 20);
    assert_int_equal(seen.calls, 3);
    canned_done(&c, &b);
    reach(&t, PATIENCE_MS);
    expect(false, "tcp", "connection refused");
}

static void test_bad_target(void **state) {
    (void)state;
    struct io_target t = bench_target(&b);
    t.address = "localhost";
    reach(&t, PATIENCE_MS);
    expect(false, "tcp", "not an IP address");
    t.address = "127.0.0.1";
    struct io_question *q = b.face->reach(b.face->self, &t, PATIENCE_MS, on_result, NULL);
    b.face->drop(b.face->self, q); /* before anything has happened */
    bench_turn(&b, 20);
    assert_int_equal(seen.calls, 1);
}

static void test_ready(void **state) {
    (void)state;
    struct io_target t = bench_target(&b);
    struct canned c;
    canned_init(&c, &b, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    t.http_port = c.port;
    reach(&t, PATIENCE_MS);
    expect(true, "ready", "");
    assert_memory_equal(c.request, "GET /ready HTTP/1.1\r\n", 21);
    c.reply = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
    c.reply_len = strlen(c.reply);
    reach(&t, PATIENCE_MS);
    expect(false, "ready", "answers 503");
    c.reply = NULL; /* closed to this node: proxies do not need it */
    reach(&t, 1000);
    expect(true, "tls", "");
    canned_done(&c, &b);
    reach(&t, PATIENCE_MS);
    expect(true, "tls", "");
}

static void *on_open(void *ctx, struct rpc_server_stream *s, const char *method, const char *peer,
                     const char *(*header)(struct rpc_server_stream *s, const char *key)) {
    (void)ctx, (void)s, (void)method, (void)peer, (void)header;
    return NULL;
}

/* A server with a certificate of this time; what a test of it says. */
static void reach_valid(long from_s, long to_s) {
    static const char *const methods[] = {"/x/y", NULL};
    static const struct rpc_server_ops ops = {.open = on_open};
    struct io_target t = bench_target(&b);
    struct pem pem;
    struct err err = {0};
    pem_init_valid(&pem, "DNS:istiod-canary.istio-system.svc", from_s, to_s);
    bench_write(b.root_file, pem.ca);
    struct rpc_server_opts so = {.address = "127.0.0.1:0", .cert_pem = pem.cert, .key_pem = pem.key, .methods = methods};
    struct rpc_server *server = rpc_server_new(b.rpc, &so, &ops, &b, &err);
    assert_string_equal(err.text, "");
    t.xds_port = (uint16_t)rpc_server_port(server);
    reach(&t, PATIENCE_MS);
    rpc_server_free(server);
    pem_done(&pem);
}

static void test_time(void **state) {
    (void)state;
    reach_valid(-7200, -3600);
    expect(false, "tls", "expired: the certificate of istiod at 127.0.0.1:");
    assert_in_range(-seen.cert_expiry_s, 3600, 3700);
    reach_valid(3600, 7200);
    expect(false, "tls", "not yet valid:");
    assert_in_range(seen.cert_expiry_s, 7100, 7200);
    reach_valid(-60, 600);
    expect(true, "tls", "");
    assert_in_range(seen.cert_expiry_s, 500, 600);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {TEST(test_good),       TEST(test_trust), TEST(test_no_tls),
                                       TEST(test_bad_target), TEST(test_ready), TEST(test_time)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
