#include <stdlib.h>
#include <string.h>

#include "cli/args.h"
#include "cmocka_all.h"

static struct args a;
static struct err err;

/* words: separated by one space */
static bool parse(const char *words) {
    static char text[256];
    char *argv[16], *save = NULL;
    int argc = 0;
    (void)strncpy(text, words, sizeof(text) - 1);
    for (char *w = strtok_r(text, " ", &save); w && argc < 16; w = strtok_r(NULL, " ", &save)) {
        argv[argc++] = w;
    }
    err = (struct err){0};
    return args_parse(&a, argc, argv, &err);
}

static void commands_and_names(void **state) {
    (void)state;
    unsetenv("MESHGATE_KUBECTL");
    assert_true(parse("x status"));
    assert_int_equal(a.command, COMMAND_STATUS);
    assert_null(a.upgrade);
    assert_int_equal(a.output, OUTPUT_TABLE);
    assert_string_equal(a.kubectl, "kubectl");
    assert_string_equal(a.gate_namespace, "istio-system");
    assert_int_equal(a.request_timeout_ms, 30000);
    assert_true(parse("x watch u --timeout 5m -o json"));
    assert_string_equal(a.upgrade, "u");
    assert_int_equal(a.timeout_ms, 300000);
    assert_int_equal(a.output, OUTPUT_JSON);
    assert_true(parse("x approve u w"));
    assert_string_equal(a.upgrade, "u");
    assert_string_equal(a.wave, "w");
    assert_true(parse("x approve w --upgrade=u"));
    assert_string_equal(a.upgrade, "u");
    assert_string_equal(a.wave, "w");
    assert_true(parse("x --context c proxies -n shop --stuck --state Syncing --upgrade u"));
    assert_string_equal(a.context, "c");
    assert_string_equal(a.filter.namespace_, "shop");
    assert_string_equal(a.filter.state, "Syncing");
    assert_string_equal(a.upgrade, "u");
    assert_true(a.filter.stuck);
}

static void what_the_gate_is_asked(void **state) {
    (void)state;
    assert_true(parse("x proxies"));
    assert_null(a.upgrade);
    assert_true(
        parse("x proxies --state not-started,Nacking --reason nack --type ZTunnel --owner deploy/web,db --node n1,n2 "
              "--revision none"));
    assert_string_equal(a.filter.owner, "deploy/web,db");
    static const char *const rows[] = {"x explain shop/web-1",
                                       "x explain proxy shop/web-1",
                                       "x explain pod shop/web-1",
                                       "x explain web-1 -n shop",
                                       "x explain proxy web-1 --namespace=shop",
                                       "x explain shop/web-1 -n shop"};
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        assert_true(parse(rows[i]));
        assert_int_equal(a.command, COMMAND_EXPLAIN);
        assert_string_equal(a.filter.namespace_, "shop");
        assert_string_equal(a.pod, "web-1");
    }
    assert_true(parse("x istiods -o wide"));
    assert_int_equal(a.command, COMMAND_ISTIODS);
    assert_true(parse("x check -o json"));
    assert_int_equal(a.command, COMMAND_CHECK);
    assert_true(parse("x coverage"));
    assert_int_equal(a.command, COMMAND_COVERAGE);
    assert_true(parse("x status -o yaml"));
    assert_int_equal(a.output, OUTPUT_YAML);
}

static void help_and_version_need_nothing_else(void **state) {
    (void)state;
    assert_true(parse("x --help"));
    assert_int_equal(a.command, COMMAND_HELP);
    assert_true(parse("x status --version"));
    assert_int_equal(a.command, COMMAND_VERSION);
    assert_true(parse("x help status"));
    assert_int_equal(a.command, COMMAND_HELP);
}

static void wrong_usage_is_named(void **state) {
    (void)state;
    static const struct {
        const char *words, *text;
    } rows[] = {{"x", "no command"},
                {"x stats", "unknown command \"stats\""},
                {"x pause u v", "unexpected argument \"v\""},
                {"x approve u v w", "unexpected argument \"w\""},
                {"x approve", "needs a wave"},
                {"x pause --state Moved", "--state is a flag of proxies"},
                {"x status --until-held", "--until-held is a flag of watch"},
                {"x status -o xml", "must be table, wide, json or yaml"},
                {"x proxies -o yaml", "must be table, wide or json"},
                {"x proxies --state Gone", "--state: there is no state \"Gone\""},
                {"x proxies --state Moved,", "--state: the list has an empty item"},
                {"x proxies --reason None", "there is no reason \"None\""},
                {"x proxies --type envoy", "there is no type \"envoy\""},
                {"x check --state Moved", "--state is a flag of proxies"},
                {"x check u", "unexpected argument \"u\""},
                {"x istiods -n a", "--namespace is a flag of proxies and explain"},
                {"x coverage --upgrade u", "--upgrade is a flag of"},
                {"x explain", "explain needs a pod"},
                {"x explain proxy", "explain needs a pod"},
                {"x explain web-1", "in which namespace is web-1?"},
                {"x explain node n1", "unexpected argument \"n1\""},
                {"x explain a/b -n c", "two namespaces are named: c and a"},
                {"x explain a/b -n cc", "two namespaces are named: cc and a"},
                {"x explain a/b/c", "\"b/c\" cannot be the name of a pod"},
                {"x explain ../b&c", "cannot be the name of a namespace"},
                {"x explain a/", "\"\" cannot be the name of a pod"},
                {"x status U", "cannot be the name of a MeshUpgrade"},
                {"x status --gate-namespace=.", "cannot be the name of a namespace"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        assert_false(parse(rows[i].words));
        if (!strstr(err.text, rows[i].text)) {
            fail_msg("%s: \"%s\" does not contain \"%s\"", rows[i].words, err.text, rows[i].text);
        }
    }
}

static void names_cannot_leave_their_path(void **state) {
    (void)state;
    assert_true(args_name_ok("to-1.30"));
    static const char *const bad[] = {"", "a/b", "..", "-x", "a?b=c", "a%2f", "A", "a b"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        assert_false(args_name_ok(bad[i]));
    }
    char text[300];
    memset(text, 'a', sizeof(text));
    text[254] = '\0';
    assert_false(args_name_ok(text));
    text[253] = '\0';
    assert_true(args_name_ok(text));
}

static void what_there_is_is_listed(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 10000);
    assert_false(parse("x proxies --type envoy"));
    assert_string_equal(a.unknown, "type");
    filter_known(a.unknown, &b);
    assert_string_equal(b.p, "sidecar, gateway, waypoint, ztunnel");
    buf_reset(&b);
    filter_known("reason", &b);
    assert_non_null(strstr(b.p, "PausedByRequest, "));
    assert_null(strstr(b.p, "None"));
    assert_false(b.over);
    assert_false(parse("x proxies --type ,"));
    assert_null(a.unknown);
    buf_done(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_and_names),      cmocka_unit_test(what_the_gate_is_asked),
        cmocka_unit_test(what_there_is_is_listed), cmocka_unit_test(help_and_version_need_nothing_else),
        cmocka_unit_test(wrong_usage_is_named),    cmocka_unit_test(names_cannot_leave_their_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
