/* The embedded mesh: it stands, rolls exactly what is restarted, and each fault does what it says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../lib/base/json.h"
#include "../../lib/base/mem.h"
#include "../../lib/base/vclock.h"
#include "../../probes/proxy_stats.h"
#include "../sim/world.h"

#define NOON 1795436937123

struct mesh {
    struct vclock *clock;
    struct sched *sched;
    struct store *store;
    struct world *world;
};

static struct mesh m;

static struct mesh mesh_new(uint32_t namespaces, uint32_t pods, uint64_t seed) {
    struct mesh x = {.clock = vclock_new(NOON)};
    struct world_opts o = {.nodes = 6,
                           .namespaces = namespaces,
                           .pods = pods,
                           .replicas = 2,
                           .seed = seed,
                           .pod_net = "10.44",
                           .istiod_net = "10.45",
                           .service_net = "10.46"};
    x.sched = vclock_sched(x.clock);
    x.store = store_new(x.sched);
    x.world = world_new(&o, x.store, x.sched);
    return x;
}

static void mesh_free(struct mesh *x) {
    world_free(x->world);
    store_free(x->store);
    vclock_free(x->clock);
}

static int setup(void **state) {
    (void)state;
    m = mesh_new(9, 90, 3);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    mesh_free(&m);
    return 0;
}

static void pass(int64_t ms) {
    vclock_run_until(m.clock, sched_now(m.sched) + ms);
}

static void act(const char *action) {
    struct err err;
    if (!world_action(m.world, action, &err)) {
        fail_msg("%s: %s", action, err.text);
    }
}

static struct world_truth truth(void) {
    struct world_truth t;
    world_truth(m.world, &t);
    return t;
}

static void restart(const char *resource, const char *ns, const char *name, const char *mark) {
    json_t *patch = json_pack("{s:{s:{s:{s:{s:s}}}}}", "spec", "template", "metadata", "annotations",
                              "kubectl.kubernetes.io/restartedAt", mark);
    assert_true(store_patch(m.store, resource, ns, name, patch, false, NULL));
    json_decref(patch);
}

static void move(const char *ns) {
    char action[80];
    snprintf(action, sizeof action, "label %s istio.io/rev=canary", ns);
    act(action);
    snprintf(action, sizeof action, "unlabel %s istio-injection", ns);
    act(action);
}

static const json_t *get(const char *resource, const char *ns, const char *name) {
    return store_get(m.store, resource, ns, name);
}

static int64_t number(const char *resource, const char *ns, const char *name, const char *field) {
    return js_int(get(resource, ns, name), 0, "status", field, NULL);
}

static const char *condition(const char *resource, const char *ns, const char *name, const char *type, const char *field) {
    size_t i;
    json_t *c;
    json_array_foreach(json_object_get(js_at(get(resource, ns, name), "status", NULL), "conditions"), i, c) {
        if (strcmp(js_text(c, "type", NULL), type) == 0) {
            return js_text(c, field, NULL);
        }
    }
    return "";
}

struct counted {
    const char *prefix;
    uint32_t n;
    char first[300];
};

static void count_one(void *ctx, const json_t *o) {
    struct counted *c = ctx;
    const char *name = js_text(o, "metadata", "name", NULL);
    if (strncmp(name, c->prefix, strlen(c->prefix)) == 0) {
        if (!c->n++) {
            snprintf(c->first, sizeof c->first, "%s", name);
        }
    }
}

static struct counted count(const char *resource, const char *ns, const char *prefix) {
    struct counted c = {.prefix = prefix};
    store_each(m.store, resource, ns, count_one, &c);
    return c;
}

static void stands_attached_and_in_sync(void **state) {
    (void)state;
    struct world_truth t = truth();
    assert_int_equal(t.proxies, 94); /* 90, and a DaemonSet on two nodes in app-00 and app-08 */
    assert_int_equal(t.on_old, 94);
    assert_int_equal(t.not_in_sync + t.detached + t.on_canary + t.rejecting + t.workloads_restarted, 0);
    assert_int_equal(number("deployments", "app-01", "web", "readyReplicas"), 10);
    assert_int_equal(number("deployments", "app-05", "web", "readyReplicas"), 5);
    assert_int_equal(number("statefulsets", "app-05", "db", "readyReplicas"), 5);
    assert_int_equal(number("daemonsets", "app-08", "log", "numberReady"), 2);
    assert_string_equal(js_text(get("namespaces", NULL, "app-02"), "metadata", "labels", "istio-injection", NULL),
                        "enabled");
    assert_string_equal(js_text(get("namespaces", NULL, "app-03"), "metadata", "labels", "istio.io/rev", NULL), "old");
    pass(40 * 60000); /* streams recycle, nothing else */
    t = truth();
    assert_int_equal(t.on_old, 94);
    assert_int_equal(t.workloads_restarted, 0);
}

static void pods_look_like_recorded_ones(void **state) {
    (void)state;
    char *name = count("pods", "app-01", "web-").first;
    const json_t *o = get("pods", "app-01", name);
    assert_string_equal(js_text(o, "metadata", "annotations", "istio.io/rev", NULL), "old");
    json_t *status = json_loads(js_text(o, "metadata", "annotations", "sidecar.istio.io/status", NULL), 0, NULL);
    assert_string_equal(js_text(status, "revision", NULL), "old");
    json_decref(status);
    assert_string_equal(
        js_text(json_array_get(json_object_get(js_at(o, "metadata", NULL), "ownerReferences"), 0), "kind", NULL),
        "ReplicaSet");
    json_t *proxy = json_array_get(json_object_get(js_at(o, "spec", NULL), "initContainers"), 1);
    assert_string_equal(js_text(proxy, "name", NULL), "istio-proxy");
    assert_string_equal(js_text(proxy, "image", NULL), "registry.local/istio/proxyv2:1.29.6");
    assert_non_null(js_str(o, "metadata", "labels", "pod-template-hash", NULL));
    assert_string_equal(condition("pods", "app-01", name, "Ready", "status"), "True");
}

static void restart_moves_exactly_its_pods(void **state) {
    (void)state;
    move("app-00");
    restart("deployments", "app-00", "web", "1");
    restart("statefulsets", "app-00", "db", "1");
    restart("daemonsets", "app-00", "log", "1");
    pass(2000);
    assert_true(number("deployments", "app-00", "web", "readyReplicas") >= 4); /* 5, at most a quarter missing */
    pass(60000);
    assert_int_equal(world_proxies_on(m.world, "app-00", "canary"), 12);
    struct world_truth t = truth();
    assert_int_equal(t.on_canary, 12);
    assert_int_equal(t.on_old, 94 - 12);
    assert_int_equal(t.not_in_sync + t.detached, 0);
    assert_int_equal(t.workloads_restarted, 3);
    assert_int_equal(t.most_templates, 1);
    assert_int_equal(number("deployments", "app-00", "web", "updatedReplicas"), 5);
    assert_int_equal(number("deployments", "app-00", "web", "replicas"), 5);
    assert_int_equal(number("deployments", "app-00", "web", "observedGeneration"), 2);
    assert_string_equal(condition("deployments", "app-00", "web", "Progressing", "reason"), "NewReplicaSetAvailable");
    assert_int_equal(number("daemonsets", "app-00", "log", "updatedNumberScheduled"), 2);
    assert_int_equal(number("statefulsets", "app-00", "db", "updatedReplicas"), 5);
    assert_int_equal(count("replicasets", "app-00", "web-").n, 2);
    assert_int_equal(count("controllerrevisions", "app-00", "db-").n, 2);
    assert_int_equal(count("controllerrevisions", "app-00", "log-").n, 2);
}

static void leftover_label_wins(void **state) {
    (void)state;
    act("label app-02 istio.io/rev=canary"); /* istio-injection stays */
    restart("deployments", "app-02", "web", "1");
    pass(60000);
    assert_int_equal(world_proxies_on(m.world, "app-02", "old"), 10);
}

static void rejection_stops_the_rollout_and_spares_old_pods(void **state) {
    (void)state;
    act("nack app-01 \"no such filter\"");
    move("app-01");
    restart("deployments", "app-01", "web", "1");
    pass(60000);
    struct world_truth t = truth();
    assert_true(t.rejecting > 0);
    assert_int_equal(t.rejecting, t.on_canary);
    assert_int_equal(number("deployments", "app-01", "web", "readyReplicas"), 8);
    assert_int_equal(number("deployments", "app-01", "web", "updatedReplicas"), t.rejecting);
    char *body;
    size_t len;
    bool told = false;
    for (uint32_t n = 0; n < 2; n++) {
        assert_int_equal(world_ask(m.world, world_istiod_ip(m.world, "canary", n), "syncz", &body, &len), IO_OK);
        told = told || strstr(body, "\"lastError\":\"no such filter\"");
        free(body);
    }
    assert_true(told);
    act("ack app-01");
    pass(60000);
    assert_int_equal(world_proxies_on(m.world, "app-01", "canary"), 10);
    assert_int_equal(truth().rejecting, 0);
}

static void bad_canary_config_is_rejected_by_whoever_is_there(void **state) {
    (void)state;
    move("app-03");
    restart("deployments", "app-03", "web", "1");
    pass(60000);
    act("nack-canary");
    pass(1000);
    assert_int_equal(truth().rejecting, 10);
    assert_int_equal(number("deployments", "app-03", "web", "readyReplicas"), 10);
    act("ack-canary");
    pass(1000);
    assert_int_equal(truth().rejecting, 0);
}

static void withheld_acknowledgement(void **state) {
    (void)state;
    act("withhold app-01/web-");
    pass(1000);
    assert_int_equal(truth().not_in_sync, 0); /* nothing was sent yet */
    act("nack app-02");                       /* a change of configuration: everybody gets a push */
    pass(1000);
    assert_int_equal(truth().not_in_sync, 10);
    act("release app-01/web-");
    pass(1000);
    assert_int_equal(truth().not_in_sync, 0);
}

static const char *endpoint_ready(const char *service, size_t n) {
    char name[80];
    snprintf(name, sizeof name, "%s-sim1", service);
    json_t *e = json_array_get(json_object_get(get("endpointslices", "istio-system", name), "endpoints"), n);
    return js_bool(e, false, "conditions", "ready", NULL) ? "ready" : "not ready";
}

static void frozen_istiod(void **state) {
    (void)state;
    move("app-01");
    restart("deployments", "app-01", "web", "1");
    pass(60000);
    const char *ip = world_istiod_ip(m.world, "canary", 0);
    char *body;
    size_t len;
    act("istiod canary/0 freeze");
    assert_int_equal(world_ask(m.world, ip, "connections", &body, &len), IO_TIMEOUT);
    assert_int_equal(world_get(m.world, ip, 15014, "/metrics", &body, &len), IO_TIMEOUT);
    pass(5000);
    assert_string_equal(endpoint_ready("istiod-canary", 0), "ready");
    assert_int_equal(truth().detached, 0); /* sockets stay open */
    pass(10000);
    assert_string_equal(endpoint_ready("istiod-canary", 0), "not ready");
    pass(60000);
    assert_int_equal(truth().detached, 0); /* all on the other replica by now */
    act("istiod canary/0 thaw");
    pass(10000);
    assert_string_equal(endpoint_ready("istiod-canary", 0), "ready");
    assert_int_equal(world_ask(m.world, ip, "connections", &body, &len), IO_OK);
    assert_string_equal(body, "{\"totalClients\":0}");
    free(body);
    assert_int_equal(world_proxies_on(m.world, "app-01", "canary"), 10);
}

static void dead_istiod_and_injection(void **state) {
    (void)state;
    char *body;
    size_t len;
    act("istiod canary/0 kill");
    act("istiod canary/1 kill");
    assert_int_equal(world_ask(m.world, world_istiod_ip(m.world, "canary", 1), "syncz", &body, &len), IO_UNREACHABLE);
    move("app-01");
    restart("deployments", "app-01", "web", "1");
    pass(10000);
    assert_string_equal(condition("deployments", "app-01", "web", "ReplicaFailure", "reason"), "FailedCreate");
    assert_non_null(strstr(condition("deployments", "app-01", "web", "ReplicaFailure", "message"),
                           "no endpoints available for service \"istiod-canary\""));
    assert_true(number("deployments", "app-01", "web", "readyReplicas") >= 8);
    assert_true(count("events", "app-01", "web-").n > 0);
    act("istiod canary/0 start");
    pass(90000);
    assert_int_equal(world_proxies_on(m.world, "app-01", "canary"), 10);
    assert_string_equal(condition("deployments", "app-01", "web", "ReplicaFailure", "reason"), "");
    struct err err;
    assert_false(world_action(m.world, "istiod canary/0 start", &err));
    assert_false(world_action(m.world, "istiod canary/7 kill", &err));
    assert_false(world_action(m.world, "make coffee", &err));
}

static void injector_config(const char *config) {
    json_t *patch = json_pack("{s:{s:s}}", "data", "config", config);
    assert_true(store_patch(m.store, "configmaps", "istio-system", "istio-sidecar-injector-canary", patch, false, NULL));
    json_decref(patch);
}

static void injector_leaves_alone_what_its_config_says(void **state) {
    (void)state;
    injector_config("policy: enabled\nneverInjectSelector:\n- matchLabels:\n    app: web\n");
    injector_config("policy: ["); /* what istiod cannot read changes nothing */
    move("app-01");
    restart("deployments", "app-01", "web", "1");
    pass(60000);
    assert_int_equal(number("deployments", "app-01", "web", "readyReplicas"), 10);
    assert_int_equal(world_proxies_on(m.world, "app-01", "canary"), 0);
    injector_config("policy: enabled\nneverInjectSelector: []\n");
    restart("deployments", "app-01", "web", "2");
    pass(60000);
    assert_int_equal(world_proxies_on(m.world, "app-01", "canary"), 10);
}

static void old_istiod_killed_proxies_come_back(void **state) {
    (void)state;
    act("istiod old/0 kill");
    assert_true(truth().detached > 0);
    pass(20000);
    assert_int_equal(truth().detached, 0);
    assert_int_equal(truth().on_old, 94);
}

static void leftovers_of_stuck_namespaces(void **state) {
    (void)state;
    act("create bare app-01/loner");
    act("create deployment app-01/halted paused");
    act("create daemonset app-01/sticky ondelete");
    pass(10000);
    assert_int_equal(number("deployments", "app-01", "halted", "readyReplicas"), 2);
    assert_int_equal(number("daemonsets", "app-01", "sticky", "numberReady"), 2);
    assert_int_equal(world_proxies_on(m.world, "app-01", "old"), 15);
    move("app-01");
    restart("deployments", "app-01", "halted", "1");
    restart("daemonsets", "app-01", "sticky", "1");
    pass(60000);
    assert_int_equal(world_proxies_on(m.world, "app-01", "canary"), 0);
    assert_int_equal(number("deployments", "app-01", "halted", "updatedReplicas"), 0);
    assert_int_equal(number("daemonsets", "app-01", "sticky", "updatedNumberScheduled"), 0);
    act("resume-rollout app-01/halted");
    act("delete pod app-01/sticky-*");
    act("delete pod app-01/loner");
    pass(60000);
    assert_int_equal(world_proxies_on(m.world, "app-01", "canary"), 4);
    assert_null(get("pods", "app-01", "loner"));
}

struct seen {
    uint32_t n, served;
    char remote[56];
};

static void on_dial(void *ctx, const struct dial_seen *d) {
    struct seen *s = ctx;
    s->n++;
    snprintf(s->remote, sizeof s->remote, "%s", d->remote);
    char *body = NULL;
    size_t len;
    struct proxy_seen p;
    assert_int_equal(world_get(m.world, d->pod_ip, 15021, "/healthz/ready", &body, &len), IO_OK);
    free(body);
    assert_int_equal(world_get(m.world, d->pod_ip, 15020, proxy_stats_path, &body, &len), IO_OK);
    assert_true(proxy_stats_read(body, len, &p, NULL));
    free(body);
    assert_int_equal(p.xds_connections, 1);
    assert_string_equal(p.cds_version + 20, "/1");
    assert_string_equal(p.lds_version + 20, "/1");
    s->served++;
}

static void node_sees_its_proxies(void **state) {
    (void)state;
    struct seen s = {0};
    for (int n = 1; n <= 6; n++) {
        char node[24];
        snprintf(node, sizeof node, "node-%02d", n);
        assert_true(world_scan(m.world, node, on_dial, &s) > 0);
        assert_int_equal(world_reach(m.world, node, world_istiod_ip(m.world, "canary", 0)), IO_OK);
    }
    assert_int_equal(s.n, 94);
    assert_string_equal(s.remote, "10.46.0.1:15012");
    act("node node-03 dark");
    assert_int_equal(world_scan(m.world, "node-03", on_dial, &s), -1);
    assert_true(world_node_dark(m.world, "node-03"));
    act("node node-03 back");
    assert_true(world_scan(m.world, "node-03", on_dial, &s) > 0);
}

static uint64_t story(uint64_t seed) {
    struct mesh kept = m;
    m = mesh_new(9, 90, seed);
    move("app-01");
    restart("deployments", "app-01", "web", "1");
    pass(3000);
    act("istiod canary/1 kill");
    act("nack app-01");
    pass(3000);
    act("istiod canary/1 start");
    act("ack app-01");
    pass(60000);
    uint64_t h = world_history(m.world);
    mesh_free(&m);
    m = kept;
    return h;
}

static void same_seed_same_history(void **state) {
    (void)state;
    assert_true(story(11) == story(11));
    assert_true(story(11) != story(12));
}

static void many_proxies(void **state) {
    (void)state;
    m = mesh_new(400, 20000, 1);
    struct world_truth t = truth();
    assert_int_equal(t.proxies, 20000 + 2 * 50);
    assert_int_equal(t.on_old, t.proxies);
    move("app-07");
    restart("deployments", "app-07", "web", "1");
    pass(60000);
    assert_int_equal(world_proxies_on(m.world, "app-07", "canary"), 50);
    mesh_free(&m);
}

#define WITH_MESH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_MESH(stands_attached_and_in_sync),
        WITH_MESH(pods_look_like_recorded_ones),
        WITH_MESH(restart_moves_exactly_its_pods),
        WITH_MESH(leftover_label_wins),
        WITH_MESH(rejection_stops_the_rollout_and_spares_old_pods),
        WITH_MESH(bad_canary_config_is_rejected_by_whoever_is_there),
        WITH_MESH(withheld_acknowledgement),
        WITH_MESH(frozen_istiod),
        WITH_MESH(dead_istiod_and_injection),
        WITH_MESH(injector_leaves_alone_what_its_config_says),
        WITH_MESH(old_istiod_killed_proxies_come_back),
        WITH_MESH(leftovers_of_stuck_namespaces),
        WITH_MESH(node_sees_its_proxies),
        cmocka_unit_test(same_seed_same_history),
        cmocka_unit_test(many_proxies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
