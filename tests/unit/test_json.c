#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "lib/base/json.h"

static json_t *parse(const char *text, struct err *err) {
    *err = (struct err){0};
    return js_parse(text, strlen(text), 1 << 20, err);
}

static void walks_paths(void **state) {
    (void)state;
    struct err err;
    json_t *o = parse("{\"a\":{\"b\":\"text\",\"n\":7,\"t\":true,\"l\":[1]}}", &err);
    assert_non_null(o);
    assert_string_equal(js_str(o, "a", "b", NULL), "text");
    assert_null(js_str(o, "a", "n", NULL));
    assert_null(js_str(o, "a", "b", "c", NULL));
    assert_string_equal(js_text(o, "x", "y", NULL), "");
    assert_int_equal(js_int(o, -1, "a", "n", NULL), 7);
    assert_int_equal(js_int(o, -1, "a", "b", NULL), -1);
    assert_true(js_bool(o, false, "a", "t", NULL));
    assert_true(js_bool(o, true, "a", "n", NULL));
    assert_false(js_bool(o, false, "q", NULL));
    assert_true(json_is_array(js_at(o, "a", "l", NULL)));
    assert_null(js_at(NULL, "a", NULL));
    assert_ptr_equal(js_at(o, NULL), o);
    char *s = js_dump(js_at(o, "a", NULL));
    assert_string_equal(s, "{\"b\":\"text\",\"n\":7,\"t\":true,\"l\":[1]}");
    free(s);
    json_decref(o);
}

static void refuses_what_is_not_strict(void **state) {
    (void)state;
    struct err err;
    assert_null(parse("{\"a\":1,\"a\":2}", &err));
    assert_int_equal(err.code, ERR_PROTOCOL);
    assert_null(parse("{\"a\":1} x", &err));
    assert_null(parse("{\"a\":", &err));
    assert_null(parse("", &err));
    assert_null(js_parse(NULL, 0, 10, &err));
    assert_null(js_parse("{\"aaaaaaaaaa\":1}", 16, 15, &err));
    assert_int_equal(err.code, ERR_LIMIT);
}

static void refuses_deep_nesting(void **state) {
    (void)state;
    enum { DEPTH = 100000 };
    char *text = malloc(DEPTH);
    assert_non_null(text);
    memset(text, '[', DEPTH);
    struct err err = {0};
    assert_null(js_parse(text, DEPTH, DEPTH, &err));
    assert_int_equal(err.code, ERR_PROTOCOL);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(walks_paths),
        cmocka_unit_test(refuses_what_is_not_strict),
        cmocka_unit_test(refuses_deep_nesting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
