/* Writes to the cluster: guarded, one in flight an object, never repeated before the inventory has shown what became of
 * them. */
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "fake_kube.h"
#include "gate/execute.h"
#include "lib/base/json.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"

static char name_to[] = "canary", upgrade_name[] = "up", upgrade_uid[] = "0ae09121-fe95";

struct fix {
    struct fake_kube fake;
    struct execute *x;
    struct upgrade u;
    char mark[256];
    int retries;
    int dones, oks;
};

static void on_retry(void *ctx) {
    ((struct fix *)ctx)->retries++;
}

static void on_status(void *ctx, bool ok) {
    struct fix *f = ctx;
    f->dones++;
    f->oks += ok;
}

static int setup(void **state) {
    struct fix *f = mem_alloc(sizeof *f);
    fake_kube_init(&f->fake);
    f->x = execute_new(&f->fake.kube, "meshgate", 5);
    execute_on_retry(f->x, on_retry, f);
    f->u = (struct upgrade){.name = upgrade_name, .uid = upgrade_uid, .to = name_to, .to_name = name_to};
    upgrade_mark(&f->u, f->mark, sizeof f->mark);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fix *f = *state;
    execute_free(f->x);
    fake_kube_done(&f->fake);
    free(f);
    return 0;
}

static struct kube_call *only(struct fix *f) {
    assert_int_equal(fake_kube_open(&f->fake), 1);
    return f->fake.calls;
}

static struct inv_namespace ns_make(const char *version, json_t *labels, json_t *annotations) {
    return (struct inv_namespace){
        .name = mem_dup("shop"), .resource_version = mem_dup(version), .labels = labels, .annotations = annotations};
}

static void ns_done(struct inv_namespace *n) {
    free(n->name);
    free(n->resource_version);
    json_decref(n->labels);
    json_decref(n->annotations);
}

static void ns_version(struct inv_namespace *n, const char *version) {
    mem_set(&n->resource_version, version);
}

static json_t *body_of(const struct kube_call *c) {
    json_t *o = js_parse(c->body, strlen(c->body), 1 << 20, NULL);
    assert_non_null(o);
    return o;
}

#define CHANGED(v) "{\"metadata\":{\"resourceVersion\":\"" v "\"}}"

static void relabel(void **state) {
    struct fix *f = *state;
    struct inv_namespace n = ns_make("10", json_pack("{s:s}", "istio-injection", "enabled"), NULL);
    execute_relabel(f->x, &n, &f->u);
    struct kube_call *c = only(f);
    assert_string_equal(c->method, "PATCH");
    assert_string_equal(c->path, "/api/v1/namespaces/shop?fieldManager=meshgate");
    assert_string_equal(c->content_type, "application/merge-patch+json");
    json_t *b = body_of(c);
    assert_string_equal(js_text(b, "metadata", "resourceVersion", NULL), "10");
    assert_string_equal(js_text(b, "metadata", "labels", "istio.io/rev", NULL), "canary");
    assert_true(json_is_null(js_at(b, "metadata", "labels", "istio-injection", NULL)));
    assert_string_equal(js_text(b, "metadata", "annotations", MESHGATE_MARK_NAMESPACE, NULL), f->mark);
    assert_string_equal(js_text(b, "metadata", "annotations", MESHGATE_PREVIOUS, NULL),
                        "{\"istio-injection\":\"enabled\",\"istio.io/rev\":null}");
    json_decref(b);
    ns_done(&n);
}

/* A label that somebody set back is removed again, but what was there first stays recorded. */
static void relabel_again_keeps_previous(void **state) {
    struct fix *f = *state;
    struct inv_namespace n = ns_make("10", json_pack("{s:s, s:s}", "istio-injection", "enabled", "istio.io/rev", "canary"),
                                     json_pack("{s:s, s:s}", MESHGATE_MARK_NAMESPACE, f->mark, MESHGATE_PREVIOUS, "{}"));
    execute_relabel(f->x, &n, &f->u);
    json_t *b = body_of(only(f));
    assert_null(js_at(b, "metadata", "annotations", MESHGATE_PREVIOUS, NULL));
    json_decref(b);
    ns_done(&n);
}

static void unresolved_target(void **state) {
    struct fix *f = *state;
    struct inv_namespace n = ns_make("10", NULL, NULL);
    f->u.to = NULL;
    execute_relabel(f->x, &n, &f->u);
    assert_int_equal(f->fake.sent, 0);
    ns_done(&n);
}

static void success_waits_for_the_inventory(void **state) {
    struct fix *f = *state;
    struct inv_namespace n = ns_make("10", NULL, NULL);
    execute_relabel(f->x, &n, &f->u);
    execute_relabel(f->x, &n, &f->u); /* in flight */
    struct kube_call *c = only(f);
    ns_version(&n, "11");
    execute_relabel(f->x, &n, &f->u); /* still in flight, although the watch was faster than the answer */
    ns_version(&n, "10");
    fake_kube_reply(c, 200, CHANGED("11"));
    execute_relabel(f->x, &n, &f->u);
    fake_kube_run(&f->fake, 3600000);
    execute_relabel(f->x, &n, &f->u);
    assert_int_equal(f->fake.sent, 1);
    assert_int_equal(execute_writes(f->x), 1);
    assert_null(execute_trouble(f->x, "ns/shop"));
    ns_version(&n, "12");
    execute_relabel(f->x, &n, &f->u); /* somebody changed it, and it is wanted again */
    assert_int_equal(f->fake.sent, 2);
    ns_done(&n);
}

static void conflict(void **state) {
    struct fix *f = *state;
    struct inv_namespace n = ns_make("10", NULL, NULL);
    execute_relabel(f->x, &n, &f->u);
    fake_kube_reply(only(f), 409, "{\"kind\":\"Status\",\"code\":409,\"message\":\"the object has been modified\"}");
    fake_kube_run(&f->fake, 600000);
    execute_relabel(f->x, &n, &f->u);
    assert_int_equal(f->fake.sent, 1);
    assert_int_equal(f->retries, 0);
    assert_int_equal(execute_failures(f->x), 1);
    ns_version(&n, "11");
    execute_relabel(f->x, &n, &f->u);
    assert_int_equal(f->fake.sent, 2);
    assert_non_null(strstr(only(f)->body, "\"resourceVersion\":\"11\""));
    ns_done(&n);
}

static void denied_keeps_the_sentence(void **state) {
    struct fix *f = *state;
    struct inv_namespace n = ns_make("10", NULL, NULL);
    execute_relabel(f->x, &n, &f->u);
    fake_kube_reply(only(f), 403,
                    "{\"kind\":\"Status\",\"code\":403,\"message\":\"namespaces \\\"shop\\\" is forbidden: no\"}");
    assert_string_equal(execute_trouble(f->x, "ns/shop"),
                        "PATCH /api/v1/namespaces/shop: 403 Forbidden: namespaces \"shop\" is forbidden: no");
    assert_null(execute_trouble(f->x, "ns/other"));
    execute_relabel(f->x, &n, &f->u);
    assert_int_equal(f->fake.sent, 1);
    fake_kube_run(&f->fake, 500);
    assert_int_equal(f->retries, 1);
    execute_relabel(f->x, &n, &f->u);
    assert_int_equal(f->fake.sent, 2);
    assert_non_null(execute_trouble(f->x, "ns/shop"));
    fake_kube_reply(only(f), 200, CHANGED("11"));
    assert_null(execute_trouble(f->x, "ns/shop"));
    ns_done(&n);
}

/* Nothing is written again by itself: a decision may have paused in between. */
static void back_off_grows(void **state) {
    struct fix *f = *state;
    struct inv_namespace n = ns_make("10", NULL, NULL);
    int64_t limit = 500;
    for (int i = 1; i <= 20; i++) {
        execute_relabel(f->x, &n, &f->u);
        fake_kube_break(only(f), ERR_TIMEOUT, "no answer");
        int64_t from = fake_kube_now(&f->fake);
        while (f->retries < i) {
            assert_true(fake_kube_now(&f->fake) - from <= limit);
            execute_relabel(f->x, &n, &f->u);
            assert_int_equal(fake_kube_open(&f->fake), 0);
            fake_kube_run(&f->fake, 10);
        }
        assert_true(fake_kube_now(&f->fake) - from >= limit / 2);
        limit = limit * 2 < 30000 ? limit * 2 : 30000;
    }
    assert_int_equal(f->fake.sent, 20);
    fake_kube_run(&f->fake, 3600000);
    assert_int_equal(f->fake.sent, 20);
    ns_done(&n);
}

static void retry_after(void **state) {
    struct fix *f = *state;
    struct inv_namespace n = ns_make("10", NULL, NULL);
    execute_relabel(f->x, &n, &f->u);
    fake_kube_reply_after(only(f), 429, "", 9000);
    fake_kube_run(&f->fake, 8999);
    assert_int_equal(f->retries, 0);
    fake_kube_run(&f->fake, 1);
    assert_int_equal(f->retries, 1);
    ns_done(&n);
}

static void write_without_effect(void **state) {
    struct fix *f = *state;
    struct inv_namespace n = ns_make("10", NULL, NULL);
    execute_relabel(f->x, &n, &f->u);
    fake_kube_reply(only(f), 200, CHANGED("10"));
    execute_relabel(f->x, &n, &f->u);
    assert_int_equal(f->fake.sent, 1);
    fake_kube_run(&f->fake, 30000);
    execute_relabel(f->x, &n, &f->u); /* no other version will ever be seen */
    assert_int_equal(f->fake.sent, 2);
    ns_done(&n);
}

static struct inv_workload workload(enum workload_kind kind, const char *key, const char *version) {
    return (struct inv_workload){.kind = kind,
                                 .key = mem_dup(key),
                                 .namespace_ = mem_dup("shop"),
                                 .name = mem_dup("web"),
                                 .resource_version = mem_dup(version)};
}

static void workload_done(struct inv_workload *w) {
    free(w->key);
    free(w->namespace_);
    free(w->name);
    free(w->resource_version);
    free(w->restart_mark);
}

static void restart(void **state) {
    struct fix *f = *state;
    struct inv_workload w = workload(KIND_DEPLOYMENT, "Deployment/shop/web", "10");
    execute_restart(f->x, &w, &f->u);
    struct kube_call *c = only(f);
    assert_string_equal(c->path, "/apis/apps/v1/namespaces/shop/deployments/web?fieldManager=meshgate");
    json_t *b = body_of(c);
    assert_string_equal(js_text(b, "metadata", "resourceVersion", NULL), "10");
    const json_t *a = js_at(b, "spec", "template", "metadata", "annotations", NULL);
    assert_string_equal(js_text(a, MESHGATE_MARK_TEMPLATE, NULL), f->mark);
    assert_string_equal(js_text(a, "kubectl.kubernetes.io/restartedAt", NULL), "2026-09-21T14:13:20Z");
    assert_int_equal(json_object_size(a), 2);
    json_decref(b);
    workload_done(&w);
}

static void never_twice(void **state) {
    struct fix *f = *state;
    struct inv_workload w = workload(KIND_STATEFULSET, "StatefulSet/shop/web", "10");
    execute_restart(f->x, &w, &f->u);
    fake_kube_break(only(f), ERR_TIMEOUT, "no answer"); /* it may have been written all the same */
    fake_kube_run(&f->fake, 500);
    execute_restart(f->x, &w, &f->u);
    fake_kube_reply(only(f), 409, "{}"); /* it was: the guard says so */
    execute_restart(f->x, &w, &f->u);
    assert_int_equal(fake_kube_open(&f->fake), 0);
    mem_set(&w.resource_version, "11");
    mem_set(&w.restart_mark, f->mark);
    execute_restart(f->x, &w, &f->u);
    assert_int_equal(f->fake.sent, 2);
    mem_set(&w.restart_mark, "earlier/1");
    execute_restart(f->x, &w, &f->u);
    assert_int_equal(f->fake.sent, 3);
    workload_done(&w);
}

static void what_cannot_be_restarted(void **state) {
    struct fix *f = *state;
    static const enum workload_kind kinds[] = {KIND_UNKNOWN, KIND_REPLICASET, KIND_JOB,      KIND_CRONJOB,
                                               KIND_ROLLOUT, KIND_GATEWAY,    KIND_BARE_POD, KIND_OTHER};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct inv_workload w = workload(kinds[i], "X/shop/web", "10");
        execute_restart(f->x, &w, &f->u);
        workload_done(&w);
    }
    assert_int_equal(f->fake.sent, 0);
    struct inv_workload w = workload(KIND_DAEMONSET, "DaemonSet/shop/web", "10");
    execute_restart(f->x, &w, &f->u);
    assert_non_null(fake_kube_find(&f->fake, "/daemonsets/web"));
    workload_done(&w);
}

static struct inv_upgrade object(const char *version, json_t *status) {
    return (struct inv_upgrade){
        .name = upgrade_name, .uid = upgrade_uid, .resource_version = mem_dup(version), .status = status};
}

static void object_done(struct inv_upgrade *o) {
    free(o->resource_version);
    json_decref(o->status);
}

static void status(void **state) {
    struct fix *f = *state;
    struct inv_upgrade o =
        object("10", json_pack("{s:s, s:{s:i, s:i}, s:[i]}", "hold", "x", "summary", "a", 1, "b", 2, "waves", 1));
    execute_status(f->x, &o, json_pack("{s:{s:i}, s:[]}", "summary", "a", 3, "waves"), on_status, f);
    struct kube_call *c = only(f);
    assert_string_equal(c->path, "/apis/meshgate.io/v1alpha1/meshupgrades/up/status?fieldManager=meshgate");
    json_t *b = body_of(c), *s = js_at(b, "status", NULL);
    assert_string_equal(js_text(b, "metadata", "resourceVersion", NULL), "10");
    assert_true(json_is_null(json_object_get(s, "hold")));
    assert_int_equal(js_int(s, 0, "summary", "a", NULL), 3);
    assert_true(json_is_null(js_at(s, "summary", "b", NULL)));
    assert_int_equal(json_array_size(json_object_get(s, "waves")), 0);
    json_decref(b);
    assert_int_equal(f->dones, 0);
    execute_status(f->x, &o, json_object(), on_status, f); /* in flight: refused, but not from inside */
    assert_int_equal(f->dones, 0);
    fake_kube_run(&f->fake, 0);
    assert_int_equal(f->dones, 1);
    assert_int_equal(f->oks, 0);
    fake_kube_reply(c, 200, CHANGED("11"));
    assert_int_equal(f->dones, 2);
    assert_int_equal(f->oks, 1);
    execute_status(f->x, &o, json_object(), NULL, NULL); /* the inventory has not shown it yet */
    assert_int_equal(f->fake.sent, 1);
    mem_set(&o.resource_version, "11");
    execute_status(f->x, &o, json_object(), on_status, f);
    fake_kube_reply(only(f), 422, "{\"kind\":\"Status\",\"message\":\"status.phase: Unsupported value\"}");
    assert_int_equal(f->dones, 3);
    assert_int_equal(f->oks, 1);
    assert_non_null(strstr(execute_trouble(f->x, "MeshUpgrade/up"), "Unsupported value"));
    object_done(&o);
}

static void freed_with_everything_open(void **state) {
    struct fix *f = *state;
    struct inv_upgrade o = object("10", NULL);
    struct inv_namespace n = ns_make("10", NULL, NULL);
    execute_status(f->x, &o, json_object(), on_status, f);
    execute_status(f->x, &o, json_object(), on_status, f);
    execute_event(f->x, &o, "Normal", "Started", "x");
    execute_relabel(f->x, &n, &f->u);
    execute_free(f->x);
    assert_int_equal(f->dones, 0);
    f->x = NULL;
    object_done(&o);
    ns_done(&n);
}

static void events(void **state) {
    struct fix *f = *state;
    struct inv_upgrade o = object("10", NULL);
    execute_event(f->x, &o, "Warning", "Paused", "a proxy rejects");
    struct kube_call *c = only(f);
    assert_string_equal(c->method, "POST");
    assert_string_equal(c->path, "/api/v1/namespaces/default/events");
    json_t *b = body_of(c);
    assert_int_equal(strncmp(js_text(b, "metadata", "name", NULL), "up.", 3), 0);
    assert_string_equal(js_text(b, "metadata", "namespace", NULL), "default");
    assert_string_equal(js_text(b, "involvedObject", "kind", NULL), "MeshUpgrade");
    assert_string_equal(js_text(b, "involvedObject", "uid", NULL), upgrade_uid);
    assert_string_equal(js_text(b, "source", "component", NULL), "meshgate");
    assert_string_equal(js_text(b, "type", NULL), "Warning");
    assert_string_equal(js_text(b, "reason", NULL), "Paused");
    assert_string_equal(js_text(b, "message", NULL), "a proxy rejects");
    json_decref(b);
    fake_kube_reply(c, 201, "{}");
    execute_event(f->x, &o, "Warning", "Paused", "a proxy rejects");
    assert_int_equal(f->fake.sent, 1);
    execute_event(f->x, &o, "Normal", "Paused", "a proxy rejects");
    assert_int_equal(f->fake.sent, 2);
    fake_kube_reply(only(f), 403, "{}"); /* not recorded: the next equal one tries again */
    execute_event(f->x, &o, "Normal", "Paused", "a proxy rejects");
    assert_int_equal(f->fake.sent, 3);
    fake_kube_reply(only(f), 201, "{}");
    fake_kube_run(&f->fake, 300000);
    execute_event(f->x, &o, "Warning", "Paused", "a proxy rejects");
    assert_int_equal(f->fake.sent, 4);
    object_done(&o);
}

static void long_event_text(void **state) {
    struct fix *f = *state;
    struct inv_upgrade o = object("10", NULL);
    char text[3000];
    for (size_t i = 0; i + 1 < sizeof text; i += 2) {
        memcpy(text + i, "\xc3\xa4", 2);
    }
    text[sizeof text - 2] = 0;
    memmove(text + 1, text, sizeof text - 2); /* an odd beginning: the limit falls into a character */
    text[0] = 'x';
    text[sizeof text - 1] = 0;
    execute_event(f->x, &o, "Normal", "Long", text);
    json_t *b = body_of(only(f));
    assert_in_range(strlen(js_text(b, "message", NULL)), 990, 1000);
    json_decref(b);
    object_done(&o);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    log_setup("test", LOG_ERROR);
    const struct CMUnitTest tests[] = {
        T(relabel),
        T(relabel_again_keeps_previous),
        T(unresolved_target),
        T(success_waits_for_the_inventory),
        T(conflict),
        T(denied_keeps_the_sentence),
        T(back_off_grows),
        T(retry_after),
        T(write_without_effect),
        T(restart),
        T(never_twice),
        T(what_cannot_be_restarted),
        T(status),
        T(freed_with_everything_open),
        T(events),
        T(long_event_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
