#include <stdlib.h>

#include "cmocka_all.h"
#include "lib/base/buf.h"

static void grows_up_to_its_maximum(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 100);
    assert_true(buf_str(&b, "hello"));
    assert_true(buf_printf(&b, " %03d", 7));
    assert_string_equal(b.p, "hello 007");
    assert_int_equal(b.len, 9);
    char zeros[91] = {0};
    assert_true(buf_add(&b, zeros, 91));
    assert_int_equal(b.len, 100);
    assert_false(b.over);
    assert_false(buf_add(&b, "x", 1));
    assert_true(b.over);
    assert_false(buf_printf(&b, "%d", 1));
    assert_int_equal(b.len, 100);
    assert_int_equal(b.p[100], 0);
    buf_reset(&b);
    assert_false(b.over);
    assert_int_equal(b.len, 0);
    assert_string_equal(b.p, "");
    buf_done(&b);
}

static void refuses_sizes_that_would_wrap(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 16);
    assert_true(buf_str(&b, "x"));
    assert_false(buf_add(&b, "y", SIZE_MAX));
    assert_int_equal(b.len, 1);
    buf_done(&b);
}

static void gives_its_memory_away(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 16);
    char *p = buf_take(&b);
    assert_string_equal(p, "");
    free(p);
    assert_true(buf_str(&b, "abc"));
    p = buf_take(&b);
    assert_string_equal(p, "abc");
    assert_int_equal(b.len, 0);
    free(p);
    assert_true(buf_str(&b, "again"));
    buf_done(&b);
    buf_done(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_up_to_its_maximum),
        cmocka_unit_test(refuses_sizes_that_would_wrap),
        cmocka_unit_test(gives_its_memory_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
