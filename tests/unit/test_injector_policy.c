/* What istiod's injector does with a pod that it is shown. */
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "lib/base/json.h"
#include "probes/injector_policy.h"

static void words_by_version(void **state) {
    (void)state;
    static const struct {
        const char *version;
        enum injector_words want;
    } rows[] = {
        {"1.16.7", WORDS_YAML}, {"1.26.8", WORDS_YAML},   {"1.27.0", WORDS_STRICT},  {"1.30-distroless", WORDS_STRICT},
        {"1.26", WORDS_YAML},   {"2.0.0", WORDS_STRICT},  {"latest", WORDS_UNKNOWN}, {"1", WORDS_UNKNOWN},
        {"1.x", WORDS_UNKNOWN}, {"1.26x", WORDS_UNKNOWN}, {"", WORDS_UNKNOWN},       {NULL, WORDS_UNKNOWN},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (injector_words_of(rows[i].version) != rows[i].want) {
            fail_msg("%s", rows[i].version ? rows[i].version : "none");
        }
    }
}

#define CHART "{\"policy\":\"enabled\",\"alwaysInjectSelector\":[],\"neverInjectSelector\":[]}"
#define NEVER "{\"policy\":\"enabled\",\"neverInjectSelector\":[{},{\"matchLabels\":{\"app\":\"web\"}}]}"
#define NEVER_BAD \
    "{\"policy\":\"enabled\",\"neverInjectSelector\":[{\"matchExpressions\":[{\"key\":\"app\",\"operator\":\"Has\"}]}]}"
#define DISABLED "{\"policy\":\"disabled\"}"
#define ALWAYS                                                                                                             \
    "{\"policy\":\"disabled\",\"alwaysInjectSelector\":[{\"matchExpressions\":[{\"key\":\"app\",\"operator\":\"Exists\"}]" \
    "}]}"
#define BOTH                                                                                   \
    "{\"policy\":\"disabled\",\"alwaysInjectSelector\":[{\"matchLabels\":{\"app\":\"web\"}}]," \
    "\"neverInjectSelector\":[{\"matchLabels\":{\"app\":\"web\"}}]}"

#define L(v) "{\"sidecar.istio.io/inject\":\"" v "\"}"
#define WEB "{\"app\":\"web\"}"
#define WEB_L(v) "{\"app\":\"web\",\"sidecar.istio.io/inject\":\"" v "\"}"

static const struct {
    const char *config, *labels, *annotations;
    enum injector_words words;
    enum opt_out want;
    bool unsure;
} rows[] = {
    {CHART, NULL, NULL, WORDS_STRICT, OPT_OUT_NONE, false},
    {CHART, L("false"), NULL, WORDS_STRICT, OPT_OUT_LABEL, false},
    {CHART, NULL, L("false"), WORDS_STRICT, OPT_OUT_ANNOTATION, false},
    {CHART, L("true"), L("false"), WORDS_STRICT, OPT_OUT_NONE, false},
    {CHART, L("false"), L("true"), WORDS_STRICT, OPT_OUT_LABEL, false},
    {CHART, L(""), L("false"), WORDS_STRICT, OPT_OUT_NONE, false}, /* an empty label hides the annotation */
    /* words */
    {CHART, L("no"), NULL, WORDS_STRICT, OPT_OUT_NONE, false},
    {CHART, L("no"), NULL, WORDS_YAML, OPT_OUT_LABEL, false},
    {CHART, L("no"), NULL, WORDS_UNKNOWN, OPT_OUT_NONE, true},
    {CHART, L("False"), NULL, WORDS_STRICT, OPT_OUT_NONE, false},
    {CHART, L("False"), NULL, WORDS_YAML, OPT_OUT_LABEL, false},
    {CHART, L("YES"), NULL, WORDS_YAML, OPT_OUT_NONE, false},
    {CHART, L("YES"), NULL, WORDS_UNKNOWN, OPT_OUT_NONE, false},
    {CHART, L("false"), NULL, WORDS_UNKNOWN, OPT_OUT_LABEL, false},
    {DISABLED, L("on"), NULL, WORDS_STRICT, OPT_OUT_POLICY_DISABLED, false},
    {DISABLED, L("on"), NULL, WORDS_YAML, OPT_OUT_NONE, false},
    {DISABLED, L("on"), NULL, WORDS_UNKNOWN, OPT_OUT_POLICY_DISABLED, true},
    /* selectors and policy */
    {NEVER, WEB, NULL, WORDS_STRICT, OPT_OUT_NEVER_SELECTOR, false},
    {NEVER, WEB_L("true"), NULL, WORDS_STRICT, OPT_OUT_NONE, false},
    {NEVER, WEB_L("other"), NULL, WORDS_STRICT, OPT_OUT_NEVER_SELECTOR, false},
    {NEVER, NULL, NULL, WORDS_STRICT, OPT_OUT_NONE, false},
    {NEVER_BAD, WEB, NULL, WORDS_STRICT, OPT_OUT_NONE, false},
    {DISABLED, NULL, NULL, WORDS_STRICT, OPT_OUT_POLICY_DISABLED, false},
    {DISABLED, L("true"), NULL, WORDS_STRICT, OPT_OUT_NONE, false},
    {DISABLED, NULL, L("true"), WORDS_STRICT, OPT_OUT_NONE, false},
    {ALWAYS, WEB, NULL, WORDS_STRICT, OPT_OUT_NONE, false},
    {ALWAYS, NULL, NULL, WORDS_STRICT, OPT_OUT_POLICY_DISABLED, false},
    {BOTH, WEB, NULL, WORDS_STRICT, OPT_OUT_NEVER_SELECTOR, false},
    {"{\"policy\":\"on\"}", L("true"), NULL, WORDS_STRICT, OPT_OUT_POLICY_DISABLED, false},
    {"{}", NULL, NULL, WORDS_STRICT, OPT_OUT_POLICY_DISABLED, false},
    {NULL, NULL, NULL, WORDS_STRICT, OPT_OUT_NONE, false}, /* not known: expect */
    {NULL, L("false"), NULL, WORDS_UNKNOWN, OPT_OUT_LABEL, false},
};

static json_t *tree(const char *text) {
    return text ? js_parse(text, strlen(text), 4096, NULL) : NULL;
}

static void outcomes(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_t *config = tree(rows[i].config), *labels = tree(rows[i].labels), *annotations = tree(rows[i].annotations);
        const struct injector_subject pod = {"shop", NULL, labels, annotations, false};
        bool unsure;
        enum opt_out got = injector_policy(config, rows[i].words, &pod, &unsure);
        if (got != rows[i].want || unsure != rows[i].unsure) {
            fail_msg("row %zu: %d, not %d", i, (int)got, (int)rows[i].want);
        }
        json_decref(config);
        json_decref(labels);
        json_decref(annotations);
    }
}

static void first_of_all(void **state) {
    (void)state;
    json_t *yes = tree(L("true"));
    struct injector_subject pod = {"kube-system", NULL, yes, NULL, false};
    bool unsure;
    assert_int_equal(injector_policy(NULL, WORDS_STRICT, &pod, &unsure), OPT_OUT_SYSTEM_NAMESPACE);
    pod.host_network = true;
    assert_int_equal(injector_policy(NULL, WORDS_STRICT, &pod, &unsure), OPT_OUT_HOST_NETWORK);
    json_decref(yes);
    for (int o = OPT_OUT_HOST_NETWORK; o <= OPT_OUT_POLICY_DISABLED; o++) {
        assert_true(strlen(opt_out_text((enum opt_out)o)) > 0);
    }
    assert_string_equal(opt_out_text(OPT_OUT_NONE), "");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(words_by_version), cmocka_unit_test(outcomes),
                                       cmocka_unit_test(first_of_all)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
