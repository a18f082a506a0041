/* The text of a MeshUpgrade becomes policy, waves and progress; what cannot be followed is refused with the field's name.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "gate/upgrade.h"
#include "inventory_fix.h"
#include "lib/base/json.h"
#include "lib/base/mem.h"

#define WALL INT64_C(1790000000000)
#define NOW 500000

static json_t *parse(const char *text) {
    struct err err;
    json_t *o = js_parse(text, strlen(text), 1 << 20, &err);
    if (!o) {
        fail_msg("%s: %s", err.text, text);
    }
    return o;
}

/* spec and status as text; status NULL: none. */
static bool take(struct fix *f, const char *spec, const char *status, struct upgrade *u, struct err *err) {
    char name[] = "to-canary", uid[] = "0a1b2c3d-4e5f";
    struct inv_upgrade o = {
        .name = name, .uid = uid, .generation = 3, .spec = parse(spec), .status = status ? parse(status) : NULL};
    bool ok = upgrade_parse(&o, &f->t.inv, NOW, WALL, u, err);
    json_decref(o.spec);
    json_decref(o.status);
    return ok;
}

#define REVS "\"from\":{\"revision\":\"old\"},\"to\":{\"revision\":\"canary\"}"
#define WAVES "\"waves\":[{\"name\":\"a\"},{\"name\":\"b\"},{\"name\":\"c\"}]"

static void defaults(void **state) {
    struct upgrade u;
    assert_true(take(*state, "{" REVS ",\"waves\":[{\"name\":\"all\"}]}", NULL, &u, NULL));
    assert_string_equal(u.from, "old");
    assert_string_equal(u.to, "canary");
    assert_int_equal(u.generation, 3);
    assert_true(u.fresh);
    assert_true(u.policy.node_witness);
    assert_false(u.policy.paused);
    assert_int_equal(u.policy.coverage_permille, 1000);
    assert_int_equal(u.policy.max_bad, 0);
    assert_int_equal(u.policy.max_namespaces, 0);
    assert_int_equal(u.policy.evidence_max_age_ms, 45000);
    assert_int_equal(u.policy.dwell_start_ms, 180000);
    assert_int_equal(u.policy.dwell_absent_ms, 60000);
    assert_int_equal(u.policy.dwell_ack_ms, 30000);
    assert_int_equal(u.policy.dwell_conflict_ms, 60000);
    assert_int_equal(u.policy.n_waves, 1);
    assert_int_equal(u.waves[0].soak_ms, 300000);
    assert_false(u.waves[0].manual);
    assert_int_equal(u.progress.wave, 0);
    assert_false(u.progress.started);
    upgrade_done(&u);
}

static void everything_given(void **state) {
    struct upgrade u;
    assert_true(take(
        *state,
        "{\"from\":{\"revision\":\"default\"},\"to\":{\"revision\":\"nosuch\"},\"move\":\"NamespaceLabel\",\"paused\":true,"
        "\"resumeHold\":4,\"approvedWaves\":[\"b\"],\"waves\":[{\"name\":\"a\",\"soak\":\"90s\",\"approval\":\"Manual\","
        "\"namespaces\":{\"names\":[\"shop\"]}},{\"name\":\"b\",\"approval\":\"Manual\"}],\"policy\":{\"onFail\":\"Pause\","
        "\"nodeWitness\":\"Optional\",\"coveragePercent\":95,\"maxBadProxies\":2,\"maxInFlight\":{\"namespaces\":7},"
        "\"evidenceMaxAge\":\"30s\",\"startDwell\":\"2m\",\"absentDwell\":\"45s\",\"ackDwell\":\"20s\",\"conflictDwell\":"
        "\"1m\"}}",
        NULL, &u, NULL));
    assert_string_equal(u.from, "old"); /* the tag points there */
    assert_null(u.to);
    assert_true(u.policy.paused);
    assert_int_equal(u.policy.resume_hold, 4);
    assert_true(u.waves[0].manual && !u.waves[0].approved);
    assert_true(u.waves[1].manual && u.waves[1].approved);
    assert_int_equal(u.waves[0].soak_ms, 90000);
    assert_false(u.policy.node_witness);
    assert_int_equal(u.policy.coverage_permille, 950);
    assert_int_equal(u.policy.max_bad, 2);
    assert_int_equal(u.policy.max_namespaces, 7);
    assert_int_equal(u.policy.evidence_max_age_ms, 30000);
    assert_int_equal(u.policy.dwell_conflict_ms, 60000);
    upgrade_done(&u);
}

static void what_cannot_be_followed_names_its_field(void **state) {
    static const struct {
        const char *spec, *field;
    } rows[] = {
        {"{}", "spec.from.revision"},
        {"{\"from\":{\"revision\":\"old\"}," WAVES "}", "spec.to.revision"},
        {"{" REVS "}", "spec.waves"},
        {"{" REVS ",\"waves\":[]}", "spec.waves"},
        {"{" REVS ",\"waves\":{\"a\":1}}", "spec.waves"},
        {"{" REVS ",\"waves\":[{}]}", "spec.waves[0].name"},
        {"{" REVS ",\"waves\":[{\"name\":\"a\"},{\"name\":\"a\"}]}", "spec.waves[1].name"},
        {"{" REVS ",\"waves\":[{\"name\":\"a\",\"soak\":\"soon\"}]}", "spec.waves[0].soak"},
        {"{" REVS ",\"waves\":[{\"name\":\"a\",\"soak\":\"-5s\"}]}", "spec.waves[0].soak"},
        {"{" REVS ",\"waves\":[{\"name\":\"a\",\"soak\":\"9999999h\"}]}", "spec.waves[0].soak"},
        {"{" REVS ",\"waves\":[{\"name\":\"a\",\"soak\":5}]}", "spec.waves[0].soak"},
        {"{" REVS ",\"waves\":[{\"name\":\"a\",\"approval\":\"Maybe\"}]}", "spec.waves[0].approval"},
        {"{" REVS ",\"waves\":[{\"name\":\"a\",\"namespaces\":{\"percent\":0}}]}", "spec.waves[0].namespaces.percent"},
        {"{" REVS ",\"waves\":[{\"name\":\"a\",\"namespaces\":{\"percent\":101}}]}", "spec.waves[0].namespaces.percent"},
        {"{" REVS ",\"waves\":[{\"name\":\"a\",\"namespaces\":{\"percent\":1,\"names\":[]}}]}", "spec.waves[0].namespaces"},
        {"{" REVS ",\"waves\":[{\"name\":\"a\",\"namespaces\":{\"names\":\"x\"}}]}", "spec.waves[0].namespaces.names"},
        {"{" REVS ",\"waves\":[{\"name\":\"a\",\"namespaces\":{\"selector\":{\"matchExpressions\":[{\"key\":\"a\","
         "\"operator\":\"Near\"}]}}}]}",
         "spec.waves[0].namespaces.selector"},
        {"{" REVS ",\"waves\":[{\"name\":\"a\",\"namespaces\":[]}]}", "spec.waves[0].namespaces"},
        {"{" REVS "," WAVES ",\"move\":\"Teleport\"}", "spec.move"},
        {"{" REVS "," WAVES ",\"paused\":\"yes\"}", "spec.paused"},
        {"{" REVS "," WAVES ",\"resumeHold\":-1}", "spec.resumeHold"},
        {"{" REVS "," WAVES ",\"policy\":{\"nodeWitness\":\"Never\"}}", "spec.policy.nodeWitness"},
        {"{" REVS "," WAVES ",\"policy\":{\"coveragePercent\":0}}", "spec.policy.coveragePercent"},
        {"{" REVS "," WAVES ",\"policy\":{\"coveragePercent\":99.5}}", "spec.policy.coveragePercent"},
        {"{" REVS "," WAVES ",\"policy\":{\"maxBadProxies\":-1}}", "spec.policy.maxBadProxies"},
        {"{" REVS "," WAVES ",\"policy\":{\"maxInFlight\":{\"namespaces\":\"all\"}}}",
         "spec.policy.maxInFlight.namespaces"},
        {"{" REVS "," WAVES ",\"policy\":{\"evidenceMaxAge\":\"1y\"}}", "spec.policy.evidenceMaxAge"},
        {"{" REVS "," WAVES ",\"policy\":{\"onFail\":\"Rollback\"}}", "spec.policy.onFail"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct upgrade u;
        struct err err = {.code = ERR_NONE};
        bool ok = take(*state, rows[i].spec, NULL, &u, &err);
        upgrade_done(&u);
        size_t n = strlen(rows[i].field);
        if (ok || strncmp(err.text, rows[i].field, n) != 0 || err.text[n] != ':') {
            fail_msg("%s: %s", rows[i].spec, ok ? "was taken" : err.text);
        }
    }
}

static void progress_is_read_back(void **state) {
    struct upgrade u;
    /* WALL is 2026-09-21T14:13:20Z */
    assert_true(
        take(*state, "{" REVS "," WAVES "}",
             "{\"progress\":{\"wave\":1,\"started\":true},\"waves\":[{\"name\":\"a\"},{\"name\":\"b\",\"soakStartedAt\":"
             "\"2026-09-21T14:12:20Z\",\"startedAt\":\"2026-09-21T14:00:00Z\"},{\"name\":\"c\"}],\"hold\":{\"id\":3,"
             "\"active\":true,\"reason\":\"Nack\"},\"startedAt\":\"2026-09-21T13:13:20Z\"}",
             &u, NULL));
    assert_false(u.fresh);
    assert_int_equal(u.progress.wave, 1);
    assert_true(u.progress.started);
    assert_int_equal(u.progress.soak_started_ms, NOW - 60000);
    assert_int_equal(u.progress.hold_id, 3);
    assert_true(u.progress.held);
    assert_int_equal(u.progress.hold_reason, REASON_NACK);
    assert_int_equal(u.started_wall_ms, WALL - 3600000);
    upgrade_done(&u);
}

static int64_t soak_of(struct fix *f, const char *text) {
    struct upgrade u;
    char *status = mem_printf(
        "{\"progress\":{\"wave\":0,\"started\":true},\"waves\":[{\"name\":\"a\",\"soakStartedAt\":\"%s\"}]}", text);
    assert_true(take(f, "{" REVS "," WAVES "}", status, &u, NULL));
    int64_t at = u.progress.soak_started_ms;
    upgrade_done(&u);
    free(status);
    return at;
}

static void a_soak_may_be_older_than_this_machine(void **state) {
    assert_int_equal(soak_of(*state, "2026-09-21T13:13:20Z"), NOW - 3600000);
    assert_int_equal(soak_of(*state, "2026-09-21T14:05:00Z"), -1); /* 0 would be none */
    assert_int_equal(soak_of(*state, "2027-01-01T00:00:00Z"), NOW);
    assert_int_equal(soak_of(*state, "yesterday"), 0);
}

static void progress_goes_as_far_as_the_names_of_waves(void **state) {
    static const struct {
        const char *status;
        uint32_t wave;
        bool started;
    } rows[] = {
        {"{\"progress\":{\"wave\":2,\"started\":true},\"waves\":[{\"name\":\"a\"},{\"name\":\"b\"},{\"name\":\"c\"}]}", 2,
         true},
        {"{\"progress\":{\"wave\":3},\"waves\":[{\"name\":\"a\"},{\"name\":\"b\"},{\"name\":\"c\"}]}", 3, false},
        {"{\"progress\":{\"wave\":2,\"started\":true},\"waves\":[{\"name\":\"a\"},{\"name\":\"x\"},{\"name\":\"c\"}]}", 1,
         false},
        {"{\"progress\":{\"wave\":1,\"started\":true},\"waves\":[{\"name\":\"a\"},{\"name\":\"x\"},{\"name\":\"c\"}]}", 1,
         false},
        {"{\"progress\":{\"wave\":2,\"started\":true},\"waves\":[{\"name\":\"b\"},{\"name\":\"a\"}]}", 0, false},
        {"{\"progress\":{\"wave\":9,\"started\":true},\"waves\":[{\"name\":\"a\"}]}", 1, false},
        {"{\"progress\":{\"wave\":-1,\"started\":true},\"waves\":[{\"name\":\"a\"}]}", 0, false},
        {"{\"progress\":{\"wave\":99999999999,\"started\":true},\"waves\":[{\"name\":\"a\"}]}", 0, false},
        {"{\"progress\":{\"wave\":\"2\",\"started\":\"yes\"},\"waves\":\"none\"}", 0, false},
        {"{\"hold\":{\"id\":-4,\"active\":1}}", 0, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct upgrade u;
        assert_true(take(*state, "{" REVS "," WAVES "}", rows[i].status, &u, NULL));
        if (u.progress.wave != rows[i].wave || u.progress.started != rows[i].started) {
            fail_msg("%s: wave %u, started %d", rows[i].status, u.progress.wave, u.progress.started);
        }
        upgrade_done(&u);
    }
}

static uint32_t wave(struct fix *f, const char *waves, const char *namespace_, const char *labels) {
    struct upgrade u;
    char *spec = mem_printf("{" REVS ",\"waves\":[%s]}", waves);
    json_t *l = labels ? parse(labels) : NULL;
    assert_true(take(f, spec, NULL, &u, NULL));
    uint32_t i = upgrade_wave_of(&u, namespace_, l);
    upgrade_done(&u);
    json_decref(l);
    free(spec);
    return i;
}

static void waves_take_namespaces(void **state) {
    const char *three =
        "{\"name\":\"a\",\"namespaces\":{\"names\":[\"x\",\"y\"]}},{\"name\":\"b\",\"namespaces\":{\"selector\":"
        "{\"matchLabels\":{\"team\":\"blue\"}}}},{\"name\":\"c\",\"namespaces\":{}}";
    assert_int_equal(wave(*state, three, "x", NULL), 0);
    assert_int_equal(wave(*state, three, "y", "{\"team\":\"blue\"}"), 0);
    assert_int_equal(wave(*state, three, "z", "{\"team\":\"blue\"}"), 1);
    assert_int_equal(wave(*state, three, "z", "{\"team\":\"red\"}"), 2);
    assert_int_equal(wave(*state, "{\"name\":\"a\",\"namespaces\":{\"names\":[\"x\"]}}", "z", NULL), IDX_NONE);
    /* a name outweighs a share, whatever the order */
    assert_int_equal(
        wave(*state,
             "{\"name\":\"a\",\"namespaces\":{\"percent\":100}},{\"name\":\"b\",\"namespaces\":{\"names\":[\"x\"]}}", "x",
             NULL),
        1);
}

static void percent_is_a_stable_share(void **state) {
    const char *waves = "{\"name\":\"a\",\"namespaces\":{\"percent\":10}},{\"name\":\"b\",\"namespaces\":{\"percent\":30}},"
                        "{\"name\":\"c\"}";
    unsigned counts[3] = {0};
    for (int i = 0; i < 2000; i++) {
        char name[32];
        snprintf(name, sizeof name, "team-%d", i);
        uint32_t w = wave(*state, waves, name, NULL);
        assert_int_equal(w, wave(*state, waves, name, "{\"new\":\"label\"}"));
        assert_in_range(w, 0, 2);
        counts[w]++;
    }
    assert_in_range(counts[0], 140, 260);
    assert_in_range(counts[1], 500, 700);
}

static void concern(void **state) {
    static const struct {
        const char *labels, *annotations;
        bool concerned;
    } rows[] = {
        {"{}", "{}", false},
        {"{\"istio-injection\":\"enabled\"}", "{}", true}, /* the default tag points to old */
        {"{\"istio.io/rev\":\"old\"}", "{}", true},
        {"{\"istio.io/rev\":\"canary\"}", "{}", true},
        {"{\"istio.io/rev\":\"default\"}", "{}", true},
        {"{\"istio.io/rev\":\"nosuch\"}", "{}", false},
        {"{\"istio-injection\":\"disabled\"}", "{}", false},
        {"{\"istio-injection\":\"disabled\",\"istio.io/rev\":\"old\"}", "{}", false},
        {"{}", "{\"meshgate.io/moved-by\":\"to-canary/0a1b2c3d\"}", true},
        {"{}", "{\"meshgate.io/moved-by\":\"other/0a1b2c3d\"}", false},
    };
    struct fix *f = *state;
    struct upgrade u;
    char name[] = "team";
    assert_true(take(f, "{" REVS "," WAVES "}", NULL, &u, NULL));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct inv_namespace ns = {
            .name = name, .labels = parse(rows[i].labels), .annotations = parse(rows[i].annotations)};
        if (upgrade_concerns(&u, &f->t.inv, &ns) != rows[i].concerned) {
            fail_msg("%s %s", rows[i].labels, rows[i].annotations);
        }
        json_decref(ns.labels);
        json_decref(ns.annotations);
    }
    upgrade_done(&u);
}

static void completed_speaks_of_this_spec(void **state) {
    (void)state;
    struct inv_upgrade o = {.generation = 4};
    assert_false(upgrade_completed(&o));
    o.status = parse("{\"phase\":\"Completed\",\"observedGeneration\":4}");
    assert_true(upgrade_completed(&o));
    o.generation = 5;
    assert_false(upgrade_completed(&o));
    json_decref(o.status);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, inventory_fix_full, inventory_fix_done)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(defaults),
        TEST(everything_given),
        TEST(what_cannot_be_followed_names_its_field),
        TEST(progress_is_read_back),
        TEST(a_soak_may_be_older_than_this_machine),
        TEST(progress_goes_as_far_as_the_names_of_waves),
        TEST(waves_take_namespaces),
        TEST(percent_is_a_stable_share),
        TEST(concern),
        TEST(completed_speaks_of_this_spec),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
