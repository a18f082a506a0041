/* Who owns whom, and how far workloads are. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "inventory_fix.h"
#include "lib/base/json.h"
#include "lib/base/mem.h"

/* --- owners and workloads --- */

#define OWNED(name, ns, uid, kind, owner)                                          \
    "{\"metadata\":{\"name\":\"" name "\",\"namespace\":\"" ns "\",\"uid\":\"" uid \
    "\",\"ownerReferences\":[{\"controller\":true,\"kind\":\"" kind "\",\"name\":\"" owner "\"}]}}"

static void assert_owner(struct fix *f, const char *uid, enum workload_kind want, const char *name, const char *key) {
    enum workload_kind kind;
    const char *got;
    const struct inv_workload *w = inventory_owner_of(&f->t, inventory_fix_pod(f, uid), &kind, &got);
    assert_int_equal(kind, want);
    assert_string_equal(got, name);
    if (key) {
        assert_non_null(w);
        assert_string_equal(w->key, key);
    } else {
        assert_null(w);
    }
}

static void owners(void **state) {
    struct fix *f = *state;
    assert_owner(f, "uid-web-1", KIND_DEPLOYMENT, "web", "Deployment/shop/web");
    assert_owner(f, "uid-db-0", KIND_STATEFULSET, "db", "StatefulSet/bank/db");
    assert_owner(f, "uid-tool", KIND_BARE_POD, "tool", NULL);
    inventory_drop(&f->t, INVENTORY_REPLICASETS, "shop", "web-5c95f8d4c6", "x");
    assert_owner(f, "uid-web-1", KIND_UNKNOWN, "web-5c95f8d4c6", NULL); /* a name that looks right proves nothing */
    inventory_fix_put(f, INVENTORY_REPLICASETS, OWNED("web-5c95f8d4c6", "shop", "r", "Rollout", "web"));
    assert_owner(f, "uid-web-1", KIND_ROLLOUT, "web", "Rollout/shop/web");
    inventory_fix_put(f, INVENTORY_REPLICASETS, "{\"metadata\":{\"name\":\"web-5c95f8d4c6\",\"namespace\":\"shop\"}}");
    assert_owner(f, "uid-web-1", KIND_REPLICASET, "web-5c95f8d4c6", "ReplicaSet/shop/web-5c95f8d4c6");
    assert_null(inventory_fix_workload(f, "Rollout/shop/web"));
    inventory_fix_put(f, INVENTORY_REPLICASETS, OWNED("web-5c95f8d4c6", "shop", "r", "Deployment", "gone"));
    assert_owner(f, "uid-web-1", KIND_UNKNOWN, "web-5c95f8d4c6", NULL);
    assert_null(inventory_fix_workload(f, "ReplicaSet/shop/web-5c95f8d4c6"));
}

static void jobs(void **state) {
    struct fix *f = *state;
    inventory_fix_put(f, INVENTORY_PODS, OWNED("n-1", "shop", "n1", "Job", "nightly-1"));
    assert_owner(f, "n1", KIND_UNKNOWN, "nightly-1", NULL);
    inventory_fix_put(f, INVENTORY_JOBS, OWNED("nightly-1", "shop", "j1", "CronJob", "nightly"));
    inventory_fix_put(f, INVENTORY_JOBS, OWNED("nightly-2", "shop", "j2", "CronJob", "nightly"));
    assert_owner(f, "n1", KIND_CRONJOB, "nightly", "CronJob/shop/nightly");
    inventory_drop(&f->t, INVENTORY_JOBS, "shop", "nightly-2", "j2");
    assert_non_null(inventory_fix_workload(f, "CronJob/shop/nightly"));
    inventory_drop(&f->t, INVENTORY_JOBS, "shop", "nightly-1", "j1");
    assert_null(inventory_fix_workload(f, "CronJob/shop/nightly"));
    inventory_fix_put(f, INVENTORY_JOBS, "{\"metadata\":{\"name\":\"nightly-1\",\"namespace\":\"shop\"}}");
    assert_owner(f, "n1", KIND_JOB, "nightly-1", "Job/shop/nightly-1");
}

/* istiod calls itself no controller of the Deployment that it makes of a Gateway. */
#define MANAGED(refs)                                                                                         \
    "{\"metadata\":{\"name\":\"edge-istio\",\"namespace\":\"shop\",\"ownerReferences\":[" refs "]},\"spec\":" \
    "{\"replicas\":2}}"

static void gateways(void **state) {
    struct fix *f = *state;
    static const char gateway[] =
        MANAGED("{\"apiVersion\":\"gateway.networking.k8s.io/v1\",\"kind\":\"Gateway\",\"name\":\"edge\"}");
    inventory_fix_put(f, INVENTORY_PODS, OWNED("e-1", "shop", "e1", "ReplicaSet", "edge-istio-1"));
    inventory_fix_put(f, INVENTORY_REPLICASETS, OWNED("edge-istio-1", "shop", "r", "Deployment", "edge-istio"));
    inventory_fix_put(f, INVENTORY_DEPLOYMENTS, MANAGED(""));
    assert_owner(f, "e1", KIND_DEPLOYMENT, "edge-istio", "Deployment/shop/edge-istio");
    assert_true(inventory_fix_put(f, INVENTORY_DEPLOYMENTS, gateway));
    assert_owner(f, "e1", KIND_GATEWAY, "edge", "Gateway/shop/edge");
    assert_null(inventory_fix_workload(f, "Deployment/shop/edge-istio"));
    assert_int_equal(inventory_fix_workload(f, "Gateway/shop/edge")->replicas, 2);
    assert_false(inventory_fix_put(f, INVENTORY_DEPLOYMENTS, gateway));
    /* another group's Gateway (networking.istio.io has one, too) owns no Deployment */
    assert_true(
        inventory_fix_put(f, INVENTORY_DEPLOYMENTS,
                          MANAGED("{\"apiVersion\":\"networking.istio.io/v1\",\"kind\":\"Gateway\",\"name\":\"edge\"}")));
    assert_owner(f, "e1", KIND_DEPLOYMENT, "edge-istio", "Deployment/shop/edge-istio");
    assert_null(inventory_fix_workload(f, "Gateway/shop/edge"));
    inventory_fix_put(f, INVENTORY_DEPLOYMENTS, gateway);
    assert_true(inventory_drop(&f->t, INVENTORY_DEPLOYMENTS, "shop", "edge-istio", "x"));
    assert_false(inventory_drop(&f->t, INVENTORY_DEPLOYMENTS, "shop", "edge-istio", "x"));
    assert_owner(f, "e1", KIND_UNKNOWN, "edge-istio-1", NULL);
}

#define OF_GROUP(uid, version, kind, owner)                                                                               \
    "{\"metadata\":{\"name\":\"" uid "\",\"namespace\":\"shop\",\"uid\":\"" uid                                           \
    "\",\"ownerReferences\":[{\"apiVersion\":\"" version "\",\"controller\":true,\"kind\":\"" kind "\",\"name\":\"" owner \
    "\"}]}}"

/* Kinds that several groups have. */
static void groups(void **state) {
    struct fix *f = *state;
    inventory_fix_put(f, INVENTORY_PODS, OF_GROUP("k1", "apps.kruise.io/v1beta1", "StatefulSet", "db"));
    assert_owner(f, "k1", KIND_OTHER, "db", "StatefulSet.apps.kruise.io/shop/db");
    inventory_fix_put(f, INVENTORY_PODS, OF_GROUP("k2", "apps/v1", "ReplicaSet", "api-1"));
    inventory_fix_put(f, INVENTORY_REPLICASETS, OF_GROUP("api-1", "argoproj.io/v1alpha1", "Rollout", "api"));
    assert_owner(f, "k2", KIND_ROLLOUT, "api", "Rollout/shop/api");
    inventory_fix_put(f, INVENTORY_REPLICASETS, OF_GROUP("api-1", "example.com/v1", "Rollout", "api"));
    assert_owner(f, "k2", KIND_OTHER, "api", "Rollout.example.com/shop/api");
    inventory_fix_put(f, INVENTORY_PODS, OF_GROUP("k3", "apps/v1", "", "nobody"));
    assert_owner(f, "k3", KIND_BARE_POD, "k3", NULL);
}

static void foreign_owner(void **state) {
    struct fix *f = *state;
    inventory_fix_put(f, INVENTORY_PODS, OWNED("a", "shop", "a", "CloneSet", "c"));
    inventory_fix_put(f, INVENTORY_PODS, OWNED("b", "shop", "b", "CloneSet", "c"));
    assert_owner(f, "a", KIND_OTHER, "c", "CloneSet/shop/c");
    inventory_drop(&f->t, INVENTORY_PODS, "shop", "a", "a");
    assert_owner(f, "b", KIND_OTHER, "c", "CloneSet/shop/c");
    inventory_fix_put(f, INVENTORY_PODS,
                      "{\"metadata\":{\"name\":\"b\",\"namespace\":\"shop\",\"uid\":\"b\"}}"); /* orphaned */
    assert_owner(f, "b", KIND_BARE_POD, "b", NULL);
    assert_null(inventory_fix_workload(f, "CloneSet/shop/c"));
}

struct settle_row {
    enum inventory_resource r;
    const char *spec, *status;
    int64_t generation;
    bool settled;
};

static void settled(void **state) {
    struct fix *f = *state;
    static const struct settle_row rows[] = {
        {INVENTORY_DEPLOYMENTS, "\"replicas\":2",
         "\"observedGeneration\":3,\"replicas\":2,\"updatedReplicas\":2,\"readyReplicas\":2", 3, true},
        {INVENTORY_DEPLOYMENTS, "\"replicas\":2",
         "\"observedGeneration\":2,\"replicas\":2,\"updatedReplicas\":2,\"readyReplicas\":2", 3, false},
        {INVENTORY_DEPLOYMENTS, "\"replicas\":2",
         "\"observedGeneration\":3,\"replicas\":3,\"updatedReplicas\":2,\"readyReplicas\":2", 3, false},
        {INVENTORY_DEPLOYMENTS, "\"replicas\":2",
         "\"observedGeneration\":3,\"replicas\":2,\"updatedReplicas\":1,\"readyReplicas\":2", 3, false},
        {INVENTORY_DEPLOYMENTS, "\"replicas\":2",
         "\"observedGeneration\":3,\"replicas\":2,\"updatedReplicas\":2,\"readyReplicas\":1", 3, false},
        {INVENTORY_DEPLOYMENTS, "\"replicas\":0", "\"observedGeneration\":3", 3, true},
        {INVENTORY_DEPLOYMENTS, "\"replicas\":1", "", 1, false},
        {INVENTORY_STATEFULSETS, "\"replicas\":1",
         "\"observedGeneration\":1,\"replicas\":1,\"readyReplicas\":1,\"currentRevision\":\"a\",\"updateRevision\":\"a\"",
         1, true},
        {INVENTORY_STATEFULSETS, "\"replicas\":1",
         "\"observedGeneration\":1,\"replicas\":1,\"readyReplicas\":1,\"currentRevision\":\"a\",\"updateRevision\":\"b\"",
         1, false},
        {INVENTORY_STATEFULSETS, "\"replicas\":1", "\"observedGeneration\":1,\"replicas\":1,\"readyReplicas\":1", 1, false},
        {INVENTORY_STATEFULSETS, "\"replicas\":2",
         "\"observedGeneration\":1,\"replicas\":2,\"readyReplicas\":1,\"currentRevision\":\"a\",\"updateRevision\":\"a\"",
         1, false},
        {INVENTORY_DAEMONSETS, "",
         "\"observedGeneration\":1,\"desiredNumberScheduled\":2,\"updatedNumberScheduled\":2,\"numberReady\":2", 1, true},
        {INVENTORY_DAEMONSETS, "",
         "\"observedGeneration\":1,\"desiredNumberScheduled\":2,\"updatedNumberScheduled\":1,\"numberReady\":2", 1, false},
        {INVENTORY_DAEMONSETS, "",
         "\"observedGeneration\":1,\"desiredNumberScheduled\":2,\"updatedNumberScheduled\":2,\"numberReady\":1", 1, false},
    };
    static const char *const kinds[INVENTORY_RESOURCES] = {[INVENTORY_DEPLOYMENTS] = "Deployment",
                                                           [INVENTORY_STATEFULSETS] = "StatefulSet",
                                                           [INVENTORY_DAEMONSETS] = "DaemonSet"};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *text = mem_printf(
            "{\"metadata\":{\"name\":\"w\",\"namespace\":\"n\",\"generation\":%lld},\"spec\":{%s},\"status\":{%s}}",
            (long long)rows[i].generation, rows[i].spec, rows[i].status);
        char *key = mem_printf("%s/n/w", kinds[rows[i].r]);
        inventory_fix_put(f, rows[i].r, text);
        if (inventory_fix_workload(f, key)->settled != rows[i].settled) {
            fail_msg("row %zu", i);
        }
        free(text);
        free(key);
    }
    assert_int_equal(inventory_fix_workload(f, "DaemonSet/n/w")->replicas, 2);
}

static void workload_conditions(void **state) {
    struct fix *f = *state;
    const struct inv_workload *w = inventory_fix_workload(f, "Deployment/shop/web");
    assert_string_equal(w->restart_mark, "up/1234");
    assert_true(w->settled);
    assert_false(w->paused || w->on_delete || w->failed_create || w->overdue);
    assert_true(inventory_fix_workload(f, "StatefulSet/bank/db")->on_delete);
    assert_true(inventory_fix_put(
        f, INVENTORY_DEPLOYMENTS,
        "{\"metadata\":{\"name\":\"web\",\"namespace\":\"shop\",\"resourceVersion\":\"300\"},\"spec\":{\"paused\":true},"
        "\"status\":{\"conditions\":["
        "{\"type\":\"Progressing\",\"status\":\"False\",\"reason\":\"ProgressDeadlineExceeded\"},"
        "{\"type\":\"ReplicaFailure\",\"status\":\"True\",\"reason\":\"FailedCreate\",\"message\":\"quota exceeded\"}]}}"));
    assert_ptr_equal(w, inventory_fix_workload(f, "Deployment/shop/web"));
    assert_true(w->paused && w->failed_create && w->overdue);
    assert_string_equal(w->failed_create_text, "quota exceeded");
    assert_string_equal(w->resource_version, "300");
    assert_null(w->restart_mark);
    assert_false(w->settled);
}

#define T(f) cmocka_unit_test_setup_teardown(f, inventory_fix_full, inventory_fix_done)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(owners),  {"owners (objects in the opposite order)", owners, inventory_fix_backward, inventory_fix_done, NULL},
        T(jobs),    T(gateways),
        T(groups),  T(foreign_owner),
        T(settled), T(workload_conditions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
