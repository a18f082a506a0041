#include "probes/proxy_stats.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

/* As a real pilot-agent answered after a rejected listener. */
static const char nack[] = "# HELP istio_agent_cert_expiry_seconds The time remaining, in seconds\n"
                           "# TYPE istio_agent_cert_expiry_seconds gauge\n"
                           "istio_agent_cert_expiry_seconds{resource_name=\"default\"} 85894.582793785\n"
                           "istio_agent_istiod_connection_terminations{type=\"cancelled\"} 2\n"
                           "istio_agent_istiod_connection_terminations{type=\"error\"} 10\n"
                           "istio_agent_num_failed_outgoing_requests{request_type=\"csr\"} 8\n"
                           "istio_agent_num_outgoing_requests{request_type=\"csr\"} 12\n"
                           "istio_agent_pilot_xds_send_time_bucket{le=\"+Inf\"} 2\n"
                           "istio_agent_pilot_xds_send_time_sum 4.2292999999999996e-05\n"
                           "istio_agent_pilot_xds_send_time_count 2\n"
                           "istio_agent_scrapes_total 217\n"
                           "# TYPE envoy_cluster_manager_cds_version_text gauge\n"
                           "envoy_cluster_manager_cds_version_text{text_value=\"2026-11-23T05:54:40Z/154\"} 0\n"
                           "envoy_listener_manager_lds_version_text{text_value=\"2026-11-23T05:52:47Z/121\"} 0\n"
                           "envoy_cluster_manager_cds_update_rejected{} 0\n"
                           "envoy_listener_manager_lds_update_rejected{} 131\n"
                           "envoy_cluster_upstream_cx_active{cluster_name=\"other\"} 9\n"
                           "envoy_cluster_upstream_cx_active{cluster_name=\"xds-grpc\"} 1\n"
                           "istio_build{component=\"proxy\",tag=\"1.30.3\"} 1\n";

static void test_recorded(void **state) {
    (void)state;
    struct proxy_seen p;
    assert_true(proxy_stats_read(nack, sizeof(nack) - 1, &p, NULL));
    assert_string_equal(p.cds_version, "2026-11-23T05:54:40Z/154");
    assert_string_equal(p.lds_version, "2026-11-23T05:52:47Z/121");
    assert_int_equal(p.cds_rejected, 0);
    assert_int_equal(p.lds_rejected, 131);
    assert_true(p.has_xds_connections);
    assert_int_equal(p.xds_connections, 1);
    assert_true(fabs(p.cert_expiry_s - 85894.58) < 0.01);
    assert_true(p.agent);
    assert_int_equal(p.xds_failures, 10);
    assert_int_equal(p.csr_failures, 8);
    assert_string_equal(p.build, ""); /* behind pilot-agent's part: could be the application's */
}

static void test_envoy_alone(void **state) {
    (void)state;
    static const char text[] = "# TYPE envoy_cluster_manager_cds_version_text gauge\n"
                               "envoy_cluster_manager_cds_version_text{text_value=\"2026-11-23T05:54:40Z/154\"} 0\n"
                               "istio_build{component=\"proxy\",tag=\"1.30.3\"} 1\n";
    struct proxy_seen p;
    assert_true(proxy_stats_read(text, sizeof(text) - 1, &p, NULL));
    assert_false(p.agent);
    assert_string_equal(p.build, "1.30.3");
    assert_string_equal(p.lds_version, "");
}

/* As its source writes them: OpenMetrics, counters end in _total. */
static void test_ztunnel(void **state) {
    (void)state;
    static const char text[] = "# HELP istio_build Istio component build info.\n"
                               "# TYPE istio_build gauge\n"
                               "istio_build{component=\"ztunnel\",tag=\"1.30.3\"} 1\n"
                               "# HELP istio_xds_connection_terminations The total number of connections (unstable).\n"
                               "# TYPE istio_xds_connection_terminations counter\n"
                               "istio_xds_connection_terminations_total{reason=\"Reconnect\"} 40\n"
                               "istio_xds_connection_terminations_total{reason=\"ConnectionError\"} 3\n"
                               "istio_xds_connection_terminations_total{reason=\"Error\"} 2\n"
                               "istio_xds_message_total{url=\"type.googleapis.com/istio.workload.Address\"} 7\n"
                               "# EOF\n";
    struct proxy_seen p;
    assert_true(proxy_stats_read(text, sizeof(text) - 1, &p, NULL));
    assert_true(p.agent);
    assert_string_equal(p.build, "1.30.3");
    assert_int_equal(p.xds_failures, 5);
    assert_true(isnan(p.cert_expiry_s));
    assert_false(p.has_xds_connections);
}

/* Counters that pilot-agent has not named yet cannot be named by the application behind it, with or without Envoy's part.
 */
static void test_application_for_agent(void **state) {
    (void)state;
    static const char app[] = "istio_agent_istiod_connection_terminations{type=\"error\"} 99\n"
                              "istio_agent_num_failed_outgoing_requests{request_type=\"csr\"} 99\n"
                              "istio_agent_cert_expiry_seconds{resource_name=\"default\"} -5\n"
                              "istio_build{component=\"ztunnel\",tag=\"9.9\"} 1\n"
                              "istio_xds_connection_terminations_total{reason=\"Error\"} 99\n";
    static const char *const parts[] = {"istio_agent_scrapes_total 1\n",
                                        "istio_agent_go_gc_duration_seconds 1\nenvoy_server_state{} 0\n"};
    for (size_t i = 0; i < 2; i++) {
        char text[1024];
        struct proxy_seen p;
        snprintf(text, sizeof text, "%s%s", parts[i], app);
        assert_true(proxy_stats_read(text, strlen(text), &p, NULL));
        assert_true(p.agent);
        assert_int_equal(p.xds_failures, 0);
        assert_int_equal(p.csr_failures, 0);
        assert_true(isnan(p.cert_expiry_s));
        assert_string_equal(p.build, "");
    }
}

static void test_agent_without_envoy(void **state) {
    (void)state;
    static const char text[] =
        "istio_agent_istiod_connection_terminations{type=\"error\"} 13\nistio_agent_scrapes_total 1\n";
    struct proxy_seen p;
    assert_true(proxy_stats_read(text, sizeof(text) - 1, &p, NULL));
    assert_string_equal(p.cds_version, "");
    assert_false(p.has_xds_connections);
    assert_true(isnan(p.cert_expiry_s));
    assert_int_equal(p.xds_failures, 13);
    assert_int_equal(p.csr_failures, 0); /* absent before the first */
}

static void test_expired(void **state) {
    (void)state;
    static const char text[] = "istio_agent_cert_expiry_seconds{resource_name=\"default\"} -22.422297215\n";
    struct proxy_seen p;
    assert_true(proxy_stats_read(text, sizeof(text) - 1, &p, NULL));
    assert_true(p.cert_expiry_s < -22);
}

/* The application's metrics come last, unread: neither garbage nor names of the proxy's change anything. */
static void test_application(void **state) {
    (void)state;
    static const char app[] = "total garbage {{{\n"
                              "envoy_cluster_manager_cds_version_text{text_value=\"forged\"} 0\n"
                              "envoy_cluster_upstream_cx_active{cluster_name=\"xds-grpc\"} 5\n"
                              "envoy_cluster_manager_cds_update_rejected{} 0\n"
                              "envoy_broken{\n"
                              "envoy_listener_manager_lds_update_rejected{} 77";
    char text[sizeof(nack) + sizeof(app)];
    memcpy(text, nack, sizeof(nack) - 1);
    memcpy(text + sizeof(nack) - 1, app, sizeof(app));
    struct proxy_seen p;
    assert_true(proxy_stats_read(text, strlen(text), &p, NULL));
    assert_string_equal(p.cds_version, "2026-11-23T05:54:40Z/154");
    assert_int_equal(p.xds_connections, 1);
    assert_int_equal(p.lds_rejected, 131);
}

static void test_not_a_proxy(void **state) {
    (void)state;
    struct proxy_seen p;
    struct err err = {0};
    assert_false(proxy_stats_read("pilot_xds 1\n", 12, &p, &err));
    assert_int_equal(err.code, ERR_PROTOCOL);
    static const char istiod[] = "istio_build{component=\"pilot\",tag=\"1.30.3\"} 1\n";
    assert_false(proxy_stats_read(istiod, sizeof(istiod) - 1, &p, &err));
    assert_false(proxy_stats_read("", 0, &p, &err));
}

/* Every cut gives a reading that is a prefix: a value is there whole or not at all. */
static void test_cuts(void **state) {
    (void)state;
    for (size_t n = 0; n < sizeof(nack) - 1; n++) {
        struct proxy_seen p;
        if (proxy_stats_read(nack, n, &p, NULL)) {
            assert_true(p.cds_version[0] == '\0' || strcmp(p.cds_version, "2026-11-23T05:54:40Z/154") == 0);
            assert_true(p.lds_rejected == 0 || p.lds_rejected == 131);
            assert_true(isnan(p.cert_expiry_s) || p.cert_expiry_s > 85894);
        }
    }
}

static void test_path(void **state) {
    (void)state;
    assert_non_null(strstr(proxy_stats_path, "/stats/prometheus?"));
    assert_null(strchr(proxy_stats_path, '|'));
    assert_null(strchr(proxy_stats_path, ' '));
    assert_string_equal(proxy_agent_path, "/stats/prometheus?filter=%5E%24");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recorded),    cmocka_unit_test(test_agent_without_envoy),
        cmocka_unit_test(test_expired),     cmocka_unit_test(test_application),
        cmocka_unit_test(test_not_a_proxy), cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_path),        cmocka_unit_test(test_envoy_alone),
        cmocka_unit_test(test_ztunnel),     cmocka_unit_test(test_application_for_agent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
