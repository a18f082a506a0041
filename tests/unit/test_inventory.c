/* What the API servers say, as the gate needs it: from objects in the shapes of real ones (tests/data). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "fake_kube.h"
#include "inventory_fix.h"
#include "lib/base/json.h"
#include "lib/base/mem.h"

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
    inventory_fix_put(
        f, INVENTORY_SERVICES,
        "{\"metadata\":{\"name\":\"istiod\",\"labels\":{\"app\":\"istiod\"}},\"spec\":{\"clusterIP\":\"10.9.0.1\"}}");
    inventory_fix_put(
        f, INVENTORY_SLICES,
        "{\"metadata\":{\"name\":\"istiod-x\",\"labels\":{\"kubernetes.io/service-name\":\"istiod\"}},"
        "\"endpoints\":[{\"addresses\":[\"10.8.0.1\"]}],\"ports\":[{\"name\":\"https-dns\",\"port\":70000}]}");
    assert_string_equal(revision(f, "default")->server_name, "istiod.istio-system.svc");
    assert_list(revision(f, "default")->service_ips, "[\"10.9.0.1\"]");
    assert_null(revision(f, "default")->version);
    const struct inv_replica *r = replica(f, "10.8.0.1"); /* no pod of this cluster */
    assert_string_equal(r->revision, "default");
    assert_int_equal(r->xds_port, 15012);
    inventory_fix_put(
        f, INVENTORY_SERVICES,
        "{\"metadata\":{\"name\":\"istiod\",\"labels\":{\"app\":\"istiod\"}},\"spec\":{\"clusterIP\":\"None\","
        "\"clusterIPs\":[\"None\"]}}");
    assert_list(revision(f, "default")->service_ips, "[]");
}

/* --- pods --- */

static void pods(void **state) {
    struct fix *f = *state;
    const struct inv_pod *p = inventory_fix_pod(f, "uid-web-1");
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
    assert_ptr_equal(p->labels, inventory_fix_pod(f, "uid-web-2")->labels);
    assert_null(json_object_get(p->annotations, "sidecar.istio.io/status"));
    assert_null(json_object_get(p->annotations, "prometheus.io/port"));
    p = inventory_fix_pod(f, "uid-tool");
    assert_null(p->injected);
    assert_null(p->expected);
    assert_null(p->annotations);
    assert_int_equal(p->expected_kind, INJECTOR_NONE);
    assert_string_equal(inventory_fix_pod(f, "uid-db-0")->expected, "old");
}

#define POD(uid, more, spec) \
    "{\"metadata\":{\"name\":\"p\",\"namespace\":\"plain\",\"uid\":\"" uid "\"" more "},\"spec\":{" spec "}}"
#define SIDECAR "\"containers\":[{\"name\":\"istio-proxy\",\"image\":\"i\"}]"

static void whose_sidecar(void **state) {
    struct fix *f = *state;
    inventory_fix_put(
        f, INVENTORY_PODS,
        POD("a", ",\"annotations\":{\"sidecar.istio.io/status\":\"{\\\"revision\\\":\\\"canary\\\"}\"}", SIDECAR));
    assert_string_equal(inventory_fix_pod(f, "a")->injected, "canary");
    /* a label can lie, an annotation without a container is a remnant */
    inventory_fix_put(
        f, INVENTORY_PODS,
        POD("b", ",\"labels\":{\"istio.io/rev\":\"canary\"},\"annotations\":{\"istio.io/rev\":\"old\"}", SIDECAR));
    assert_string_equal(inventory_fix_pod(f, "b")->injected, "old");
    inventory_fix_put(f, INVENTORY_PODS,
                      POD("c", ",\"annotations\":{\"istio.io/rev\":\"old\"}", "\"containers\":[{\"name\":\"web\"}]"));
    assert_null(inventory_fix_pod(f, "c")->injected);
    inventory_fix_put(f, INVENTORY_PODS, POD("d", ",\"annotations\":{\"sidecar.istio.io/status\":\"not json\"}", SIDECAR));
    assert_string_equal(inventory_fix_pod(f, "d")->injected, "");
    inventory_fix_put(
        f, INVENTORY_PODS,
        "{\"metadata\":{\"name\":\"p\",\"namespace\":\"plain\",\"uid\":\"e\",\"deletionTimestamp\":\"2026-11-23T05:30:"
        "14Z\"},"
        "\"spec\":{\"hostNetwork\":true},\"status\":{\"phase\":\"Failed\",\"conditions\":[{\"type\":\"Ready\",\"status\":"
        "\"False\"}]}}");
    const struct inv_pod *p = inventory_fix_pod(f, "e");
    assert_true(p->host_network && p->deleting && p->finished);
    assert_false(p->ready);
}

static void namespace_labels(void **state) {
    struct fix *f = *state;
    uint64_t version = f->t.inv.version;
    int64_t bank_since = inventory_fix_pod(f, "uid-db-0")->expected_since_ms;
    vclock_run_until(f->clock, 5000);
    assert_true(inventory_fix_put(
        f, INVENTORY_NAMESPACES,
        "{\"metadata\":{\"name\":\"shop\",\"uid\":\"uid-shop\",\"resourceVersion\":\"200\",\"labels\":{\"istio."
        "io/rev\":\"canary\"}}}"));
    assert_true(f->t.inv.version > version);
    assert_string_equal(inventory_fix_pod(f, "uid-web-1")->expected, "canary");
    assert_string_equal(inventory_fix_pod(f, "uid-web-2")->expected, "canary");
    assert_int_equal(inventory_fix_pod(f, "uid-web-1")->expected_since_ms, 5000);
    assert_int_equal(inventory_fix_pod(f, "uid-db-0")->expected_since_ms, bank_since);
    /* istio-injection wins and means the default tag */
    inventory_fix_put(
        f, INVENTORY_NAMESPACES,
        "{\"metadata\":{\"name\":\"shop\",\"uid\":\"uid-shop\",\"resourceVersion\":\"201\",\"labels\":{\"istio.io/"
        "rev\":\"canary\",\"istio-injection\":\"enabled\"}}}");
    assert_string_equal(inventory_fix_pod(f, "uid-web-1")->expected, "old");
    inventory_drop(&f->t, INVENTORY_NAMESPACES, "", "shop", "uid-shop");
    assert_int_equal(inventory_fix_pod(f, "uid-web-1")->expected_kind, INJECTOR_UNKNOWN);
    assert_null(inventory_fix_pod(f, "uid-web-1")->expected);
}

static void terminating(void **state) {
    struct fix *f = *state;
    struct inv_namespace *n;
    HASH_FIND_STR(f->t.inv.namespaces, "shop", n);
    assert_false(n->terminating);
    assert_true(inventory_fix_put(f, INVENTORY_NAMESPACES,
                                  "{\"metadata\":{\"name\":\"shop\",\"uid\":\"uid-shop\",\"deletionTimestamp\":"
                                  "\"2026-11-23T05:30:14Z\"},\"status\":{\"phase\":\"Terminating\"}}"));
    assert_true(n->terminating);
}

static void injectors_come_and_go(void **state) {
    struct fix *f = *state;
    assert_true(inventory_drop(&f->t, INVENTORY_WEBHOOKS, "", "istio-revision-tag-default", "x"));
    assert_int_equal(inventory_fix_pod(f, "uid-web-1")->expected_kind, INJECTOR_NONE);
    assert_string_equal(inventory_fix_pod(f, "uid-db-0")->expected, "old");
    inventory_fix_list(f, INVENTORY_WEBHOOKS, f->webhooks);
    assert_string_equal(inventory_fix_pod(f, "uid-web-1")->expected, "old");
    assert_false(inventory_fix_put(f, INVENTORY_WEBHOOKS,
                                   "{\"metadata\":{\"name\":\"other\"},\"webhooks\":[{\"name\":\"a.example.com\"}]}"));
}

static void pod_label_change(void **state) {
    struct fix *f = *state;
    inventory_fix_put(f, INVENTORY_PODS, POD("x", ",\"labels\":{\"a\":\"b\"}", ""));
    assert_null(inventory_fix_pod(f, "x")->expected);
    assert_true(
        inventory_fix_put(f, INVENTORY_PODS, POD("x", ",\"labels\":{\"a\":\"b\",\"istio.io/rev\":\"canary\"}", "")));
    assert_string_equal(inventory_fix_pod(f, "x")->expected, "canary");
    assert_true(inventory_drop(&f->t, INVENTORY_PODS, "plain", "p", "x"));
    assert_false(inventory_drop(&f->t, INVENTORY_PODS, "plain", "p", "x"));
}

static void nothing_that_matters(void **state) {
    struct fix *f = *state;
    uint64_t version = f->t.inv.version;
    assert_false(
        inventory_fix_put(f, INVENTORY_NAMESPACES,
                          "{\"metadata\":{\"name\":\"bank\",\"uid\":\"uid-bank\",\"resourceVersion\":\"777\",\"labels\":{"
                          "\"istio.io/rev\":\"old\"}}}"));
    struct inv_namespace *n;
    HASH_FIND_STR(f->t.inv.namespaces, "bank", n);
    assert_string_equal(n->resource_version, "777");
    inventory_fix_fill(f, true); /* everything once more, as after a relist */
    assert_true(inventory_fix_put(
        f, INVENTORY_NAMESPACES,
        "{\"metadata\":{\"name\":\"bank\",\"uid\":\"uid-bank\",\"resourceVersion\":\"778\",\"labels\":{}}}"));
    uint64_t expected_bumps = json_array_size(f->webhooks) + json_array_size(js_at(f->mesh, "nodes", NULL));
    assert_true(f->t.inv.version - version <= expected_bumps + 1);
}

/* Many pods with label sets of their own that come and go must not be kept. */
static void labels_are_given_up(void **state) {
    struct fix *f = *state;
    for (int i = 0; i < 10000; i++) {
        char text[300], uid[20];
        snprintf(uid, sizeof uid, "u%d", i);
        snprintf(text, sizeof text,
                 "{\"metadata\":{\"name\":\"p\",\"namespace\":\"plain\",\"uid\":\"%s\",\"labels\":{\"job\":\"j%d\"}}}", uid,
                 i);
        inventory_fix_put(f, INVENTORY_PODS, text);
        inventory_drop(&f->t, INVENTORY_PODS, "plain", "p", uid);
    }
    assert_true(f->t.labels_sweep_at < 5000);
}

static void upgrades(void **state) {
    struct fix *f = *state;
    struct inv_upgrade *u;
    HASH_FIND_STR(f->t.inv.upgrades, "to-1-30", u);
    assert_string_equal(js_text(u->spec, "to", "revision", NULL), "canary");
    assert_null(u->status);
    assert_int_equal(u->generation, 1);
    assert_false(inventory_fix_put(
        f, INVENTORY_UPGRADES,
        "{\"metadata\":{\"name\":\"to-1-30\",\"uid\":\"uid-to-1-30\",\"resourceVersion\":\"9\",\"generation\":"
        "1},\"spec\":{\"from\":{\"revision\":\"old\"},\"to\":{\"revision\":\"canary\"}}}"));
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
        "{\"metadata\":{\"name\":\"x\",\"uid\":\"u\",\"namespace\":\"istio-system\",\"labels\":[],\"annotations\":7,"
        "\"ownerReferences\":{}},\"spec\":[],\"status\":\"\",\"endpoints\":3,\"ports\":null,\"webhooks\":{}}",
        "{\"metadata\":{\"name\":\"x\",\"uid\":\"u\",\"namespace\":\"istio-system\",\"labels\":{\"app\":\"istiod\","
        "\"kubernetes.io/service-name\":\"x\"},\"ownerReferences\":[1,{\"controller\":true}]},"
        "\"spec\":{\"clusterIPs\":[1,null],\"containers\":[1,{\"name\":\"discovery\",\"image\":\"\"},{\"name\":\"istio-"
        "proxy\"}],\"replicas\":-5},"
        "\"status\":{\"conditions\":[1,{}]},\"endpoints\":[1,{},{\"addresses\":[]},{\"addresses\":[3]}],\"ports\":[1,{"
        "\"name\":\"https-dns\",\"port\":\"x\"}]}",
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        for (int r = 0; r < INVENTORY_RESOURCES; r++) {
            inventory_fix_put(f, (enum inventory_resource)r, shapes[i]);
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
        bool unknown = strstr(c->path, "/gateways?") || strstr(c->path, "/workloadentries?"); /* and stays so */
        if (unknown || (!with_crd && strstr(c->path, "meshupgrades"))) {
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
    assert_string_equal(
        why.p, "meshupgrades: the CustomResourceDefinition meshupgrades.meshgate.io is not installed: apply deploy/crd");
    fake_kube_run(&k, 30000);
    answer_all(&k, true);
    fake_kube_run(&k, 0);
    assert_true(inventory_loaded(w));
    assert_true(inventory_fresh(w, NULL));
    int before = changes;
    fake_kube_data(fake_kube_find(&k, "/api/v1/namespaces?watch"),
                   "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"6\"}}}\n");
    assert_int_equal(changes, before + 1);
    assert_int_equal(HASH_COUNT(inventory_of(w)->namespaces), 1);
    fake_kube_break(fake_kube_find(&k, "/api/v1/pods?watch"), ERR_UNAVAILABLE, "connection refused");
    assert_true(inventory_fresh(w, NULL));
    fake_kube_run(&k, 30000);
    buf_reset(&why);
    assert_false(inventory_fresh(w, &why));
    assert_non_null(strstr(why.p, "pods: GET /api/v1/pods"));
    assert_null(strstr(why.p, "namespaces:"));
    /* the CustomResourceDefinition of WorkloadEntries comes later; but what is refused is not absent */
    fake_kube_reply(
        fake_kube_find(&k, "/workloadentries?limit"), 200,
        "{\"metadata\":{\"resourceVersion\":\"5\"},\"items\":[{\"metadata\":{\"name\":\"v\",\"namespace\":\"n\"}}]}");
    assert_int_equal(HASH_COUNT(inventory_of(w)->vms), 1);
    assert_true(inventory_loaded(w));
    fake_kube_reply(fake_kube_find(&k, "/gateways?limit"), 403, "{\"kind\":\"Status\",\"code\":403}");
    buf_reset(&why);
    assert_false(inventory_fresh(w, &why));
    assert_non_null(strstr(why.p, "gateways: "));
    assert_false(inventory_loaded(w));
    inventory_watch_free(w);
    buf_done(&why);
    fake_kube_done(&k);
}

#define T(f) cmocka_unit_test_setup_teardown(f, inventory_fix_full, inventory_fix_done)
#define BACKWARD(f) \
    { #f " (objects in the opposite order)", f, inventory_fix_backward, inventory_fix_done, NULL }

int main(void) {
    const struct CMUnitTest tests[] = {
        T(revisions),
        BACKWARD(revisions),
        T(replicas),
        BACKWARD(replicas),
        T(revisions_change),
        T(plain_istiod),
        T(pods),
        BACKWARD(pods),
        T(whose_sidecar),
        T(terminating),
        T(namespace_labels),
        T(injectors_come_and_go),
        T(pod_label_change),
        T(nothing_that_matters),
        T(labels_are_given_up),
        T(upgrades),
        cmocka_unit_test_setup_teardown(wrong_shapes, inventory_fix_empty, inventory_fix_done),
        cmocka_unit_test(watching),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
