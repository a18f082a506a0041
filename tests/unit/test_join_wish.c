/* Pods that get no sidecar, whose proxy is no sidecar, or whose containers do not run. */
#include "cmocka_all.h"
#include "core/decide.h"
#include "gate_mesh.h"
#include "lib/base/json.h"

static void put_pod(struct gate_mesh *f, const char *text) {
    struct err err = {0};
    json_t *pod = js_parse(text, strlen(text), 1 << 16, &err);
    assert_non_null(pod);
    if (!store_put(f->store, "pods", pod, &err)) {
        fail_msg("%s", err.text);
    }
    gate_mesh_pass(f, 1000);
    gate_mesh_hear(f);
    gate_mesh_join(f);
}

#define POD(ns, name, meta, spec, status)                                                                                 \
    "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"" name "\",\"namespace\":\"" ns                     \
    "\",\"creationTimestamp\":\"2026-01-01T00:00:00Z\"" meta "},\"spec\":{\"nodeName\":\"node-01\"" spec "},\"status\":{" \
    "\"phase\":\"Running\"" status "}}"

static void host_network_is_told_and_does_not_count(void **state) {
    struct gate_mesh *f = *state;
    put_pod(f, POD("app-01", "wide", "", ",\"hostNetwork\":true,\"containers\":[{\"name\":\"web\"}]", ""));
    const struct proxy_row *p = gate_mesh_proxy(f, "app-01", "wide");
    assert_true(p->opted_out && p->asks);
    assert_int_equal(p->state, STATE_UNINJECTED);
    assert_int_equal(p->reason, REASON_HOST_NETWORK);
    assert_false(proxy_counts(p));
}

static void who_asks_for_none_is_told_so(void **state) {
    struct gate_mesh *f = *state;
    put_pod(f, POD("app-01", "plain", ",\"labels\":{\"sidecar.istio.io/inject\":\"false\"}",
                   ",\"containers\":[{\"name\":\"web\"}]", ""));
    assert_int_equal(gate_mesh_proxy(f, "app-01", "plain")->reason, REASON_OPTED_OUT);
}

static void outside_of_the_mesh_there_is_no_row(void **state) {
    struct gate_mesh *f = *state;
    put_pod(f, POD("kube-system", "dns", "", ",\"containers\":[{\"name\":\"dns\"}]", ""));
    for (uint32_t i = 0; i < join_snapshot(f->join)->n_proxies; i++) {
        assert_string_not_equal(join_names(f->join)->pods[i]->name, "dns");
    }
}

static void a_ztunnel_belongs_where_it_says(void **state) {
    struct gate_mesh *f = *state;
    put_pod(
        f,
        POD("istio-system", "ztunnel-x",
            ",\"labels\":{\"app\":\"ztunnel\",\"sidecar.istio.io/inject\":\"false\"},\"annotations\":{\"istio.io/"
            "rev\":\"old\"}",
            ",\"containers\":[{\"name\":\"istio-proxy\",\"image\":\"x/ztunnel:1.29.6\",\"args\":[\"proxy\",\"ztunnel\"]}]",
            ",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]"));
    const struct proxy_row *p = gate_mesh_proxy(f, "istio-system", "ztunnel-x");
    assert_non_null(p);
    assert_true(p->no_envoy && proxy_counts(p));
    assert_int_equal(p->expected, p->injected);
    assert_string_equal(join_names(f->join)->revisions[p->injected], "old");
}

static void what_keeps_it_from_running_is_its_reason(void **state) {
    struct gate_mesh *f = *state;
    struct err err = {0};
    put_pod(f, POD("app-01", "broken", ",\"annotations\":{\"istio.io/rev\":\"old\",\"sidecar.istio.io/status\":\"{}\"}",
                   ",\"containers\":[{\"name\":\"istio-proxy\",\"image\":\"x/proxyv2:nosuch\"}]", ""));
    gate_mesh_pass(f, 30000); /* the embedded kubelet has done what it does */
    json_t *patch = json_pack("{s:{s:[{s:s, s:b, s:{s:{s:s}}}], s:[{s:s, s:s}]}}", "status", "containerStatuses", "name",
                              "istio-proxy", "ready", 0, "state", "waiting", "reason", "ImagePullBackOff", "conditions",
                              "type", "Ready", "status", "False");
    assert_true(store_patch(f->store, "pods", "app-01", "broken", patch, true, &err));
    json_decref(patch);
    gate_mesh_pass(f, 1000);
    f->unlisted = "broken";
    gate_mesh_hear(f);
    gate_mesh_join(f);
    const struct proxy_row *p = gate_mesh_proxy(f, "app-01", "broken");
    assert_int_equal(p->trouble, REASON_IMAGE_PULL);
    assert_int_equal(p->state, STATE_SYNCING);
    assert_int_equal(p->reason, REASON_IMAGE_PULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, gate_mesh_setup, gate_mesh_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(host_network_is_told_and_does_not_count),  TEST(who_asks_for_none_is_told_so),
        TEST(outside_of_the_mesh_there_is_no_row),      TEST(a_ztunnel_belongs_where_it_says),
        TEST(what_keeps_it_from_running_is_its_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
