#include "probes/json_doc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* Memory of exactly the text's size, so that a read past its end is seen. */
static bool parse(struct json_doc *d, char **own, const char *text, size_t len, struct err *err) {
    *own = malloc(len + 1);
    assert_non_null(*own);
    memcpy(*own, text, len);
    (*own)[len] = 'x';
    return json_doc_parse(d, *own, len, err);
}

static void test_reads(void **state) {
    (void)state;
    static const char text[] =
        " { \"a\" : \"x\" , \"b\":[ 1,-2.5e+3,true,false,null,\"\",{}, [] ],\"c\\u0041\":{\"a\":\"\"}} ";
    struct json_doc *d = json_doc_new();
    struct err err = {0};
    char *own;
    assert_true(parse(d, &own, text, sizeof(text) - 1, &err));
    static const struct json_name names[] = {JSON_NAME("a"), JSON_NAME("b"), JSON_NAME("cA"), JSON_NAME("d")};
    int at[4], inner[4];
    assert_true(json_doc_fields(d, 0, names, 4, at, &err));
    assert_string_equal(json_doc_str(d, at[0]), "x");
    assert_null(json_doc_str(d, at[1]));
    assert_false(json_doc_is_object(d, at[1]));
    assert_true(json_doc_is_object(d, at[2]));
    assert_int_equal(at[3], -1);
    assert_null(json_doc_str(d, -1));
    assert_int_equal(json_doc_end(d, at[1]), at[1] + 9);
    assert_true(json_doc_fields(d, at[2], names, 4, inner, &err));
    assert_string_equal(json_doc_str(d, inner[0]), "");
    assert_true(json_doc_fields(d, at[1], names, 4, inner, &err));
    assert_int_equal(inner[0], -1);
    assert_int_equal(json_doc_end(d, 0), at[2] + 3);
    free(own);
    json_doc_free(d);
}

static void test_unescapes(void **state) {
    (void)state;
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"\"\"", ""},
        {"\"plain text of some length, longer than a word\"", "plain text of some length, longer than a word"},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"},
        {"\"12345678\\u0041\\u00e9\\u20AC\\ud83d\\ude00.\"", "12345678A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80."},
        {"\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\x7f\"", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\x7f"},
        {"\"cut\\u0000off\"", "cut"},
    };
    struct json_doc *d = json_doc_new();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char *own;
        struct err err = {0};
        if (!parse(d, &own, rows[i].text, strlen(rows[i].text), &err)) {
            fail_msg("%s: %s", rows[i].text, err.text);
        }
        assert_string_equal(json_doc_str(d, 0), rows[i].want);
        free(own);
    }
    json_doc_free(d);
}

static void test_refuses(void **state) {
    (void)state;
    static const char *const rows[] = {
        "",
        " ",
        ",",
        ":",
        "x",
        "nul",
        "nulll",
        "true1",
        "tru",
        "+1",
        "01",
        "1.",
        ".5",
        "1e",
        "1e+",
        "-",
        "--1",
        "1:2",
        "0x1",
        "NaN",
        "{",
        "}",
        "[",
        "]",
        "{]",
        "[}",
        "[1",
        "1]",
        "{}{}",
        "[][]",
        "[1]2",
        "\"",
        "\"a",
        "a\"",
        "'a'",
        /* commas */
        "[1 2]",
        "[1,,2]",
        "[,1]",
        "[1,]",
        "[,]",
        "[\"a\" \"b\"]",
        "[\"a\"\"b\"]",
        "[{}{}]",
        "[[][]]",
        "[1 \"a\"]",
        "{\"a\":1 \"b\":2}",
        "{\"a\":1,}",
        "{,\"a\":1}",
        "{\"a\":1,,\"b\":2}",
        "{,}",
        "{\"a\":1;\"b\":2}",
        "[1;2]",
        /* colons */
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\" 1}",
        "{\"a\",1}",
        "{\"a\"::1}",
        "{:1}",
        "{\"a\":1:2}",
        "[1:2]",
        "[\"a\":1]",
        "{\"a\":\"b\":\"c\"}",
        "{\"a\" \"b\"}",
        "{\"a\":{\"b\":1}:2}",
        "[:]",
        "{:}",
        /* values without keys, keys that are no strings */
        "{1}",
        "{\"a\",\"b\"}",
        "{{}:1}",
        "{[]:1}",
        "{1:2}",
        "{null:1}",
        "{\"a\":1,{}}",
        "{\"a\":1 {}}",
        "{\"\\u0000\":1}",
        /* nesting */
        "{\"a\":[1}]",
        "[{\"a\":1]}",
        "[[1]",
        "{\"a\":{\"b\":1}",
        "[\"a\"}",
        /* strings */
        "\"a\nb\"",
        "\"a\tb\"",
        "\"\x01\"",
        "\"12345678\x1f\"",
        "{\"a\nb\":1}",
        "\"\\x\"",
        "\"\\\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\ud800\"",
        "\"\\ud800x\"",
        "\"\\ud800\\n\"",
        "\"\\ud800\\u0041\"",
        "\"\\udc00\"",
        "\"\\ud83d\\ud83d\"",
        "\"\xff\"",
        "\"\xc3\"",
        "\"\xc0\x80\"",
        "\"\xed\xa0\x80\"",
        "\"\xf5\x80\x80\x80\"",
        "\"12345678\x80\"",
        "[\xc3\xa9]",
        "\"a\\",
        "\"\\u",
        "\"\\ud800\\u",
    };
    struct json_doc *d = json_doc_new();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char *own;
        struct err err = {0};
        if (parse(d, &own, rows[i], strlen(rows[i]), &err) || err.code != ERR_PROTOCOL || err.text[0] == '\0') {
            fail_msg("%s was taken", rows[i]);
        }
        free(own);
        char list[128];
        int n = snprintf(list, sizeof(list), "{\"k\":[%s]}", rows[i]);
        bool fits_in_list = i < 2; /* nothing between the brackets is an empty list */
        if (parse(d, &own, list, (size_t)n, &err) != fits_in_list) {
            fail_msg("%s", list);
        }
        free(own);
    }
    static const char nul[] = "[\"a\0b\"]", between[] = "[1,\0 2]", after[] = "[1]\0";
    char *own;
    assert_false(parse(d, &own, nul, sizeof(nul) - 1, NULL));
    free(own);
    assert_false(parse(d, &own, between, sizeof(between) - 1, NULL));
    free(own);
    assert_false(parse(d, &own, after, sizeof(after) - 1, NULL));
    free(own);
    json_doc_free(d);
}

static void test_twice(void **state) {
    (void)state;
    static const struct json_name names[] = {JSON_NAME("a"), JSON_NAME("b")};
    struct json_doc *d = json_doc_new();
    struct err err = {0};
    char *own;
    int at[2];
    static const char ours[] = "{\"a\":1,\"b\":2,\"\\u0061\":3}", other[] = "{\"c\":1,\"b\":2,\"c\":3,\"bb\":1,\"\":0}";
    assert_true(parse(d, &own, ours, sizeof(ours) - 1, &err));
    assert_false(json_doc_fields(d, 0, names, 2, at, &err));
    assert_non_null(strstr(err.text, "\"a\" twice"));
    free(own);
    assert_true(parse(d, &own, other, sizeof(other) - 1, &err));
    assert_true(json_doc_fields(d, 0, names, 2, at, &err));
    free(own);
    json_doc_free(d);
}

static bool nested(struct json_doc *d, size_t depth, struct err *err) {
    char *own, *text = malloc(2 * depth);
    assert_non_null(text);
    memset(text, '[', depth);
    memset(text + depth, ']', depth);
    bool ok = parse(d, &own, text, 2 * depth, err);
    free(own);
    free(text);
    return ok;
}

static void test_limits(void **state) {
    (void)state;
    struct json_doc *d = json_doc_new();
    struct err err = {0};
    assert_true(nested(d, JSON_DOC_MAX_DEPTH, &err));
    assert_false(nested(d, JSON_DOC_MAX_DEPTH + 1, &err));
    assert_false(nested(d, 60000, &err));
    assert_non_null(strstr(err.text, "too deep"));
    size_t most = JSON_DOC_MAX_NODES;
    char *own, *text = malloc(2 * most + 3);
    assert_non_null(text);
    for (size_t i = 0; i < most; i++) {
        memcpy(text + 2 * i, i == 0 ? "[1" : ",1", 2);
    }
    memcpy(text + 2 * (most - 1), "]", 1); /* the list and most - 1 numbers */
    assert_true(parse(d, &own, text, 2 * most - 1, &err));
    assert_int_equal(json_doc_end(d, 0), most);
    free(own);
    memcpy(text + 2 * (most - 1), ",1]", 3);
    assert_false(parse(d, &own, text, 2 * most + 1, &err));
    assert_int_equal(err.code, ERR_LIMIT);
    free(own);
    free(text);
    json_doc_free(d);
    json_doc_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads), cmocka_unit_test(test_unescapes), cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_twice), cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
