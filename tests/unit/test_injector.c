#include "probes/injector.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/json.h"

/* Selectors as two revisions and the tag "default" of `old` were recorded. */
static struct injectors *recorded(bool with_tag) {
    json_error_t why;
    json_t *all = json_load_file(TEST_DATA "/injectors.json", 0, &why);
    assert_true(json_is_array(all));
    struct injectors *x = injectors_new();
    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *c = json_array_get(all, i);
        if (with_tag || strcmp(js_text(c, "metadata", "name", NULL), "istio-revision-tag-default") != 0) {
            assert_true(injectors_put(x, c));
        }
    }
    json_decref(all);
    return x;
}

static json_t *parse(const char *text) {
    json_t *o = text != NULL ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
    assert_true((o != NULL) == (text != NULL));
    return o;
}

static enum injector_result ask(const struct injectors *x, const char *ns_labels, const char *pod_labels,
                                const char **revision) {
    json_t *ns = parse(ns_labels), *pod = parse(pod_labels);
    enum injector_result r = injectors_for(x, "shop", ns, pod, revision);
    json_decref(ns);
    json_decref(pod);
    return r;
}

#define INJECTION "\"istio-injection\""
#define REV "\"istio.io/rev\""
#define INJECT "\"sidecar.istio.io/inject\""

static const struct {
    const char *ns, *pod, *with_tag, *without_tag;
} facts[] = {
    {"{" INJECTION ":\"enabled\"}", NULL, "old", NULL},
    {"{" INJECTION ":\"enabled\"," REV ":\"canary\"}", NULL, "old", NULL},
    {"{" REV ":\"canary\"}", NULL, "canary", "canary"},
    {"{" REV ":\"default\"}", NULL, "old", NULL},
    {"{" REV ":\"nosuch\"}", NULL, NULL, NULL},
    {"{" INJECTION ":\"disabled\"," REV ":\"canary\"}", NULL, NULL, NULL},
    {NULL, "{" REV ":\"canary\"}", "canary", "canary"},
    {NULL, "{" INJECT ":\"true\"}", "old", NULL},
    {"{" REV ":\"canary\"}", "{" INJECT ":\"false\"}", NULL, NULL},
    {"{" REV ":\"old\"}", "{" REV ":\"canary\"}", "old", "old"},
    {NULL, NULL, NULL, NULL},
    {"{}", "{}", NULL, NULL},
    {"{" REV ":\"old\"}", "{" INJECT ":\"true\"}", "old", "old"},
    {NULL, "{" INJECT ":\"true\"," REV ":\"canary\"}", "canary", "canary"},
};

static void check_fact(const struct injectors *x, size_t i, const char *want) {
    const char *revision = "?";
    enum injector_result r = ask(x, facts[i].ns, facts[i].pod, &revision);
    if (r != (want != NULL ? INJECTOR_ONE : INJECTOR_NONE) || (want == NULL) != (revision == NULL) ||
        (want != NULL && strcmp(want, revision) != 0)) {
        fail_msg("row %zu: result %d, revision %s instead of %s", i, r, revision != NULL ? revision : "-",
                 want != NULL ? want : "-");
    }
}

static void test_facts(void **state) {
    (void)state;
    struct injectors *with = recorded(true), *without = recorded(false);
    for (size_t i = 0; i < sizeof(facts) / sizeof(facts[0]); i++) {
        check_fact(with, i, facts[i].with_tag);
        check_fact(without, i, facts[i].without_tag);
    }
    injectors_free(with);
    injectors_free(without);
}

static const char catch_all[] =
    "{'metadata':{'name':'%s','labels':{'istio.io/rev':'%s'}},'webhooks':[{'name':'x.sidecar-injector.istio.io',"
    "'clientConfig':{'service':{'name':'istiod','namespace':'%s'}},'rules':[{'apiGroups':[''],'apiVersions':['v1'],"
    "'operations':['CREATE'],'resources':['pods']}]%s}]}";

/* JSON in single quotes, so that it can be read. */
static json_t *quoted(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static json_t *quoted(const char *fmt, ...) {
    char text[2048];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    for (char *p = text; *p != '\0'; p++) {
        *p = *p == '\'' ? '"' : *p;
    }
    return parse(text);
}

static bool put(struct injectors *x, const char *name, const char *revision, const char *ns, const char *more) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    json_t *c = quoted(catch_all, name, revision, ns, more);
#pragma GCC diagnostic pop
    bool taken = injectors_put(x, c);
    json_decref(c);
    return taken;
}

static void test_several(void **state) {
    (void)state;
    struct injectors *x = injectors_new();
    const char *revision;
    assert_int_equal(ask(x, NULL, NULL, &revision), INJECTOR_NONE);
    assert_true(put(x, "b", "old", "istio-system", ""));
    assert_int_equal(ask(x, NULL, NULL, &revision), INJECTOR_ONE);
    /* a tag of the same revision: istiod takes its own injection out first, one sidecar comes out */
    assert_true(put(x, "a", "old", "istio-system", ""));
    assert_int_equal(ask(x, NULL, NULL, &revision), INJECTOR_ONE);
    assert_string_equal(revision, "old");
    /* the same name in another mesh is another control plane */
    assert_true(put(x, "a", "old", "istio-two", ""));
    assert_int_equal(ask(x, NULL, NULL, &revision), INJECTOR_SEVERAL);
    assert_true(put(x, "a", "canary", "istio-system", ""));
    assert_int_equal(ask(x, NULL, NULL, &revision), INJECTOR_SEVERAL);
    assert_null(revision);
    injectors_remove(x, "b");
    injectors_remove(x, "nosuch");
    assert_int_equal(ask(x, NULL, NULL, &revision), INJECTOR_ONE);
    assert_string_equal(revision, "canary");
    injectors_free(x);
}

static void test_unknown(void **state) {
    (void)state;
    static const char *const rows[] = {
        ",'matchConditions':[{'name':'x','expression':'request.dryRun'}]",
        ",'namespaceSelector':{'matchFields':{}}",
        ",'objectSelector':{'matchExpressions':[{'key':'a','operator':'Gt','values':['1']}]}",
        ",'objectSelector':{'matchExpressions':[{'key':'a','operator':'In'}]}",
    };
    const char *revision;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct injectors *x = injectors_new();
        assert_true(put(x, "a", "old", "istio-system", rows[i]));
        assert_int_equal(ask(x, NULL, NULL, &revision), INJECTOR_UNKNOWN);
        assert_null(revision);
        /* whatever else matches */
        assert_true(put(x, "0", "old", "istio-system", ""));
        assert_int_equal(ask(x, NULL, NULL, &revision), INJECTOR_UNKNOWN);
        injectors_free(x);
    }
    /* conditions of a webhook whose selectors do not match play no part */
    struct injectors *x = injectors_new();
    assert_true(
        put(x, "a", "old", "istio-system", ",'objectSelector':{'matchLabels':{'a':'b'}},'matchConditions':[{'name':'x'}]"));
    assert_int_equal(ask(x, NULL, "{\"a\":\"c\"}", &revision), INJECTOR_NONE);
    assert_int_equal(ask(x, NULL, "{\"a\":\"b\"}", &revision), INJECTOR_UNKNOWN);
    injectors_free(x);
    /* a webhook of nobody knows which revision */
    x = injectors_new();
    json_t *c =
        quoted("{'metadata':{'name':'x'},'webhooks':[{'name':'x.istio.io','rules':[{'apiGroups':['*'],'apiVersions':['*'],"
               "'operations':['*'],'resources':['*/*']}]}]}");
    assert_true(injectors_put(x, c));
    json_decref(c);
    assert_int_equal(ask(x, NULL, NULL, &revision), INJECTOR_UNKNOWN);
    injectors_free(x);
}

static void test_not_istios(void **state) {
    (void)state;
    static const char *const rows[] = {
        "{'name':'a','rules':[{'apiGroups':[''],'apiVersions':['v1'],'operations':['CREATE'],'resources':['pods']}]}",
        "{'name':'a.istio.io.example.com','rules':[{'apiGroups':[''],'apiVersions':['v1'],'operations':['CREATE'],'"
        "resources':['pods']}]}",
        "{'name':'a.istio.io','rules':[{'apiGroups':[''],'apiVersions':['v1'],'operations':['UPDATE'],'resources':['pods']}"
        "]}",
        "{'name':'a.istio.io','rules':[{'apiGroups':[''],'apiVersions':['v1'],'operations':['CREATE'],'resources':['"
        "services']}]}",
        "{'name':'a.istio.io','rules':[{'apiGroups':['apps'],'apiVersions':['v1'],'operations':['CREATE'],'resources':['"
        "pods']}]}",
        "{'name':'a.istio.io'}",
    };
    struct injectors *x = injectors_new();
    const char *revision;
    assert_true(put(x, "a", "old", "istio-system", ""));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        json_t *c = quoted("{'metadata':{'name':'a','labels':{'istio.io/rev':'old'}},'webhooks':[%s]}", rows[i]);
        if (injectors_put(x, c)) {
            fail_msg("taken for Istio's: %s", rows[i]);
        }
        json_decref(c);
    }
    assert_int_equal(ask(x, NULL, NULL, &revision), INJECTOR_NONE);
    assert_false(injectors_put(x, NULL));
    injectors_free(x);
}

static void test_names(void **state) {
    (void)state;
    struct injectors *x = recorded(true);
    assert_string_equal(injectors_resolve(x, "default"), "old");
    assert_string_equal(injectors_resolve(x, "old"), "old");
    assert_string_equal(injectors_resolve(x, "canary"), "canary");
    assert_null(injectors_resolve(x, "nosuch"));
    assert_null(injectors_resolve(x, ""));
    const char *service, *ns;
    assert_true(injectors_service(x, "canary", &service, &ns));
    assert_string_equal(service, "istiod-canary");
    assert_string_equal(ns, "istio-system");
    assert_false(injectors_service(x, "default", &service, &ns));
    injectors_remove(x, "istio-sidecar-injector-old");
    assert_true(injectors_service(x, "old", &service, &ns));
    assert_string_equal(service, "istiod-old");
    assert_null(injectors_resolve(x, "old"));
    injectors_free(x);
}

static void test_name_label(void **state) {
    (void)state;
    struct injectors *x = injectors_new();
    const char *revision;
    assert_true(put(x, "a", "old", "istio-system",
                    ",'namespaceSelector':{'matchExpressions':[{'key':'kubernetes.io/metadata.name','operator':'NotIn',"
                    "'values':['kube-system','shop']}]}"));
    assert_int_equal(ask(x, NULL, NULL, &revision), INJECTOR_NONE);
    assert_int_equal(ask(x, "{\"kubernetes.io/metadata.name\":\"other\"}", NULL, &revision), INJECTOR_ONE);
    injectors_free(x);
}

static void verdict_of(const struct injectors *x, const char *pod_labels, struct injector_verdict *v) {
    json_t *pod = parse(pod_labels);
    const struct injector_subject subject = {"shop", NULL, pod, NULL, false};
    injectors_ask(x, &subject, v);
    json_decref(pod);
}

/* The API server's rule for several conditions, and who decided. */
static void test_conditions(void **state) {
    (void)state;
    static const struct {
        const char *more;
        enum injector_result want;
        const char *why;
    } rows[] = {
        {"{'name':'yes','expression':'true'}", INJECTOR_ONE, ""},
        {"{'name':'a','expression':'true'},{'name':'b','expression':'false'}", INJECTOR_NONE, ""},
        {"{'name':'odd','expression':'request.dryRun'}", INJECTOR_UNKNOWN,
         "matchCondition odd: request.dryRun is not evaluated"},
        {"{'name':'odd','expression':'request.dryRun'},{'name':'b','expression':'false'}", INJECTOR_NONE, ""},
        {"{'name':'k','expression':'object.metadata.labels.x == object.kind'}", INJECTOR_UNKNOWN,
         "matchCondition k: no such key: labels, so that the pod is refused"},
        {"{'name':'k','expression':'object.metadata.labels.x == object.kind'},{'name':'b','expression':'false'}",
         INJECTOR_NONE, ""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct injectors *x = injectors_new();
        struct injector_verdict v;
        char more[400];
        snprintf(more, sizeof(more), ",'matchConditions':[%s]", rows[i].more);
        assert_true(put(x, "a", "old", "istio-system", more));
        verdict_of(x, NULL, &v);
        if (v.result != rows[i].want || strcmp(v.why, rows[i].why) != 0) {
            fail_msg("%s: %d %s", rows[i].more, (int)v.result, v.why);
        }
        if (rows[i].want != INJECTOR_NONE) {
            assert_string_equal(v.configuration, "a");
            assert_string_equal(v.webhook, "x.sidecar-injector.istio.io");
        } else {
            assert_null(v.configuration);
        }
        injectors_free(x);
    }
    struct injectors *x = injectors_new();
    struct injector_verdict v;
    assert_true(put(x, "a", "old", "istio-system",
                    ",'failurePolicy':'Ignore','matchConditions':[{'name':'k','expression':'object.metadata.labels.x'},"
                    "{'name':'odd','expression':'object.metadata.labels.x == object.kind'}]"));
    verdict_of(x, NULL, &v); /* the error alone skips it, whatever the other is */
    assert_int_equal(v.result, INJECTOR_NONE);
    injectors_free(x);
}

static void test_several_are_named(void **state) {
    (void)state;
    struct injectors *x = injectors_new();
    struct injector_verdict v;
    assert_true(put(x, "b", "canary", "istio-system", ""));
    assert_true(put(x, "a", "old", "istio-system", ""));
    verdict_of(x, NULL, &v);
    assert_int_equal(v.result, INJECTOR_SEVERAL);
    assert_string_equal(v.configuration, "a");
    assert_string_equal(v.also, "b");
    assert_null(v.revision);
    injectors_free(x);
}

static bool put_policy(struct injectors *x, const char *name, const char *ns, const char *revision, const char *text) {
    json_t *config = quoted("%s", text);
    bool changed = injectors_put_policy(x, name, ns, revision, config);
    json_decref(config);
    return changed;
}

static void test_policies(void **state) {
    (void)state;
    static const char never[] = "{'policy':'enabled','neverInjectSelector':[{'matchLabels':{'a':'b'}}],'templates':{}}";
    struct injectors *x = injectors_new();
    struct injector_verdict v;
    assert_true(put(x, "a", "old", "istio-system", ""));
    verdict_of(x, "{\"a\":\"b\"}", &v);
    assert_int_equal(v.opt_out, OPT_OUT_NONE);
    assert_true(put_policy(x, "istio-sidecar-injector-old", "istio-system", "old", never));
    assert_false(put_policy(x, "istio-sidecar-injector-old", "istio-system", "old", never));
    verdict_of(x, "{\"a\":\"b\"}", &v);
    assert_int_equal(v.result, INJECTOR_ONE);
    assert_int_equal(v.opt_out, OPT_OUT_NEVER_SELECTOR);
    /* of another revision, of another control plane's namespace */
    assert_true(put_policy(x, "istio-sidecar-injector-canary", "istio-system", "canary", "{'policy':'disabled'}"));
    assert_true(put_policy(x, "istio-sidecar-injector-x", "elsewhere", "old", "{'policy':'disabled'}"));
    verdict_of(x, NULL, &v);
    assert_int_equal(v.opt_out, OPT_OUT_NONE);
    assert_true(put_policy(x, "istio-sidecar-injector-old", "istio-system", "old", "{'policy':'disabled'}"));
    verdict_of(x, NULL, &v);
    assert_int_equal(v.opt_out, OPT_OUT_POLICY_DISABLED);
    assert_true(injectors_remove_policy(x, "istio-sidecar-injector-old"));
    assert_false(injectors_remove_policy(x, "istio-sidecar-injector-old"));
    verdict_of(x, NULL, &v);
    assert_int_equal(v.opt_out, OPT_OUT_NONE);
    injectors_free(x);
}

static void test_words(void **state) {
    (void)state;
    struct injectors *x = injectors_new();
    struct injector_verdict v;
    assert_true(put(x, "a", "old", "istio-system", ""));
    verdict_of(x, "{" INJECT ":\"no\"}", &v);
    assert_int_equal(v.result, INJECTOR_UNKNOWN);
    assert_non_null(strstr(v.why, "revision old"));
    assert_null(v.revision);
    assert_true(injectors_set_words(x, "old", WORDS_YAML));
    assert_false(injectors_set_words(x, "old", WORDS_YAML));
    verdict_of(x, "{" INJECT ":\"no\"}", &v);
    assert_int_equal(v.result, INJECTOR_ONE);
    assert_int_equal(v.opt_out, OPT_OUT_LABEL);
    assert_true(injectors_set_words(x, "old", WORDS_STRICT));
    verdict_of(x, "{" INJECT ":\"no\"}", &v);
    assert_int_equal(v.opt_out, OPT_OUT_NONE);
    assert_string_equal(v.revision, "old");
    assert_false(injectors_set_words(x, "other", WORDS_UNKNOWN));
    injectors_free(x);
}

static void test_too_many_policies(void **state) {
    (void)state;
    struct injectors *x = injectors_new();
    char name[32];
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof(name), "c%d", i);
        assert_int_equal(put_policy(x, name, "istio-system", name, "{'policy':'enabled'}"), i < 256);
    }
    injectors_free(x);
}

static void test_deactivated(void **state) {
    (void)state;
    struct injectors *x = injectors_new();
    const char *service, *ns, *revision;
    assert_true(put(x, "a", "default", "istio-system",
                    ",'namespaceSelector':{'matchLabels':{'istio.io/deactivated':'never-match'}},"
                    "'objectSelector':{'matchLabels':{'istio.io/deactivated':'never-match'}}"));
    assert_int_equal(ask(x, "{" INJECTION ":\"enabled\"}", NULL, &revision), INJECTOR_NONE);
    assert_false(injectors_service(x, "default", &service, &ns));
    assert_true(put(x, "a", "default", "istio-system", ""));
    assert_true(injectors_service(x, "default", &service, &ns));
    injectors_free(x);
}

static void test_opted_out(void **state) {
    (void)state;
    json_t *no = quoted("{'sidecar.istio.io/inject':'false'}"), *yes = quoted("{'sidecar.istio.io/inject':'true'}");
    json_t *empty = quoted("{'sidecar.istio.io/inject':''}");
    assert_false(injector_opted_out("shop", NULL, NULL, false));
    assert_true(injector_opted_out("shop", NULL, NULL, true));
    assert_true(injector_opted_out("kube-system", yes, NULL, false));
    assert_true(injector_opted_out("shop", no, NULL, false));
    assert_true(injector_opted_out("shop", NULL, no, false));
    assert_true(injector_opted_out("shop", no, yes, false));
    assert_false(injector_opted_out("shop", yes, no, false));
    assert_false(injector_opted_out("shop", empty, no, false));
    json_decref(no);
    json_decref(yes);
    json_decref(empty);
}

static const struct {
    const char *selector, *labels;
    int want;
} selectors[] = {
    {NULL, NULL, 1},
    {"{}", NULL, 1},
    {"null", "{\"a\":\"b\"}", 1},
    {"{\"matchLabels\":{\"a\":\"b\"}}", "{\"a\":\"b\",\"c\":\"d\"}", 1},
    {"{\"matchLabels\":{\"a\":\"b\"}}", "{\"a\":\"c\"}", 0},
    {"{\"matchLabels\":{\"a\":\"b\"}}", NULL, 0},
    {"{\"matchLabels\":{\"a\":1}}", "{\"a\":\"b\"}", -1},
    {"{\"matchLabels\":[]}", NULL, -1},
    {"{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"In\",\"values\":[\"x\",\"b\"]}]}", "{\"a\":\"b\"}", 1},
    {"{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"In\",\"values\":[\"x\"]}]}", NULL, 0},
    {"{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"NotIn\",\"values\":[\"x\"]}]}", NULL, 1},
    {"{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"NotIn\",\"values\":[\"x\"]}]}", "{\"a\":\"x\"}", 0},
    {"{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"NotIn\",\"values\":[]}]}", NULL, -1},
    {"{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"In\",\"values\":[1]}]}", NULL, -1},
    {"{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"Exists\"}]}", "{\"a\":\"\"}", 1},
    {"{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"Exists\"}]}", NULL, 0},
    {"{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"DoesNotExist\"}]}", "{\"b\":\"\"}", 1},
    {"{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"DoesNotExist\"}]}", "{\"a\":\"\"}", 0},
    {"{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"exists\"}]}", NULL, -1},
    {"{\"matchExpressions\":[{\"operator\":\"Exists\"}]}", NULL, -1},
    {"{\"matchExpressions\":{}}", NULL, -1},
    {"{\"matchLabels\":{\"a\":\"b\"},\"matchExpressions\":[{\"key\":\"c\",\"operator\":\"Exists\"}]}", "{\"a\":\"b\"}", 0},
    {"{\"matchLabels\":{\"a\":\"b\"},\"matchExpressions\":[{\"key\":\"c\",\"operator\":\"?\"}]}", NULL, -1},
    {"[]", NULL, -1},
    {"{\"other\":1}", NULL, -1},
};

static void test_selector(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(selectors) / sizeof(selectors[0]); i++) {
        json_t *s = parse(selectors[i].selector), *l = parse(selectors[i].labels);
        int got = selector_matches(s, l);
        if (got != selectors[i].want) {
            fail_msg("row %zu: %s on %s gives %d", i, selectors[i].selector, selectors[i].labels, got);
        }
        json_decref(s);
        json_decref(l);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_facts),
        cmocka_unit_test(test_several),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_not_istios),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_name_label),
        cmocka_unit_test(test_opted_out),
        cmocka_unit_test(test_selector),
        cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_several_are_named),
        cmocka_unit_test(test_policies),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_too_many_policies),
        cmocka_unit_test(test_deactivated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
