#include <string.h>

#include "cmocka_all.h"
#include "lib/base/json.h"
#include "lib/base/jtext.h"

static void writes_what_a_parser_reads(void **state) {
    (void)state;
    struct buf out;
    struct jtext t;
    buf_init(&out, 4096);
    jtext_init(&t, &out);
    jtext_open(&t, NULL, '{');
    jtext_str(&t, "a", "quote \" back \\ line \n bell \x07 \xc3\xa4");
    jtext_str(&t, "none", NULL);
    jtext_str(&t, "bad", "\xff\xfe");
    jtext_str(&t, "cut", "good \xc3");
    jtext_str(&t, "empty", "");
    jtext_said(&t, "unsaid", "");
    jtext_int(&t, "n", -9223372036854775807LL);
    jtext_open(&t, "list", '[');
    jtext_open(&t, NULL, '{');
    jtext_close(&t, '}');
    jtext_bool(&t, NULL, true);
    jtext_close(&t, ']');
    jtext_bool(&t, "last", false);
    jtext_close(&t, '}');
    assert_string_equal(out.p,
                        "{\"a\":\"quote \\\" back \\\\ line \\u000a bell \\u0007 \xc3\xa4\",\"none\":null,\"bad\":null,"
                        "\"cut\":null,\"empty\":\"\",\"unsaid\":null,\"n\":-9223372036854775807,"
                        "\"list\":[{},true],\"last\":false}");
    struct err err = {0};
    json_t *o = js_parse(out.p, out.len, 4096, &err);
    assert_non_null(o);
    assert_string_equal(js_text(o, "a", NULL), "quote \" back \\ line \n bell \x07 \xc3\xa4");
    json_decref(o);
    buf_done(&out);
}

static void a_full_buffer_is_marked(void **state) {
    (void)state;
    struct buf out;
    struct jtext t;
    buf_init(&out, 10);
    jtext_init(&t, &out);
    jtext_open(&t, NULL, '{');
    jtext_str(&t, "key", "longer than there is room");
    jtext_close(&t, '}');
    assert_true(out.over);
    assert_true(out.len <= 10);
    buf_done(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_what_a_parser_reads),
        cmocka_unit_test(a_full_buffer_is_marked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
