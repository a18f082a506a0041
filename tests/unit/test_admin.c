#include <stdio.h>
#include <string.h>

#include "cmocka_all.h"
#include "lib/admin/admin.h"

static struct loop *loop;
static struct metrics *metrics;
static struct admin *admin;
static bool ready;

/* A client on the same loop: sends one request, reads until the server closes. */
static struct {
    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_write_t write;
    char request[256], answer[8192], chunk[1024];
    size_t len;
    int failed;
} client;

static void on_closed(uv_handle_t *h) {
    (void)h;
    loop_stop(loop);
}

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *buf) {
    (void)h;
    (void)hint;
    *buf = uv_buf_init(client.chunk, sizeof(client.chunk));
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf) {
    if (n > 0) {
        assert_true(client.len + (size_t)n < sizeof(client.answer));
        memcpy(client.answer + client.len, buf->base, (size_t)n);
        client.len += (size_t)n;
        client.answer[client.len] = '\0';
    } else if (n < 0) {
        uv_close((uv_handle_t *)s, on_closed);
    }
}

static void on_written(uv_write_t *w, int status) {
    (void)w;
    client.failed |= status;
}

static void on_connected(uv_connect_t *c, int status) {
    client.failed |= status;
    if (status) {
        uv_close((uv_handle_t *)&client.tcp, on_closed);
        return;
    }
    uv_buf_t b = uv_buf_init(client.request, (unsigned)strlen(client.request));
    uv_write(&client.write, c->handle, &b, 1, on_written);
    uv_read_start(c->handle, on_alloc, on_read);
}

static const char *ask(const char *method, const char *path) {
    struct sockaddr_in to;
    memset(&client, 0, sizeof(client));
    (void)snprintf(client.request, sizeof(client.request), "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", method,
                   path);
    assert_int_equal(uv_ip4_addr("127.0.0.1", admin_port(admin), &to), 0);
    assert_int_equal(uv_tcp_init(loop_uv(loop), &client.tcp), 0);
    assert_int_equal(uv_tcp_connect(&client.connect, &client.tcp, (struct sockaddr *)&to, on_connected), 0);
    loop_run(loop);
    assert_int_equal(client.failed, 0);
    return client.answer;
}

static bool is_ready(void *ctx, struct buf *why) {
    (void)ctx;
    buf_str(why, "namespaces are not listed yet");
    return ready;
}

static void echo(void *ctx, const char *rest, admin_arg_fn arg, void *request, struct admin_reply *reply) {
    const char *x = arg(request, "x");
    reply->status = 202;
    reply->content_type = "application/json";
    buf_printf(&reply->body, "[%s][%s][%s]", (const char *)ctx, rest, x ? x : "none");
}

static int setup(void **state) {
    (void)state;
    loop = loop_new();
    metrics = metrics_new();
    struct err err = {0};
    struct admin_opts opts = {.address = "127.0.0.1:0", .metrics = metrics, .ready = is_ready};
    admin = admin_new(loop, &opts, &err);
    assert_string_equal(err.text, "");
    assert_non_null(admin);
    assert_true(admin_port(admin) > 0);
    static char outer[] = "outer", inner[] = "inner";
    admin_serve(admin, "/api", echo, outer);
    admin_serve(admin, "/api/v1/proxies", echo, inner);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    admin_free(admin);
    loop_free(loop);
    metrics_free(metrics);
    return 0;
}

static void has(const char *answer, const char *text) {
    if (!strstr(answer, text)) {
        fail_msg("no \"%s\" in:\n%s", text, answer);
    }
}

static void serves_metrics_and_health(void **state) {
    (void)state;
    metric_set(metric_get(metrics, METRIC_GAUGE, "meshgate_x", "X.", NULL), 7);
    const char *a = ask("GET", "/metrics");
    has(a, "HTTP/1.1 200 ");
    has(a, "Content-Type: text/plain; version=0.0.4\r\n");
    has(a, "\r\n\r\n# HELP meshgate_x X.\n# TYPE meshgate_x gauge\nmeshgate_x 7\n");
    a = ask("GET", "/healthz");
    has(a, "HTTP/1.1 200 ");
    has(a, "\r\n\r\nok\n");
}

static void readiness_says_why(void **state) {
    (void)state;
    ready = false;
    has(ask("GET", "/readyz"), "HTTP/1.1 503 ");
    has(client.answer, "\r\n\r\nnamespaces are not listed yet\n");
    ready = true;
    has(ask("GET", "/readyz"), "HTTP/1.1 200 ");
    has(client.answer, "\r\n\r\nok\n");
}

static void longest_prefix_wins(void **state) {
    (void)state;
    has(ask("GET", "/api/v1/proxies?x=a%20b"), "\r\n\r\n[inner][][a b]");
    has(client.answer, "HTTP/1.1 202 ");
    has(client.answer, "Content-Type: application/json\r\n");
    has(ask("GET", "/api/v1/proxies/shop"), "[inner][/shop][none]");
    has(ask("GET", "/api/v1/proxiesX"), "[outer][/v1/proxiesX][none]");
}

static void unknown_paths_and_methods(void **state) {
    (void)state;
    has(ask("GET", "/apis"), "HTTP/1.1 404 ");
    has(client.answer, "/metrics\n");
    has(client.answer, "/api/v1/proxies\n");
    has(ask("POST", "/api"), "HTTP/1.1 405 ");
    has(client.answer, "Allow: GET, HEAD\r\n");
    has(ask("HEAD", "/healthz"), "HTTP/1.1 200 ");
    has(client.answer, "Content-Length: 3\r\n");
    assert_null(strstr(client.answer, "ok\n"));
}

static void bad_addresses_are_named(void **state) {
    (void)state;
    static const char *const bad[] = {"localhost", "127.0.0.1:99999", "::1", "127.0.0.1:", "not an address:80"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct err err = {0};
        struct admin_opts opts = {.address = bad[i], .metrics = metrics};
        assert_null(admin_new(loop, &opts, &err));
        has(err.text, bad[i]);
    }
    char taken[32];
    (void)snprintf(taken, sizeof(taken), "127.0.0.1:%d", admin_port(admin));
    struct err err = {0};
    assert_null(admin_new(loop, &(struct admin_opts){.address = taken}, &err));
    has(err.text, "Address already in use");
}

static void listens_on_all_addresses(void **state) {
    (void)state;
    struct err err = {0};
    struct admin *first = admin;
    admin = admin_new(loop, &(struct admin_opts){.address = ":0"}, &err);
    assert_non_null(admin);
    has(ask("GET", "/healthz"), "200");
    has(ask("GET", "/metrics"), "404");
    admin_free(admin);
    admin = first;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(serves_metrics_and_health, setup, teardown),
        cmocka_unit_test_setup_teardown(readiness_says_why, setup, teardown),
        cmocka_unit_test_setup_teardown(longest_prefix_wins, setup, teardown),
        cmocka_unit_test_setup_teardown(unknown_paths_and_methods, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_addresses_are_named, setup, teardown),
        cmocka_unit_test_setup_teardown(listens_on_all_addresses, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
