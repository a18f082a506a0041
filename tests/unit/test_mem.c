#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "lib/base/mem.h"

static void gives_zeroed_memory(void **state) {
    (void)state;
    unsigned char *p = mem_alloc(64);
    for (int i = 0; i < 64; i++) {
        assert_int_equal(p[i], 0);
    }
    p[63] = 7;
    p = mem_grow(p, 4096);
    assert_int_equal(p[63], 7);
    free(p);
    void *none = mem_alloc(0);
    assert_non_null(none);
    free(none);
}

static void copies_strings(void **state) {
    (void)state;
    assert_null(mem_dup(NULL));
    char *s = mem_printf("%s/%d", "shop", 3);
    assert_string_equal(s, "shop/3");
    mem_set(&s, s + 5); /* a piece of itself */
    assert_string_equal(s, "3");
    mem_set(&s, NULL);
    assert_null(s);
}

/* What was there is there afterwards, code and data alike. */
static void gives_back_without_loss(void **state) {
    (void)state;
    static const char text[] = "the same";
    char *heap = mem_dup(text);
    mem_give_back();
    assert_string_equal(heap, text);
    char *more = mem_printf("%s again", heap);
    assert_string_equal(more, "the same again");
    free(more);
    free(heap);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(gives_zeroed_memory), cmocka_unit_test(copies_strings),
                                       cmocka_unit_test(gives_back_without_loss)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
