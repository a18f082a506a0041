/* What is told: the status object, its conditions, what counts as a change, Events, metrics, the table of proxies. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "core/decide.h"
#include "gate/publish.h"
#include "gate/row_text.h"
#include "gate_mesh.h"
#include "lib/base/json.h"
#include "lib/base/mem.h"
#include "lib/base/text.h"

static struct wave_tally tallies[8];
static struct decision decision;

/* Decide for the mesh as it is, on f's progress, and publish. */
static json_t *publish(struct gate_mesh *f, const json_t *previous) {
    const struct snapshot *seen = gate_mesh_join(f);
    int64_t now = sched_now(f->sched);
    decide(&f->upgrade.policy, seen, now, tallies, &decision);
    struct publication p = {&f->upgrade, f->join, seen, &decision, tallies, NULL, now, sched_wall(f->sched)};
    return publish_status(&p, previous);
}

static const json_t *reason_of(const json_t *status, const char *name) {
    const json_t *list = json_object_get(status, "reasons");
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (strcmp(js_text(json_array_get(list, i), "reason", NULL), name) == 0) {
            return json_array_get(list, i);
        }
    }
    return NULL;
}

static const json_t *condition_of(const json_t *status, const char *type) {
    const json_t *list = json_object_get(status, "conditions");
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (strcmp(js_text(json_array_get(list, i), "type", NULL), type) == 0) {
            return json_array_get(list, i);
        }
    }
    fail_msg("no condition %s", type);
    return NULL;
}

static const json_t *wave_of(const json_t *status, size_t i) {
    return json_array_get(json_object_get(status, "waves"), i);
}

static void assert_text(const json_t *o, const char *key, const char *want) {
    assert_string_equal(js_text(o, key, NULL), want);
}

/* The API server takes it as it is: the store enforces the CRD that is deployed. */
static void assert_accepted(struct gate_mesh *f, const json_t *status) {
    struct err err;
    json_t *o = json_pack("{s:s, s:s, s:{s:s}, s:O}", "apiVersion", "meshgate.io/v1alpha1", "kind", "MeshUpgrade",
                          "metadata", "name", "up", "spec", f->spec);
    if (!store_put(f->store, "meshupgrades", o, &err)) {
        fail_msg("%s", err.text);
    }
    json_t *patch = json_pack("{s:O}", "status", status);
    if (!store_patch(f->store, "meshupgrades", NULL, "up", patch, true, &err)) {
        fail_msg("%s", err.text);
    }
    json_decref(patch);
    const json_t *kept = json_object_get(store_get(f->store, "meshupgrades", NULL, "up"), "status");
    char *a = json_dumps(status, JSON_SORT_KEYS), *b = json_dumps(kept, JSON_SORT_KEYS);
    assert_string_equal(a, b); /* nothing was pruned */
    free(a);
    free(b);
}

static void in_doubt(void **state) {
    struct gate_mesh *f = *state;
    f->unread = true;
    json_t *s = publish(f, NULL);
    assert_text(s, "phase", "Hold");
    assert_text(s, "verdict", "Unknown");
    assert_text(s, "currentWave", "one");
    assert_int_equal(js_int(s, 0, "observedGeneration", NULL), 1);
    const json_t *r = reason_of(s, "ReplicaUnread");
    assert_text(r, "severity", "Unknown");
    assert_int_equal(js_int(r, 0, "count", NULL), 2);
    assert_non_null(strstr(js_text(json_array_get(json_object_get(r, "objects"), 0), "name", NULL), "istiod-"));
    assert_text(condition_of(s, "Ready"), "status", "False");
    assert_text(condition_of(s, "Progressing"), "status", "False");
    assert_text(condition_of(s, "Healthy"), "status", "Unknown");
    assert_null(json_object_get(s, "hold"));
    assert_accepted(f, s);
    json_decref(s);
}

static void moving(void **state) {
    struct gate_mesh *f = *state;
    gate_mesh_hear(f);
    json_t *s = publish(f, NULL);
    assert_text(s, "phase", "Moving");
    assert_text(s, "verdict", "Wait");
    assert_text(wave_of(s, 0), "state", "Moving");
    assert_text(wave_of(s, 1), "state", "Pending");
    assert_int_equal(js_int(wave_of(s, 0), 0, "namespaces", NULL), 1);
    assert_int_equal(js_int(s, 9, "summary", "moved", NULL), 0);
    assert_int_equal(js_int(s, 0, "summary", "byState", "NotStarted", NULL), js_int(s, -1, "summary", "expected", NULL));
    assert_int_equal(js_int(s, -1, "progress", "wave", NULL), 0);
    assert_true(js_bool(s, false, "progress", "started", NULL));
    assert_text(json_array_get(json_object_get(reason_of(s, "RelabelPending"), "objects"), 0), "name", "app-00");
    assert_text(s, "message", "app-00: is about to be relabelled");
    assert_text(condition_of(s, "Progressing"), "reason", "Moving");
    assert_text(condition_of(s, "Healthy"), "status", "True");
    assert_accepted(f, s);
    json_decref(s);
}

static void a_bad_signal_shows_istiods_text(void **state) {
    struct gate_mesh *f = *state;
    gate_mesh_patch(f, "app-00", "{\"labels\":{\"istio.io/rev\":\"canary\",\"istio-injection\":null}}");
    gate_mesh_join(f);
    char *pod =
        mem_dup(join_names(f->join)->pods[gate_mesh_proxy(f, "app-00", "web") - join_snapshot(f->join)->proxies]->name);
    /* as if the canary had injected it */
    struct inv_pod *p;
    for (p = f->inv->pods; strcmp(p->name, pod) != 0; p = p->hh.next) {
    }
    mem_set(&p->injected, "canary");
    f->rejecting = pod;
    gate_mesh_hear(f);
    json_t *s = publish(f, NULL);
    assert_text(s, "phase", "Paused");
    assert_text(s, "verdict", "Fail");
    const json_t *first = json_array_get(json_object_get(s, "reasons"), 0);
    assert_text(first, "reason", "Nack"); /* before the pause that it has made */
    assert_text(json_array_get(json_object_get(first, "objects"), 0), "message", "no such filter");
    char *want = mem_printf("app-00/%s: rejects its configuration: no such filter", pod);
    assert_text(s, "message", want);
    assert_int_equal(js_int(s, 0, "hold", "id", NULL), 1);
    assert_true(js_bool(s, false, "hold", "active", NULL));
    assert_string_equal(js_text(s, "hold", "reason", NULL), "Nack");
    assert_text(condition_of(s, "Healthy"), "status", "False");
    assert_accepted(f, s);

    /* what a restarted gate makes of it */
    f->status = s;
    gate_mesh_join(f);
    assert_true(f->upgrade.progress.held);
    assert_int_equal(f->upgrade.progress.hold_id, 1);
    assert_int_equal(f->upgrade.progress.hold_reason, REASON_NACK);
    free(want);
    free(pod);
}

/* The mesh with its first wave moved: as the canary's, by changing what the inventory says of its pods. */
static void first_wave_moved(struct gate_mesh *f) {
    gate_mesh_patch(f, "app-00", "{\"labels\":{\"istio.io/rev\":\"canary\",\"istio-injection\":null}}");
    for (struct inv_pod *p = f->inv->pods; p; p = p->hh.next) {
        if (strcmp(p->namespace_, "app-00") == 0) {
            mem_set(&p->injected, "canary");
        }
    }
    gate_mesh_hear(f);
}

static void a_soak_survives_the_gate(void **state) {
    struct gate_mesh *f = *state;
    gate_mesh_pass(f, 300); /* between two seconds */
    first_wave_moved(f);
    int64_t begun = sched_now(f->sched);
    json_t *s = publish(f, NULL);
    assert_text(s, "phase", "Soaking");
    assert_text(wave_of(s, 0), "state", "Soaking");
    int64_t from, until;
    assert_true(text_rfc3339(js_text(wave_of(s, 0), "soakStartedAt", NULL), &from));
    assert_true(text_rfc3339(js_text(wave_of(s, 0), "soakUntil", NULL), &until));
    assert_int_equal(until - from, 10000);
    assert_accepted(f, s);
    f->status = s;
    gate_mesh_pass(f, 5000);
    gate_mesh_hear(f);
    gate_mesh_join(f);
    assert_in_range(f->upgrade.progress.soak_started_ms, begun, begun + 999); /* never shorter */
    json_t *again = publish(f, s);
    assert_true(publish_same(s, again));
    json_decref(again);
    gate_mesh_pass(f, 6000);
    gate_mesh_hear(f);
    again = publish(f, s);
    assert_text(wave_of(again, 0), "state", "Done");
    assert_text(wave_of(again, 0), "soakStartedAt", js_text(wave_of(s, 0), "soakStartedAt", NULL));
    assert_text(again, "currentWave", "rest");
    assert_true(publish_urgent(s, again));
    json_decref(again);
}

static void times_are_kept(void **state) {
    struct gate_mesh *f = *state;
    gate_mesh_hear(f);
    json_t *a = publish(f, NULL);
    gate_mesh_pass(f, 20000);
    gate_mesh_hear(f);
    json_t *b = publish(f, a);
    assert_true(json_equal(a, b));
    f->unread = true;
    json_t *c = publish(f, b);
    assert_string_not_equal(js_text(condition_of(b, "Ready"), "lastTransitionTime", NULL),
                            js_text(condition_of(c, "Ready"), "lastTransitionTime", NULL));
    assert_text(c, "startedAt", js_text(a, "startedAt", NULL));
    assert_false(publish_same(b, c));
    assert_true(publish_urgent(b, c));
    json_decref(a);
    json_decref(b);
    json_decref(c);
}

static void counts_alone_are_not_urgent(void **state) {
    struct gate_mesh *f = *state;
    gate_mesh_hear(f);
    json_t *a = publish(f, NULL), *b = json_deep_copy(a);
    json_object_set_new(json_object_get(b, "summary"), "moved", json_integer(3));
    assert_false(publish_same(a, b));
    assert_false(publish_urgent(a, b));
    json_object_set_new(json_array_get(json_object_get(b, "waves"), 0), "soakStartedAt",
                        json_string("2026-09-21T14:12:20Z"));
    assert_true(publish_urgent(a, b));
    assert_false(publish_same(a, NULL));
    json_decref(a);
    json_decref(b);
}

static void a_blocked_one_keeps_its_progress(void **state) {
    struct gate_mesh *f = *state;
    first_wave_moved(f);
    json_t *s = publish(f, NULL);
    json_t *b = publish_blocked("up", 2, REASON_SPEC_INVALID, NULL, "spec.waves[0].soak: no", s, sched_wall(f->sched));
    assert_text(b, "phase", "Hold");
    assert_text(b, "verdict", "Unknown");
    assert_true(js_bool(b, false, "progress", "started", NULL));
    assert_text(wave_of(b, 0), "soakStartedAt", js_text(wave_of(s, 0), "soakStartedAt", NULL));
    assert_text(b, "message", "up: the spec cannot be followed: spec.waves[0].soak: no");
    assert_text(condition_of(b, "Ready"), "reason", "SpecInvalid");
    assert_accepted(f, b);
    json_decref(b);
    b = publish_blocked("up", 2, REASON_UPGRADE_IN_PROGRESS, "older", NULL, NULL, sched_wall(f->sched));
    assert_text(b, "verdict", "Wait");
    assert_text(json_array_get(json_object_get(reason_of(b, "UpgradeInProgress"), "objects"), 0), "name", "older");
    assert_accepted(f, b);
    json_decref(b);
    json_decref(s);
}

static json_t *table(struct gate_mesh *f, const struct snapshot *seen, const char *upgrade) {
    struct buf out;
    struct err err = {0};
    buf_init(&out, 1 << 20);
    publish_proxies(f->join, seen, upgrade, sched_now(f->sched), &out);
    assert_false(out.over);
    json_t *v = js_parse(out.p, out.len, 1 << 20, &err);
    assert_string_equal(err.text, "");
    buf_done(&out);
    return v;
}

static void the_table_of_proxies(void **state) {
    struct gate_mesh *f = *state;
    gate_mesh_hear(f);
    const struct snapshot *seen = gate_mesh_join(f);
    gate_mesh_pass(f, 700);
    json_t *v = table(f, seen, "up");
    assert_text(v, "upgrade", "up");
    const json_t *list = json_object_get(v, "proxies"), *row = NULL;
    assert_int_equal(json_array_size(list), seen->n_proxies);
    for (size_t i = 0; i < json_array_size(list) && !row; i++) {
        const json_t *r = json_array_get(list, i);
        row = strcmp(js_text(r, "owner", NULL), "web") == 0 ? r : NULL;
    }
    assert_text(row, "owner_kind", "Deployment");
    assert_text(row, "type", "sidecar");
    assert_text(row, "state", "NotStarted");
    assert_text(row, "expected", "old");
    assert_text(row, "attached", "old");
    assert_text(row, "dials", "old");
    assert_text(row, "sync", "Synced");
    assert_text(row, "version", "Matches");
    assert_text(row, "accepted_cds", f->accepted);
    assert_text(row, "acked_cds", f->version);
    assert_text(row, "accepted_lds", f->accepted);
    assert_text(row, "acked_lds", f->version);
    assert_true(json_is_object(json_object_get(row, "types")));
    assert_int_equal(js_int(row, 0, "since_ms", NULL), 700);
    json_decref(v);
    v = table(f, seen, NULL);
    assert_true(json_is_null(json_object_get(v, "upgrade")));
    assert_int_equal(json_array_size(json_object_get(v, "proxies")), seen->n_proxies);
    json_decref(v);
}

static void sync_type_by_type(void **state) {
    (void)state;
    static const struct {
        const char *letters, *text;
    } rows[] = {{"", "{\"types\":{}}"},
                {"SPEN", "{\"types\":{\"CDS\":\"Synced\",\"LDS\":\"Pending\",\"EDS\":\"Error\",\"RDS\":\"NotSent\"}}"},
                {"S-------S-P", "{\"types\":{\"CDS\":\"Synced\",\"WDS\":\"Synced\",\"others\":\"Pending\"}}"},
                {"?x-------------------S", "{\"types\":{}}"}}; /* from a peer: unknown letters, too many of them */
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct attach_fact a = {.types = (char *)(uintptr_t)rows[i].letters};
        struct buf out;
        struct jtext t;
        buf_init(&out, 1000);
        jtext_init(&t, &out);
        jtext_open(&t, NULL, '{');
        row_types(&t, &a);
        jtext_close(&t, '}');
        assert_string_equal(out.p, rows[i].text);
        buf_done(&out);
    }
}

static void a_bare_pod_is_its_own_owner(void **state) {
    struct gate_mesh *f = *state;
    gate_mesh_hear(f);
    const struct snapshot *seen = gate_mesh_join(f);
    uint32_t i = 0;
    while (i < seen->n_proxies && seen->proxies[i].workload != IDX_NONE) {
        i++;
    }
    if (i == seen->n_proxies) { /* make one */
        i = 0;
        seen->proxies[i].workload = IDX_NONE;
    }
    struct row_owner o = row_owner(join_names(f->join), seen, i);
    assert_string_equal(o.kind, "Pod");
    assert_string_equal(o.name, join_names(f->join)->pods[i]->name);
}

static void metrics_have_no_names_of_pods(void **state) {
    struct gate_mesh *f = *state;
    struct metrics *m = metrics_new();
    struct buf b;
    buf_init(&b, 1 << 20);
    gate_mesh_hear(f);
    json_t *s = publish(f, NULL);
    struct publication p = {&f->upgrade, f->join, join_snapshot(f->join), &decision, tallies, NULL, 1, 1};
    publish_metrics(m, &p);
    publish_metrics(m, &p);
    metrics_write(m, &b);
    assert_non_null(strstr(b.p, "meshgate_upgrade_phase{upgrade=\"up\",phase=\"Moving\"} 1"));
    assert_non_null(strstr(b.p, "meshgate_wave_moved{upgrade=\"up\",wave=\"one\"} 0"));
    assert_non_null(strstr(b.p, "meshgate_reasons{upgrade=\"up\",reason=\"RelabelPending\"} 1"));
    assert_null(strstr(b.p, "app-0"));
    publish_metrics_mesh(m, join_snapshot(f->join));
    buf_reset(&b);
    metrics_write(m, &b);
    assert_null(strstr(b.p, "upgrade=\"up\""));
    assert_non_null(strstr(b.p, "meshgate_proxies{state=\"NotStarted\"}"));
    buf_done(&b);
    metrics_free(m);
    json_decref(s);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, gate_mesh_setup, gate_mesh_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(in_doubt),
        TEST(moving),
        TEST(a_bad_signal_shows_istiods_text),
        TEST(a_soak_survives_the_gate),
        TEST(times_are_kept),
        TEST(counts_alone_are_not_urgent),
        TEST(a_blocked_one_keeps_its_progress),
        TEST(the_table_of_proxies),
        TEST(a_bare_pod_is_its_own_owner),
        cmocka_unit_test(sync_type_by_type),
        TEST(metrics_have_no_names_of_pods),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
