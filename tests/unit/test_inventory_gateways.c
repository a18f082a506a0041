/* Proxies that no injection webhook decides about: managed gateways and waypoints, ztunnels, machines outside. */
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "inventory_fix.h"
#include "lib/base/json.h"
#include "lib/base/mem.h"

#define GATEWAY(labels) "{\"metadata\":{\"name\":\"edge\",\"namespace\":\"plain\",\"labels\":{" labels "}}}"
#define NAMESPACE(labels) "{\"metadata\":{\"name\":\"plain\",\"uid\":\"u\",\"labels\":{" labels "}}}"
#define REV(r) "\"istio.io/rev\":\"" r "\""

/* As istiod renders it: injection is off, the annotation says who made it. */
static const char pod[] =
    "{\"metadata\":{\"name\":\"edge-istio-1\",\"namespace\":\"plain\",\"uid\":\"e\",\"labels\":{\"sidecar.istio.io/"
    "inject\":"
    "\"false\",\"gateway.networking.k8s.io/gateway-name\":\"edge\",\"gateway.istio.io/managed\":"
    "\"istio.io-gateway-controller\"},\"annotations\":{\"istio.io/rev\":\"old\"}},\"spec\":{\"containers\":[{\"name\":"
    "\"istio-proxy\",\"image\":\"i:1\",\"args\":[\"proxy\",\"router\"]}]}}";

static void assert_expected(struct fix *f, const char *uid, enum injector_result kind, const char *revision) {
    const struct inv_pod *p = inventory_fix_pod(f, uid);
    assert_int_equal(p->expected_kind, kind);
    if (revision) {
        assert_string_equal(p->expected, revision);
    } else {
        assert_null(p->expected);
    }
    assert_int_equal(p->opt_out, OPT_OUT_NONE);
}

static void gateways(void **state) {
    struct fix *f = *state;
    struct injector_verdict v;
    inventory_fix_put(f, INVENTORY_NAMESPACES, NAMESPACE(""));
    inventory_fix_put(f, INVENTORY_PODS, pod);
    assert_int_equal(inventory_fix_pod(f, "e")->type, POD_GATEWAY);
    assert_string_equal(inventory_fix_pod(f, "e")->injected, "old");
    assert_expected(f, "e", INJECTOR_ONE, "old"); /* no Gateway at all: whoever made it has it */
    inventory_fix_put(f, INVENTORY_GATEWAYS, "{\"metadata\":{\"name\":\"edge\",\"namespace\":\"elsewhere\"}}");
    assert_expected(f, "e", INJECTOR_UNKNOWN, NULL);
    inventory_intent_of(&f->t, inventory_fix_pod(f, "e"), &v);
    assert_string_equal(v.why, "Gateway plain/edge is not known");
    /* no label at all: the default tag */
    assert_true(inventory_fix_put(f, INVENTORY_GATEWAYS, GATEWAY("")));
    assert_expected(f, "e", INJECTOR_ONE, "old");
    /* its namespace's label, then its own; a tag stands for its revision */
    inventory_fix_put(f, INVENTORY_NAMESPACES, NAMESPACE(REV("canary")));
    assert_expected(f, "e", INJECTOR_ONE, "canary");
    assert_true(inventory_fix_put(f, INVENTORY_GATEWAYS, GATEWAY(REV("default"))));
    assert_expected(f, "e", INJECTOR_ONE, "old");
    assert_false(inventory_fix_put(f, INVENTORY_GATEWAYS, GATEWAY(REV("default"))));
    assert_true(inventory_fix_put(f, INVENTORY_GATEWAYS, GATEWAY(REV("nosuch"))));
    assert_expected(f, "e", INJECTOR_NONE, NULL);
    /* istio-injection means nothing to a Gateway */
    inventory_fix_put(f, INVENTORY_GATEWAYS, GATEWAY(""));
    inventory_fix_put(f, INVENTORY_NAMESPACES, NAMESPACE("\"istio-injection\":\"enabled\"," REV("canary")));
    assert_expected(f, "e", INJECTOR_ONE, "canary");
    assert_true(inventory_drop(&f->t, INVENTORY_GATEWAYS, "plain", "edge", "x"));
    assert_false(inventory_drop(&f->t, INVENTORY_GATEWAYS, "plain", "edge", "x"));
    assert_expected(f, "e", INJECTOR_UNKNOWN, NULL);
    inventory_fix_put(f, INVENTORY_GATEWAYS, GATEWAY(""));
    inventory_drop(&f->t, INVENTORY_NAMESPACES, "", "plain", "u");
    assert_expected(f, "e", INJECTOR_UNKNOWN, NULL);
}

/* Without the tag "default" the default revision is who validates. */
static void default_revision(void **state) {
    struct fix *f = *state;
    inventory_fix_put(f, INVENTORY_NAMESPACES, NAMESPACE(""));
    inventory_fix_put(f, INVENTORY_GATEWAYS, GATEWAY(""));
    inventory_fix_put(f, INVENTORY_PODS, pod);
    assert_false(inventory_fix_put(f, INVENTORY_VALIDATOR,
                                   "{\"metadata\":{\"name\":\"istio-validator-canary\",\"labels\":{" REV("canary") "}}}"));
    inventory_fix_put(f, INVENTORY_VALIDATOR,
                      "{\"metadata\":{\"name\":\"istiod-default-validator\",\"labels\":{" REV("canary") "}}}");
    assert_expected(f, "e", INJECTOR_ONE, "old"); /* the tag comes first */
    inventory_drop(&f->t, INVENTORY_WEBHOOKS, "", "istio-revision-tag-default", "x");
    inventory_drop(&f->t, INVENTORY_SERVICES, "istio-system", "istiod-revision-tag-default", "x");
    assert_expected(f, "e", INJECTOR_ONE, "canary");
    assert_true(inventory_drop(&f->t, INVENTORY_VALIDATOR, "", "istiod-default-validator", "x"));
    assert_expected(f, "e", INJECTOR_NONE, NULL);
}

#define ZTUNNEL(uid, annotations, env)                                                                                  \
    "{\"metadata\":{\"name\":\"" uid "\",\"namespace\":\"plain\",\"uid\":\"" uid                                        \
    "\",\"labels\":{\"app\":\"ztunnel\",\"sidecar.istio.io/inject\":\"false\"},\"annotations\":{" annotations           \
    "}},\"spec\":{\"containers\":[{\"name\":\"istio-proxy\",\"args\":[\"proxy\",\"ztunnel\"],\"env\":[{\"name\":\"A\"," \
    "\"value\":\"b\"}" env "]}]}}"
#define XDS(address) ",{\"name\":\"XDS_ADDRESS\",\"value\":\"" address "\"}"

static void ztunnels(void **state) {
    struct fix *f = *state;
    static const struct {
        const char *pod, *uid, *revision;
    } rows[] = {
        {ZTUNNEL("z1", REV("canary"), XDS("istiod-canary.istio-system.svc:15012")), "z1", "canary"},
        {ZTUNNEL("z2", "", XDS("istiod-canary.istio-system.svc:15012")), "z2", "canary"},
        {ZTUNNEL("z3", "", XDS("istiod.istio-system.svc:15012")), "z3", "default"},
        {ZTUNNEL("z4", "", XDS("xds.example.com:15012")), "z4", NULL},
        {ZTUNNEL("z5", "", ""), "z5", NULL},
        {ZTUNNEL("z6", "", XDS("istiod-")), "z6", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        inventory_fix_put(f, INVENTORY_PODS, rows[i].pod);
        assert_int_equal(inventory_fix_pod(f, rows[i].uid)->type, POD_ZTUNNEL);
        assert_expected(f, rows[i].uid, rows[i].revision ? INJECTOR_ONE : INJECTOR_UNKNOWN, rows[i].revision);
        assert_string_equal(inventory_fix_pod(f, rows[i].uid)->injected, rows[i].revision ? rows[i].revision : "");
    }
    inventory_fix_put(f, INVENTORY_NAMESPACES, NAMESPACE(REV("old"))); /* neighbours that differ in one thing only */
    assert_expected(f, "z2", INJECTOR_ONE, "canary");
    assert_expected(f, "z3", INJECTOR_ONE, "default");
}

#define ENTRY(annotations, address)                                                                      \
    "{\"metadata\":{\"name\":\"db-10.0.0.1\",\"namespace\":\"bank\",\"annotations\":{" annotations "}}," \
    "\"spec\":{\"address\":\"" address "\",\"labels\":{\"app\":\"db\"}}}"

static void machines(void **state) {
    struct fix *f = *state;
    struct inv_vm *v;
    assert_true(inventory_fix_put(
        f, INVENTORY_VMS, ENTRY("\"istio.io/autoRegistrationGroup\":\"db\",\"istio.io/connectedAt\":\"x\"", "10.0.0.1")));
    HASH_FIND_STR(f->t.inv.vms, "bank/db-10.0.0.1", v);
    assert_non_null(v);
    assert_string_equal(v->group, "db");
    assert_string_equal(v->address, "10.0.0.1");
    assert_string_equal(v->namespace_, "bank");
    assert_true(v->connected);
    assert_false(inventory_fix_put(
        f, INVENTORY_VMS, ENTRY("\"istio.io/autoRegistrationGroup\":\"db\",\"istio.io/connectedAt\":\"y\"", "10.0.0.1")));
    assert_true(inventory_fix_put(f, INVENTORY_VMS, ENTRY("\"istio.io/autoRegistrationGroup\":\"db\"", "10.0.0.1")));
    assert_false(v->connected);
    assert_true(inventory_fix_put(f, INVENTORY_VMS, ENTRY("", "10.0.0.2")));
    assert_null(v->group);
    assert_true(inventory_drop(&f->t, INVENTORY_VMS, "bank", "db-10.0.0.1", "x"));
    assert_false(inventory_drop(&f->t, INVENTORY_VMS, "bank", "db-10.0.0.1", "x"));
    inventory_fix_put(f, INVENTORY_VMS, ENTRY("", "10.0.0.2"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, inventory_fix_full, inventory_fix_done)

int main(void) {
    const struct CMUnitTest tests[] = {T(gateways), T(default_revision), T(ztunnels), T(machines)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
