/* Inventory and evidence become rows; how long things have been so is remembered. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "core/decide.h"
#include "gate_mesh.h"
#include "lib/base/json.h"
#include "lib/base/mem.h"

#define READ_OK MESHGATE__V1__READ_STATUS__READ_OK
#define READ_TIMEOUT MESHGATE__V1__READ_STATUS__READ_TIMEOUT

static uint32_t revision(struct gate_mesh *f, const char *name) {
    const struct snapshot *s = join_snapshot(f->join);
    for (uint32_t i = 0; i < s->n_revisions; i++) {
        if (strcmp(join_names(f->join)->revisions[i], name) == 0) {
            return i;
        }
    }
    return IDX_NONE;
}

static const char *pod_name(struct gate_mesh *f, const struct proxy_row *p) {
    return join_names(f->join)->pods[p - join_snapshot(f->join)->proxies]->name;
}

static void without_evidence_nothing_is_known(void **state) {
    struct gate_mesh *f = *state;
    f->unread = true;
    const struct snapshot *s = gate_mesh_join(f);
    assert_true(s->inventory_fresh);
    assert_int_equal(s->n_namespaces, HASH_COUNT(f->inv->namespaces));
    assert_int_equal(s->n_replicas, 2);
    assert_true(s->revisions[f->upgrade.policy.from].installed && s->revisions[f->upgrade.policy.from].has_injector);
    assert_int_equal(s->revisions[f->upgrade.policy.to].replicas, 1);
    assert_int_equal(gate_mesh_namespace(f, "app-00")->wave, 0);
    assert_int_equal(gate_mesh_namespace(f, "app-01")->wave, 1);
    assert_true(s->n_proxies >= 8);
    for (uint32_t i = 0; i < s->n_replicas; i++) {
        assert_false(s->replicas[i].assigned);
        assert_int_equal(s->replicas[i].answered_ms, 0);
    }
    for (uint32_t i = 0; i < s->n_proxies; i++) {
        const struct proxy_row *p = &s->proxies[i];
        assert_int_equal(p->expected, revision(f, "old"));
        assert_int_equal(p->injected, revision(f, "old"));
        assert_int_equal(p->attached, REV_UNKNOWN);
        assert_int_equal(p->node_at_ms, 0);
        assert_int_equal(p->state, STATE_UNKNOWN);
        assert_true(p->ready && p->workload < s->n_workloads && p->node < s->n_nodes);
        assert_true(p->created_ms < sched_now(f->sched));
    }
}

static void all_witnesses_are_joined(void **state) {
    struct gate_mesh *f = *state;
    gate_mesh_hear(f);
    const struct snapshot *s = gate_mesh_join(f);
    const struct proxy_row *p = gate_mesh_proxy(f, "app-01", "web");
    assert_int_equal(p->attached, revision(f, "old"));
    assert_int_equal(s->replicas[p->replica].revision, revision(f, "old"));
    assert_int_equal(p->attached_at_ms, sched_now(f->sched));
    assert_int_equal(p->sync, SYNC_SYNCED);
    assert_int_equal(p->sync_at_ms, sched_now(f->sched));
    assert_int_equal(p->dials, revision(f, "old"));
    assert_true(p->xds_up);
    assert_int_equal(p->version, VERSION_MATCHES);
    assert_int_equal(p->node_at_ms, sched_now(f->sched));
    assert_int_equal(p->state, STATE_NOT_STARTED);
    assert_true(s->nodes[p->node].agent && s->nodes[p->node].witness && s->nodes[p->node].reach_ok);
    assert_true(s->replicas[0].assigned);
    assert_int_equal(s->workloads[p->workload].kind, KIND_DEPLOYMENT);
}

static void an_absence_is_counted_by_readings(void **state) {
    struct gate_mesh *f = *state;
    gate_mesh_hear(f);
    gate_mesh_join(f);
    f->unlisted = pod_name(f, gate_mesh_proxy(f, "app-00", "web"));
    gate_mesh_pass(f, 10000);
    gate_mesh_read(f, NULL, READ_OK);
    int64_t first = sched_now(f->sched);
    for (int i = 0; i < 3; i++) {
        gate_mesh_join(f);
        const struct proxy_row *p = gate_mesh_proxy(f, "app-00", f->unlisted);
        assert_int_equal(p->attached, REV_NONE);
        assert_int_equal(p->absent_looks, 1); /* however often it is looked at */
        assert_int_equal(p->detached_since_ms, first);
        gate_mesh_pass(f, 100);
    }
    gate_mesh_pass(f, 10000);
    gate_mesh_read(f, "old", READ_OK); /* only one of two: no complete look yet */
    gate_mesh_join(f);
    assert_int_equal(gate_mesh_proxy(f, "app-00", f->unlisted)->absent_looks, 1);
    gate_mesh_read(f, "canary", READ_OK);
    gate_mesh_join(f);
    assert_int_equal(gate_mesh_proxy(f, "app-00", f->unlisted)->absent_looks, 2);
    assert_int_equal(gate_mesh_proxy(f, "app-00", f->unlisted)->detached_since_ms, first);

    const char *name = f->unlisted;
    f->unlisted = NULL;
    gate_mesh_pass(f, 10000);
    gate_mesh_hear(f);
    gate_mesh_join(f);
    assert_int_equal(gate_mesh_proxy(f, "app-00", name)->absent_looks, 0);
    assert_int_equal(gate_mesh_proxy(f, "app-00", name)->detached_since_ms, 0);
}

static void a_silent_replica_makes_absence_unknown(void **state) {
    struct gate_mesh *f = *state;
    gate_mesh_hear(f);
    gate_mesh_join(f);
    f->unlisted = pod_name(f, gate_mesh_proxy(f, "app-00", "web"));
    gate_mesh_pass(f, 46000);
    gate_mesh_read(f, "old", READ_OK);
    gate_mesh_join(f);
    const struct proxy_row *p = gate_mesh_proxy(f, "app-00", f->unlisted);
    assert_int_equal(p->attached, REV_UNKNOWN);
    assert_int_equal(p->absent_looks, 0);
    assert_int_equal(p->state, STATE_UNKNOWN);
}

static void a_stream_of_the_pod_before_it_is_not_its_own(void **state) {
    struct gate_mesh *f = *state;
    f->connected_before_ms = 3600000;
    gate_mesh_hear(f);
    gate_mesh_join(f);
    assert_int_equal(gate_mesh_proxy(f, "app-00", "web")->attached, REV_NONE);
}

static void nor_is_one_with_its_address_on_another_revision(void **state) {
    struct gate_mesh *f = *state;
    f->connected_before_ms = sched_wall(f->sched) - f->inv->pods->created_wall_ms + 30000;
    gate_mesh_hear(f);
    gate_mesh_join(f);
    const struct proxy_row *p = gate_mesh_proxy(f, "app-00", "db");
    assert_int_equal(p->attached, revision(f, "old")); /* clocks differ by less than that */

    json_t *patch = json_pack("{s:{s:{s:s}}}", "metadata", "annotations", "istio.io/rev", "canary");
    struct err err = {0};
    assert_true(store_patch(f->store, "pods", "app-00", "db-0", patch, false, &err));
    json_decref(patch);
    gate_mesh_pass(f, 1000);
    gate_mesh_join(f);
    p = gate_mesh_proxy(f, "app-00", "db");
    assert_int_equal(p->injected, revision(f, "canary"));
    assert_int_equal(p->attached, REV_NONE);
}

static void versions_that_differ_are_timed(void **state) {
    struct gate_mesh *f = *state;
    f->accepted = "2026-11-23T06:00:16Z/0";
    gate_mesh_hear(f);
    int64_t first = sched_now(f->sched);
    gate_mesh_join(f);
    gate_mesh_pass(f, 10000);
    gate_mesh_hear(f);
    gate_mesh_join(f);
    assert_int_equal(gate_mesh_proxy(f, "app-00", "web")->version, VERSION_DIFFERS);
    assert_int_equal(gate_mesh_proxy(f, "app-00", "web")->version_differs_since_ms, first);

    f->accepted = "2026-11-23T06:00:16Z/00"; /* it goes on accepting */
    gate_mesh_pass(f, 10000);
    gate_mesh_hear(f);
    gate_mesh_join(f);
    assert_int_equal(gate_mesh_proxy(f, "app-00", "web")->version_differs_since_ms, sched_now(f->sched));
    f->accepted = "2026-11-23T06:00:17Z/2"; /* later than what istiod knew when it was read */
    gate_mesh_hear(f);
    gate_mesh_join(f);
    assert_int_equal(gate_mesh_proxy(f, "app-00", "web")->version, VERSION_AHEAD);
    f->accepted = "a version of some other form";
    gate_mesh_hear(f);
    gate_mesh_join(f);
    assert_int_equal(gate_mesh_proxy(f, "app-00", "web")->version, VERSION_DIFFERS);
    f->accepted = "";
    gate_mesh_hear(f);
    gate_mesh_join(f);
    assert_int_equal(gate_mesh_proxy(f, "app-00", "web")->version, VERSION_UNKNOWN);
    assert_int_equal(gate_mesh_proxy(f, "app-00", "web")->version_differs_since_ms, 0);
}

static void behind_an_old_sync_is_behind(void **state) {
    struct gate_mesh *f = *state;
    f->accepted = "2026-11-23T06:00:15Z/1";
    gate_mesh_hear(f);
    gate_mesh_pass(f, 46000);
    gate_mesh_read(f, NULL, READ_TIMEOUT);
    gate_mesh_join(f);
    assert_int_equal(gate_mesh_proxy(f, "app-00", "web")->version, VERSION_DIFFERS);
}

/* What is known of a proxy that has not started for want of a certificate comes from its agent alone. */
static void turned_away_before_envoy_answers(void **state) {
    struct gate_mesh *f = *state;
    gate_mesh_join(f);
    f->unlisted = f->turned_away = pod_name(f, gate_mesh_proxy(f, "app-00", "web"));
    gate_mesh_hear(f);
    int64_t first = sched_now(f->sched);
    gate_mesh_join(f);
    const struct proxy_row *p = gate_mesh_proxy(f, "app-00", f->turned_away);
    assert_true(p->refused);
    assert_int_equal(p->cut_since_ms, first);
    f->turned_away = NULL;
    gate_mesh_hear(f);
    gate_mesh_join(f);
    p = gate_mesh_proxy(f, "app-00", f->unlisted);
    assert_false(p->refused);
    assert_int_equal(p->cut_since_ms, 0);
}

static void a_lying_agent_is_not_believed_for_a_while(void **state) {
    struct gate_mesh *f = *state;
    gate_mesh_hear(f);
    gate_mesh_join(f);
    const struct proxy_row *p = gate_mesh_proxy(f, "app-00", "web");
    const char *node = join_names(f->join)->nodes[p->node];
    evidence_disbelieve(f->evidence, node, sched_now(f->sched));
    const struct snapshot *s = gate_mesh_join(f);
    assert_true(s->nodes[gate_mesh_proxy(f, "app-00", "web")->node].disbelieved);
    gate_mesh_pass(f, 600000);
    gate_mesh_hear(f);
    s = gate_mesh_join(f);
    assert_false(s->nodes[gate_mesh_proxy(f, "app-00", "web")->node].disbelieved);
}

static void wishes_and_notes(void **state) {
    struct gate_mesh *f = *state;
    gate_mesh_hear(f);
    gate_mesh_join(f);
    assert_true(gate_mesh_proxy(f, "app-00", "web")->asks);
    assert_int_equal(gate_mesh_proxy(f, "app-00", "web")->note, REASON_NONE);
    gate_mesh_patch(f, "app-01", "{\"labels\":{\"istio.io/rev\":\"nosuch\"}}");
    gate_mesh_join(f);
    assert_true(gate_mesh_proxy(f, "app-01", "web")->dangling);
    assert_int_equal(gate_mesh_proxy(f, "app-01", "web")->reason, REASON_NOT_INSTALLED);
    gate_mesh_patch(f, "app-01", "{\"labels\":{\"istio.io/rev\":\"old\"}}");
    json_t *patch = json_pack("{s:{s:{s:s}, s:{s:s}}}", "metadata", "labels", "istio.io/rev", "canary", "annotations",
                              "sidecar.istio.io/proxyImage", "x");
    struct err err = {0};
    assert_true(store_patch(f->store, "pods", "app-00", "db-0", patch, false, &err));
    json_object_del(json_object_get(json_object_get(patch, "metadata"), "annotations"), "sidecar.istio.io/proxyImage");
    assert_true(
        store_patch(f->store, "pods", "app-01", pod_name(f, gate_mesh_proxy(f, "app-01", "web")), patch, false, &err));
    json_decref(patch);
    gate_mesh_pass(f, 1000);
    gate_mesh_join(f);
    assert_int_equal(gate_mesh_proxy(f, "app-00", "db")->note, REASON_CUSTOM_IMAGE);
    bool ignored = false;
    for (uint32_t i = 0; i < join_snapshot(f->join)->n_proxies; i++) {
        ignored |= join_snapshot(f->join)->proxies[i].note == REASON_POD_LABEL_IGNORED;
    }
    assert_true(ignored);
}

static void an_old_sync_is_not_compared(void **state) {
    struct gate_mesh *f = *state;
    gate_mesh_hear(f);
    gate_mesh_pass(f, 46000);
    gate_mesh_read(f, NULL, READ_TIMEOUT);
    gate_mesh_join(f);
    assert_int_equal(gate_mesh_proxy(f, "app-00", "web")->attached_at_ms, sched_now(f->sched));
    assert_int_equal(gate_mesh_proxy(f, "app-00", "web")->version, VERSION_UNKNOWN);
}

static bool blocked(struct gate_mesh *f) {
    const struct snapshot *s = gate_mesh_join(f);
    return s->replicas[0].push_blocked || s->replicas[1].push_blocked;
}

static void a_syncz_that_stays_silent_is_blocked(void **state) {
    struct gate_mesh *f = *state;
    gate_mesh_hear(f);
    for (int i = 0; i < 4; i++) {
        gate_mesh_pass(f, 10000);
        gate_mesh_read(f, "old", READ_TIMEOUT);
        assert_int_equal(blocked(f), i == 3);
    }
    gate_mesh_pass(f, 10000);
    gate_mesh_read(f, "old", READ_OK);
    assert_false(blocked(f));
}

static void a_replica_that_was_frozen_is_not_blocked(void **state) {
    struct gate_mesh *f = *state;
    gate_mesh_hear(f);
    gate_mesh_read(f, "old", READ_TIMEOUT); /* the last word before it froze */
    for (int i = 0; i < 20; i++) {
        gate_mesh_pass(f, 10000);
        assert_false(blocked(f));
    }
}

static void labels_and_marks(void **state) {
    struct gate_mesh *f = *state;
    gate_mesh_patch(f, "app-00", "{\"labels\":{\"istio.io/rev\":\"canary\"}}");
    gate_mesh_join(f);
    assert_true(gate_mesh_namespace(f, "app-00")->leftover);
    assert_false(gate_mesh_namespace(f, "app-00")->relabelled_by_us);
    assert_int_equal(gate_mesh_proxy(f, "app-00", "web")->expected, revision(f, "old"));
    gate_mesh_patch(f, "app-00",
                    "{\"labels\":{\"istio-injection\":null},\"annotations\":{\"meshgate.io/moved-by\":\"up/12345678\"}}");
    gate_mesh_join(f);
    assert_true(gate_mesh_namespace(f, "app-00")->relabelled);
    assert_true(gate_mesh_namespace(f, "app-00")->relabelled_by_us);
    assert_int_equal(gate_mesh_proxy(f, "app-00", "web")->expected, revision(f, "canary"));
    gate_mesh_patch(f, "app-00", "{\"labels\":{\"istio.io/rev\":null}}");
    gate_mesh_join(f);
    assert_non_null(gate_mesh_namespace(f, "app-00")); /* by its mark */
    assert_int_equal(gate_mesh_proxy(f, "app-00", "web")->expected, REV_NONE);
    gate_mesh_patch(f, "app-01", "{\"labels\":{\"istio.io/rev\":null}}");
    gate_mesh_join(f);
    assert_int_equal(gate_mesh_namespace(f, "app-01")->wave, IDX_NONE); /* not the upgrade's matter any more */
    assert_int_equal(gate_mesh_proxy(f, "app-01", "web")->note, REASON_NO_LONGER_INJECTED);
}

static void a_late_namespace_moves_with_the_wave_at_work(void **state) {
    struct gate_mesh *f = *state;
    f->status = json_pack("{s:{s:i, s:b}, s:[{s:s}, {s:s}]}", "progress", "wave", 1, "started", 1, "waves", "name", "one",
                          "name", "rest");
    gate_mesh_join(f);
    assert_int_equal(join_snapshot(f->join)->progress.wave, 1);
    assert_int_equal(gate_mesh_namespace(f, "app-00")->wave, 1);
    gate_mesh_patch(f, "app-00", "{\"labels\":{\"istio.io/rev\":\"canary\",\"istio-injection\":null}}");
    gate_mesh_join(f);
    assert_int_equal(gate_mesh_namespace(f, "app-00")->wave, 0);
}

static void states_are_timed(void **state) {
    struct gate_mesh *f = *state;
    gate_mesh_hear(f);
    gate_mesh_join(f);
    int64_t first = sched_now(f->sched);
    gate_mesh_pass(f, 20000);
    gate_mesh_hear(f);
    gate_mesh_join(f);
    assert_int_equal(gate_mesh_proxy(f, "app-00", "web")->state_since_ms, first);
    f->rejecting = pod_name(f, gate_mesh_proxy(f, "app-00", "web"));
    gate_mesh_hear(f);
    gate_mesh_join(f);
    const struct proxy_row *p = gate_mesh_proxy(f, "app-00", f->rejecting);
    assert_int_equal(p->state, STATE_NACKING);
    assert_int_equal(p->state_since_ms, sched_now(f->sched));
}

static void assert_name(struct gate_mesh *f, enum about about, uint32_t object, const char *want) {
    struct buf b;
    buf_init(&b, 400);
    join_object_name(f->join, &f->upgrade, about, object, &b);
    assert_string_equal(b.p, want);
    buf_done(&b);
}

static void objects_have_names(void **state) {
    struct gate_mesh *f = *state;
    gate_mesh_hear(f);
    const struct snapshot *s = gate_mesh_join(f);
    const struct proxy_row *p = gate_mesh_proxy(f, "app-01", "web");
    uint32_t i = (uint32_t)(p - s->proxies);
    char *pod = mem_printf("app-01/%s", pod_name(f, p));
    char *replica = mem_printf("%s (old)", join_names(f->join)->replicas[p->replica]->name);
    assert_name(f, ABOUT_UPGRADE, 0, "up");
    assert_name(f, ABOUT_WAVE, 1, "rest");
    assert_name(f, ABOUT_REVISION, f->upgrade.policy.to, "canary");
    assert_name(f, ABOUT_REPLICA, p->replica, replica);
    assert_name(f, ABOUT_NAMESPACE, p->ns, "app-01");
    assert_name(f, ABOUT_WORKLOAD, p->workload, "app-01/Deployment/web");
    assert_name(f, ABOUT_PROXY, i, pod);
    assert_name(f, ABOUT_NODE, p->node, join_names(f->join)->pods[i]->node);
    free(pod);
    free(replica);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, gate_mesh_setup, gate_mesh_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(without_evidence_nothing_is_known),
        TEST(all_witnesses_are_joined),
        TEST(an_absence_is_counted_by_readings),
        TEST(a_silent_replica_makes_absence_unknown),
        TEST(a_stream_of_the_pod_before_it_is_not_its_own),
        TEST(nor_is_one_with_its_address_on_another_revision),
        TEST(versions_that_differ_are_timed),
        TEST(a_lying_agent_is_not_believed_for_a_while),
        TEST(turned_away_before_envoy_answers),
        TEST(wishes_and_notes),
        TEST(behind_an_old_sync_is_behind),
        TEST(an_old_sync_is_not_compared),
        TEST(a_syncz_that_stays_silent_is_blocked),
        TEST(a_replica_that_was_frozen_is_not_blocked),
        TEST(labels_and_marks),
        TEST(a_late_namespace_moves_with_the_wave_at_work),
        TEST(states_are_timed),
        TEST(objects_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
