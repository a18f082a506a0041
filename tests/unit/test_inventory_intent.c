/* Who would inject each pod, and whether that injector would leave it alone, kept right as objects change. */
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "inventory_fix.h"
#include "lib/base/mem.h"

static const char *version_of(struct fix *f, const char *replica) {
    struct inv_replica *r;
    HASH_FIND_STR(f->t.inv.replicas, replica, r);
    return r->version;
}

#define CONFIG(rev, text)                                                                                               \
    "{\"metadata\":{\"name\":\"istio-sidecar-injector-" rev "\",\"namespace\":\"istio-system\",\"labels\":{\"istio.io/" \
    "rev\":\"" rev "\"}},\"data\":{\"values\":\"{}\",\"config\":\"" text "\"}}"
#define CHART_HEAD "# defaultTemplates defines the default template\\ndefaultTemplates: [sidecar]\\npolicy: "
#define CHART_TAIL                                                                                                    \
    "\\ninjectedAnnotations:\\ntemplate: \\\"{{ Template_Version_And_Istio_Version_Mismatched }}\\\"\\ntemplates:\\n" \
    "  sidecar: |\\n    {{- define \\\"resources\\\" }}\\n    {{ end }}\\n"

/* The injectors' ConfigMaps, in the shape that the chart renders. */
static void policies(void **state) {
    struct fix *f = *state;
    const struct inv_pod *web = inventory_fix_pod(f, "uid-web-1");
    int64_t since = web->expected_since_ms;
    vclock_run_until(f->clock, 9000);
    assert_false(inventory_fix_put(
        f, INVENTORY_POLICIES,
        CONFIG("old", CHART_HEAD "enabled\\nalwaysInjectSelector:\\n  []\\nneverInjectSelector:\\n  []" CHART_TAIL)));
    assert_int_equal(web->opt_out, OPT_OUT_NONE);
    assert_true(
        inventory_fix_put(f, INVENTORY_POLICIES,
                          CONFIG("old", CHART_HEAD "enabled\\nalwaysInjectSelector:\\n  []\\nneverInjectSelector:\\n"
                                                   "  - matchLabels:\\n      app: web" CHART_TAIL)));
    assert_int_equal(web->opt_out, OPT_OUT_NEVER_SELECTOR);
    assert_string_equal(web->expected, "old");
    assert_int_equal(web->expected_since_ms, since);
    assert_int_equal(inventory_fix_pod(f, "uid-tool")->opt_out, OPT_OUT_NONE); /* no webhook, no injector */
    /* one that istiod cannot read leaves it as it was; other ConfigMaps say nothing */
    assert_false(inventory_fix_put(f, INVENTORY_POLICIES, CONFIG("old", "a: [")));
    assert_false(inventory_fix_put(f, INVENTORY_POLICIES, CONFIG("old", "text")));
    assert_false(inventory_fix_put(f, INVENTORY_POLICIES,
                                   "{\"metadata\":{\"name\":\"istio-old\"},\"data\":{\"config\":"
                                   "\"policy: disabled\"}}"));
    assert_int_equal(web->opt_out, OPT_OUT_NEVER_SELECTOR);
    assert_true(inventory_fix_put(f, INVENTORY_POLICIES, CONFIG("old", CHART_HEAD "disabled" CHART_TAIL)));
    assert_int_equal(web->opt_out, OPT_OUT_POLICY_DISABLED);
    assert_true(inventory_drop(&f->t, INVENTORY_POLICIES, "istio-system", "istio-sidecar-injector-old", "x"));
    assert_int_equal(web->opt_out, OPT_OUT_NONE);
}

/* What a word means depends on the version of the istiod, that is, on the image of its pods. */
static void words(void **state) {
    struct fix *f = *state;
    static const char pod[] = "{\"metadata\":{\"name\":\"n\",\"namespace\":\"shop\",\"uid\":\"n\",\"labels\":{\"sidecar."
                              "istio.io/inject\":\"no\"}}}";
#define ISTIOD(letter, version)                                                                                         \
    "{\"metadata\":{\"name\":\"istiod-old-" letter "\",\"namespace\":\"istio-system\",\"uid\":\"uid-istiod-old-" letter \
    "\"},\"spec\":{\"containers\":[{\"name\":\"discovery\",\"image\":\"r/istio/pilot:" version "\"}]}}"
    inventory_fix_put(f, INVENTORY_PODS, ISTIOD("a", "1.29.6"));
    inventory_fix_put(f, INVENTORY_PODS, ISTIOD("b", "1.29.6"));
    inventory_fix_put(f, INVENTORY_PODS, pod);
    const struct inv_pod *p = inventory_fix_pod(f, "n");
    assert_string_equal(p->expected, "old");
    assert_int_equal(p->opt_out, OPT_OUT_NONE);
    assert_true(inventory_fix_put(f, INVENTORY_PODS, ISTIOD("a", "1.26.3")));
    assert_string_equal(version_of(f, "uid-istiod-old-a"), "1.26.3");
    assert_string_equal(version_of(f, "uid-istiod-old-b"), "1.29.6");
    assert_int_equal(p->expected_kind, INJECTOR_UNKNOWN); /* it depends on which of the two is asked */
    struct injector_verdict v;
    inventory_intent_of(&f->t, p, &v);
    assert_non_null(strstr(v.why, "revision old"));
    inventory_fix_put(f, INVENTORY_PODS, ISTIOD("b", "1.26.3"));
    assert_int_equal(p->expected_kind, INJECTOR_ONE);
    assert_int_equal(p->opt_out, OPT_OUT_LABEL);
    inventory_fix_put(f, INVENTORY_PODS, ISTIOD("b", "custom"));
    assert_int_equal(p->expected_kind, INJECTOR_UNKNOWN);
}

static void intent(void **state) {
    struct fix *f = *state;
    struct injector_verdict v;
    inventory_intent_of(&f->t, inventory_fix_pod(f, "uid-web-1"), &v);
    assert_int_equal(v.result, INJECTOR_ONE);
    assert_string_equal(v.revision, "old");
    assert_string_equal(v.configuration, "istio-revision-tag-default");
    assert_string_equal(v.webhook, "namespace.sidecar-injector.istio.io");
    inventory_drop(&f->t, INVENTORY_NAMESPACES, "", "shop", "x");
    inventory_intent_of(&f->t, inventory_fix_pod(f, "uid-web-1"), &v);
    assert_int_equal(v.result, INJECTOR_UNKNOWN);
    assert_string_equal(v.why, "the namespace is not known");
    assert_null(v.configuration);
}

/* Annotations decide inside the injector, and neighbours need not have the same. */
static void opt_outs(void **state) {
    struct fix *f = *state;
    static const char *const more[] = {"", ",\"annotations\":{\"sidecar.istio.io/inject\":\"false\"}", ""};
    for (int i = 0; i < 3; i++) {
        char *text = mem_printf("{\"metadata\":{\"name\":\"o%d\",\"namespace\":\"shop\",\"uid\":\"o%d\"%s},\"spec\":{"
                                "\"hostNetwork\":%s}}",
                                i, i, more[i], i == 2 ? "true" : "false");
        inventory_fix_put(f, INVENTORY_PODS, text);
        free(text);
    }
    for (int round = 0; round < 2; round++) {
        assert_int_equal(inventory_fix_pod(f, "o0")->opt_out, OPT_OUT_NONE);
        assert_int_equal(inventory_fix_pod(f, "o1")->opt_out, OPT_OUT_ANNOTATION);
        assert_int_equal(inventory_fix_pod(f, "o2")->opt_out, OPT_OUT_HOST_NETWORK);
        inventory_fix_put(f, INVENTORY_NAMESPACES,
                          "{\"metadata\":{\"name\":\"shop\",\"labels\":{\"istio.io/rev\":\"canary\"}}}"); /* all anew */
    }
    inventory_fix_put(f, INVENTORY_PODS, "{\"metadata\":{\"name\":\"o1\",\"namespace\":\"shop\",\"uid\":\"o1\"}}");
    assert_int_equal(inventory_fix_pod(f, "o1")->opt_out, OPT_OUT_NONE);
}

#define T(f) cmocka_unit_test_setup_teardown(f, inventory_fix_full, inventory_fix_done)

int main(void) {
    const struct CMUnitTest tests[] = {T(policies), T(words), T(intent), T(opt_outs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
