#include "gate_mesh.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "core/decide.h"
#include "lib/base/json.h"
#include "lib/base/mem.h"

#define MANY 64

static const char SPEC[] =
    "{\"from\":{\"revision\":\"old\"},\"to\":{\"revision\":\"canary\"},\"waves\":["
    "{\"name\":\"one\",\"namespaces\":{\"names\":[\"app-00\"]},\"soak\":\"10s\"},{\"name\":\"rest\",\"soak\":\"10s\"}]}";

int gate_mesh_setup(void **state) {
    struct gate_mesh *f = mem_alloc(sizeof *f);
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
    f->kube = store_kube(f->store, "system:serviceaccount:istio-system:meshgate");
    f->watch = inventory_watch_new(f->kube, "istio-system", NULL, NULL, 1);
    f->inv = inventory_of(f->watch);
    f->evidence = evidence_new();
    f->join = join_new();
    f->spec = js_parse(SPEC, strlen(SPEC), sizeof SPEC, NULL);
    f->version = f->accepted = "2026-11-23T06:00:16Z/1";
    f->connected_before_ms = 5000;
    *state = f;
    gate_mesh_pass(f, 600000);
    assert_true(inventory_loaded(f->watch));
    return 0;
}

int gate_mesh_teardown(void **state) {
    struct gate_mesh *f = *state;
    upgrade_done(&f->upgrade);
    join_free(f->join);
    evidence_free(f->evidence);
    inventory_watch_free(f->watch);
    store_kube_free(f->kube);
    world_free(f->world);
    store_free(f->store);
    vclock_free(f->clock);
    json_decref(f->spec);
    json_decref(f->status);
    free(f);
    return 0;
}

void gate_mesh_pass(struct gate_mesh *f, int64_t ms) {
    vclock_run_until(f->clock, sched_now(f->sched) + ms);
}

static bool always(void *ctx, const char *a, const char *b) {
    (void)ctx;
    (void)a;
    (void)b;
    return true;
}

static const struct evidence_rules rules = {.local_allowed = always, .may_read = always};

static char *text(const char *s) {
    return (char *)(uintptr_t)s;
}

static bool is(const char *name, const struct inv_pod *p) {
    return name && strcmp(name, p->name) == 0;
}

static void fill_proxy(struct gate_mesh *f, const struct inv_pod *p, Meshgate__V1__ProxyOnReplica *x, char *id,
                       size_t cap) {
    meshgate__v1__proxy_on_replica__init(x);
    snprintf(id, cap, "%s.%s", p->name, p->namespace_);
    x->id = id;
    x->connection = text("stream-1");
    x->connected_at_ms = sched_wall(f->sched) - f->connected_before_ms;
    x->address = p->ip ? p->ip : text("");
    x->sync = is(f->rejecting, p) ? MESHGATE__V1__SYNC__SYNC_IS_ERROR : MESHGATE__V1__SYNC__SYNC_IS_SYNCED;
    x->error = text(is(f->rejecting, p) ? "no such filter" : "");
    x->cds_acked = x->lds_acked = text(f->version);
    x->copies = 1;
}

static void read_replica(struct gate_mesh *f, const struct inv_replica *r, Meshgate__V1__ReadStatus syncz) {
    static Meshgate__V1__ProxyOnReplica proxies[MANY];
    static Meshgate__V1__ProxyOnReplica *list[MANY];
    static char ids[MANY][200];
    char *gone[1];
    Meshgate__V1__Report report = MESHGATE__V1__REPORT__INIT;
    Meshgate__V1__ReplicaReading reading = MESHGATE__V1__REPLICA_READING__INIT, *readings[] = {&reading};
    report.replicas = readings;
    report.n_replicas = 1;
    reading.replica = r->uid;
    reading.epoch = 1;
    reading.connections = MESHGATE__V1__READ_STATUS__READ_OK;
    reading.syncz = syncz;
    reading.has_connections = true;
    reading.has_syncz = syncz == MESHGATE__V1__READ_STATUS__READ_OK;
    reading.questions = ++f->questions;
    reading.changed = list;
    reading.gone = gone;
    for (const struct inv_pod *p = f->inv->pods; p; p = p->hh.next) {
        size_t n = reading.n_changed;
        if (!p->injected || strcmp(p->injected, r->revision) != 0) {
            continue;
        }
        if (is(f->unlisted, p)) {
            snprintf(ids[MANY - 1], sizeof ids[0], "%s.%s", p->name, p->namespace_);
            gone[reading.n_gone++] = ids[MANY - 1];
            continue;
        }
        fill_proxy(f, p, &proxies[n], ids[n], sizeof ids[n]);
        list[n] = &proxies[n];
        reading.n_changed++;
    }
    evidence_take(f->evidence, "node-01", &report, &rules, sched_now(f->sched));
}

void gate_mesh_read(struct gate_mesh *f, const char *revision, Meshgate__V1__ReadStatus syncz) {
    for (const struct inv_replica *r = f->inv->replicas; r; r = r->hh.next) {
        if (!revision || strcmp(revision, r->revision) == 0) {
            read_replica(f, r, syncz);
        }
    }
}

static void scan_node(struct gate_mesh *f, const char *node) {
    static Meshgate__V1__LocalProxy locals[MANY];
    static Meshgate__V1__LocalProxy *list[MANY];
    static char dials[MANY][64];
    Meshgate__V1__Report report = MESHGATE__V1__REPORT__INIT;
    Meshgate__V1__NodeScan scan = MESHGATE__V1__NODE_SCAN__INIT;
    Meshgate__V1__Reach reach = MESHGATE__V1__REACH__INIT, *reaches[] = {&reach};
    report.full = true;
    report.scan = &scan;
    report.reach = reaches;
    report.n_reach = 1;
    reach.revision = text("canary");
    reach.ok = true;
    scan.complete = true;
    scan.changed = list;
    for (const struct inv_pod *p = f->inv->pods; p; p = p->hh.next) {
        struct inv_revision *r = NULL;
        size_t n = scan.n_changed;
        if (p->injected) {
            HASH_FIND_STR(f->inv->revisions, p->injected, r);
        }
        if (!r || !p->node || strcmp(p->node, node) != 0 || is(f->unseen, p)) {
            continue;
        }
        snprintf(dials[n], sizeof dials[n], "%s:15012", json_string_value(json_array_get(r->service_ips, 0)));
        meshgate__v1__local_proxy__init(&locals[n]);
        locals[n].pod_uid = p->uid;
        locals[n].dials = dials[n];
        locals[n].stats_ok = locals[n].ready = true;
        locals[n].xds_connections = 1;
        locals[n].cds_version = locals[n].lds_version = text(is(f->behind, p) ? f->older : f->accepted);
        if (is(f->uncertified, p)) {
            locals[n].stats_ok = locals[n].ready = false;
            locals[n].xds_connections = 0;
            locals[n].csr_failures = 3;
        }
        list[n] = &locals[n];
        scan.n_changed++;
    }
    evidence_take(f->evidence, node, &report, &rules, sched_now(f->sched));
}

void gate_mesh_hear(struct gate_mesh *f) {
    static const char *const nodes[] = {"node-00", "node-01", "node-02"};
    for (size_t i = 0; i < 3; i++) {
        Meshgate__V1__Hello hello = MESHGATE__V1__HELLO__INIT;
        const struct node_fact *known = evidence_node(f->evidence, nodes[i]);
        hello.node_witness = true;
        if (!known || !known->connected) {
            evidence_hello(f->evidence, nodes[i], &hello, sched_now(f->sched));
        }
        scan_node(f, nodes[i]);
    }
    gate_mesh_read(f, NULL, MESHGATE__V1__READ_STATUS__READ_OK);
}

static const char *reader(void *ctx, const char *replica) {
    const struct gate_mesh *f = ctx;
    (void)replica;
    return f->unread ? NULL : "node-01";
}

const struct snapshot *gate_mesh_join(struct gate_mesh *f) {
    struct inv_upgrade o = {
        .name = text("up"), .uid = text("12345678-aaaa"), .generation = 1, .spec = f->spec, .status = f->status};
    int64_t now = sched_now(f->sched), wall = sched_wall(f->sched);
    struct err err;
    upgrade_done(&f->upgrade);
    if (!upgrade_parse(&o, f->inv, now, wall, &f->upgrade, &err)) {
        fail_msg("%s", err.text);
    }
    join_build(f->join, f->watch, f->evidence, &f->upgrade, reader, f, now, wall);
    classify(&f->upgrade.policy, join_snapshot(f->join), now);
    join_remember_states(f->join, now);
    return join_snapshot(f->join);
}

const struct proxy_row *gate_mesh_proxy(struct gate_mesh *f, const char *namespace_, const char *prefix) {
    const struct snapshot *s = join_snapshot(f->join);
    for (uint32_t i = 0; i < s->n_proxies; i++) {
        const struct inv_pod *p = join_names(f->join)->pods[i];
        if (strcmp(p->namespace_, namespace_) == 0 && strncmp(p->name, prefix, strlen(prefix)) == 0) {
            return &s->proxies[i];
        }
    }
    fail_msg("no row of %s/%s", namespace_, prefix);
    return NULL;
}

const struct namespace_row *gate_mesh_namespace(struct gate_mesh *f, const char *name) {
    const struct snapshot *s = join_snapshot(f->join);
    for (uint32_t i = 0; i < s->n_namespaces; i++) {
        if (strcmp(join_names(f->join)->namespaces[i], name) == 0) {
            return &s->namespaces[i];
        }
    }
    return NULL;
}

void gate_mesh_patch(struct gate_mesh *f, const char *namespace_, const char *metadata) {
    struct err err;
    json_t *o = js_parse(metadata, strlen(metadata), 4096, &err);
    json_t *patch = json_pack("{s:o}", "metadata", o);
    if (!store_patch(f->store, "namespaces", NULL, namespace_, patch, false, &err)) {
        fail_msg("%s", err.text);
    }
    json_decref(patch);
    gate_mesh_pass(f, 100);
}
