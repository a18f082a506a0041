#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmocka_all.h"
#include "lib/base/json.h"
#include "lib/base/log.h"

static int pipe_[2];
static char line[32768];

static int64_t fixed_wall(void *ctx) {
    (void)ctx;
    return 1795417200123;
}

static int setup(void **state) {
    (void)state;
    assert_int_equal(pipe(pipe_), 0);
    log_to_fd(pipe_[1]);
    log_clock(fixed_wall, NULL);
    log_setup("meshgate-test", LOG_INFO);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    log_to_fd(STDERR_FILENO);
    close(pipe_[0]);
    close(pipe_[1]);
    return 0;
}

/* What one log call wrote: exactly one line. */
static json_t *written(void) {
    ssize_t n = read(pipe_[0], line, sizeof(line) - 1);
    assert_true(n > 0);
    line[n] = '\0';
    assert_ptr_equal(strchr(line, '\n'), line + n - 1);
    struct err err = {0};
    json_t *o = js_parse(line, (size_t)n, sizeof(line), &err);
    assert_string_equal(err.text, "");
    assert_non_null(o);
    return o;
}

static void writes_one_object_a_line(void **state) {
    (void)state;
    log_warn("wave held", log_s("wave", "canary"), log_i("proxies", -3), log_b("auto", true), log_s("none", NULL));
    json_decref(written());
    assert_string_equal(line, "{\"time\":\"2026-11-23T07:00:00.123Z\",\"level\":\"warn\",\"program\":\"meshgate-test\","
                              "\"msg\":\"wave held\",\"wave\":\"canary\",\"proxies\":-3,\"auto\":true,\"none\":null}\n");
    log_info("bare");
    json_t *o = written();
    assert_string_equal(js_text(o, "msg", NULL), "bare");
    json_decref(o);
}

static void below_the_level_nothing(void **state) {
    (void)state;
    log_debug("not this", log_i("n", 1));
    log_error("this");
    json_t *o = written();
    assert_string_equal(js_text(o, "msg", NULL), "this");
    json_decref(o);
}

static void hostile_text_stays_json(void **state) {
    (void)state;
    log_info("peer said", log_s("text", "a\"b\\c\nd\te\x01\xff\xc3\xa9\xed\xa0\x80 \x1b[31m"));
    json_t *o = written();
    assert_string_equal(js_text(o, "text", NULL),
                        "a\"b\\c\nd\te\x01\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd \x1b[31m");
    assert_null(strchr(line, '\x1b'));
    json_decref(o);
}

static void long_values_and_lines_are_cut(void **state) {
    (void)state;
    char big[5000];
    memset(big, '\x01', sizeof(big) - 1); /* six bytes each when escaped */
    big[sizeof(big) - 1] = '\0';
    log_info("big", log_s("a", big), log_s("b", big), log_i("c", 1));
    json_t *o = written();
    assert_true(strlen(js_text(o, "a", NULL)) < 2100);
    assert_null(js_str(o, "b", NULL));
    assert_true(js_bool(o, false, "cut", NULL));
    json_decref(o);
}

static void levels_have_names(void **state) {
    (void)state;
    enum log_level l = LOG_INFO;
    assert_true(log_level_parse("error", &l));
    assert_int_equal(l, LOG_ERROR);
    assert_false(log_level_parse("loud", &l));
    assert_false(log_level_parse(NULL, &l));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(writes_one_object_a_line, setup, teardown),
        cmocka_unit_test_setup_teardown(below_the_level_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(hostile_text_stays_json, setup, teardown),
        cmocka_unit_test_setup_teardown(long_values_and_lines_are_cut, setup, teardown),
        cmocka_unit_test(levels_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
