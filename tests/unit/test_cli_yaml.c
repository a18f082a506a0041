#include <string.h>

#include "cli/yaml_out.h"
#include "cmocka_all.h"

static void reads_as_it_was(void **state) {
    (void)state;
    static const char json[] = "{\"name\":\"up\",\"empty\":\"\",\"number\":12,\"text\":\"12\",\"real\":1.5,\"yes\":\"Yes\","
                               "\"on\":true,\"null\":null,"
                               "\"time\":\"2026-11-23T07:00:00Z\",\"colon\":\"a: b\",\"hash\":\"a "
                               "#b\",\"lines\":\"one\\ntwo\",\"control\":\"\\u001b[31m\","
                               "\"list\":[{\"a\":1,\"b\":[]},{}],\"unicode\":\"caf\xc3\xa9\"}";
    struct err err = {0};
    struct buf out;
    json_t *o = js_parse(json, strlen(json), sizeof(json), &err);
    assert_non_null(o);
    buf_init(&out, 10000);
    yaml_out(o, &out);
    assert_string_equal(out.p, "name: up\n"
                               "empty: \"\"\n"
                               "number: 12\n"
                               "text: \"12\"\n"
                               "real: 1.5\n"
                               "\"yes\": \"Yes\"\n"
                               "\"on\": true\n"
                               "\"null\": null\n"
                               "time: \"2026-11-23T07:00:00Z\"\n"
                               "colon: 'a: b'\n"
                               "hash: 'a #b'\n"
                               "lines: |-\n"
                               "  one\n"
                               "  two\n"
                               "control: \"\\e[31m\"\n"
                               "list:\n"
                               "- a: 1\n"
                               "  b: []\n"
                               "- {}\n"
                               "unicode: caf\xc3\xa9\n");
    buf_done(&out);
    json_decref(o);
}

static void a_full_buffer_is_marked(void **state) {
    (void)state;
    struct buf out;
    buf_init(&out, 8);
    json_t *o = json_pack("{s:s}", "a", "longer than that");
    yaml_out(o, &out);
    assert_true(out.over);
    buf_done(&out);
    json_decref(o);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(reads_as_it_was), cmocka_unit_test(a_full_buffer_is_marked)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
