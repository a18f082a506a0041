/* The lists of states and reasons: names that stand in a CR, and texts fit to be read. */
#include <ctype.h>
#include <string.h>

#include "cmocka_all.h"
#include "core/decide.h"

/* NOT_STARTED -> NotStarted */
static void camel(const char *upper, char *out) {
    bool first = true;
    for (; *upper; upper++) {
        if (*upper == '_') {
            first = true;
            continue;
        }
        *out++ = (char)(first ? *upper : tolower(*upper));
        first = false;
    }
    *out = '\0';
}

static void names_follow_the_list(void **state) {
    (void)state;
    char want[64];
#define X(NAME, ...)    \
    camel(#NAME, want); \
    assert_string_equal(reason_name(REASON_##NAME), want);
#include "core/reasons.def"
#undef X
#define X(NAME, ...)    \
    camel(#NAME, want); \
    assert_string_equal(state_name(STATE_##NAME), want);
#include "core/states.def"
#undef X
}

static void every_reason_can_be_read_back(void **state) {
    (void)state;
    for (unsigned r = 0; r < REASON_COUNT; r++) {
        enum reason reason = (enum reason)r;
        assert_int_equal(reason_from_name(reason_name(reason)), r);
        assert_true(strlen(reason_sentence(reason)) > 0);
        assert_non_null(reason_remedy(reason));
        for (unsigned o = 0; o < r; o++) {
            assert_string_not_equal(reason_name(reason), reason_name((enum reason)o));
        }
    }
    assert_int_equal(reason_from_name("NoSuchReason"), REASON_NONE);
    assert_int_equal(reason_from_name(NULL), REASON_NONE);
}

static void a_failure_has_a_remedy(void **state) {
    (void)state;
    for (unsigned r = 0; r < REASON_COUNT; r++) {
        enum severity s = reason_severity((enum reason)r);
        if (s == SEV_FAIL || s == SEV_UNKNOWN) {
            assert_true(strlen(reason_remedy((enum reason)r)) > 0);
        }
    }
}

static void values_outside_the_lists_have_harmless_names(void **state) {
    (void)state;
    assert_string_equal(state_name((enum proxy_state)999), "?");
    assert_string_equal(state_meaning((enum proxy_state)999), "?");
    assert_string_equal(reason_name((enum reason)999), "?");
    assert_int_equal(reason_severity((enum reason)999), SEV_UNKNOWN);
    assert_string_equal(verdict_name((enum verdict)9), "?");
    assert_string_equal(phase_name((enum phase)9), "?");
}

static void zero_is_the_least_permissive(void **state) {
    (void)state;
    assert_string_equal(state_name((enum proxy_state)0), "Unknown");
    assert_string_equal(verdict_name((enum verdict)0), "Unknown");
    assert_string_equal(phase_name((enum phase)0), "Hold");
    assert_int_equal(SEV_UNKNOWN, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_follow_the_list),        cmocka_unit_test(every_reason_can_be_read_back),
        cmocka_unit_test(a_failure_has_a_remedy),       cmocka_unit_test(values_outside_the_lists_have_harmless_names),
        cmocka_unit_test(zero_is_the_least_permissive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
