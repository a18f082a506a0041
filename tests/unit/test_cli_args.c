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
    assert_string_equal(a.namespace_, "shop");
    assert_string_equal(a.state, "Syncing");
    assert_string_equal(a.upgrade, "u");
    assert_true(a.stuck);
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
                {"x status -o xml", "must be table, wide or json"},
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_and_names),
        cmocka_unit_test(help_and_version_need_nothing_else),
        cmocka_unit_test(wrong_usage_is_named),
        cmocka_unit_test(names_cannot_leave_their_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
