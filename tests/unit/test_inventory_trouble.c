/* What keeps a pod from starting, what its proxy is, why a controller cannot create pods. */
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "inventory_fix.h"
#include "lib/base/json.h"
#include "lib/base/mem.h"

/* --- type --- */

static void types(void **state) {
    (void)state;
    static const struct {
        const char *pod;
        enum pod_type type;
    } rows[] = {
        {"{}", POD_SIDECAR},
        {"{\"proxy\":{\"args\":[\"proxy\",\"sidecar\",\"--domain\"]}}", POD_SIDECAR},
        {"{\"proxy\":{\"args\":[\"proxy\",\"router\"]}}", POD_GATEWAY},
        {"{\"proxy\":{\"args\":[\"proxy\",\"waypoint\"]}}", POD_WAYPOINT},
        {"{\"proxy\":{\"args\":[\"proxy\",\"ztunnel\"]},\"metadata\":{\"labels\":{\"app\":\"x\"}}}", POD_ZTUNNEL},
        /* an image of one's own may be started in another way: then labels and annotations say it */
        {"{\"proxy\":{\"args\":[\"run\",\"router\"]}}", POD_SIDECAR},
        {"{\"proxy\":{\"args\":[\"proxy\",3]}}", POD_SIDECAR},
        {"{\"metadata\":{\"labels\":{\"gateway.istio.io/managed\":\"istio.io-mesh-controller\","
         "\"gateway.networking.k8s.io/gateway-name\":\"w\"}}}",
         POD_WAYPOINT},
        {"{\"metadata\":{\"labels\":{\"gateway.istio.io/managed\":\"istio.io-gateway-controller\"}}}", POD_GATEWAY},
        {"{\"metadata\":{\"labels\":{\"gateway.networking.k8s.io/gateway-name\":\"g\"}}}", POD_GATEWAY},
        {"{\"metadata\":{\"annotations\":{\"inject.istio.io/templates\":\"gateway\"}}}", POD_GATEWAY},
        {"{\"metadata\":{\"annotations\":{\"inject.istio.io/templates\":\"mine, gateway\"}}}", POD_GATEWAY},
        {"{\"metadata\":{\"annotations\":{\"inject.istio.io/templates\":\"gateway2,xgateway\"}}}", POD_SIDECAR},
        {"{\"metadata\":{\"labels\":{\"app\":\"ztunnel\"}}}", POD_ZTUNNEL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_t *pod = js_parse(rows[i].pod, strlen(rows[i].pod), 1 << 20, NULL);
        enum pod_type got = inventory_pod_type(pod, js_at(pod, "proxy", NULL));
        if (got != rows[i].type) {
            fail_msg("%s: %d, not %d", rows[i].pod, (int)got, (int)rows[i].type);
        }
        json_decref(pod);
    }
}

/* --- trouble --- */

#define POD(status) "{\"metadata\":{\"name\":\"p\",\"namespace\":\"plain\",\"uid\":\"p\"},\"status\":{" status "}}"
#define WAITS(name, reason, message)                                                                                  \
    "{\"name\":\"" name "\",\"ready\":false,\"state\":{\"waiting\":{\"reason\":\"" reason "\",\"message\":\"" message \
    "\"}}}"

static void troubles(void **state) {
    struct fix *f = *state;
    static const struct {
        const char *pod;
        enum pod_trouble trouble;
        const char *text;
        bool proxy_ready;
    } rows[] = {
        {POD(""), TROUBLE_NONE, NULL, false},
        {POD("\"containerStatuses\":[{\"name\":\"istio-proxy\",\"ready\":true},{\"name\":\"web\",\"ready\":false}]"),
         TROUBLE_NONE, NULL, true},
        {POD("\"initContainerStatuses\":[{\"name\":\"istio-proxy\",\"ready\":true}]"), TROUBLE_NONE, NULL, true},
        {POD("\"containerStatuses\":[" WAITS("web", "ContainerCreating", "") "]"), TROUBLE_NONE, NULL, false},
        {POD("\"containerStatuses\":[" WAITS("web", "ImagePullBackOff", "Back-off pulling image \\\"web:9\\\"") "]"),
         TROUBLE_IMAGE, "container web: ImagePullBackOff: Back-off pulling image \"web:9\"", false},
        {POD("\"containerStatuses\":[" WAITS("web", "CrashLoopBackOff", "back-off 10s restarting") "]"), TROUBLE_CRASH,
         "container web: CrashLoopBackOff", false},
        {POD("\"containerStatuses\":[" WAITS("web", "CreateContainerConfigError", "secret \\\"x\\\" not found") "]"),
         TROUBLE_CONFIG, "container web: CreateContainerConfigError: secret \"x\" not found", false},
        /* the proxy's before the others' */
        {POD("\"containerStatuses\":[" WAITS("web", "CrashLoopBackOff", "") "," WAITS("istio-proxy", "ErrImagePull",
                                                                                      "not found") "]"),
         TROUBLE_IMAGE, "container istio-proxy: ErrImagePull: not found", false},
        {POD("\"initContainerStatuses\":[" WAITS("istio-validation", "CrashLoopBackOff", "x") "]"), TROUBLE_CRASH,
         "container istio-validation: CrashLoopBackOff", false},
        {POD("\"conditions\":[{\"type\":\"PodScheduled\",\"status\":\"False\",\"reason\":\"Unschedulable\",\"message\":"
             "\"0/3 nodes are available: 3 Insufficient cpu.\"}]"),
         TROUBLE_UNSCHEDULABLE, "Unschedulable: 0/3 nodes are available: 3 Insufficient cpu.", false},
        {POD("\"conditions\":[{\"type\":\"PodScheduled\",\"status\":\"False\"}]"), TROUBLE_UNSCHEDULABLE, "not scheduled",
         false},
        {POD("\"phase\":\"Failed\",\"containerStatuses\":[" WAITS("web", "CrashLoopBackOff", "") "]"), TROUBLE_NONE, NULL,
         false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        inventory_fix_put(f, INVENTORY_PODS, rows[i].pod);
        const struct inv_pod *p = inventory_fix_pod(f, "p");
        if (p->trouble != rows[i].trouble || p->proxy_ready != rows[i].proxy_ready) {
            fail_msg("%s: %d %d", rows[i].pod, (int)p->trouble, p->proxy_ready);
        }
        if (rows[i].text) {
            assert_string_equal(p->trouble_text, rows[i].text);
        } else {
            assert_null(p->trouble_text);
        }
    }
}

/* Both are news; the growing delay of a back-off is none. */
static void trouble_is_news(void **state) {
    struct fix *f = *state;
    inventory_fix_put(f, INVENTORY_PODS, POD(""));
    assert_true(
        inventory_fix_put(f, INVENTORY_PODS, POD("\"containerStatuses\":[" WAITS("w", "CrashLoopBackOff", "10s") "]")));
    assert_false(
        inventory_fix_put(f, INVENTORY_PODS, POD("\"containerStatuses\":[" WAITS("w", "CrashLoopBackOff", "20s") "]")));
    assert_true(inventory_fix_put(f, INVENTORY_PODS, POD("")));
    assert_null(inventory_fix_pod(f, "p")->trouble_text);
}

static void long_texts_are_cut(void **state) {
    struct fix *f = *state;
    char *message = mem_alloc(4000);
    for (int i = 0; i < 3000; i += 2) {
        memcpy(message + i, "\xc3\xa9", 2);
    }
    json_t *o = json_pack("{s:{s:s, s:s, s:s}, s:{s:[{s:s, s:{s:{s:s, s:s}}}]}}", "metadata", "name", "p", "namespace",
                          "plain", "uid", "p", "status", "containerStatuses", "name", "w", "state", "waiting", "reason",
                          "ErrImagePull", "message", message);
    assert_non_null(o);
    inventory_put(&f->t, INVENTORY_PODS, o);
    const char *text = inventory_fix_pod(f, "p")->trouble_text;
    size_t len = strlen(text);
    assert_true(len >= 300 && len < 304);
    assert_int_equal((unsigned char)text[len - 1], 0xa9);
    json_decref(o);
    free(message);
}

/* --- creating --- */

static void create_troubles(void **state) {
    (void)state;
    static const struct {
        const char *text;
        enum create_trouble want;
    } rows[] = {
        {"pods \"web-7\" is forbidden: exceeded quota: compute, requested: pods=1, used: pods=10, limited: pods=10",
         CREATE_QUOTA},
        {"pods \"web-7\" is forbidden: failed quota: compute: must specify limits.cpu for: istio-proxy", CREATE_QUOTA},
        {"Internal error occurred: failed calling webhook \"rev.namespace.sidecar-injector.istio.io\": failed to call "
         "webhook: Post \"https://istiod-canary.istio-system.svc:443/inject?timeout=10s\": no endpoints available for "
         "service \"istiod-canary\"",
         CREATE_INJECTOR},
        {"admission webhook \"rev.object.sidecar-injector.istio.io\" denied the request: Pod injection failed: x",
         CREATE_INJECTOR},
        {"Internal error occurred: failed calling webhook \"policy.example.com\": context deadline exceeded", CREATE_OTHER},
        {"Internal error occurred: failed calling webhook \"istio.io.example.com\": x", CREATE_OTHER},
        {"Internal error occurred: failed calling webhook \"cut.istio.io", CREATE_OTHER},
        {"admission webhook \"policy.example.com\" denied the request: no", CREATE_DENIED},
        {"pods \"web-7\" is forbidden: violates PodSecurity \"restricted:latest\": unrestricted capabilities (container "
         "\"istio-init\" must not include \"NET_ADMIN\")",
         CREATE_DENIED},
        {"pods \"web-7\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no", CREATE_DENIED},
        {"pods \"web-7\" is forbidden: expression ''skip' in object.metadata.labels' resulted in error: no such key: "
         "labels",
         CREATE_DENIED},
        {"pods \"web-7\" is forbidden: maximum cpu usage per Container is 1, but limit is 2", CREATE_DENIED},
        {"pods \"web-7\" is forbidden: error looking up service account shop/web: serviceaccount \"web\" not found",
         CREATE_OTHER},
        {"", CREATE_OTHER},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum create_trouble got = inventory_create_trouble(rows[i].text);
        if (got != rows[i].want) {
            fail_msg("%s: %d, not %d", rows[i].text, (int)got, (int)rows[i].want);
        }
    }
}

static void deployments_tell_it(void **state) {
    struct fix *f = *state;
    inventory_fix_put(f, INVENTORY_DEPLOYMENTS,
                      "{\"metadata\":{\"name\":\"w\",\"namespace\":\"plain\"},\"spec\":{\"replicas\":0},\"status\":"
                      "{\"conditions\":[{\"type\":\"ReplicaFailure\",\"status\":\"True\",\"reason\":\"FailedCreate\","
                      "\"message\":\"pods \\\"w\\\" is forbidden: exceeded quota: q\"}]}}");
    const struct inv_workload *w = inventory_fix_workload(f, "Deployment/plain/w");
    assert_true(w->failed_create);
    assert_int_equal(w->create_trouble, CREATE_QUOTA);
    assert_int_equal(w->replicas, 0);
    inventory_fix_put(f, INVENTORY_DEPLOYMENTS,
                      "{\"metadata\":{\"name\":\"w\",\"namespace\":\"plain\"},\"spec\":{\"replicas\":2}}");
    assert_int_equal(inventory_fix_workload(f, "Deployment/plain/w")->create_trouble, CREATE_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types),
        cmocka_unit_test_setup_teardown(troubles, inventory_fix_empty, inventory_fix_done),
        cmocka_unit_test_setup_teardown(trouble_is_news, inventory_fix_empty, inventory_fix_done),
        cmocka_unit_test_setup_teardown(long_texts_are_cut, inventory_fix_empty, inventory_fix_done),
        cmocka_unit_test(create_troubles),
        cmocka_unit_test_setup_teardown(deployments_tell_it, inventory_fix_empty, inventory_fix_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
