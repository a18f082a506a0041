#include "agent/words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void test_shared(void **state) {
    (void)state;
    struct words *w = words_new();
    char text[] = "1.30.3";
    char *a = words_take(w, text), *b = words_take(w, "1.30.3"), *other = words_take(w, "1.30"), *none = words_take(w, "");
    text[0] = '2';
    assert_ptr_equal(a, b);
    assert_ptr_not_equal(a, other);
    assert_string_equal(a, "1.30.3");
    assert_string_equal(other, "1.30");
    assert_string_equal(none, "");
    words_drop(w, a);
    assert_string_equal(b, "1.30.3"); /* the second user keeps it */
    assert_ptr_equal(words_take(w, "1.30.3"), b);
    words_drop(w, b);
    words_drop(w, b);
    words_drop(w, other);
    words_drop(w, none);
    words_drop(w, NULL);
    char *again = words_take(w, "1.30.3");
    assert_string_equal(again, "1.30.3");
    words_free(w); /* frees what is still taken */
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shared)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
