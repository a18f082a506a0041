/* What nodes say of the way to a revision. */
#include "cmocka_all.h"
#include "gate/evidence.h"

static struct evidence *e;

static bool allowed(void *ctx, const char *a, const char *b) {
    (void)ctx, (void)a, (void)b;
    return true;
}

static int setup(void **state) {
    (void)state;
    e = evidence_new();
    return 0;
}

static int teardown(void **state) {
    (void)state;
    evidence_free(e);
    return 0;
}

static void say(bool ok, const char *stage, uint32_t first_byte_us, uint32_t age_ms, int64_t now_ms) {
    static char name[] = "canary", why[] = "why", none[] = "";
    struct evidence_rules rules = {.local_allowed = allowed, .may_read = allowed};
    Meshgate__V1__Report report = MESHGATE__V1__REPORT__INIT;
    Meshgate__V1__Reach reach = MESHGATE__V1__REACH__INIT, *list[] = {&reach};
    reach.revision = name;
    reach.ok = ok;
    reach.stage = (char *)(uintptr_t)stage;
    reach.error = ok ? none : why;
    reach.first_byte_us = first_byte_us;
    reach.age_ms = age_ms;
    reach.cert_expiry_s = first_byte_us == 0 ? 60 : 0;
    report.reach = list;
    report.n_reach = 1;
    evidence_take(e, "n1", &report, &rules, now_ms);
}

/* What a real stream told stays while ordinary tests go on; the latest word decides. */
static void test_stream_is_kept(void **state) {
    (void)state;
    assert_null(evidence_reach_fact(e, "n1", "canary"));
    say(true, "ads", 6000, 100, 10000);
    say(true, "ready", 0, 0, 20000);
    const struct reach_fact *f = evidence_reach_fact(e, "n1", "canary");
    assert_true(f->ok && f->stream_ok);
    assert_string_equal(f->stage, "ready");
    assert_null(f->error);
    assert_int_equal(f->stream_ms, 9900);
    assert_int_equal(f->at_ms, 20000);
    assert_int_equal(f->first_byte_us, 6000);
    assert_int_equal(f->cert_expires_ms, 80000);
    say(false, "ads", 0, 0, 30000);
    const char *error;
    int64_t at;
    assert_int_equal(evidence_reach(e, "n1", "canary", &error, &at), 0);
    assert_string_equal(error, "ads: why");
    assert_false(f->stream_ok);
    assert_int_equal(f->first_byte_us, 6000);
    assert_null(evidence_reach_fact(e, "n1", "old"));
    assert_null(evidence_reach_fact(e, "n2", "canary"));
}

/* A stream that is told with its age, then all of it with an older one: the newer look is what it is as old as. */
static void test_age(void **state) {
    (void)state;
    say(true, "ads", 6000, 1000, 50000);
    say(true, "ready", 0, 40000, 50000);
    assert_int_equal(evidence_reach_fact(e, "n1", "canary")->at_ms, 49000);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_stream_is_kept, setup, teardown),
                                       cmocka_unit_test_setup_teardown(test_age, setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
