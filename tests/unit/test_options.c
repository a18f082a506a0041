#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmocka_all.h"
#include "lib/base/options.h"

struct opts {
    const char *address, *token;
    bool verbose;
    int64_t count, period;
};

static const struct option_def defs[] = {
    {.type = OPTION_SECTION, .help = "Gate"},
    {.type = OPTION_STRING,
     .name = "gate-address",
     .env = "TEST_GATE_ADDRESS",
     .offset = offsetof(struct opts, address),
     .arg = "HOST:PORT",
     .help = "where the gate listens",
     .required = true},
    {.type = OPTION_STRING,
     .name = "token-file",
     .offset = offsetof(struct opts, token),
     .def = "/var/run/token",
     .arg = "FILE",
     .help = "token of the service account"},
    {.type = OPTION_SECTION, .help = "Other"},
    {.type = OPTION_BOOL, .name = "verbose", .offset = offsetof(struct opts, verbose), .help = "say more", .letter = 'v'},
    {.type = OPTION_INT,
     .name = "count",
     .offset = offsetof(struct opts, count),
     .def = "3",
     .help = "how many",
     .letter = 'c',
     .min = 1,
     .max = 10},
    {.type = OPTION_DURATION,
     .name = "period",
     .offset = offsetof(struct opts, period),
     .def = "10s",
     .env = "TEST_PERIOD",
     .help = "time between two looks",
     .min = 100,
     .max = 3600000},
    {0},
};

static struct opts o;
static struct err err;
static const char *args[3];
static size_t n_args;

static enum options_result parse(const char *a, const char *b, const char *c, const char *d) {
    static char store[4][64];
    char *argv[5] = {store[0]};
    const char *in[] = {a, b, c, d};
    int argc = 1;
    static char program[] = "prog";
    argv[0] = program;
    for (int i = 0; i < 4 && in[i]; i++) {
        (void)strncpy(store[i], in[i], sizeof(store[i]) - 1);
        store[i][sizeof(store[i]) - 1] = '\0';
        argv[argc++] = store[i];
    }
    memset(&o, 0, sizeof(o));
    err = (struct err){0};
    n_args = 0;
    return options_parse(defs, &o, argc, argv, args, 3, &n_args, &err);
}

static int setup(void **state) {
    (void)state;
    unsetenv("TEST_GATE_ADDRESS");
    unsetenv("TEST_PERIOD");
    return 0;
}

static void flag_before_environment_before_default(void **state) {
    (void)state;
    assert_int_equal(parse("--gate-address", "a:1", NULL, NULL), OPTIONS_OK);
    assert_string_equal(o.address, "a:1");
    assert_string_equal(o.token, "/var/run/token");
    assert_int_equal(o.count, 3);
    assert_int_equal(o.period, 10000);
    setenv("TEST_GATE_ADDRESS", "env:2", 1);
    setenv("TEST_PERIOD", "1m", 1);
    assert_int_equal(parse("--period=250ms", NULL, NULL, NULL), OPTIONS_OK);
    assert_string_equal(o.address, "env:2");
    assert_int_equal(o.period, 250);
    assert_int_equal(parse("--gate-address=flag:3", NULL, NULL, NULL), OPTIONS_OK);
    assert_string_equal(o.address, "flag:3");
    assert_int_equal(o.period, 60000);
    setenv("TEST_PERIOD", "soon", 1);
    assert_int_equal(parse("x", NULL, NULL, NULL), OPTIONS_BAD);
    assert_non_null(strstr(err.text, "TEST_PERIOD"));
    assert_int_equal(parse("--help", NULL, NULL, NULL), OPTIONS_HELP);
}

static void forms_of_flags(void **state) {
    (void)state;
    setenv("TEST_GATE_ADDRESS", "env:2", 1);
    assert_int_equal(parse("-v", "-c4", "one", "two"), OPTIONS_OK);
    assert_true(o.verbose);
    assert_int_equal(o.count, 4);
    assert_int_equal(n_args, 2);
    assert_string_equal(args[1], "two");
    assert_int_equal(parse("--verbose=false", "-c", "5", "--"), OPTIONS_OK);
    assert_false(o.verbose);
    assert_int_equal(o.count, 5);
    assert_int_equal(parse("--", "--count", NULL, NULL), OPTIONS_OK);
    assert_string_equal(args[0], "--count");
    assert_int_equal(parse("-c=6", NULL, NULL, NULL), OPTIONS_OK);
    assert_int_equal(o.count, 6);
    assert_int_equal(parse("-h", NULL, NULL, NULL), OPTIONS_HELP);
    assert_int_equal(parse("--version", NULL, NULL, NULL), OPTIONS_VERSION);
}

static void bad(const char *a, const char *b, const char *text) {
    assert_int_equal(parse(a, b, NULL, NULL), OPTIONS_BAD);
    if (!strstr(err.text, text)) {
        fail_msg("\"%s\" does not contain \"%s\"", err.text, text);
    }
}

static void errors_say_what_is_allowed(void **state) {
    (void)state;
    bad(NULL, NULL, "--gate-address HOST:PORT is required (or environment variable TEST_GATE_ADDRESS): where");
    setenv("TEST_GATE_ADDRESS", "env:2", 1);
    bad("--cuont=3", NULL, "unknown flag --cuont; did you mean --count?");
    bad("--completely-different", NULL, "--help lists all");
    bad("-x", NULL, "unknown flag -x");
    bad("--count", NULL, "needs a value");
    bad("--count", "11", "--count: is 11, must be 1 to 10");
    bad("--count", "3x", "whole number");
    bad("--period", "5", "must be a duration");
    bad("--period", "2h", "100ms to 1h");
    bad("--verbose=maybe", NULL, "true or false");
    assert_int_equal(parse("1", "2", "3", "4"), OPTIONS_BAD);
    assert_string_equal(err.text, "unexpected argument \"4\"");
}

static void help_is_aligned(void **state) {
    (void)state;
    int p[2];
    assert_int_equal(pipe(p), 0);
    options_help(defs, "prog [flags]", "Does things.", p[1]);
    close(p[1]);
    char text[4096];
    ssize_t n = read(p[0], text, sizeof(text) - 1);
    close(p[0]);
    assert_true(n > 0);
    text[n] = '\0';
    assert_string_equal(text, "Usage: prog [flags]\n\nDoes things.\n\nGate:\n"
                              "      --gate-address HOST:PORT  where the gate listens (required) [$TEST_GATE_ADDRESS]\n"
                              "      --token-file FILE         token of the service account (default /var/run/token)\n"
                              "\nOther:\n"
                              "  -v, --verbose                 say more\n"
                              "  -c, --count N                 how many (default 3)\n"
                              "      --period DURATION         time between two looks (default 10s) [$TEST_PERIOD]\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(flag_before_environment_before_default, setup),
        cmocka_unit_test_setup(forms_of_flags, setup),
        cmocka_unit_test_setup(errors_say_what_is_allowed, setup),
        cmocka_unit_test_setup(help_is_aligned, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
