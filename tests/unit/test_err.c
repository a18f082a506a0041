#include <string.h>

#include "cmocka_all.h"
#include "lib/base/err.h"

static void sets_and_wraps(void **state) {
    (void)state;
    struct err e = {0};
    assert_false(err_set(&e, ERR_TIMEOUT, "no answer within %d s", 5));
    assert_int_equal(e.code, ERR_TIMEOUT);
    assert_false(err_wrap(&e, "reading %s", "istiod-0"));
    assert_string_equal(e.text, "reading istiod-0: no answer within 5 s");
    assert_int_equal(e.code, ERR_TIMEOUT);
    assert_false(err_set(NULL, ERR_IO, "nobody listens"));
    assert_false(err_wrap(NULL, "nobody listens"));
}

static void may_quote_itself(void **state) {
    (void)state;
    struct err e = {0};
    err_set(&e, ERR_IO, "inner");
    err_set(&e, ERR_IO, "outer: %s", e.text);
    assert_string_equal(e.text, "outer: inner");
}

static void long_texts_are_cut(void **state) {
    (void)state;
    char big[600];
    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    struct err e = {0};
    err_set(&e, ERR_IO, "%s", big);
    assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
    err_wrap(&e, "ctx");
    assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
    assert_memory_equal(e.text, "ctx: xxx", 8);
    err_wrap(&e, "%s", big);
    assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
}

static void codes_have_names(void **state) {
    (void)state;
    assert_string_equal(err_code_name(ERR_NOT_FOUND), "not found");
    assert_string_equal(err_code_name(ERR_IO), "io");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_and_wraps),
        cmocka_unit_test(may_quote_itself),
        cmocka_unit_test(long_texts_are_cut),
        cmocka_unit_test(codes_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
