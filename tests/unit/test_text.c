#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmocka_all.h"
#include "lib/base/text.h"

static void durations(void **state) {
    (void)state;
    static const struct {
        const char *in;
        int64_t ms;
    } good[] = {{"1h30m", 5400000},
                {"15m", 900000},
                {"10s", 10000},
                {"300ms", 300},
                {"0s", 0},
                {"1.5s", 1500},
                {"1h30m0s", 5400000},
                {"2562047h", 9223369200000},
                {"1500\xc2\xb5s", 1},
                {"999us", 0},
                {"1m0.25s", 60250}};
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        int64_t ms = -1;
        assert_true(text_duration(good[i].in, &ms));
        assert_int_equal(ms, good[i].ms);
    }
    static const char *const wrong[] = {
        "", "5", "-5s", "s", "5x", "1h 30m", "10s ", "99999999999h", "99999999999999999999s", "2562048h", "1.s.", "+1s"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        int64_t ms;
        if (text_duration(wrong[i], &ms)) {
            fail_msg("\"%s\" was taken", wrong[i]);
        }
    }
    assert_false(text_duration(NULL, &(int64_t){0}));
}

static void durations_and_ages_as_text(void **state) {
    (void)state;
    static const struct {
        int64_t ms;
        const char *duration, *age;
    } rows[] = {{0, "0s", "0s"},         {-5, "0s", "0s"},         {250, "250ms", "0s"},
                {10000, "10s", "10s"},   {900000, "15m", "15m"},   {5400000, "1h30m", "1h"},
                {1500, "1s500ms", "1s"}, {86400000, "24h", "24h"}, {345600000, "96h", "4d"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        char out[40];
        text_duration_format(rows[i].ms, out, sizeof(out));
        assert_string_equal(out, rows[i].duration);
        text_age(rows[i].ms, out, sizeof(out));
        assert_string_equal(out, rows[i].age);
    }
}

static void times(void **state) {
    (void)state;
    static const struct {
        const char *in;
        int64_t ms;
    } good[] = {{"2026-11-23T07:00:00Z", 1795417200000},
                {"2026-11-23T07:00:00.123456789Z", 1795417200123},
                {"2026-11-23T09:30:00+02:30", 1795417200000},
                {"2026-11-23T02:00:00.5-05:00", 1795417200500},
                {"1970-01-01T00:00:00Z", 0},
                {"2024-02-29T00:00:00z", 1709164800000}};
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        int64_t ms = -1;
        assert_true(text_rfc3339(good[i].in, &ms));
        assert_int_equal(ms, good[i].ms);
    }
    static const char *const wrong[] = {"",
                                        "2026-11-23",
                                        "2026-11-23T07:00:00",
                                        "2026-13-23T07:00:00Z",
                                        "2026-11-23 07:00:00Z",
                                        "2026-11-23T07:00:00.Z",
                                        "2026-11-23T07:00:00Zx",
                                        "2026-02-30T07:00:00Z",
                                        "2026-11-23T24:00:00Z",
                                        "26-11-23T07:00:00Z",
                                        "2026-11-23T07:00:00+0200"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        if (text_rfc3339(wrong[i], &(int64_t){0})) {
            fail_msg("\"%s\" was taken", wrong[i]);
        }
    }
    char out[40];
    text_rfc3339_format(1795417200999, out, sizeof(out));
    assert_string_equal(out, "2026-11-23T07:00:00Z");
}

static void integers(void **state) {
    (void)state;
    int64_t v = 0;
    assert_true(text_int("-7", -10, 10, &v));
    assert_int_equal(v, -7);
    assert_true(text_int("9223372036854775807", 0, INT64_MAX, &v));
    assert_false(text_int("9223372036854775808", 0, INT64_MAX, &v));
    assert_false(text_int("11", 0, 10, &v));
    assert_false(text_int(" 1", 0, 10, &v));
    assert_false(text_int("1 ", 0, 10, &v));
    assert_false(text_int("+1", 0, 10, &v));
    assert_false(text_int("0x1", 0, 10, &v));
    assert_false(text_int("", 0, 10, &v));
    assert_false(text_int(NULL, 0, 10, &v));
}

static void hash_is_fnv1a(void **state) {
    (void)state;
    assert_true(text_hash(0, "", 0) == 0xcbf29ce484222325u);
    assert_true(text_hash(0, "a", 1) == 0xaf63dc4c8601ec8cu);
    assert_true(text_hash(0, "foobar", 6) == 0x85944171f73967e8u);
    assert_true(text_hash(1, "foobar", 6) != text_hash(0, "foobar", 6));
}

static void utf8(void **state) {
    (void)state;
    assert_true(text_is_clean("caf\xc3\xa9\n\t\xf0\x9f\x98\x80", 11));
    static const char *const wrong[] = {"\x1b[31m", "a\x7f",        "\xc2\x85",         "\xff",         "\xc3",
                                        "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe0\x80\x80", "\r\n"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        if (text_is_clean(wrong[i], strlen(wrong[i]))) {
            fail_msg("case %zu was taken", i);
        }
    }
    assert_false(text_is_clean("a\0b", 3));
    assert_true(text_is_clean("", 0));
}

static void files(void **state) {
    (void)state;
    char path[] = "/tmp/meshgate-test-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    char block[10000];
    memset(block, 'x', sizeof(block));
    assert_int_equal(write(fd, block, sizeof(block)), sizeof(block));
    close(fd);
    char *p = NULL;
    size_t n = 0;
    struct err err = {0};
    assert_true(text_read_file(path, sizeof(block), &p, &n, &err));
    assert_int_equal(n, sizeof(block));
    assert_int_equal(p[n], 0);
    free(p);
    assert_false(text_read_file(path, sizeof(block) - 1, &p, &n, &err));
    assert_int_equal(err.code, ERR_LIMIT);
    unlink(path);
    assert_false(text_read_file(path, 10, &p, &n, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, path));
    assert_false(text_read_file("/tmp", 10, &p, &n, &err));
    assert_int_equal(err.code, ERR_IO);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations),     cmocka_unit_test(durations_and_ages_as_text),
        cmocka_unit_test(times),         cmocka_unit_test(integers),
        cmocka_unit_test(hash_is_fnv1a), cmocka_unit_test(utf8),
        cmocka_unit_test(files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
