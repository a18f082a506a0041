/* What the API servers say, as the gate needs it: from objects in the shapes of real ones (tests/data). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "fake_kube.h"
#include "gate/inventory_tables.h"
#include "lib/base/json.h"
#include "lib/base/mem.h"
#include "lib/base/text.h"

static const char *const resource_names[INVENTORY_RESOURCES] = {
    [INVENTORY_NAMESPACES] = "namespaces",     [INVENTORY_WEBHOOKS] = "webhooks",         [INVENTORY_SERVICES] = "services",
    [INVENTORY_SLICES] = "slices",             [INVENTORY_NODES] = "nodes",               [INVENTORY_REPLICASETS] = "replicasets",
    [INVENTORY_JOBS] = "jobs",                 [INVENTORY_DEPLOYMENTS] = "deployments",   [INVENTORY_STATEFULSETS] = "statefulsets",
    [INVENTORY_DAEMONSETS] = "daemonsets",     [INVENTORY_PODS] = "pods",                 [INVENTORY_UPGRADES] = "upgrades",
};

struct fix {
    struct vclock *clock;
    struct inventory_tables t;
    json_t *mesh, *webhooks;
};

static json_t *load(const char *name) {
    char *path = mem_printf("%s/%s", TEST_DATA, name), *text;
    size_t len;
    struct err err;
    if (!text_read_file(path, 4 << 20, &text, &len, &err)) {
        fail_msg("%s", err.text);
    }
    json_t *o = js_parse(text, len, 4 << 20, &err);
    assert_non_null(o);
    free(text);
    free(path);
    return o;
}

static bool put(struct fix *f, enum inventory_resource r, const char *text) {
    struct err err;
    json_t *o = js_parse(text, strlen(text), 1 << 20, &err);
    if (!o) {
        fail_msg("%s: %s", err.text, text);
    }
    bool changed = inventory_put(&f->t, r, o);
    json_decref(o);
    return changed;
}

static void put_all(struct fix *f, enum inventory_resource r, const json_t *list) {
    size_t i;
    const json_t *o;
    json_array_foreach(list, i, o) {
        inventory_put(&f->t, r, o);
    }
}

static int setup_empty(void **state) {
    struct fix *f = mem_alloc(sizeof *f);
    f->clock = vclock_new(1790000000000);
    vclock_run_until(f->clock, 1000);
    inventory_init(&f->t, vclock_sched(f->clock), "istio-system");
    f->mesh = load("inventory/mesh.json");
    f->webhooks = load("injectors.json");
    *state = f;
    return 0;
}

/* forward: in the order of the enum, else in the opposite one; the result must be the same. */
static void fill(struct fix *f, bool forward) {
    for (int i = 0; i < INVENTORY_RESOURCES; i++) {
        int r = forward ? i : INVENTORY_RESOURCES - 1 - i;
        put_all(f, (enum inventory_resource)r, r == INVENTORY_WEBHOOKS ? f->webhooks : js_at(f->mesh, resource_names[r], NULL));
    }
}

static int setup(void **state) {
    setup_empty(state);
    fill(*state, true);
    return 0;
}

static int setup_backward(void **state) {
    setup_empty(state);
    fill(*state, false);
    return 0;
}

static int teardown(void **state) {
    struct fix *f = *state;
    inventory_done(&f->t);
    vclock_free(f->clock);
    json_decref(f->mesh);
    json_decref(f->webhooks);
    free(f);
    return 0;
}

static const struct inv_pod *pod(struct fix *f, const char *uid) {
    struct inv_pod *p;
    HASH_FIND_STR(f->t.inv.pods, uid, p);
    return p;
}

static const struct inv_workload *workload(struct fix *f, const char *key) {
    struct inv_workload *w;
    HASH_FIND_STR(f->t.inv.workloads, key, w);
    return w;
}

static const struct inv_revision *revision(struct fix *f, const char *name) {
    struct inv_revision *r;
    HASH_FIND_STR(f->t.inv.revisions, name, r);
    return r;
}

static const struct inv_replica *replica(struct fix *f, const char *uid) {
    struct inv_replica *r;
    HASH_FIND_STR(f->t.inv.replicas, uid, r);
    return r;
}

/* --- revisions --- */

static void assert_list(const json_t *list, const char *want) {
    char *s = js_dump(list);
    assert_string_equal(s, want);
    free(s);
}

static void revisions(void **state) {
    struct fix *f = *state;
    const struct inventory *inv = &f->t.inv;
    assert_int_equal(HASH_COUNT(inv->revisions), 2);
    const struct inv_revision *old = revision(f, "old"), *canary = revision(f, "canary");
    assert_string_equal(old->server_name, "istiod-old.istio-system.svc");
    assert_list(old->service_ips, "[\"10.96.7.209\",\"10.96.238.223\"]");
    assert_list(old->tags, "[\"default\"]");
    assert_list(canary->tags, "[]");
    assert_string_equal(old->version, "1.29.6");
    assert_string_equal(canary->version, "1.30.3");
    assert_true(old->has_injector && canary->has_injector);
    assert_string_equal(inventory_revision_by_ip(inv, "10.96.238.223"), "old");
    assert_string_equal(inventory_revision_by_ip(inv, "10.245.0.21"), "canary");
    assert_null(inventory_revision_by_ip(inv, "10.245.0.99"));
    assert_null(inventory_revision_by_ip(inv, "10.96.1.1"));
    assert_string_equal(inventory_resolve(inv, "default"), "old");
    assert_string_equal(inventory_resolve(inv, "canary"), "canary");
    assert_null(inventory_resolve(inv, "nosuch"));
}

static void replicas(void **state) {
    struct fix *f = *state;
    assert_int_equal(HASH_COUNT(f->t.inv.replicas), 3);
    const struct inv_replica *a = replica(f, "uid-istiod-old-a"), *b = replica(f, "uid-istiod-old-b");
    const struct inv_replica *c = replica(f, "uid-istiod-canary-a");
    assert_string_equal(a->revision, "old");
    assert_string_equal(a->name, "istiod-old-a");
    assert_string_equal(a->address, "10.245.0.20");
    assert_string_equal(a->zone, "z2");
    assert_string_equal(b->zone, "z1"); /* of its node */
    assert_true(a->ready);
    assert_int_equal(a->xds_port, 15012);
    assert_int_equal(a->http_port, 15014);
    assert_false(c->ready);
    assert_int_equal(c->xds_port, 16012);
    assert_int_equal(c->http_port, 16014);
    assert_ptr_equal(inventory_replica_by_ip(&f->t.inv, "10.245.0.21"), c);
    assert_string_equal(inventory_mesh_zone(&f->t, "node-2"), "z2");
    assert_null(inventory_mesh_zone(&f->t, "node-3"));
}

static void revisions_change(void **state) {
    struct fix *f = *state;
    assert_true(inventory_drop(&f->t, INVENTORY_SERVICES, "istio-system", "istiod-revision-tag-default", "x"));
    assert_list(revision(f, "old")->service_ips, "[\"10.96.7.209\"]");
    assert_list(revision(f, "old")->tags, "[]");
    assert_string_equal(inventory_resolve(&f->t.inv, "default"), "old"); /* the tag's injector is still there */
    inventory_drop(&f->t, INVENTORY_WEBHOOKS, "", "istio-revision-tag-default", "x");
    assert_null(inventory_resolve(&f->t.inv, "default"));
    inventory_drop(&f->t, INVENTORY_WEBHOOKS, "", "istio-sidecar-injector-canary", "x");
    assert_false(revision(f, "canary")->has_injector);
    assert_true(inventory_drop(&f->t, INVENTORY_SLICES, "istio-system", "istiod-canary-t4tqz", "x"));
    assert_int_equal(HASH_COUNT(f->t.inv.replicas), 2);
    assert_true(inventory_drop(&f->t, INVENTORY_SERVICES, "istio-system", "istiod-canary", "x"));
    assert_null(revision(f, "canary"));
}

static void plain_istiod(void **state) {
    struct fix *f = *state;
    put(f, INVENTORY_SERVICES, "{\"metadata\":{\"name\":\"istiod\",\"labels\":{\"app\":\"istiod\"}},\"spec\":{\"clusterIP\":\"10.9.0.1\"}}");
    put(f, INVENTORY_SLICES, "{\"metadata\":{\"name\":\"istiod-x\",\"labels\":{\"kubernetes.io/service-name\":\"istiod\"}},"
                             "\"endpoints\":[{\"addresses\":[\"10.8.0.1\"]}],\"ports\":[{\"name\":\"https-dns\",\"port\":70000}]}");
    assert_string_equal(revision(f, "default")->server_name, "istiod.istio-system.svc");
    assert_list(revision(f, "default")->service_ips, "[\"10.9.0.1\"]");
    assert_null(revision(f, "default")->version);
    const struct inv_replica *r = replica(f, "10.8.0.1"); /* no pod of this cluster */
    assert_string_equal(r->revision, "default");
    assert_int_equal(r->xds_port, 15012);
    put(f, INVENTORY_SERVICES, "{\"metadata\":{\"name\":\"istiod\",\"labels\":{\"app\":\"istiod\"}},\"spec\":{\"clusterIP\":\"None\",\"clusterIPs\":[\"None\"]}}");
    assert_list(revision(f, "default")->service_ips, "[]");
}

/* --- pods --- */

static void pods(void **state) {
    struct fix *f = *state;
    const struct inv_pod *p = pod(f, "uid-web-1");
    assert_string_equal(p->namespace_, "shop");
    assert_string_equal(p->node, "node-1");
    assert_string_equal(p->ip, "10.1.0.1");
    assert_string_equal(p->injected, "old");
    assert_string_equal(p->proxy_image, "registry.local/istio/proxyv2:1.29.6");
    assert_string_equal(p->owner_kind, "ReplicaSet");
    assert_true(p->ready);
    assert_false(p->deleting || p->finished || p->host_network);
    assert_true(p->created_wall_ms > 1700000000000);
    assert_int_equal(p->expected_kind, INJECTOR_ONE);
    assert_string_equal(p->expected, "old");
    assert_ptr_equal(p->labels, pod(f, "uid-web-2")->labels);
    assert_null(json_object_get(p->annotations, "sidecar.istio.io/status"));
    assert_null(json_object_get(p->annotations, "prometheus.io/port"));
    p = pod(f, "uid-tool");
    assert_null(p->injected);
    assert_null(p->expected);
    assert_null(p->annotations);
    assert_int_equal(p->expected_kind, INJECTOR_NONE);
    assert_string_equal(pod(f, "uid-db-0")->expected, "old");
}

#define POD(uid, more, spec) "{\"metadata\":{\"name\":\"p\",\"namespace\":\"plain\",\"uid\":\"" uid "\"" more "},\"spec\":{" spec "}}"
#define SIDECAR "\"containers\":[{\"name\":\"istio-proxy\",\"image\":\"i\"}]"

static void whose_sidecar(void **state) {
    struct fix *f = *state;
    put(f, INVENTORY_PODS, POD("a", ",\"annotations\":{\"sidecar.istio.io/status\":\"{\\\"revision\\\":\\\"canary\\\"}\"}", SIDECAR));
    assert_string_equal(pod(f, "a")->injected, "canary");
    /* a label can lie, an annotation without a container is a remnant */
    put(f, INVENTORY_PODS, POD("b", ",\"labels\":{\"istio.io/rev\":\"canary\"},\"annotations\":{\"istio.io/rev\":\"old\"}", SIDECAR));
    assert_string_equal(pod(f, "b")->injected, "old");
    put(f, INVENTORY_PODS, POD("c", ",\"annotations\":{\"istio.io/rev\":\"old\"}", "\"containers\":[{\"name\":\"web\"}]"));
    assert_null(pod(f, "c")->injected);
    put(f, INVENTORY_PODS, POD("d", ",\"annotations\":{\"sidecar.istio.io/status\":\"not json\"}", SIDECAR));
    assert_string_equal(pod(f, "d")->injected, "");
    put(f, INVENTORY_PODS, "{\"metadata\":{\"name\":\"p\",\"namespace\":\"plain\",\"uid\":\"e\",\"deletionTimestamp\":\"2026-11-23T05:30:14Z\"},"
                           "\"spec\":{\"hostNetwork\":true},\"status\":{\"phase\":\"Failed\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"False\"}]}}");
    const struct inv_pod *p = pod(f, "e");
    assert_true(p->host_network && p->deleting && p->finished);
    assert_false(p->ready);
}

static void namespace_labels(void **state) {
    struct fix *f = *state;
    uint64_t version = f->t.inv.version;
    int64_t bank_since = pod(f, "uid-db-0")->expected_since_ms;
    vclock_run_until(f->clock, 5000);
    assert_true(put(f, INVENTORY_NAMESPACES, "{\"metadata\":{\"name\":\"shop\",\"uid\":\"uid-shop\",\"resourceVersion\":\"200\",\"labels\":{\"istio.io/rev\":\"canary\"}}}"));
    assert_true(f->t.inv.version > version);
    assert_string_equal(pod(f, "uid-web-1")->expected, "canary");
    assert_string_equal(pod(f, "uid-web-2")->expected, "canary");
    assert_int_equal(pod(f, "uid-web-1")->expected_since_ms, 5000);
    assert_int_equal(pod(f, "uid-db-0")->expected_since_ms, bank_since);
    /* istio-injection wins and means the default tag */
    put(f, INVENTORY_NAMESPACES, "{\"metadata\":{\"name\":\"shop\",\"uid\":\"uid-shop\",\"resourceVersion\":\"201\",\"labels\":{\"istio.io/rev\":\"canary\",\"istio-injection\":\"enabled\"}}}");
    assert_string_equal(pod(f, "uid-web-1")->expected, "old");
    inventory_drop(&f->t, INVENTORY_NAMESPACES, "", "shop", "uid-shop");
    assert_int_equal(pod(f, "uid-web-1")->expected_kind, INJECTOR_UNKNOWN);
    assert_null(pod(f, "uid-web-1")->expected);
}

static void injectors_come_and_go(void **state) {
    struct fix *f = *state;
    assert_true(inventory_drop(&f->t, INVENTORY_WEBHOOKS, "", "istio-revision-tag-default", "x"));
    assert_int_equal(pod(f, "uid-web-1")->expected_kind, INJECTOR_NONE);
    assert_string_equal(pod(f, "uid-db-0")->expected, "old");
    put_all(f, INVENTORY_WEBHOOKS, f->webhooks);
    assert_string_equal(pod(f, "uid-web-1")->expected, "old");
    assert_false(put(f, INVENTORY_WEBHOOKS, "{\"metadata\":{\"name\":\"other\"},\"webhooks\":[{\"name\":\"a.example.com\"}]}"));
}

static void pod_label_change(void **state) {
    struct fix *f = *state;
    put(f, INVENTORY_PODS, POD("x", ",\"labels\":{\"a\":\"b\"}", ""));
    assert_null(pod(f, "x")->expected);
    assert_true(put(f, INVENTORY_PODS, POD("x", ",\"labels\":{\"a\":\"b\",\"istio.io/rev\":\"canary\"}", "")));
    assert_string_equal(pod(f, "x")->expected, "canary");
    assert_true(inventory_drop(&f->t, INVENTORY_PODS, "plain", "p", "x"));
    assert_false(inventory_drop(&f->t, INVENTORY_PODS, "plain", "p", "x"));
}

static void nothing_that_matters(void **state) {
    struct fix *f = *state;
    uint64_t version = f->t.inv.version;
    assert_false(put(f, INVENTORY_NAMESPACES, "{\"metadata\":{\"name\":\"bank\",\"uid\":\"uid-bank\",\"resourceVersion\":\"777\",\"labels\":{\"istio.io/rev\":\"old\"}}}"));
    struct inv_namespace *n;
    HASH_FIND_STR(f->t.inv.namespaces, "bank", n);
    assert_string_equal(n->resource_version, "777");
    fill(f, true); /* everything once more, as after a relist */
    assert_true(put(f, INVENTORY_NAMESPACES, "{\"metadata\":{\"name\":\"bank\",\"uid\":\"uid-bank\",\"resourceVersion\":\"778\",\"labels\":{}}}"));
    uint64_t expected_bumps = json_array_size(f->webhooks) + json_array_size(js_at(f->mesh, "nodes", NULL));
    assert_true(f->t.inv.version - version <= expected_bumps + 1);
}

/* Many pods with label sets of their own that come and go must not be kept. */
static void labels_are_given_up(void **state) {
    struct fix *f = *state;
    for (int i = 0; i < 10000; i++) {
        char text[300], uid[20];
        snprintf(uid, sizeof uid, "u%d", i);
        snprintf(text, sizeof text, "{\"metadata\":{\"name\":\"p\",\"namespace\":\"plain\",\"uid\":\"%s\",\"labels\":{\"job\":\"j%d\"}}}", uid, i);
        put(f, INVENTORY_PODS, text);
        inventory_drop(&f->t, INVENTORY_PODS, "plain", "p", uid);
    }
    assert_true(f->t.labels_sweep_at < 5000);
}

/* --- owners and workloads --- */

#define OWNED(name, ns, uid, kind, owner) "{\"metadata\":{\"name\":\"" name "\",\"namespace\":\"" ns "\",\"uid\":\"" uid "\",\"ownerReferences\":[{\"controller\":true,\"kind\":\"" kind "\",\"name\":\"" owner "\"}]}}"

static void assert_owner(struct fix *f, const char *uid, enum workload_kind want, const char *name, const char *key) {
    enum workload_kind kind;
    const char *got;
    const struct inv_workload *w = inventory_owner_of(&f->t, pod(f, uid), &kind, &got);
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
    put(f, INVENTORY_REPLICASETS, OWNED("web-5c95f8d4c6", "shop", "r", "Rollout", "web"));
    assert_owner(f, "uid-web-1", KIND_ROLLOUT, "web", "Rollout/shop/web");
    put(f, INVENTORY_REPLICASETS, "{\"metadata\":{\"name\":\"web-5c95f8d4c6\",\"namespace\":\"shop\"}}");
    assert_owner(f, "uid-web-1", KIND_REPLICASET, "web-5c95f8d4c6", "ReplicaSet/shop/web-5c95f8d4c6");
    assert_null(workload(f, "Rollout/shop/web"));
    put(f, INVENTORY_REPLICASETS, OWNED("web-5c95f8d4c6", "shop", "r", "Deployment", "gone"));
    assert_owner(f, "uid-web-1", KIND_UNKNOWN, "web-5c95f8d4c6", NULL);
    assert_null(workload(f, "ReplicaSet/shop/web-5c95f8d4c6"));
}

static void jobs(void **state) {
    struct fix *f = *state;
    put(f, INVENTORY_PODS, OWNED("n-1", "shop", "n1", "Job", "nightly-1"));
    assert_owner(f, "n1", KIND_UNKNOWN, "nightly-1", NULL);
    put(f, INVENTORY_JOBS, OWNED("nightly-1", "shop", "j1", "CronJob", "nightly"));
    put(f, INVENTORY_JOBS, OWNED("nightly-2", "shop", "j2", "CronJob", "nightly"));
    assert_owner(f, "n1", KIND_JOB, "nightly", "CronJob/shop/nightly");
    inventory_drop(&f->t, INVENTORY_JOBS, "shop", "nightly-2", "j2");
    assert_non_null(workload(f, "CronJob/shop/nightly"));
    inventory_drop(&f->t, INVENTORY_JOBS, "shop", "nightly-1", "j1");
    assert_null(workload(f, "CronJob/shop/nightly"));
    put(f, INVENTORY_JOBS, "{\"metadata\":{\"name\":\"nightly-1\",\"namespace\":\"shop\"}}");
    assert_owner(f, "n1", KIND_JOB, "nightly-1", "Job/shop/nightly-1");
}

static void foreign_owner(void **state) {
    struct fix *f = *state;
    put(f, INVENTORY_PODS, OWNED("a", "shop", "a", "CloneSet", "c"));
    put(f, INVENTORY_PODS, OWNED("b", "shop", "b", "CloneSet", "c"));
    assert_owner(f, "a", KIND_OTHER, "c", "CloneSet/shop/c");
    inventory_drop(&f->t, INVENTORY_PODS, "shop", "a", "a");
    assert_owner(f, "b", KIND_OTHER, "c", "CloneSet/shop/c");
    put(f, INVENTORY_PODS, "{\"metadata\":{\"name\":\"b\",\"namespace\":\"shop\",\"uid\":\"b\"}}"); /* orphaned */
    assert_owner(f, "b", KIND_BARE_POD, "b", NULL);
    assert_null(workload(f, "CloneSet/shop/c"));
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
        {INVENTORY_DEPLOYMENTS, "\"replicas\":2", "\"observedGeneration\":3,\"replicas\":2,\"updatedReplicas\":2,\"readyReplicas\":2", 3, true},
        {INVENTORY_DEPLOYMENTS, "\"replicas\":2", "\"observedGeneration\":2,\"replicas\":2,\"updatedReplicas\":2,\"readyReplicas\":2", 3, false},
        {INVENTORY_DEPLOYMENTS, "\"replicas\":2", "\"observedGeneration\":3,\"replicas\":3,\"updatedReplicas\":2,\"readyReplicas\":2", 3, false},
        {INVENTORY_DEPLOYMENTS, "\"replicas\":2", "\"observedGeneration\":3,\"replicas\":2,\"updatedReplicas\":1,\"readyReplicas\":2", 3, false},
        {INVENTORY_DEPLOYMENTS, "\"replicas\":2", "\"observedGeneration\":3,\"replicas\":2,\"updatedReplicas\":2,\"readyReplicas\":1", 3, false},
        {INVENTORY_DEPLOYMENTS, "\"replicas\":0", "\"observedGeneration\":3", 3, true},
        {INVENTORY_DEPLOYMENTS, "\"replicas\":1", "", 1, false},
        {INVENTORY_STATEFULSETS, "\"replicas\":1", "\"observedGeneration\":1,\"replicas\":1,\"readyReplicas\":1,\"currentRevision\":\"a\",\"updateRevision\":\"a\"", 1, true},
        {INVENTORY_STATEFULSETS, "\"replicas\":1", "\"observedGeneration\":1,\"replicas\":1,\"readyReplicas\":1,\"currentRevision\":\"a\",\"updateRevision\":\"b\"", 1, false},
        {INVENTORY_STATEFULSETS, "\"replicas\":1", "\"observedGeneration\":1,\"replicas\":1,\"readyReplicas\":1", 1, false},
        {INVENTORY_STATEFULSETS, "\"replicas\":2", "\"observedGeneration\":1,\"replicas\":2,\"readyReplicas\":1,\"currentRevision\":\"a\",\"updateRevision\":\"a\"", 1, false},
        {INVENTORY_DAEMONSETS, "", "\"observedGeneration\":1,\"desiredNumberScheduled\":2,\"updatedNumberScheduled\":2,\"numberReady\":2", 1, true},
        {INVENTORY_DAEMONSETS, "", "\"observedGeneration\":1,\"desiredNumberScheduled\":2,\"updatedNumberScheduled\":1,\"numberReady\":2", 1, false},
        {INVENTORY_DAEMONSETS, "", "\"observedGeneration\":1,\"desiredNumberScheduled\":2,\"updatedNumberScheduled\":2,\"numberReady\":1", 1, false},
    };
    static const char *const kinds[INVENTORY_RESOURCES] = {[INVENTORY_DEPLOYMENTS] = "Deployment",
                                                           [INVENTORY_STATEFULSETS] = "StatefulSet",
                                                           [INVENTORY_DAEMONSETS] = "DaemonSet"};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *text = mem_printf("{\"metadata\":{\"name\":\"w\",\"namespace\":\"n\",\"generation\":%lld},\"spec\":{%s},\"status\":{%s}}",
                                (long long)rows[i].generation, rows[i].spec, rows[i].status);
        char *key = mem_printf("%s/n/w", kinds[rows[i].r]);
        put(f, rows[i].r, text);
        if (workload(f, key)->settled != rows[i].settled) {
            fail_msg("row %zu", i);
        }
        free(text);
        free(key);
    }
    assert_int_equal(workload(f, "DaemonSet/n/w")->replicas, 2);
}

static void workload_conditions(void **state) {
    struct fix *f = *state;
    const struct inv_workload *w = workload(f, "Deployment/shop/web");
    assert_string_equal(w->restart_mark, "up/1234");
    assert_true(w->settled);
    assert_false(w->paused || w->on_delete || w->failed_create || w->overdue);
    assert_true(workload(f, "StatefulSet/bank/db")->on_delete);
    assert_true(put(f, INVENTORY_DEPLOYMENTS,
                    "{\"metadata\":{\"name\":\"web\",\"namespace\":\"shop\",\"resourceVersion\":\"300\"},\"spec\":{\"paused\":true},\"status\":{\"conditions\":["
                    "{\"type\":\"Progressing\",\"status\":\"False\",\"reason\":\"ProgressDeadlineExceeded\"},"
                    "{\"type\":\"ReplicaFailure\",\"status\":\"True\",\"reason\":\"FailedCreate\",\"message\":\"quota exceeded\"}]}}"));
    assert_ptr_equal(w, workload(f, "Deployment/shop/web"));
    assert_true(w->paused && w->failed_create && w->overdue);
    assert_string_equal(w->failed_create_text, "quota exceeded");
    assert_string_equal(w->resource_version, "300");
    assert_null(w->restart_mark);
    assert_false(w->settled);
}

static void upgrades(void **state) {
    struct fix *f = *state;
    struct inv_upgrade *u;
    HASH_FIND_STR(f->t.inv.upgrades, "to-1-30", u);
    assert_string_equal(js_text(u->spec, "to", "revision", NULL), "canary");
    assert_null(u->status);
    assert_int_equal(u->generation, 1);
    assert_false(put(f, INVENTORY_UPGRADES, "{\"metadata\":{\"name\":\"to-1-30\",\"uid\":\"uid-to-1-30\",\"resourceVersion\":\"9\",\"generation\":1},\"spec\":{\"from\":{\"revision\":\"old\"},\"to\":{\"revision\":\"canary\"}}}"));
    assert_string_equal(u->resource_version, "9");
    assert_true(inventory_drop(&f->t, INVENTORY_UPGRADES, "", "to-1-30", "x"));
    assert_null(f->t.inv.upgrades);
}

/* Objects of every wrong shape are read as empty ones. */
static void wrong_shapes(void **state) {
    struct fix *f = *state;
    static const char *const shapes[] = {
        "{\"metadata\":{\"name\":\"x\"}}",
        "{\"metadata\":{\"name\":\"x\",\"uid\":\"u\",\"namespace\":\"elsewhere\"}}",
        "{\"metadata\":{\"name\":\"x\",\"uid\":\"u\",\"namespace\":\"istio-system\",\"labels\":[],\"annotations\":7,\"ownerReferences\":{}},\"spec\":[],\"status\":\"\",\"endpoints\":3,\"ports\":null,\"webhooks\":{}}",
        "{\"metadata\":{\"name\":\"x\",\"uid\":\"u\",\"namespace\":\"istio-system\",\"labels\":{\"app\":\"istiod\",\"kubernetes.io/service-name\":\"x\"},\"ownerReferences\":[1,{\"controller\":true}]},"
        "\"spec\":{\"clusterIPs\":[1,null],\"containers\":[1,{\"name\":\"discovery\",\"image\":\"\"},{\"name\":\"istio-proxy\"}],\"replicas\":-5},"
        "\"status\":{\"conditions\":[1,{}]},\"endpoints\":[1,{},{\"addresses\":[]},{\"addresses\":[3]}],\"ports\":[1,{\"name\":\"https-dns\",\"port\":\"x\"}]}",
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        for (int r = 0; r < INVENTORY_RESOURCES; r++) {
            put(f, (enum inventory_resource)r, shapes[i]);
        }
    }
    assert_null(f->t.inv.replicas);
    for (int r = 0; r < INVENTORY_RESOURCES; r++) {
        inventory_drop(&f->t, (enum inventory_resource)r, "istio-system", "x", "u");
        inventory_drop(&f->t, (enum inventory_resource)r, "", "x", "");
    }
    assert_null(f->t.inv.pods);
    assert_null(f->t.inv.namespaces);
}

/* --- with its reflectors --- */

static void count(void *ctx) {
    ++*(int *)ctx;
}

static void answer_all(struct fake_kube *k, bool with_crd) {
    struct kube_call *c;
    while ((c = fake_kube_find(k, "limit="))) {
        if (!with_crd && strstr(c->path, "meshupgrades")) {
            fake_kube_reply(c, 404, "404 page not found\n");
        } else {
            fake_kube_reply(c, 200, "{\"metadata\":{\"resourceVersion\":\"5\"},\"items\":[]}");
        }
    }
}

static void watching(void **state) {
    (void)state;
    struct fake_kube k;
    struct buf why;
    int changes = 0;
    fake_kube_init(&k);
    buf_init(&why, 4000);
    struct inventory_watch *w = inventory_watch_new(&k.kube, "istio-system", count, &changes, 3);
    fake_kube_run(&k, 0);
    assert_int_equal(fake_kube_open(&k), INVENTORY_RESOURCES);
    assert_non_null(fake_kube_find(&k, "/apis/discovery.k8s.io/v1/namespaces/istio-system/endpointslices?"));
    assert_non_null(fake_kube_find(&k, "/api/v1/pods?"));
    answer_all(&k, false);
    assert_false(inventory_loaded(w));
    assert_false(inventory_fresh(w, &why));
    assert_string_equal(why.p, "meshupgrades: the CustomResourceDefinition meshupgrades.meshgate.io is not installed: apply deploy/crd");
    fake_kube_run(&k, 30000);
    answer_all(&k, true);
    fake_kube_run(&k, 0);
    assert_true(inventory_loaded(w));
    assert_true(inventory_fresh(w, NULL));
    int before = changes;
    fake_kube_data(fake_kube_find(&k, "/api/v1/namespaces?watch"), "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"6\"}}}\n");
    assert_int_equal(changes, before + 1);
    assert_int_equal(HASH_COUNT(inventory_of(w)->namespaces), 1);
    fake_kube_break(fake_kube_find(&k, "/api/v1/pods?watch"), ERR_UNAVAILABLE, "connection refused");
    assert_true(inventory_fresh(w, NULL));
    fake_kube_run(&k, 30000);
    buf_reset(&why);
    assert_false(inventory_fresh(w, &why));
    assert_non_null(strstr(why.p, "pods: GET /api/v1/pods"));
    assert_null(strstr(why.p, "namespaces:"));
    inventory_watch_free(w);
    buf_done(&why);
    fake_kube_done(&k);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define BACKWARD(f) {#f " (objects in the opposite order)", f, setup_backward, teardown, NULL}

int main(void) {
    const struct CMUnitTest tests[] = {
        T(revisions), BACKWARD(revisions), T(replicas), BACKWARD(replicas), T(revisions_change), T(plain_istiod), T(pods),
        BACKWARD(pods), T(whose_sidecar), T(namespace_labels), T(injectors_come_and_go), T(pod_label_change),
        T(nothing_that_matters), T(labels_are_given_up), T(owners), BACKWARD(owners), T(jobs), T(foreign_owner), T(settled),
        T(workload_conditions), T(upgrades), cmocka_unit_test_setup_teardown(wrong_shapes, setup_empty, teardown),
        cmocka_unit_test(watching),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
