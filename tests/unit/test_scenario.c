/* The scenario language: what it takes, what it refuses with a line number, and how conditions are judged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../lib/base/json.h"
#include "../../lib/base/vclock.h"
#include "../sim/scenario.h"

static void whole_file(void **state) {
    (void)state;
    static const char text[] = "# a story\n"
                               "runs virtual e2e\n"
                               "mesh nodes=3 pods=12   # small\n"
                               "on wave a state Moving do nack app-01 \"a # b\"\n"
                               "upgrade u {\n"
                               "  \"from\": {\"revision\": \"old\"},\n"
                               "  \"waves\": [{\"name\": \"a\"}]\n"
                               "}\n"
                               "refused v \"same revision\" {\n"
                               "}\n"
                               "wait 1m30s\n"
                               "expect within 10s all phase Hold and reason Nack about app-01\n"
                               "expect for 5s untouched a\n"
                               "expect text \"two words\"\n"
                               "do kill gate\n";
    struct scenario s;
    struct err err;
    if (!scenario_parse(text, &s, &err)) {
        fail_msg("%s", err.text);
    }
    assert_true(s.runs_virtual && s.runs_e2e && !s.runs_demo);
    assert_int_equal(s.nodes, 3);
    assert_int_equal(s.pods, 12);
    assert_int_equal(s.n_steps, 8);
    assert_int_equal(s.steps[0].kind, SCN_ON);
    assert_string_equal(s.steps[0].condition, "wave a state Moving");
    assert_string_equal(s.steps[0].action, "nack app-01 \"a # b\"");
    assert_int_equal(s.steps[1].kind, SCN_UPGRADE);
    assert_string_equal(js_text(s.steps[1].spec, "from", "revision", NULL), "old");
    assert_int_equal(s.steps[2].kind, SCN_REFUSED);
    assert_string_equal(s.steps[2].condition, "same revision");
    assert_int_equal(s.steps[3].ms, 90000);
    assert_int_equal(s.steps[4].kind, SCN_EXPECT_WITHIN);
    assert_int_equal(s.steps[4].ms, 10000);
    assert_int_equal(s.steps[5].kind, SCN_EXPECT_FOR);
    assert_int_equal(s.steps[6].kind, SCN_EXPECT);
    assert_string_equal(s.steps[7].action, "kill gate");
    scenario_done(&s);
}

static void refusals_name_the_line(void **state) {
    (void)state;
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"\n\njump\n", "line 3: unknown statement: jump"},
        {"mesh nodes=0\n", "line 1: mesh takes"},
        {"wait soon\n", "line 1: not a duration: soon"},
        {"do\n", "line 1: do what?"},
        {"on phase Hold\n", "line 1: on CONDITION do ACTION"},
        {"expect phase\n", "line 1: condition phase has another form"},
        {"\nexpect wave a is Moving\n", "line 2: condition wave has another form"},
        {"expect all phase Hold and\n", "line 1: unknown condition"},
        {"expect sunshine\n", "line 1: unknown condition \"sunshine\""},
        {"upgrade u {\n", "line 1: no line \"}\" ends: u"},
        {"upgrade u {\nx\n}\n", "spec of u"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct scenario s;
        struct err err;
        assert_false(scenario_parse(cases[i].text, &s, &err));
        if (!strstr(err.text, cases[i].why)) {
            fail_msg("\"%s\" gives \"%s\", not \"%s\"", cases[i].text, err.text, cases[i].why);
        }
    }
}

static json_t *object(const char *text) {
    json_error_t e;
    json_t *o = json_loads(text, 0, &e);
    if (!o) {
        fail_msg("%s: %s", text, e.text);
    }
    return o;
}

static void put(struct store *s, const char *resource, const char *text) {
    struct err err;
    if (!store_put(s, resource, object(text), &err)) {
        fail_msg("%s", err.text);
    }
}

static void put_upgrade(struct store *s) {
    put(s, "meshupgrades",
        "{\"apiVersion\":\"meshgate.io/"
        "v1alpha1\",\"kind\":\"MeshUpgrade\",\"metadata\":{\"name\":\"u\"},\"spec\":{\"from\":{"
        "\"revision\":\"old\"},\"to\":{\"revision\":\"canary\"},\"waves\":[{\"name\":\"a\",\"namespaces\":{\"names\":["
        "\"n1\"]}},"
        "{\"name\":\"rest\"}]},\"status\":{\"phase\":\"Paused\",\"verdict\":\"Fail\",\"summary\":{\"expected\":10,"
        "\"moved\":6},"
        "\"waves\":[{\"name\":\"a\",\"state\":\"Moving\"},{\"name\":\"rest\",\"state\":\"Pending\"}],\"reasons\":[{"
        "\"reason\":"
        "\"Nack\",\"count\":2,\"sentence\":\"rejects its configuration\",\"remedy\":\"read the "
        "text\",\"objects\":[{\"name\":"
        "\"n1/web-1\",\"message\":\"no such filter\"}]}]}}");
}

static void put_workload(struct store *s, const char *ns, int templates) {
    json_t *o = json_pack("{s:s,s:s,s:{s:s,s:s}}", "apiVersion", "apps/v1", "kind", "Deployment", "metadata", "name", "web",
                          "namespace", ns);
    assert_true(store_put(s, "deployments", o, NULL));
    for (int i = 0; i < templates; i++) {
        o = json_pack("{s:s,s:s,s:{s:o,s:s,s:[{s:s,s:s,s:s,s:s}]}}", "apiVersion", "apps/v1", "kind", "ReplicaSet",
                      "metadata", "name", json_sprintf("web-%d", i), "namespace", ns, "ownerReferences", "apiVersion",
                      "apps/v1", "kind", "Deployment", "name", "web", "uid", "u");
        assert_true(store_put(s, "replicasets", o, NULL));
    }
}

static void put_namespace(struct store *s, const char *name, const char *key, const char *value) {
    json_t *o = json_pack("{s:s,s:s,s:{s:s,s:{s:s}}}", "apiVersion", "v1", "kind", "Namespace", "metadata", "name", name,
                          "labels", key, value);
    assert_true(store_put(s, "namespaces", o, NULL));
}

static const struct {
    const char *condition;
    int want;
} judged[] = {
    {"phase Paused", 1},
    {"phase Moving", 0},
    {"verdict Fail", 1},
    {"wave a state Moving", 1},
    {"wave rest state Moving", 0},
    {"wave x state Moving", 0},
    {"reason Nack", 1},
    {"reason Nack about n1", 1},
    {"reason Nack about n2", 0},
    {"noreason Nack", 0},
    {"noreason BarePod", 1},
    {"noreason Nack about n2", 1},
    {"text \"such filter\"", 1},
    {"text \"read the text\"", 1},
    {"text \"nothing\"", 0},
    {"moved 60%", 1},
    {"moved 61%", 0},
    {"untouched a", 0},
    {"untouched rest", 1},
    {"label n1 istio.io/rev=canary", 1},
    {"label n1 istio.io/rev=old", 0},
    {"nolabel n1 istio-injection", 1},
    {"nolabel n2 istio.io/rev", 0},
    {"restarted-once", 1},
    {"all phase Paused and verdict Fail and moved 50%", 1},
    {"all phase Paused and verdict Pass", 0},
};

static void conditions_over_a_cluster(void **state) {
    (void)state;
    struct vclock *clock = vclock_new(1000);
    struct store *s = store_new(vclock_sched(clock));
    put_namespace(s, "n1", "istio-injection", "enabled");
    put_namespace(s, "n2", "istio.io/rev", "old");
    struct scenario_before *before = scenario_before(s);
    put_namespace(s, "n1", "istio.io/rev", "canary");
    put_workload(s, "n1", 2);
    put_workload(s, "n2", 1);
    put_upgrade(s);
    struct err err;
    for (size_t i = 0; i < sizeof judged / sizeof *judged; i++) {
        int got = scenario_check(s, before, "u", judged[i].condition, NULL, &err);
        if (got != judged[i].want) {
            fail_msg("\"%s\" is %d, not %d", judged[i].condition, got, judged[i].want);
        }
    }
    struct buf why;
    buf_init(&why, 1000);
    put_workload(s, "n2", 2); /* not to move, and restarted */
    assert_int_equal(scenario_check(s, before, "u", "restarted-once", &why, &err), 0);
    assert_non_null(strstr(why.p, "n2/Deployment/web has had 2 templates and was not to move"));
    buf_reset(&why);
    assert_int_equal(scenario_check(s, before, "u", "untouched rest", &why, &err), 0);
    assert_non_null(strstr(why.p, "n2/Deployment/web was restarted"));
    buf_done(&why);
    put_workload(s, "n1", 3);
    assert_int_equal(scenario_check(s, before, "u", "restarted-once", NULL, &err), 0);
    scenario_before_free(before);
    store_free(s);
    vclock_free(clock);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_file),
        cmocka_unit_test(refusals_name_the_line),
        cmocka_unit_test(conditions_over_a_cluster),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
