#include "probes/promtext.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
/* after the above, which it needs */
#include <cmocka.h>

struct row {
    const char *line;
    int want; /* of prom_line */
    const char *name, *labels;
    double value;
};

static const struct row rows[] = {
    {"a 1", 1, "a", "", 1},
    {"a{} 1", 1, "a", "", 1},
    {"pilot_xds{version=\"1.30.3\"} 7", 1, "pilot_xds", "version=\"1.30.3\"", 7},
    {"a:b_9{x=\"}\",y=\"\\\"}\"} 2.5e3", 1, "a:b_9", "x=\"}\",y=\"\\\"}\"", 2500},
    {"  a   3  \r", 1, "a", "", 3},
    {"a -22.422297215", 1, "a", "", -22.422297215},
    {"a 1 1795413280368", 1, "a", "", 1},
    {"a 1 -5", 1, "a", "", 1},
    {"a_bucket{le=\"+Inf\"} 620 # {trace_id=\"x\"} 1 2", 1, "a_bucket", "le=\"+Inf\"", 620},
    {"a +Inf", 1, "a", "", INFINITY},
    {"a -Inf", 1, "a", "", -INFINITY},
    {"", 0, NULL, NULL, 0},
    {"   ", 0, NULL, NULL, 0},
    {"# HELP a b", 0, NULL, NULL, 0},
    {"a", -1, NULL, NULL, 0},
    {"a ", -1, NULL, NULL, 0},
    {"9a 1", -1, NULL, NULL, 0},
    {"a{x=\"1\" 1", -1, NULL, NULL, 0},
    {"a{x=\"1} 1", -1, NULL, NULL, 0},
    {"a x", -1, NULL, NULL, 0},
    {"a 1x", -1, NULL, NULL, 0},
    {"a 1 2 3", -1, NULL, NULL, 0},
    {"a-b 1", -1, NULL, NULL, 0},
    {"404 page not found", -1, NULL, NULL, 0},
};

static void test_lines(void **state) {
    (void)state;
    struct buf scratch;
    buf_init(&scratch, PROM_MAX_LINE);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct prom_sample s;
        int got = prom_line(rows[i].line, strlen(rows[i].line), &scratch, &s);
        if (got != rows[i].want) {
            fail_msg("'%s': %d instead of %d", rows[i].line, got, rows[i].want);
        }
        if (got == 1) {
            assert_string_equal(s.name, rows[i].name);
            assert_string_equal(s.labels, rows[i].labels);
            assert_true(s.value == rows[i].value);
        }
    }
    struct prom_sample s;
    assert_int_equal(prom_line("a NaN", 5, &scratch, &s), 1);
    assert_true(isnan(s.value));
    assert_int_equal(prom_line("a\0b 1", 5, &scratch, &s), -1);
    buf_done(&scratch);
}

static void sum(void *ctx, const struct prom_sample *s) {
    *(double *)ctx += s->value;
}

static void test_parse(void **state) {
    (void)state;
    static const char text[] = "# TYPE a counter\na 1\na{x=\"y\"} 2\n\nb 4\n";
    double total = 0;
    struct err err = {0};
    assert_int_equal(prom_parse(text, sizeof(text) - 1, sum, &total, &err), 3);
    assert_true(total == 7);
    assert_int_equal(prom_parse("", 0, sum, &total, &err), 0);

    static const char bad[] = "a 1\n# c\n<html>\n";
    assert_int_equal(prom_parse(bad, sizeof(bad) - 1, sum, &total, &err), -1);
    assert_int_equal(err.code, ERR_PROTOCOL);
    assert_non_null(strstr(err.text, "line 3"));
    /* "b 4" may have been "b 42" */
    assert_int_equal(prom_parse(text, sizeof(text) - 2, sum, &total, &err), -1);
    assert_non_null(strstr(err.text, "cut"));
}

static void test_long_line(void **state) {
    (void)state;
    static char text[PROM_MAX_LINE + 100];
    memset(text, 'a', sizeof(text) - 3);
    memcpy(text + sizeof(text) - 3, " 1\n", 3);
    double total = 0;
    assert_int_equal(prom_parse(text, sizeof(text), sum, &total, NULL), -1);
    assert_int_equal(prom_parse(text + 200, sizeof(text) - 200, sum, &total, NULL), 1);
}

static void test_label(void **state) {
    (void)state;
    char out[16];
    static const char labels[] = "type=\"lds\", err=\"a\\\"b\\\\c\\n\",empty=\"\",text_value=\"2026-11-23T06:00:16Z/1\"";
    assert_true(prom_label(labels, "type", out, sizeof(out)));
    assert_string_equal(out, "lds");
    assert_true(prom_label(labels, "err", out, sizeof(out)));
    assert_string_equal(out, "a\"b\\c\n");
    assert_true(prom_label(labels, "empty", out, sizeof(out)));
    assert_string_equal(out, "");
    assert_false(prom_label(labels, "text_value", out, sizeof(out)));
    assert_string_equal(out, "");
    assert_false(prom_label(labels, "typ", out, sizeof(out)));
    assert_false(prom_label(labels, "lds", out, sizeof(out)));
    assert_false(prom_label("", "type", out, sizeof(out)));
    assert_false(prom_label("type", "type", out, sizeof(out)));
    assert_false(prom_label("type=lds", "type", out, sizeof(out)));
    assert_false(prom_label("type=\"lds", "type", out, sizeof(out)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_long_line),
        cmocka_unit_test(test_label),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
