#include <string.h>

#include "cli/plain.h"
#include "cli/table.h"
#include "cmocka_all.h"

static void columns_are_aligned(void **state) {
    (void)state;
    static const char *const heads[] = {"NAME", "N", "NOTE"};
    struct table t;
    struct buf out;
    buf_init(&out, 4096);
    table_init(&t, heads, 3);
    table_add(&t, "caf\xc3\xa9-long");
    table_addf(&t, "%d/%d", 10, 20);
    table_add(&t, "");
    table_add(&t, "b");
    table_add(&t, NULL);
    table_add(&t, "last\x1b[2J\nline");
    table_write(&t, 2, &out);
    assert_string_equal(out.p, "  NAME       N      NOTE\n"
                               "  caf\xc3\xa9-long  10/20  -\n"
                               "  b          -      last?[2J line\n");
    buf_done(&out);
    table_done(&t);
}

static void a_row_cut_short_is_filled(void **state) {
    (void)state;
    static const char *const heads[] = {"A", "B"};
    struct table t;
    struct buf out;
    buf_init(&out, 4096);
    table_init(&t, heads, 2);
    table_add(&t, "x");
    table_write(&t, 0, &out);
    assert_string_equal(out.p, "A  B\nx  -\n");
    buf_done(&out);
    table_done(&t);
}

static void text_is_made_plain(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 100);
    plain_add(&b, "a\tb\r\nc\xff\xc2\x9b"
                  "1m\x7f\xe2\x86\x92");
    plain_add(&b, NULL);
    assert_string_equal(b.p, "a b  c??1m?\xe2\x86\x92");
    buf_done(&b);
}

static void width_counts_characters(void **state) {
    (void)state;
    const char *s = "a\xc3\xa9\xe2\x86\x92z";
    assert_int_equal(plain_width(s), 4);
    assert_int_equal(plain_cut(s, strlen(s), 0), 0);
    assert_int_equal(plain_cut(s, strlen(s), 2), 3);
    assert_int_equal(plain_cut(s, strlen(s), 3), 6);
    assert_int_equal(plain_cut(s, strlen(s), 9), 7);
    assert_int_equal(plain_cut(s, 1, 9), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_aligned),
        cmocka_unit_test(a_row_cut_short_is_filled),
        cmocka_unit_test(text_is_made_plain),
        cmocka_unit_test(width_counts_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
