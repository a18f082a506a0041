/* The controller: nothing is done on a progress that is not written, one upgrade at a time, nothing after a start before
 * all is heard. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "gate/gate_inside.h"
#include "lib/base/json.h"
#include "lib/base/mem.h"
#include "lib/base/vclock.h"
#include "tests/sim/world.h"

/* A transport in front of the store's that counts writes, and refuses those of statuses while `refuse` is set. */
struct filter {
    struct kube kube, *under;
    bool refuse;
    unsigned statuses, relabels, restarts;
};

struct refused {
    struct timer timer;
    const struct kube_handler *handler;
    void *ctx;
};

struct fix {
    struct vclock *clock;
    struct sched *sched;
    struct store *store;
    struct world *world;
    struct filter filter;
    struct metrics *metrics;
    struct gate *gate;
    struct timer hear;
    bool rejecting; /* proxies reject what the canary sends */
    bool silent;    /* agents say nothing */
    uint64_t questions;
};

static void on_refused(void *ctx) {
    struct refused *r = ctx;
    struct kube_response answer = {.status = 500, .body = "", .err = {.code = ERR_UNAVAILABLE, .text = "etcd is away"}};
    r->handler->done(r->ctx, &answer);
    free(r);
}

static struct kube_call *filter_send(void *self, const struct kube_request *req, const struct kube_handler *h, void *ctx) {
    struct filter *x = self;
    bool patch = strcmp(req->method, "PATCH") == 0, status = strstr(req->path, "/meshupgrades/") != NULL;
    if (patch && status && x->refuse) {
        struct refused *r = mem_alloc(sizeof *r);
        r->handler = h;
        r->ctx = ctx;
        timer_set(x->kube.sched, &r->timer, sched_now(x->kube.sched) + 5, on_refused, r);
        return (struct kube_call *)r;
    }
    x->statuses += patch && status;
    x->relabels += patch && strstr(req->path, "/api/v1/namespaces/") != NULL;
    x->restarts += patch && strstr(req->path, "/apis/apps/v1/") != NULL;
    return kube_send(x->under, req, h, ctx);
}

static void filter_cancel(void *self, struct kube_call *c) {
    struct filter *x = self;
    kube_cancel(x->under, c);
}

/* --- agents: one session reads everything, the words are put straight into the evidence --- */

static bool no_send(void *peer, const void *p, size_t n) {
    (void)peer;
    (void)p;
    (void)n;
    return true;
}

static void no_end(void *peer, int status, const char *text) {
    (void)peer;
    fail_msg("the session ended: %d %s", status, text);
}

static const struct session_ops session_ops = {no_send, no_end};

static void say_hello(struct fix *f) {
    Meshgate__V1__Hello hello = MESHGATE__V1__HELLO__INIT;
    Meshgate__V1__AgentMessage m = MESHGATE__V1__AGENT_MESSAGE__INIT;
    char node[] = "node-00", version[] = "test", session[] = "s1";
    struct buf b;
    buf_init(&b, 4096);
    hello.node = node;
    hello.version = version;
    hello.session = session;
    hello.node_witness = true;
    m.seq = 1;
    m.body_case = MESHGATE__V1__AGENT_MESSAGE__BODY_HELLO;
    m.hello = &hello;
    wire_pack(&m.base, &b);
    struct piece piece = {(const uint8_t *)b.p, b.len};
    gate_session_message(gate_session_open(f->gate, "Bearer token-00", &session_ops, f), &piece, 1);
    buf_done(&b);
}

static bool always(void *ctx, const char *a, const char *b) {
    (void)ctx;
    (void)a;
    (void)b;
    return true;
}

static const struct evidence_rules rules = {.local_allowed = always, .may_read = always};

static void read_replica(struct fix *f, const struct inv_replica *r) {
    static Meshgate__V1__ProxyOnReplica proxies[64], *list[64];
    static char ids[64][200];
    char version[] = "v/1", stream[] = "s", nothing[] = "";
    Meshgate__V1__Report report = MESHGATE__V1__REPORT__INIT;
    Meshgate__V1__ReplicaReading reading = MESHGATE__V1__REPLICA_READING__INIT, *readings[] = {&reading};
    report.replicas = readings;
    report.n_replicas = 1;
    reading.replica = r->uid;
    reading.epoch = 1;
    reading.connections = reading.syncz = MESHGATE__V1__READ_STATUS__READ_OK;
    reading.has_connections = reading.has_syncz = true;
    reading.questions = ++f->questions;
    reading.changed = list;
    for (const struct inv_pod *p = inventory_of(f->gate->inventory)->pods; p; p = p->hh.next) {
        size_t n = reading.n_changed;
        if (!p->injected || strcmp(p->injected, r->revision) != 0 || p->deleting) {
            continue;
        }
        meshgate__v1__proxy_on_replica__init(&proxies[n]);
        snprintf(ids[n], sizeof ids[n], "%s.%s", p->name, p->namespace_);
        proxies[n].id = ids[n];
        proxies[n].connection = stream;
        proxies[n].connected_at_ms = p->created_wall_ms + 1;
        proxies[n].address = nothing;
        proxies[n].sync = f->rejecting && strcmp(r->revision, "canary") == 0 ? MESHGATE__V1__SYNC__SYNC_IS_ERROR
                                                                             : MESHGATE__V1__SYNC__SYNC_IS_SYNCED;
        proxies[n].cds_acked = proxies[n].lds_acked = version;
        list[n] = &proxies[n];
        reading.n_changed++;
    }
    evidence_take(f->gate->evidence, "node-00", &report, &rules, sched_now(f->sched));
}

static void hear(void *ctx) {
    struct fix *f = ctx;
    if (f->gate && !f->silent) {
        for (const struct inv_replica *r = inventory_of(f->gate->inventory)->replicas; r; r = r->hh.next) {
            read_replica(f, r);
        }
        gate_dirty(f->gate);
    }
    timer_set(f->sched, &f->hear, sched_now(f->sched) + 5000, hear, f);
}

/* --- the whole --- */

static void pass(struct fix *f, int64_t ms) {
    vclock_run_until(f->clock, sched_now(f->sched) + ms);
}

static void start(struct fix *f) {
    struct gate_opts o = {.version = "test",
                          .cluster = "Kubernetes",
                          .istio_namespace = "istio-system",
                          .agent_namespace = "istio-system",
                          .agent_account = "meshgate-agent",
                          .audience = "meshgate",
                          .identity = "meshgate-1",
                          .reading_period_ms = 10000,
                          .idle_period_ms = 60000,
                          .decide_floor_ms = 200,
                          .seed = 5};
    f->metrics = metrics_new();
    f->gate = gate_new(&o, &f->filter.kube, f->sched, f->metrics);
    pass(f, 1000);
    say_hello(f);
    pass(f, 1000);
}

static void stop(struct fix *f) {
    gate_free(f->gate);
    metrics_free(f->metrics);
    f->gate = NULL;
}

static int setup(void **state) {
    static const struct kube_ops ops = {filter_send, filter_cancel};
    struct fix *f = mem_alloc(sizeof *f);
    struct world_opts o = {.nodes = 2,
                           .namespaces = 2,
                           .pods = 8,
                           .replicas = 1,
                           .seed = 7,
                           .pod_net = "10.44",
                           .istiod_net = "10.45",
                           .service_net = "10.46"};
    f->clock = vclock_new(INT64_C(1790000000000));
    f->sched = vclock_sched(f->clock);
    f->store = store_new(f->sched);
    f->world = world_new(&o, f->store, f->sched);
    f->filter.under = store_kube(f->store, "system:serviceaccount:istio-system:meshgate");
    f->filter.kube = (struct kube){.ops = &ops, .self = &f->filter, .sched = f->sched};
    store_add_token(f->store, "token-00", "istio-system", "meshgate-agent", "meshgate", "node-00", "meshgate-agent-00");
    *state = f;
    pass(f, 60000);
    start(f);
    hear(f);
    return 0;
}

static int teardown(void **state) {
    struct fix *f = *state;
    stop(f);
    timer_cancel(f->sched, &f->hear);
    store_kube_free(f->filter.under);
    world_free(f->world);
    store_free(f->store);
    vclock_free(f->clock);
    free(f);
    return 0;
}

static void create(struct fix *f, const char *name, const char *waves) {
    char *text = mem_printf(
        "{\"apiVersion\":\"meshgate.io/v1alpha1\",\"kind\":\"MeshUpgrade\",\"metadata\":{\"name\":\"%s\"},\"spec\":"
        "{\"from\":{\"revision\":\"old\"},\"to\":{\"revision\":\"canary\"},\"waves\":%s,"
        "\"policy\":{\"nodeWitness\":\"Optional\"}}}",
        name, waves);
    struct err err;
    json_t *o = js_parse(text, strlen(text), 1 << 20, &err);
    assert_non_null(o);
    if (!store_put(f->store, "meshupgrades", o, &err)) {
        fail_msg("%s", err.text);
    }
    free(text);
}

#define ALL "[{\"name\":\"all\",\"soak\":\"10s\"}]"

static const json_t *status(struct fix *f, const char *name) {
    return json_object_get(store_get(f->store, "meshupgrades", NULL, name), "status");
}

static const char *phase(struct fix *f, const char *name) {
    return js_text(status(f, name), "phase", NULL);
}

static void it_goes_to_the_end(void **state) {
    struct fix *f = *state;
    create(f, "up", ALL);
    for (int i = 0; i < 300 && strcmp(phase(f, "up"), "Completed") != 0; i++) {
        pass(f, 1000);
    }
    assert_string_equal(phase(f, "up"), "Completed");
    assert_int_equal(f->filter.relabels, 2);
    struct world_truth t;
    world_truth(f->world, &t);
    assert_int_equal(t.on_canary, t.proxies);
    assert_int_equal(f->filter.restarts, t.workloads_restarted);
    assert_int_equal(t.most_templates, 1);
    unsigned statuses = f->filter.statuses;
    pass(f, 60000);
    assert_int_equal(f->filter.statuses, statuses); /* nothing more is said of it */
}

static void nothing_is_done_before_progress_is_written(void **state) {
    struct fix *f = *state;
    f->filter.refuse = true;
    create(f, "up", ALL);
    pass(f, 120000);
    assert_int_equal(f->filter.relabels + f->filter.restarts, 0);
    assert_null(status(f, "up"));
    f->filter.refuse = false;
    pass(f, 60000);
    assert_int_equal(f->filter.relabels, 2);
    assert_true(f->filter.statuses > 0);
}

/* A signal that was there while the pause could not be written, and is gone when it can. */
static void a_pause_is_not_lost_before_it_is_written(void **state) {
    struct fix *f = *state;
    create(
        f, "up",
        "[{\"name\":\"one\",\"namespaces\":{\"names\":[\"app-00\"]},\"soak\":\"1m\"},{\"name\":\"two\",\"soak\":\"1s\"}]");
    for (int i = 0; i < 300 && strcmp(phase(f, "up"), "Soaking") != 0; i++) {
        pass(f, 1000);
    }
    assert_string_equal(phase(f, "up"), "Soaking");
    f->filter.refuse = f->rejecting = true;
    pass(f, 15000);
    f->rejecting = false;
    pass(f, 15000);
    assert_string_equal(phase(f, "up"), "Soaking"); /* nobody could be told */
    f->filter.refuse = false;
    pass(f, 180000);
    assert_string_equal(phase(f, "up"), "Paused");
    assert_int_equal(f->filter.relabels, 1);
    assert_string_equal(js_text(status(f, "up"), "hold", "reason", NULL), "Nack");
}

static void nothing_is_done_unheard(void **state) {
    struct fix *f = *state;
    f->silent = true;
    pass(f, 60000);
    create(f, "up", ALL);
    pass(f, 60000);
    assert_string_equal(phase(f, "up"), "Hold");
    assert_int_equal(f->filter.relabels, 0);
}

static void after_a_start_nothing_is_done_unheard(void **state) {
    struct fix *f = *state;
    create(
        f, "up",
        "[{\"name\":\"one\",\"namespaces\":{\"names\":[\"app-00\"]},\"soak\":\"1s\"},{\"name\":\"two\",\"soak\":\"1s\"}]");
    for (int i = 0; i < 1000 && f->filter.relabels == 0; i++) {
        pass(f, 100);
    }
    assert_int_equal(f->filter.relabels, 1);
    stop(f);
    f->silent = true;
    start(f);
    pass(f, 120000);
    assert_int_equal(f->filter.relabels + f->filter.restarts, 1);
    assert_string_equal(phase(f, "up"), "Hold");
    f->silent = false;
    for (int i = 0; i < 300 && strcmp(phase(f, "up"), "Completed") != 0; i++) {
        pass(f, 1000);
    }
    assert_string_equal(phase(f, "up"), "Completed");
    struct world_truth t;
    world_truth(f->world, &t);
    assert_int_equal(t.most_templates, 1);
}

static void one_upgrade_at_a_time(void **state) {
    struct fix *f = *state;
    create(f, "zz-first", "[{\"name\":\"all\",\"soak\":\"1h\"}]");
    pass(f, 2000);
    create(f, "aa-second", ALL);
    pass(f, 30000);
    assert_string_equal(phase(f, "aa-second"), "Hold");
    assert_string_equal(js_text(status(f, "aa-second"), "message", NULL),
                        "aa-second: waits: another upgrade is at work: zz-first");
    assert_string_not_equal(phase(f, "zz-first"), "Hold");
    store_delete(f->store, "meshupgrades", NULL, "zz-first");
    pass(f, 30000);
    assert_string_not_equal(phase(f, "aa-second"), "Hold");
}

static void what_happens_is_told_as_events(void **state) {
    struct fix *f = *state;
    create(f, "up", ALL);
    pass(f, 60000);
    unsigned relabelled = 0, soaks = 0;
    struct store_reply reply;
    struct store_user admin = {"admin"};
    store_request(f->store, &admin, "GET", "/api/v1/namespaces/default/events", NULL, NULL, NULL, 0, &reply);
    json_t *list = js_parse(reply.body, strlen(reply.body), 1 << 24, NULL);
    const json_t *items = json_object_get(list, "items");
    for (size_t i = 0; i < json_array_size(items); i++) {
        const char *reason = js_text(json_array_get(items, i), "reason", NULL);
        relabelled += strcmp(reason, "WaveMoving") == 0;
        soaks += strcmp(reason, "WaveSoaking") == 0;
    }
    assert_int_equal(relabelled, 1);
    assert_int_equal(soaks, 1);
    json_decref(list);
    free(reply.body);
}

/* Proxies in the view; 0: no such upgrade. */
static size_t n_proxies(struct fix *f, const char *upgrade) {
    struct buf out;
    struct err err = {0};
    buf_init(&out, 1 << 20);
    size_t n = 0;
    if (gate_write_proxies(f->gate, upgrade, &out)) {
        json_t *v = js_parse(out.p, out.len, 1 << 20, &err);
        n = json_array_size(json_object_get(v, "proxies"));
        json_decref(v);
    }
    buf_done(&out);
    return n;
}

static void views(void **state) {
    struct fix *f = *state;
    create(f, "up", ALL);
    pass(f, 20000);
    json_t *v = gate_view_upgrades(f->gate);
    assert_string_equal(js_text(json_array_get(json_object_get(v, "upgrades"), 0), "name", NULL), "up");
    json_decref(v);
    assert_int_equal(n_proxies(f, "up"), n_proxies(f, NULL));
    assert_true(n_proxies(f, NULL) >= 8);
    assert_int_equal(n_proxies(f, "nosuch"), 0);
    v = gate_view_revisions(f->gate);
    assert_int_equal(json_array_size(json_object_get(v, "revisions")), 2);
    json_decref(v);
    v = gate_view_nodes(f->gate);
    assert_true(json_array_size(json_object_get(v, "nodes")) >= 2);
    json_decref(v);
    v = gate_view_check(f->gate);
    assert_int_equal(json_array_size(json_object_get(v, "sections")), 6);
    json_decref(v);
    assert_null(gate_view_explain(f->gate, "app-00", "nosuch"));
    const struct inv_pod *pod = inventory_of(f->gate->inventory)->pods;
    while (pod && (!pod->injected || pod->deleting)) {
        pod = pod->hh.next;
    }
    assert_non_null(pod);
    v = gate_view_explain(f->gate, pod->namespace_, pod->name);
    assert_string_equal(js_text(v, "uid", NULL), pod->uid);
    assert_true(js_text(v, "rule", NULL)[0] != '\0');
    json_decref(v);
    struct buf why;
    buf_init(&why, 1000);
    assert_true(gate_ready(f->gate, &why));
    buf_done(&why);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(it_goes_to_the_end),
        TEST(nothing_is_done_before_progress_is_written),
        TEST(a_pause_is_not_lost_before_it_is_written),
        TEST(nothing_is_done_unheard),
        TEST(after_a_start_nothing_is_done_unheard),
        TEST(one_upgrade_at_a_time),
        TEST(what_happens_is_told_as_events),
        TEST(views),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
