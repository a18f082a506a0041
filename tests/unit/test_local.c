/* The node witness alone: /proc and the proxy's ports are played here, on virtual time. */
#include "agent/local.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/mem.h"
#include "lib/base/vclock.h"
#include "lib/wire/digest.h"
#include "probes/proxy_stats.h"

#define PERIOD_MS 10000
#define ENVOY                                                                           \
    "envoy_cluster_manager_cds_version_text{text_value=\"2026-11-23T06:00:00Z/1\"} 0\n" \
    "envoy_cluster_upstream_cx_active{cluster_name=\"xds-grpc\"} 1\n"                   \
    "istio_build{component=\"proxy\",tag=\"1.30.3\"} 1\n"
#define CERT(left) "istio_agent_cert_expiry_seconds{resource_name=\"default\"} " left "\n"

struct io_question {
    struct timer timer;
    io_answer_fn fn;
    void *ctx;
    const char *body; /* NULL: nobody there */
};

static struct play {
    struct vclock *clock;
    struct sched *sched;
    struct metrics *metrics;
    struct agent_io io;
    struct local *local;
    struct dial_seen seen;
    bool blind, no_pod;
    const char *envoy, *agent; /* NULL: the port does not answer */
    bool ready;
    unsigned envoy_asked, agent_asked, health_asked, open, sights;
    struct report report;
} p;

static void fire(void *ctx) {
    struct io_question *q = ctx;
    struct piece piece = {(const uint8_t *)(q->body ? q->body : ""), q->body ? strlen(q->body) : 0};
    struct io_answer a = {.status = q->body ? IO_OK : IO_UNREACHABLE,
                          .error = q->body ? NULL : "connection refused",
                          .body = &piece,
                          .pieces = 1,
                          .bytes = piece.len};
    p.open--;
    q->fn(q->ctx, &a);
    free(q);
}

static struct io_question *io_get(void *self, const char *address, uint16_t port, const char *path, int64_t timeout_ms,
                                  io_answer_fn fn, void *ctx) {
    (void)self;
    (void)timeout_ms;
    assert_string_equal(address, "10.0.0.9");
    struct io_question *q = mem_alloc(sizeof *q);
    q->fn = fn;
    q->ctx = ctx;
    if (port == 15090) {
        assert_string_equal(path, proxy_stats_path);
        p.envoy_asked++;
        q->body = p.envoy;
    } else if (port == 15020) {
        assert_string_equal(path, proxy_agent_path);
        p.agent_asked++;
        q->body = p.agent;
    } else {
        assert_int_equal(port, 15021);
        assert_string_equal(path, "/healthz/ready");
        p.health_asked++;
        q->body = p.ready ? "" : NULL;
    }
    p.open++;
    timer_set(p.sched, &q->timer, sched_now(p.sched) + 2, fire, q);
    return q;
}

static void io_drop(void *self, struct io_question *q) {
    (void)self;
    timer_cancel(p.sched, &q->timer);
    p.open--;
    free(q);
}

static int64_t io_scan(void *self, void (*fn)(void *ctx, const struct dial_seen *d), void *ctx, struct err *err) {
    (void)self;
    if (p.blind) {
        err_set(err, ERR_DENIED, "hostPID is missing");
        return -1;
    }
    if (!p.no_pod) {
        fn(ctx, &p.seen);
    }
    return !p.no_pod;
}

static void on_news(void *ctx) {
    (void)ctx;
}

static void on_sight(void *ctx) {
    (void)ctx;
    p.sights++;
}

static int setup(void **state) {
    (void)state;
    memset(&p, 0, sizeof p);
    p.clock = vclock_new(1795400000000);
    p.sched = vclock_sched(p.clock);
    p.metrics = metrics_new();
    p.io = (struct agent_io){.get = io_get, .drop = io_drop, .scan = io_scan};
    p.seen = (struct dial_seen){.pod_uid = "11111111-2222-3333-4444-555555555555",
                                .program = "pilot-agent",
                                .pod_ip = "10.0.0.9",
                                .remote = "10.96.0.7:15012",
                                .connections = 2,
                                .ports = 40001 + 40002,
                                .pid = 7};
    p.envoy = ENVOY;
    p.agent = CERT("86000.5");
    p.ready = true;
    report_init(&p.report);
    struct local_env env = {.io = &p.io,
                            .sched = p.sched,
                            .stats_port = 15090,
                            .agent_port = 15020,
                            .health_port = 15021,
                            .news = on_news,
                            .sight = on_sight,
                            .proxies = metric_get(p.metrics, METRIC_GAUGE, "meshgate_agent_a", "a", NULL),
                            .scan_failures = metric_get(p.metrics, METRIC_COUNTER, "meshgate_agent_b_total", "b", NULL)};
    p.local = local_new(&env);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    local_free(p.local);
    assert_int_equal(p.open, 0);
    report_done(&p.report);
    metrics_free(p.metrics);
    vclock_free(p.clock);
    return 0;
}

static void looks(unsigned n) {
    vclock_run_until(p.clock, sched_now(p.sched) + (int64_t)n * PERIOD_MS);
}

static void begin(void) {
    local_period(p.local, PERIOD_MS);
    vclock_run_until(p.clock, sched_now(p.sched) + 100);
}

/* What is to be told of the one proxy; NULL: nothing new. */
static const Meshgate__V1__LocalProxy *told(void) {
    report_done(&p.report);
    assert_true(local_fill(p.local, &p.report));
    assert_in_range(p.report.scan.n_changed, 0, 1);
    return p.report.scan.n_changed ? p.report.scan.changed[0] : NULL;
}

static void test_healthy_is_told_once_and_asked_cheaply(void **state) {
    (void)state;
    begin();
    const Meshgate__V1__LocalProxy *x = told();
    assert_string_equal(x->program, "pilot-agent");
    assert_string_equal(x->dials, "10.96.0.7:15012");
    assert_string_equal(x->cds_version, "2026-11-23T06:00:00Z/1");
    assert_string_equal(x->build, "1.30.3");
    assert_in_range(x->cert_expiry_s, 85990, 86001);
    assert_int_equal(x->xds_failures, 0);
    assert_true(x->ready && x->stats_ok);
    looks(29);
    assert_null(told());
    assert_int_equal(p.envoy_asked, 30);
    assert_int_equal(p.agent_asked, 1);
    p.agent = CERT("85700.5");
    looks(2);
    assert_int_equal(p.agent_asked, 2); /* after five minutes */
    assert_null(told());                /* the same certificate */
    p.agent = CERT("90000");            /* another one */
    looks(31);
    assert_in_range(told()->cert_expiry_s, 89000, 90001);
}

static void test_new_connection_is_asked_about(void **state) {
    (void)state;
    begin();
    told();
    p.seen.connections = 1;
    p.seen.ports = 40002;
    p.agent = CERT("86000") "istio_agent_istiod_connection_terminations{type=\"error\"} 3\n";
    looks(1);
    assert_int_equal(p.agent_asked, 2);
    const Meshgate__V1__LocalProxy *x = told();
    assert_int_equal(x->xds_failures, 3);
    assert_int_equal(x->connections, 1);
    looks(5);
    assert_int_equal(p.agent_asked, 2);
}

/* istiod refuses its token: Envoy never starts, pilot-agent counts. */
static void test_refused_token(void **state) {
    (void)state;
    p.envoy = NULL;
    p.ready = false;
    p.seen.connections = 1;
    p.agent = "istio_agent_istiod_connection_terminations{type=\"error\"} 15\n"
              "istio_agent_num_failed_outgoing_requests{request_type=\"csr\"} 12\n";
    begin();
    const Meshgate__V1__LocalProxy *x = told();
    assert_false(x->stats_ok);
    assert_false(x->ready);
    assert_int_equal(x->csr_failures, 12);
    assert_int_equal(x->xds_failures, 15);
    assert_int_equal(x->cert_expiry_s, 0); /* none yet */
    looks(3);
    assert_int_equal(p.agent_asked, 4); /* at each look */
    p.envoy = ENVOY;
    p.ready = true;
    p.agent = CERT("100");
    looks(1);
    x = told();
    assert_true(x->stats_ok && x->ready);
    assert_in_range(x->cert_expiry_s, 80, 101);
    unsigned asked = p.agent_asked;
    looks(3);
    assert_int_equal(p.agent_asked, asked);
}

static void test_certificate(void **state) {
    (void)state;
    p.agent = CERT("25");
    begin();
    assert_in_range(told()->cert_expiry_s, 24, 26);
    looks(1);
    assert_null(told());
    p.agent = CERT("-5");
    looks(2);
    assert_true(told()->cert_expiry_s < 0);
    p.agent = CERT("-400");
    looks(1);
    assert_in_range(-told()->cert_expiry_s, 395, 415);
    p.agent = "istio_agent_scrapes_total 1\n"; /* a new pilot-agent without one */
    looks(1);
    assert_int_equal(told()->cert_expiry_s, 0);
}

static void test_ztunnel(void **state) {
    (void)state;
    snprintf(p.seen.program, sizeof p.seen.program, "ztunnel");
    p.agent = "istio_build{component=\"ztunnel\",tag=\"1.30.3\"} 1\n"
              "istio_xds_connection_terminations_total{reason=\"ConnectionError\"} 2\n# EOF\n";
    begin();
    const Meshgate__V1__LocalProxy *x = told();
    assert_string_equal(x->program, "ztunnel");
    assert_string_equal(x->build, "1.30.3");
    assert_string_equal(x->cds_version, "");
    assert_true(x->stats_ok && x->ready);
    assert_int_equal(x->xds_failures, 2);
    looks(20);
    assert_int_equal(p.envoy_asked, 0);
    assert_int_equal(p.agent_asked, 1);
    p.seen.remote[0] = '\0';
    p.seen.connections = p.seen.ports = 0;
    looks(2);
    assert_int_equal(p.agent_asked, 3);
    assert_string_equal(told()->dials, "");
}

/* Without a connection its ports are still asked; with no address at all there is nobody to ask. */
static void test_no_connection(void **state) {
    (void)state;
    p.seen.remote[0] = '\0';
    p.seen.connections = p.seen.ports = 0;
    p.seen.pod_ip[0] = '\0';
    begin();
    const Meshgate__V1__LocalProxy *x = told();
    assert_false(x->stats_ok || x->ready);
    assert_int_equal(p.health_asked, 0);
    assert_true(p.report.scan.complete);
    snprintf(p.seen.pod_ip, sizeof p.seen.pod_ip, "10.0.0.9");
    looks(1);
    x = told();
    assert_true(x->stats_ok && x->ready);
    assert_string_equal(x->dials, "");
}

/* A table that is too long to be read proves nothing. */
static void test_cut_table(void **state) {
    (void)state;
    begin();
    told();
    p.seen.cut = true;
    p.seen.remote[0] = '\0';
    p.seen.connections = p.seen.ports = 0;
    looks(2);
    assert_null(told());
    assert_int_equal(p.agent_asked, 1);
}

static void test_blind_and_back(void **state) {
    (void)state;
    p.blind = true;
    assert_string_equal(local_blind(p.local), "hostPID is missing");
    assert_int_equal(p.sights, 1);
    begin();
    looks(2);
    assert_int_equal(p.sights, 1);
    assert_string_equal(local_trouble(p.local), "hostPID is missing");
    assert_null(told());
    assert_false(p.report.scan.complete);
    p.blind = false;
    looks(1);
    assert_int_equal(p.sights, 2);
    assert_null(local_blind(p.local));
    assert_non_null(told());
    assert_true(p.report.scan.complete);
}

static void test_gone(void **state) {
    (void)state;
    begin();
    told();
    p.no_pod = true;
    looks(1);
    assert_null(told());
    assert_int_equal(p.report.scan.n_gone, 1);
    assert_string_equal(p.report.scan.gone[0], p.seen.pod_uid);
}

/* The account of what was told: the XOR over what stands, from nothing in each session. */
static void test_digest(void **state) {
    (void)state;
    begin();
    const Meshgate__V1__LocalProxy *x = told();
    uint64_t first = wire_local_hash(x);
    assert_int_equal(p.report.scan.digest, first);
    assert_int_equal(p.report.scan.entries, 1);
    looks(1);
    assert_null(told());
    assert_int_equal(p.report.scan.digest, first);
    p.ready = false;
    looks(1);
    x = told();
    assert_int_equal(p.report.scan.digest, wire_local_hash(x));
    assert_int_not_equal(p.report.scan.digest, first);
    local_all_dirty(p.local);
    p.no_pod = true;
    looks(1);
    assert_null(told()); /* never told in this session */
    assert_int_equal(p.report.scan.digest, 0);
    assert_int_equal(p.report.scan.entries, 0);
    assert_int_equal(p.report.scan.n_gone, 1);
    p.no_pod = false;
    looks(1);
    x = told();
    assert_int_equal(p.report.scan.digest, wire_local_hash(x));
    p.no_pod = true;
    looks(1);
    told();
    assert_int_equal(p.report.scan.digest, 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_healthy_is_told_once_and_asked_cheaply),
        TEST(test_new_connection_is_asked_about),
        TEST(test_refused_token),
        TEST(test_certificate),
        TEST(test_ztunnel),
        TEST(test_no_connection),
        TEST(test_cut_table),
        TEST(test_blind_and_back),
        TEST(test_gone),
        TEST(test_digest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
