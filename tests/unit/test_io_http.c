#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io_bench.h"

static struct bench b;
static struct canned c;
static struct bench_heard heard;

static int setup(void **state) {
    (void)state;
    bench_init(&b);
    canned_init(&c, &b, NULL);
    heard = (struct bench_heard){0};
    return 0;
}

static int teardown(void **state) {
    (void)state;
    canned_done(&c, &b);
    bench_done(&b);
    bench_heard_done(&heard);
    return 0;
}

static void get(const char *address, const char *path, int64_t timeout_ms) {
    size_t want = heard.calls + 1;
    b.face->get(b.face->self, address, c.port, path, timeout_ms, bench_on_answer, &heard);
    assert_int_equal(heard.calls, want - 1);
    bench_until(&b, &heard.calls, want);
}

static const struct {
    const char *reply;
    enum io_status want;
    const char *says; /* of the body when OK, else of the error */
} rows[] = {
    {"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na 1\n", IO_OK, "a 1\n"},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\na \r\n2\r\n1\n\r\n0\r\n\r\n", IO_OK, "a 1\n"},
    {"HTTP/1.0 200 OK\r\n\r\na 1\n", IO_OK, "a 1\n"},
    {"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", IO_BUSY, "503"},
    {"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", IO_DENIED, "METRICS_LOCALHOST_ACCESS_ONLY"},
    {"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", IO_REFUSED, "404"},
    {"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", IO_GARBLED, "500"},
    {"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", IO_GARBLED, "302"},
    {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na 1\n", IO_GARBLED, "/stats"},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\na 1", IO_GARBLED, "/stats"},
    {"SSH-2.0-OpenSSH_9.2\r\n", IO_GARBLED, "/stats"},
    {"", IO_UNREACHABLE, "/stats"},
};

static void test_replies(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        c.reply = rows[i].reply;
        c.reply_len = strlen(c.reply);
        get("127.0.0.1", "/stats?text_readouts&filter=a%7Cb", PATIENCE_MS);
        const char *got = heard.status == IO_OK ? heard.body.p : heard.error;
        if (heard.status != rows[i].want || strstr(got, rows[i].says) == NULL) {
            fail_msg("%s: status %d '%s'", rows[i].reply, heard.status, got);
        }
    }
    assert_non_null(strstr(c.request, "GET /stats?text_readouts&filter=a%7Cb HTTP/1.1\r\n"));
    assert_non_null(strstr(c.request, "Accept: text/plain\r\n"));
    /* each has its own connection */
    assert_int_equal(c.connections, sizeof rows / sizeof rows[0]);
}

static void test_too_large(void **state) {
    (void)state;
    static const char head[] = "HTTP/1.1 200 OK\r\n\r\n";
    size_t limit = 1024 * 1024, len = sizeof head - 1 + limit + 1;
    char *reply = malloc(len);
    assert_non_null(reply);
    memset(reply, 'x', len);
    memcpy(reply, head, sizeof head - 1);
    c.reply = reply;
    c.reply_len = len;
    get("127.0.0.1", "/metrics", PATIENCE_MS);
    assert_int_equal(heard.status, IO_GARBLED);
    assert_non_null(strstr(heard.error, "larger than 1048576 bytes"));
    c.reply_len = len - 1;
    get("127.0.0.1", "/metrics", PATIENCE_MS);
    assert_int_equal(heard.status, IO_OK);
    assert_int_equal(heard.body.len, limit);
    free(reply);
}

static void test_silence(void **state) {
    (void)state;
    get("127.0.0.1", "/metrics", 100);
    assert_int_equal(heard.status, IO_TIMEOUT);
    struct io_question *q = b.face->get(b.face->self, "127.0.0.1", c.port, "/metrics", 100, bench_on_answer, &heard);
    b.face->drop(b.face->self, q);
    q = b.face->get(b.face->self, "127.0.0.1", c.port, "/metrics", PATIENCE_MS, bench_on_answer, &heard);
    bench_until(&b, &c.connections, 2);
    b.face->drop(b.face->self, q);
    q = b.face->get(b.face->self, "nonsense", c.port, "/metrics", PATIENCE_MS, bench_on_answer, &heard);
    b.face->drop(b.face->self, q);
    bench_turn(&b, 200);
    assert_int_equal(heard.calls, 1);
}

static void test_nobody(void **state) {
    (void)state;
    get("127.0.0.1:1/", "/metrics", PATIENCE_MS);
    assert_int_equal(heard.status, IO_UNREACHABLE);
    assert_non_null(strstr(heard.error, "not an IP address"));
    uint16_t port = c.port;
    c.port = 1; /* reserved; nobody listens */
    get("127.0.0.1", "/metrics", PATIENCE_MS);
    c.port = port;
    assert_int_equal(heard.status, IO_UNREACHABLE);
    assert_non_null(strstr(heard.error, "GET http://127.0.0.1:1/metrics"));
}

/* The receiver may ask on and drop others at once. */
static struct io_question *other;

static void on_first(void *ctx, const struct io_answer *a) {
    assert_int_equal(a->status, IO_OK);
    b.face->drop(b.face->self, other);
    b.face->get(b.face->self, "127.0.0.1", c.port, "/second", PATIENCE_MS, bench_on_answer, ctx);
}

static void test_nested(void **state) {
    (void)state;
    c.reply = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    c.reply_len = strlen(c.reply);
    struct canned silent;
    canned_init(&silent, &b, NULL);
    other = b.face->get(b.face->self, "127.0.0.1", silent.port, "/other", PATIENCE_MS, bench_on_answer, &heard);
    bench_until(&b, &silent.connections, 1);
    b.face->get(b.face->self, "127.0.0.1", c.port, "/first", PATIENCE_MS, on_first, &heard);
    bench_until(&b, &heard.calls, 1);
    assert_int_equal(heard.status, IO_OK);
    assert_int_equal(c.connections, 2);
    canned_done(&silent, &b);
}

static void test_scan(void **state) {
    (void)state;
    struct err err = {0};
    assert_int_equal(b.face->scan(b.face->self, NULL, NULL, &err), -1);
    assert_int_equal(err.code, ERR_DENIED);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {TEST(test_replies), TEST(test_too_large), TEST(test_silence),
                                       TEST(test_nobody),  TEST(test_nested),    TEST(test_scan)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
