/* The embedded API server's answers, one request after the other. */
#include <stdlib.h>
#include <string.h>

#include "../../lib/base/json.h"
#include "../../lib/base/mem.h"
#include "../../lib/base/vclock.h"
#include "../sim/schema.h"
#include "../sim/store_impl.h"
#include "cmocka_all.h"

#define MERGE "application/merge-patch+json"
#define STRATEGIC "application/strategic-merge-patch+json"
#define NS "/api/v1/namespaces"
#define PODS "/api/v1/namespaces/shop/pods"
#define DEPLOY "/apis/apps/v1/namespaces/shop/deployments"
#define MUP "/apis/meshgate.io/v1alpha1/meshupgrades"

struct fixture {
    struct vclock *clock;
    struct store *store;
};

static int setup(void **state) {
    struct fixture *f = mem_alloc(sizeof *f);
    f->clock = vclock_new(1795420800000);
    f->store = store_new(vclock_sched(f->clock));
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    store_free(f->store);
    vclock_free(f->clock);
    free(f);
    return 0;
}

static int ask(struct store *s, const char *method, const char *path, const char *type, const char *body, char **text) {
    struct store_user user = {"admin"};
    struct store_reply r;
    store_request(s, &user, method, path, type ? type : "application/json", NULL, body, body ? strlen(body) : 0, &r);
    *text = r.body;
    return r.status;
}

struct row {
    const char *method, *path, *type, *body;
    int status;
    const char *has; /* part of the answer; "!x": must not be there */
};

static void run_rows(struct store *s, const struct row *rows, size_t n) {
    for (size_t i = 0; i < n; i++) {
        char *text;
        const struct row *r = &rows[i];
        int status = ask(s, r->method, r->path, r->type, r->body, &text);
        bool absent = r->has && *r->has == '!';
        bool found = r->has && text && strstr(text, r->has + absent);
        if (status != r->status || (r->has && found == absent)) {
            fail_msg("row %zu: %s %s: status %d (wanted %d), wanted text %s in: %s", i, r->method, r->path, status,
                     r->status, r->has ? r->has : "-", text);
        }
        free(text);
    }
}
#define RUN(store, rows) run_rows(store, rows, sizeof rows / sizeof *rows)

static void objects(void **state) {
    static const struct row rows[] = {
        {"GET", NS "/shop", 0, 0, 404, "\"message\":\"namespaces \\\"shop\\\" not found\""},
        {"POST", PODS, 0, "{\"metadata\":{\"name\":\"a\"}}", 404, "namespaces \\\"shop\\\" not found"},
        {"POST", NS, 0, "{\"metadata\":{\"name\":\"shop\",\"labels\":{\"x\":\"1\"}}}", 201, "\"resourceVersion\":\"1001\""},
        {"POST", NS, 0, "{\"metadata\":{\"name\":\"shop\"}}", 409, "AlreadyExists"},
        {"GET", NS "/shop", 0, 0, 200, "\"kind\":\"Namespace\""},
        {"POST", PODS, 0, "{\"metadata\":{\"generateName\":\"web-\"},\"spec\":{}}", 201, "\"name\":\"web-"},
        {"POST", PODS, 0, "{\"metadata\":{}}", 422, "name or generateName is required"},
        {"POST", PODS, 0, "{\"metadata\":{\"name\":\"a\",\"namespace\":\"other\"}}", 400, "does not match the namespace"},
        {"POST", PODS, 0, "{\"kind\":\"Service\",\"metadata\":{\"name\":\"a\"}}", 400, "(Service)"},
        {"POST", PODS, 0, "not json", 400, "BadRequest"},
        {"POST", PODS "?dryRun=All", 0, "{\"metadata\":{\"name\":\"dry\"}}", 201, "dry"},
        {"GET", PODS "/dry", 0, 0, 404, "NotFound"},
        {"POST", DEPLOY, 0, "{\"metadata\":{\"name\":\"d\"},\"spec\":{\"replicas\":1},\"status\":{\"replicas\":9}}", 201,
         "!\"status\""},
        {"GET", DEPLOY "/d", 0, 0, 200, "\"generation\":1"},
        {"GET", DEPLOY "/nosuch", 0, 0, 404, "\"group\":\"apps\""},
        {"DELETE", DEPLOY "/d", 0, "{\"preconditions\":{\"uid\":\"wrong\"}}", 409,
         "Precondition failed: UID in precondition: wrong"},
        {"DELETE", DEPLOY "/d", 0, 0, 200, "\"status\":\"Success\""},
        {"DELETE", DEPLOY "/d", 0, 0, 404, "deployments.apps \\\"d\\\" not found"},
        {"DELETE", NS "/shop", 0, 0, 200, "shop"},
        {"GET", "/api/v1/pods", 0, 0, 200, "\"items\":[]"},
    };
    RUN(((struct fixture *)*state)->store, rows);
}

static void changes(void **state) {
    static const struct row rows[] = {
        {"POST", NS, 0, "{\"metadata\":{\"name\":\"shop\",\"labels\":{\"a\":\"1\",\"b\":\"2\"}}}", 201, "1001"},
        {"PATCH", NS "/shop", MERGE, "{\"metadata\":{\"labels\":{\"a\":null,\"c\":\"3\"}}}", 200,
         "{\"b\":\"2\",\"c\":\"3\"}"},
        {"PATCH", NS "/shop", MERGE, "{\"metadata\":{\"labels\":{\"c\":\"3\"}}}", 200, "\"resourceVersion\":\"1002\""},
        {"PATCH", NS "/shop", MERGE, "{\"metadata\":{\"resourceVersion\":\"1001\",\"labels\":{\"d\":\"4\"}}}", 409,
         "the object has been modified; please apply your changes to the latest version and try again"},
        {"PATCH", NS "/shop", MERGE, "{\"metadata\":{\"resourceVersion\":\"1002\",\"labels\":{\"d\":\"4\"}}}", 200,
         "\"1003\""},
        {"PATCH", NS "/shop", MERGE, "{\"metadata\":{\"uid\":\"x\"}}", 409, "UID in precondition: x"},
        {"PATCH", NS "/shop", MERGE, "{\"metadata\":{\"name\":\"x\"}}", 400, "does not match the name on the URL"},
        {"PATCH", NS "/shop", STRATEGIC, "{\"metadata\":{\"labels\":{\"d\":null}}}", 200, "!\"d\""},
        {"PATCH", NS "/shop", STRATEGIC, "{\"metadata\":{\"finalizers\":[\"x\"]}}", 415, "UnsupportedMediaType"},
        {"PATCH", NS "/shop", "application/apply-patch+yaml", "{}", 415, "unknown format"},
        {"PATCH", NS "/shop?dryRun=All", MERGE, "{\"metadata\":{\"labels\":{\"e\":\"5\"}}}", 200, "\"e\":\"5\""},
        {"GET", NS "/shop", 0, 0, 200, "!\"e\":\"5\""},
        {"PATCH", NS "/nosuch", MERGE, "{}", 404, "NotFound"},
        {"POST", DEPLOY, 0, "{\"metadata\":{\"name\":\"d\"},\"spec\":{\"replicas\":1}}", 201, 0},
        {"PATCH", DEPLOY "/d/status", MERGE, "{\"status\":{\"replicas\":1},\"spec\":{\"replicas\":7}}", 200,
         "\"generation\":1"},
        {"GET", DEPLOY "/d", 0, 0, 200, "\"spec\":{\"replicas\":1}"},
        {"PATCH", DEPLOY "/d", MERGE, "{\"status\":null,\"spec\":{\"replicas\":2}}", 200, "\"status\":{\"replicas\":1}"},
        {"GET", DEPLOY "/d", 0, 0, 200, "\"generation\":2"},
        {"PATCH", DEPLOY "/d", MERGE, "{\"metadata\":{\"labels\":{\"x\":\"y\"}}}", 200, "\"generation\":2"},
        {"PATCH", DEPLOY "/d", MERGE, "{\"metadata\":{\"annotations\":{\"x\":\"y\"}}}", 200, "\"generation\":3"},
        {"PUT", DEPLOY "/d", 0, "{\"metadata\":{\"name\":\"d\",\"resourceVersion\":\"1\"},\"spec\":{}}", 409, "Conflict"},
        {"PUT", DEPLOY "/d", 0, "{\"metadata\":{\"name\":\"d\"},\"spec\":{\"replicas\":5}}", 200, "\"replicas\":5"},
    };
    RUN(((struct fixture *)*state)->store, rows);
}

static void refusals(void **state) {
    static const struct row rows[] = {
        {"GET", "/api/v1/nosuch", 0, 0, 404, "404 page not found"},
        {"GET", "/apis/nosuch/v1/things", 0, 0, 404, "404 page not found"},
        {"GET", "/nosuch", 0, 0, 404, "404 page not found"},
        {"GET", "/api/v1/pods/x", 0, 0, 404, 0},
        {"POST", "/api/v1/pods", 0, "{}", 405, "MethodNotAllowed"},
        {"DELETE", "/api/v1/pods", 0, 0, 405, "MethodNotAllowed"},
        {"GET", "/apis/authentication.k8s.io/v1/tokenreviews", 0, 0, 405, "MethodNotAllowed"},
        {"GET", "/api/v1/pods?fieldSelector=spec.nosuch%3Dx", 0, 0, 400, "field label not supported: spec.nosuch"},
        {"GET", "/api/v1/pods?labelSelector=a%20b", 0, 0, 400, "label selector"},
        {"GET", "/api/v1/pods?labelSelector=a%3D%3D%3Db", 0, 0, 400, "label selector"},
        {"GET", "/api/v1/pods?resourceVersion=x", 0, 0, 400, "resourceVersion"},
        {"GET", "/api/v1/pods?resourceVersion=99999", 0, 0, 504, "Too large resource version: 99999, current: "},
        {"GET", "/api/v1/pods?limit=x", 0, 0, 400, "limit"},
        {"GET", "/api/v1/pods?continue=zz", 0, 0, 400, "continue key is not valid"},
        {"GET", "/version", 0, 0, 200, "v1.36"},
        {"GET", "/readyz", 0, 0, 200, "ok"},
        {"GET", "/api", 0, 0, 200, "APIVersions"},
        {"GET", "/apis", 0, 0, 200, "meshgate.io/v1alpha1"},
        {"GET", "/apis/apps/v1", 0, 0, 200, "deployments/status"},
        {"GET", "/apis/meshgate.io/v1alpha1", 0, 0, 200, "\"mup\""},
    };
    struct fixture *f = *state;
    RUN(f->store, rows);
    struct store_reply r;
    store_request(f->store, NULL, "GET", "/api/v1/pods", NULL, NULL, NULL, 0, &r);
    assert_int_equal(r.status, 401);
    assert_non_null(strstr(r.body, "Unauthorized"));
    free(r.body);
    char *text;
    store_fault(f->store, "admin", 403);
    assert_int_equal(ask(f->store, "GET", "/api/v1/pods", NULL, NULL, &text), 403);
    assert_non_null(
        strstr(text, "User \\\"admin\\\" cannot list resource \\\"pods\\\" in API group \\\"\\\" at the cluster scope"));
    free(text);
    store_fault(f->store, "admin", -1);
    assert_int_equal(ask(f->store, "GET", "/api/v1/pods", NULL, NULL, &text), -1);
    assert_null(text);
    store_fault(f->store, "admin", 0);
    assert_int_equal(ask(f->store, "GET", "/api/v1/pods", NULL, NULL, &text), 200);
    free(text);
}

static void put_pod(struct store *s, const char *name, const char *label, const char *node) {
    struct err err = {0};
    assert_true(store_put(s, "pods",
                          json_pack("{s:{s:s,s:s,s:{s:s}},s:{s:s}}", "metadata", "name", name, "namespace", "shop",
                                    "labels", "app", label, "spec", "nodeName", node),
                          &err));
}

static size_t count(struct store *s, const char *query) {
    char *text, path[300];
    struct err err = {0};
    snprintf(path, sizeof path, "/api/v1/pods?%s", query);
    assert_int_equal(ask(s, "GET", path, NULL, NULL, &text), 200);
    json_t *o = js_parse(text, strlen(text), 1 << 20, &err);
    size_t n = json_array_size(json_object_get(o, "items"));
    json_decref(o);
    free(text);
    return n;
}

static void selectors(void **state) {
    struct store *s = ((struct fixture *)*state)->store;
    put_pod(s, "a", "web", "n1");
    put_pod(s, "b", "web", "n2");
    put_pod(s, "c", "db", "n1");
    static const struct {
        const char *query;
        size_t n;
    } rows[] = {
        {"labelSelector=app%3Dweb", 2},
        {"labelSelector=app%3D%3Dweb", 2},
        {"labelSelector=app!%3Dweb", 1},
        {"labelSelector=app", 3},
        {"labelSelector=!app", 0},
        {"labelSelector=app+in+(web,db)", 3},
        {"labelSelector=app+notin+(web)", 1},
        {"labelSelector=app%3Dweb,app!%3Ddb", 2},
        {"labelSelector=x+notin+(y)", 3},
        {"fieldSelector=spec.nodeName%3Dn1", 2},
        {"fieldSelector=metadata.name%3Db", 1},
        {"fieldSelector=metadata.namespace!%3Dshop", 0},
        {"fieldSelector=spec.nodeName%3Dn1&labelSelector=app%3Ddb", 1},
        {"", 3},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (count(s, rows[i].query) != rows[i].n) {
            fail_msg("%s: %zu, wanted %zu", rows[i].query, count(s, rows[i].query), rows[i].n);
        }
    }
}

/* Later pages show the collection as it was at the first. */
static void pages(void **state) {
    struct store *s = ((struct fixture *)*state)->store;
    char name[16], *text, path[400];
    struct err err = {0};
    for (int i = 0; i < 10; i++) {
        snprintf(name, sizeof name, "p%d", i);
        put_pod(s, name, "web", "n1");
    }
    assert_int_equal(ask(s, "GET", "/api/v1/pods?limit=4", NULL, NULL, &text), 200);
    json_t *first = js_parse(text, strlen(text), 1 << 20, &err);
    free(text);
    assert_int_equal(js_int(first, 0, "metadata", "remainingItemCount", NULL), 6);
    assert_null(js_at(json_array_get(json_object_get(first, "items"), 0), "kind", NULL));
    store_delete(s, "pods", "shop", "p5");
    put_pod(s, "p40", "web", "n1");
    put_pod(s, "p6", "changed", "n1");
    snprintf(path, sizeof path, "/api/v1/pods?limit=100&continue=%s", js_str(first, "metadata", "continue", NULL));
    assert_int_equal(ask(s, "GET", path, NULL, NULL, &text), 200);
    json_t *second = js_parse(text, strlen(text), 1 << 20, &err);
    assert_null(strstr(text, "changed"));
    assert_null(strstr(text, "p40"));
    assert_non_null(strstr(text, "p5"));
    free(text);
    assert_int_equal(json_array_size(json_object_get(second, "items")), 6);
    assert_string_equal(js_str(second, "metadata", "resourceVersion", NULL),
                        js_str(first, "metadata", "resourceVersion", NULL));
    store_compact(s);
    assert_int_equal(ask(s, "GET", path, NULL, NULL, &text), 410);
    assert_non_null(strstr(text, "The provided continue parameter is too old"));
    free(text);
    json_decref(first);
    json_decref(second);
}

static void tokens(void **state) {
    struct store *s = ((struct fixture *)*state)->store;
    store_add_token(s, "secret-1", "istio-system", "meshgate-agent", "meshgate", "node-01", "agent-x");
    static const struct row rows[] = {
        {"POST", "/apis/authentication.k8s.io/v1/tokenreviews", 0,
         "{\"spec\":{\"token\":\"secret-1\",\"audiences\":[\"meshgate\"]}}", 201,
         "\"authentication.kubernetes.io/node-name\":[\"node-01\"]"},
        {"POST", "/apis/authentication.k8s.io/v1/tokenreviews", 0,
         "{\"spec\":{\"token\":\"secret-1\",\"audiences\":[\"meshgate\"]}}", 201,
         "\"username\":\"system:serviceaccount:istio-system:meshgate-agent\""},
        {"POST", "/apis/authentication.k8s.io/v1/tokenreviews", 0, "{\"spec\":{\"token\":\"secret-1\"}}", 201,
         "token audiences [\\\"meshgate\\\"] is invalid for the target audiences [\\\"https://kubernetes.default.svc\\\"]"},
        {"POST", "/apis/authentication.k8s.io/v1/tokenreviews", 0, "{\"spec\":{\"token\":\"no\"}}", 201,
         "invalid bearer token"},
        {"POST", "/apis/authentication.k8s.io/v1/tokenreviews", 0, "{\"spec\":{\"token\":\"no\"}}", 201, "!authenticated"},
        {"POST", "/apis/authentication.k8s.io/v1/tokenreviews", 0, "{\"spec\":{}}", 400, "token is required"},
    };
    RUN(s, rows);
    assert_null(store_authenticate(s, "secret-1", NULL, NULL));
    assert_string_equal(store_authenticate(s, "secret-1", "meshgate", NULL),
                        "system:serviceaccount:istio-system:meshgate-agent");
    store_drop_token(s, "secret-1");
    assert_null(store_authenticate(s, "secret-1", "meshgate", NULL));
}

static void eviction(void **state) {
    struct store *s = ((struct fixture *)*state)->store;
    struct err err = {0};
    put_pod(s, "a", "web", "n1");
    assert_true(store_put(s, "poddisruptionbudgets",
                          json_pack("{s:{s:s,s:s},s:{s:{s:{s:s}}},s:{s:i,s:i,s:i}}", "metadata", "name", "b", "namespace",
                                    "shop", "spec", "selector", "matchLabels", "app", "web", "status", "disruptionsAllowed",
                                    0, "desiredHealthy", 1, "currentHealthy", 1),
                          &err));
    static const struct row refused[] = {
        {"POST", PODS "/a/eviction", 0, "{}", 429, "The disruption budget b needs 1 healthy pods and has 1 currently"},
        {"POST", PODS "/x/eviction", 0, "{}", 404, "NotFound"},
    };
    RUN(s, refused);
    store_delete(s, "poddisruptionbudgets", "shop", "b");
    static const struct row done[] = {
        {"POST", PODS "/a/eviction?dryRun=All", 0, "{}", 201, "Success"},
        {"POST", PODS "/a/eviction", 0, "{}", 201, "Success"},
        {"GET", PODS "/a", 0, 0, 404, 0},
    };
    RUN(s, done);
}

#define SPEC(from, to, waves)                                                                                  \
    "{\"metadata\":{\"name\":\"u\"},\"spec\":{\"from\":{\"revision\":\"" from "\"},\"to\":{\"revision\":\"" to \
    "\"},\"waves\":" waves "}}"

static void upgrades(void **state) {
    static const struct row rows[] = {
        {"POST", MUP, 0, "{\"metadata\":{\"name\":\"u\"}}", 422,
         "MeshUpgrade.meshgate.io \\\"u\\\" is invalid: spec: Required value"},
        {"POST", MUP, 0, "{\"metadata\":{\"name\":\"u\"},\"spec\":{\"waves\":[{\"name\":\"a\"}]}}", 422,
         "[spec.from: Required value, spec.to: Required value]"},
        {"POST", MUP, 0, SPEC("old", "old", "[{\"name\":\"a\"}]"), 422, "from and to are the same revision"},
        {"POST", MUP, 0, SPEC("old", "new", "[]"), 422, "spec.waves in body should have at least 1 items"},
        {"POST", MUP, 0, SPEC("old", "new", "[{\"name\":\"a\",\"namespaces\":{\"percent\":5}},{\"name\":\"a\"}]"), 422,
         "two waves have the same name"},
        {"POST", MUP, 0, SPEC("old", "new", "[{\"name\":\"a\"},{\"name\":\"b\"}]"), 422, "it can only be the last one"},
        {"POST", MUP, 0, SPEC("Old_1", "new", "[{\"name\":\"a\"}]"), 422, "should match"},
        {"POST", MUP, 0, SPEC("old", "new", "[{\"name\":\"a\",\"approval\":\"Perhaps\"}]"), 422,
         "Unsupported value: \\\"Perhaps\\\": supported values: \\\"Auto\\\", \\\"Manual\\\""},
        {"POST", MUP, 0, SPEC("old", "new", "[{\"name\":\"a\",\"soak\":5}]"), 422,
         "spec.waves[0].soak in body must be of type string: \\\"integer\\\""},
        {"POST", MUP, 0, SPEC("old", "new", "[{\"name\":\"a\",\"namespaces\":{\"names\":[\"x\"],\"percent\":5}}]"), 422,
         "give one of names, selector, percent"},
        {"POST", MUP, 0, SPEC("old", "new", "[{\"name\":\"a\",\"namespaces\":{\"percent\":500}}]"), 422,
         "less than or equal to 100"},
        {"POST", MUP, 0, SPEC("old", "new", "[{\"name\":\"a\",\"nonsense\":1}]"), 201, "!nonsense"},
        {"GET", MUP "/u", 0, 0, 200, "\"approval\":\"Auto\""},
        {"GET", MUP "/u", 0, 0, 200, "\"coveragePercent\":100"},
        {"PATCH", MUP "/u", MERGE, "{\"spec\":{\"approvedWaves\":[\"b\"]}}", 422,
         "approvedWaves names a wave that is not in spec.waves"},
        {"PATCH", MUP "/u", MERGE, "{\"spec\":{\"paused\":true}}", 200, "\"generation\":2"},
        {"PATCH", MUP "/u/status", MERGE, "{\"status\":{\"phase\":\"Moving\"}}", 200, "\"generation\":2"},
        {"PATCH", MUP "/u/status", MERGE, "{\"status\":{\"phase\":\"Dancing\"}}", 422,
         "Unsupported value: \\\"Dancing\\\""},
        {"PATCH", MUP "/u", STRATEGIC, "{\"spec\":{\"paused\":false}}", 415, "unknown format"},
    };
    RUN(((struct fixture *)*state)->store, rows);
    const char *unknown = "";
    if (!schema_rules_known(store_crd_schema(), &unknown)) {
        fail_msg("the CRD has a rule that tests/sim/schema_rules.c does not know: %s", unknown);
    }
}

static void listener(void *ctx, const char *resource, const char *event, const json_t *obj) {
    (void)resource, (void)obj;
    buf_printf(ctx, "%s ", event);
}

static bool admit(void *ctx, json_t *pod, struct err *err) {
    (void)ctx;
    if (!strcmp(js_text(pod, "metadata", "name", NULL), "bad")) {
        return err_set(err, ERR_UNAVAILABLE, "failed calling webhook \"x\": no endpoints");
    }
    json_object_set_new(json_object_get(pod, "metadata"), "annotations", json_pack("{s:s}", "istio.io/rev", "old"));
    return true;
}

static void controllers(void **state) {
    struct store *s = ((struct fixture *)*state)->store;
    struct err err = {0};
    struct buf seen;
    buf_init(&seen, 1000);
    store_on_change(s, listener, &seen);
    store_on_admit_pod(s, admit, NULL);
    assert_true(store_put(s, "namespaces", json_pack("{s:{s:s}}", "metadata", "name", "shop"), &err));
    static const struct row rows[] = {
        {"POST", PODS, 0, "{\"metadata\":{\"name\":\"bad\"}}", 500,
         "Internal error occurred: failed calling webhook \\\"x\\\": no endpoints"},
        {"POST", PODS, 0, "{\"metadata\":{\"name\":\"good\"}}", 201, "\"istio.io/rev\":\"old\""},
    };
    RUN(s, rows);
    json_t *patch = json_pack("{s:{s:s}}", "status", "phase", "Running");
    assert_true(store_patch(s, "pods", "shop", "good", patch, true, &err));
    assert_true(store_patch(s, "pods", "shop", "good", patch, true, &err)); /* nothing changes: no event */
    json_decref(patch);
    assert_string_equal(js_text(store_get(s, "pods", "shop", "good"), "status", "phase", NULL), "Running");
    assert_false(store_patch(s, "pods", "shop", "nosuch", NULL, true, &err));
    assert_true(store_delete(s, "pods", "shop", "good"));
    assert_false(store_delete(s, "pods", "shop", "good"));
    assert_string_equal(seen.p, "ADDED ADDED MODIFIED DELETED ");
    assert_false(store_put(s, "pods", json_pack("{s:{s:s}}", "metadata", "name", "x"), &err));
    buf_done(&seen);
}

static bool proxy(void *ctx, const char *ns, const char *service, const char *path, struct store_reply *out) {
    (void)ctx;
    out->status = 200;
    out->body = mem_printf("%s/%s %s", ns, service, path);
    return true;
}

static void service_proxy(void **state) {
    struct store *s = ((struct fixture *)*state)->store;
    struct err err = {0};
    static const char path[] = "/api/v1/namespaces/istio-system/services/http:meshgate:8080/proxy/api/v1/x?y=1%202";
    char *text;
    assert_int_equal(ask(s, "GET", path, NULL, NULL, &text), 404);
    free(text);
    assert_true(store_put(s, "services",
                          json_pack("{s:{s:s,s:s}}", "metadata", "name", "meshgate", "namespace", "istio-system"), &err));
    assert_int_equal(ask(s, "GET", path, NULL, NULL, &text), 503);
    free(text);
    store_on_proxy(s, proxy, NULL);
    assert_int_equal(ask(s, "GET", path, NULL, NULL, &text), 200);
    assert_string_equal(text, "istio-system/meshgate /api/v1/x?y=1%202");
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(objects, setup, teardown),
        cmocka_unit_test_setup_teardown(changes, setup, teardown),
        cmocka_unit_test_setup_teardown(refusals, setup, teardown),
        cmocka_unit_test_setup_teardown(selectors, setup, teardown),
        cmocka_unit_test_setup_teardown(pages, setup, teardown),
        cmocka_unit_test_setup_teardown(tokens, setup, teardown),
        cmocka_unit_test_setup_teardown(eviction, setup, teardown),
        cmocka_unit_test_setup_teardown(upgrades, setup, teardown),
        cmocka_unit_test_setup_teardown(controllers, setup, teardown),
        cmocka_unit_test_setup_teardown(service_proxy, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
