/* What is expected does not depend on who speaks; what is heard does. */
#include "cmocka_all.h"
#include "gate/coverage.h"
#include "gate_mesh.h"
#include "lib/base/json.h"

#define READ_OK MESHGATE__V1__READ_STATUS__READ_OK

static json_t *cover(struct gate_mesh *f) {
    gate_mesh_join(f);
    return coverage(f->join, &f->upgrade, "here", sched_now(f->sched));
}

static int64_t of(const json_t *c, const char *table, const char *name, const char *field) {
    size_t i;
    const json_t *row;
    json_array_foreach(json_object_get(c, table), i, row) {
        if (strcmp(js_text(row, "name", NULL), name) == 0) {
            return js_int(row, -1, field, NULL);
        }
    }
    return -2;
}

static void silence_lowers_what_is_heard_only(void **state) {
    struct gate_mesh *f = *state;
    json_t *none = cover(f);
    int64_t expected = js_int(none, 0, "cluster", "expected", NULL);
    assert_true(expected >= 8);
    assert_int_equal(js_int(none, -1, "cluster", "heard", NULL), 0);
    assert_true(json_is_null(js_at(none, "cluster", "oldest_ms", NULL)));
    json_decref(none);

    gate_mesh_hear(f);
    gate_mesh_pass(f, 3000);
    json_t *all = cover(f);
    assert_string_equal(js_text(all, "cluster", "name", NULL), "here");
    assert_int_equal(js_int(all, -1, "cluster", "expected", NULL), expected);
    assert_int_equal(js_int(all, -1, "cluster", "heard", NULL), expected);
    assert_int_equal(js_int(all, -1, "cluster", "node", NULL), expected);
    assert_int_equal(js_int(all, -1, "cluster", "oldest_ms", NULL), 3000);
    assert_int_equal(of(all, "revisions", "old", "heard"), expected);
    assert_int_equal(of(all, "revisions", "canary", "expected"), 0);
    assert_int_equal(of(all, "namespaces", "app-00", "heard") + of(all, "namespaces", "app-01", "heard"), expected);
    assert_int_equal(of(all, "namespaces", "istio-system", "heard"), -2);
    json_decref(all);

    gate_mesh_pass(f, 46000);
    gate_mesh_read(f, NULL, READ_OK); /* the nodes are silent */
    json_t *half = cover(f);
    assert_int_equal(js_int(half, -1, "cluster", "expected", NULL), expected);
    assert_int_equal(js_int(half, -1, "cluster", "control_plane", NULL), expected);
    assert_int_equal(js_int(half, -1, "cluster", "node", NULL), 0);
    assert_int_equal(js_int(half, -1, "cluster", "heard", NULL), 0);
    json_decref(half);
}

static void waves_are_added_up(void **state) {
    struct gate_mesh *f = *state;
    gate_mesh_hear(f);
    json_t *c = cover(f);
    size_t waves = json_array_size(json_object_get(c, "waves"));
    assert_int_equal(waves, f->upgrade.policy.n_waves);
    int64_t sum = 0;
    for (size_t i = 0; i < waves; i++) {
        sum += of(c, "waves", f->upgrade.wave_names[i], "expected");
    }
    assert_int_equal(sum, js_int(c, -1, "cluster", "expected", NULL));
    json_decref(c);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, gate_mesh_setup, gate_mesh_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {TEST(silence_lowers_what_is_heard_only), TEST(waves_are_added_up)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
