/* matchConditions: the forms that are evaluated, with CEL's rules, and those that are not. */
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "lib/base/json.h"
#include "lib/base/mem.h"
#include "probes/match_condition.h"

#define T CONDITION_TRUE
#define F CONDITION_FALSE
#define E CONDITION_ERROR
#define U CONDITION_UNKNOWN

/* labels app=web, sidecar.istio.io/inject=true; annotation sidecar.istio.io/inject=yes; namespace shop */
static const struct {
    const char *expression;
    enum condition_result want;
} rows[] = {
    {"true", T},
    {" false ", F},
    {"!true", F},
    {"!!true", T},
    {"!(true && false)", T},
    {"true || false && false", T},
    {"(true || false) && false", F},
    {"'a' == 'a'", T},
    {"\"a\" != 'a'", F},
    {"'it\"s' == \"it\"", F},
    {"true == false", F},
    {"true != false", T},
    /* paths */
    {"request.operation == 'CREATE'", T},
    {"request.kind.kind == 'Pod' && request.kind.group == '' && request.kind.version == 'v1'", T},
    {"request.resource.resource in ['deployments']", F},
    {"request.namespace != 'kube-system'", T},
    {"object.metadata.namespace in ['shop', \"bank\",]", T},
    {"!(request.namespace in ['kube-system','shop'])", F},
    {"request.namespace in []", F},
    {"object.kind == 'Pod' && object.apiVersion == 'v1'", T},
    {"request.namespace.startsWith('sh')", T},
    {"request.namespace.startsWith('hop')", F},
    {"request.namespace.endsWith('hop')", T},
    {"request.namespace.endsWith('sho')", F},
    {"request.namespace.contains('ho')", T},
    {"request.namespace.contains('')", T},
    {"request.namespace.contains('shops')", F},
    /* maps */
    {"object.metadata.labels['app'] == 'web'", T},
    {"object.metadata.labels.app == 'web'", T},
    {"object.metadata . labels [ 'app' ]\n!= 'web'", F},
    {"object.metadata.labels['app'].startsWith('w')", T},
    {"'app' in object.metadata.labels", T},
    {"'nosuch' in object.metadata.labels", F},
    {"!('nosuch' in object.metadata.labels)", T},
    {"has(object.metadata.labels)", T},
    {"has(object.metadata.labels.app)", T},
    {"has(object.metadata.labels.nosuch)", F},
    {"has(object.metadata.namespace) && has(request.kind.kind)", T},
    {"object.metadata.labels['sidecar.istio.io/inject'] in ['true', 'yes']", T},
    {"object.metadata.annotations['sidecar.istio.io/inject'] == 'yes'", T},
    {"!has(object.metadata.annotations) || !('sidecar.istio.io/inject' in object.metadata.annotations)", F},
    {"!has(object.metadata.annotations) || !('sidecar.istio.io/other' in object.metadata.annotations)", T},
    /* an absent key is an error, and yields to a side that decides */
    {"object.metadata.labels['nosuch'] == 'x'", E},
    {"object.metadata.labels.nosuch != 'x'", E},
    {"!(object.metadata.labels['nosuch'] == 'x')", E},
    {"object.metadata.labels['nosuch'] == 'x' || true", T},
    {"true || object.metadata.labels['nosuch'] == 'x'", T},
    {"object.metadata.labels['nosuch'] == 'x' && false", F},
    {"object.metadata.labels['nosuch'] == 'x' && true", E},
    {"object.metadata.labels['nosuch'] in ['x']", E},
    {"object.metadata.labels['nosuch'].startsWith('x')", E},
    {"'nosuch' in object.metadata.labels && object.metadata.labels['nosuch'] == 'x'", F},
    {"has(object.spec.hostNetwork) && object.spec.hostNetwork", F},
    {"object.spec.hostNetwork", E},
    /* what nobody can know afterwards, unless the other side decides */
    {"object.metadata.annotations['example.com/a'] == 'x'", U},
    {"'istio.io/rev' in object.metadata.annotations", U},
    {"'istio.io/rev' in object.metadata.annotations || true", T},
    {"'istio.io/rev' in object.metadata.annotations && false", F},
    {"'istio.io/rev' in object.metadata.annotations && object.metadata.labels['nosuch'] == 'x'", U},
    {"has(object.metadata.labels.topology) || object.metadata.labels['topology.kubernetes.io/zone'] == 'z'", U},
    {"object.metadata.labels['security.istio.io/tlsMode'] == 'istio'", U},
    /* forms that are not evaluated, also where another side would decide */
    {"", U},
    {"true ||", U},
    {"true || request.userInfo.username == 'x'", U},
    {"request.userInfo.username != 'system:serviceaccount:x:y'", U},
    {"object.spec.containers.all(c, c.image == 'x')", U},
    {"size(object.metadata.labels) > 0", U},
    {"object.metadata.?labels['app'].orValue('') == 'web'", U},
    {"object.metadata.labels['app'].matches('w.*')", U},
    {"object.metadata.labels['app'] == null", U},
    {"true ? true : false", U},
    {"'a' == 'a' == true", U},
    {"!'a'", U},
    {"'a'", U},
    {"'a' || true", U},
    {"'a' == true", U},
    {"true in ['a']", U},
    {"'a' in 'abc'", U},
    {"'a' in ['a', 1]", U},
    {"'a' in ['a' 'b']", U},
    {"object.metadata.labels == object.metadata.labels", U},
    {"object.metadata.labels['app']['x'] == 'y'", U},
    {"object.metadata.labels[app] == 'y'", U},
    {"object.metadata.labelsapp == 'y'", U},
    {"object.metadata.labels.a.b == 'y'", U},
    {"object.metadata.labels.startsWith('a')", U},
    {"has(object)", U},
    {"has(object.metadata.labels['app'])", U},
    {"has(object.spec.nodeName)", U},
    {"'a\\'b' == 'a'", U},
    {"'''a''' == 'a'", U},
    {"'a", U},
    {"r'a' == 'a'", U},
    {"(true", U},
    {"true)", U},
    {"true // why", U},
    {"truely", U},
    {"1.2 == 1.2", U},
};

static enum condition_result ask(const char *expression, const char *labels, const char *annotations, bool host_network,
                                 char *why) {
    json_t *l = labels ? js_parse(labels, strlen(labels), 4096, NULL) : NULL;
    json_t *a = annotations ? js_parse(annotations, strlen(annotations), 4096, NULL) : NULL;
    const struct condition_pod pod = {"shop", l, a, host_network};
    char own[CONDITION_WHY] = "";
    enum condition_result r = match_condition(expression, &pod, why ? why : own);
    json_decref(l);
    json_decref(a);
    return r;
}

static void expressions(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char why[CONDITION_WHY] = "";
        enum condition_result got = ask(rows[i].expression, "{\"app\":\"web\",\"sidecar.istio.io/inject\":\"true\"}",
                                        "{\"sidecar.istio.io/inject\":\"yes\"}", false, why);
        if (got != rows[i].want) {
            fail_msg("%s: %d, not %d (%s)", rows[i].expression, (int)got, (int)rows[i].want, why);
        }
        bool says_why = got == U || got == E;
        if (says_why && why[0] == '\0') {
            fail_msg("%s: no reason", rows[i].expression);
        }
    }
}

/* Whether there were any labels or annotations cannot always be seen. */
static void presence(void **state) {
    (void)state;
    static const char guarded[] = "!has(object.metadata.annotations) || !('istio.io/x' in object.metadata.annotations)";
    assert_int_equal(ask(guarded, NULL, NULL, false, NULL), T);
    assert_int_equal(ask(guarded, NULL, "{\"istio.io/x\":\"\"}", false, NULL), F);
    char why[CONDITION_WHY];
    assert_int_equal(ask("has(object.metadata.annotations)", NULL, "{\"istio.io/rev\":\"old\"}", false, why), U);
    assert_non_null(strstr(why, "annotations"));
    assert_int_equal(ask("'x' in object.metadata.labels", NULL, NULL, false, NULL), E);
    assert_int_equal(ask("has(object.metadata.labels)", NULL, NULL, false, NULL), F);
    assert_int_equal(ask("has(object.metadata.labels)", "{\"security.istio.io/tlsMode\":\"istio\"}", NULL, false, why), U);
    assert_non_null(strstr(why, "labels"));
    assert_int_equal(ask("!has(object.metadata.labels) || !('x' in object.metadata.labels)",
                         "{\"security.istio.io/tlsMode\":\"istio\"}", NULL, false, NULL),
                     T);
    assert_int_equal(ask("object.spec.hostNetwork", NULL, NULL, true, NULL), T);
    assert_int_equal(ask("has(object.spec.hostNetwork)", NULL, NULL, true, NULL), T);
}

static void bounds(void **state) {
    (void)state;
    char *deep = mem_alloc(CONDITION_MAX + 100);
    memset(deep, '!', 20);
    memcpy(deep + 20, "true", 5);
    assert_int_equal(ask(deep, NULL, NULL, false, NULL), T);
    memset(deep, '(', CONDITION_MAX);
    assert_int_equal(ask(deep, NULL, NULL, false, NULL), U);
    memset(deep, ' ', CONDITION_MAX + 1);
    memcpy(deep, "true", 4);
    assert_int_equal(ask(deep, NULL, NULL, false, NULL), U);
    deep[CONDITION_MAX] = '\0';
    assert_int_equal(ask(deep, NULL, NULL, false, NULL), T);
    memset(deep, 'a', 400);
    deep[400] = '\0';
    assert_int_equal(ask(deep, NULL, NULL, false, NULL), U);
    free(deep);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(expressions), cmocka_unit_test(presence), cmocka_unit_test(bounds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
