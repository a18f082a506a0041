/* Who is asked because Envoys lag, and how often. */
#include "cmocka_all.h"
#include "gate/lag.h"
#include "gate/push_version.h"
#include "gate_mesh.h"

static unsigned named;

static void on_audit(void *ctx, const char *replica) {
    const struct gate_mesh *f = ctx;
    const struct inv_replica *r;
    HASH_FIND_STR(f->inv->replicas, replica, r);
    assert_non_null(r);
    assert_string_equal(r->revision, "old");
    named++;
}

static unsigned look(struct gate_mesh *f, struct lag *l) {
    named = 0;
    gate_mesh_join(f);
    lag_look(l, f->join, sched_now(f->sched), on_audit, f);
    return named;
}

/* One Envoy stays behind; the others have accepted this. */
static void accepted(struct gate_mesh *f, const char *behind, const char *others) {
    f->accepted = others;
    f->behind = "db-0";
    f->older = behind;
    gate_mesh_hear(f);
}

static void a_lag_asks_once(void **state) {
    struct gate_mesh *f = *state;
    struct lag *l = lag_new();
    accepted(f, "2026-11-23T06:00:00Z/1", "2026-11-23T06:00:59Z/9");
    assert_int_equal(look(f, l), 0);
    gate_mesh_pass(f, 10000);
    accepted(f, "2026-11-23T06:00:00Z/1", "2026-11-23T06:02:00Z/12");
    assert_int_equal(look(f, l), 1);
    assert_int_equal(look(f, l), 0); /* not at every tick */
    for (int i = 0; i < 20; i++) {
        gate_mesh_pass(f, 10000); /* the same one lags on: it need not be concerned by those pushes */
        accepted(f, "2026-11-23T06:00:00Z/1", "2026-11-23T06:09:00Z/20");
        assert_int_equal(look(f, l), 0);
    }
    accepted(f, "2026-11-23T06:09:00Z/20", "2026-11-23T06:09:00Z/20");
    gate_mesh_pass(f, 10000);
    assert_int_equal(look(f, l), 0);
    gate_mesh_pass(f, 10000);
    accepted(f, "2026-11-23T06:09:00Z/20", "2026-11-23T06:12:00Z/30");
    assert_int_equal(look(f, l), 1);
    lag_free(l);
}

static void what_is_not_said_is_no_lag(void **state) {
    struct gate_mesh *f = *state;
    struct lag *l = lag_new();
    accepted(f, "", "2026-11-23T06:02:00Z/12");
    assert_int_equal(look(f, l), 0);
    gate_mesh_pass(f, 10000);
    accepted(f, "some other version", "2026-11-23T06:02:00Z/12");
    assert_int_equal(look(f, l), 0);
    lag_free(l);
}

static void versions_have_an_order(void **state) {
    (void)state;
    struct push_version v;
    assert_true(push_version_read("2026-11-23T06:00:16Z/41", &v));
    assert_int_equal(v.counter, 41);
    assert_false(push_version_read("2026-11-23T06:00:16Z", &v));
    assert_false(push_version_read("/1", &v));
    assert_false(push_version_read("2026-11-23T06:00:16Z/-1", &v));
    assert_false(push_version_read("", &v));
    assert_int_equal(push_version_order("x", "x"), 0);
    assert_int_equal(push_version_order("x", "2026-11-23T06:00:16Z/1"), -1);
    assert_int_equal(push_version_order("2026-11-23T06:00:16Z/2", "2026-11-23T06:00:16Z/1"), 1);
    assert_int_equal(push_version_order("2026-11-23T06:00:16Z/9", "2026-11-23T06:00:17Z/1"), -1);
    assert_true(push_version_before("2026-11-23T06:00:16Z/9", "2026-11-23T06:00:17Z/1"));
    assert_false(push_version_before("x", "2026-11-23T06:00:17Z/1"));
    assert_false(push_version_before("2026-11-23T06:00:17Z/1", "2026-11-23T06:00:17Z/1"));
    assert_int_equal(push_version_order("2026-11-23T06:00:17+00:00/1", "2026-11-23T06:00:16Z/9"), 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, gate_mesh_setup, gate_mesh_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {TEST(a_lag_asks_once), TEST(what_is_not_said_is_no_lag),
                                       cmocka_unit_test(versions_have_an_order)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
