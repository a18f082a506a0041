/* Sessions of agents on virtual time, with an API server whose answers are given by hand. For the tests of gate/session. */
#pragma once

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "fake_kube.h"
#include "gate/session.h"
#include "lib/base/json.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"

/* The inventory that sessions look at. */
struct inventory_watch {
    struct inventory inv;
};

struct inventory *inventory_of(struct inventory_watch *w) {
    return &w->inv;
}

const char *inventory_zone(const struct inventory_watch *w, const char *node) {
    (void)w;
    (void)node;
    return NULL;
}

/* One agent's end of a stream. */
struct peer {
    struct session *session;
    bool ended, deaf;
    int status;
    char *text;
    uint64_t acked;
    size_t acks, resyncs, assignments, refusals, reads, slots;
    uint32_t period_ms;
    bool idle;
    char *refusal;
    uint64_t seq;
};

static struct fake_kube kube;
static struct metrics *metrics;
static struct evidence *evidence;
static struct inventory_watch watch;
static struct inv_pod pods[2];
static struct inv_replica replica;
static struct sessions *sessions;
static size_t changes;
static const struct gate_opts gate_opts = {.agent_namespace = "istio-system",
                                           .agent_account = "meshgate-agent",
                                           .audience = "meshgate",
                                           .reading_period_ms = 10000,
                                           .idle_period_ms = 60000,
                                           .seed = 1};

static void on_changed(void *ctx) {
    (void)ctx;
    changes++;
}

static bool peer_send(void *ctx, const void *p, size_t n) {
    struct peer *x = ctx;
    if (x->deaf) {
        return false;
    }
    struct piece piece = {p, n};
    struct err err = {0};
    Meshgate__V1__GateMessage *m = wire_gate_message(&piece, 1, &err);
    assert_string_equal(err.text, "");
    if (m->body_case == MESHGATE__V1__GATE_MESSAGE__BODY_ACK) {
        x->acks++;
        x->acked = m->ack->seq;
        x->resyncs += m->ack->resync;
    } else if (m->body_case == MESHGATE__V1__GATE_MESSAGE__BODY_ASSIGNMENT) {
        x->assignments++;
        x->reads = 0;
        for (size_t i = 0; i < m->assignment->n_replicas; i++) {
            x->reads += m->assignment->replicas[i]->read;
        }
        x->period_ms = m->assignment->period_ms;
        x->idle = m->assignment->idle;
    } else if (m->body_case == MESHGATE__V1__GATE_MESSAGE__BODY_SLOT) {
        x->slots++;
        assert_string_equal(m->slot->revision, "old");
    } else {
        x->refusals++;
        mem_set(&x->refusal, m->refusal->why);
    }
    wire_gate_free(m);
    return true;
}

/* The owner of the stream answers at once, which is allowed. */
static void peer_end(void *ctx, int status, const char *text) {
    struct peer *x = ctx;
    assert_false(x->ended);
    x->ended = true;
    x->status = status;
    mem_set(&x->text, text);
    session_closed(x->session);
    x->session = NULL;
}

static const struct session_ops ops = {peer_send, peer_end};

static void add_pod(int i, const char *uid, const char *node) {
    pods[i] = (struct inv_pod){.uid = (char *)(uintptr_t)uid, .node = (char *)(uintptr_t)node};
    HASH_ADD_KEYPTR(hh, watch.inv.pods, pods[i].uid, strlen(pods[i].uid), &pods[i]);
}

static int setup(void **state) {
    (void)state;
    fake_kube_init(&kube);
    metrics = metrics_new();
    evidence = evidence_new();
    watch = (struct inventory_watch){.inv = {.version = 1}};
    add_pod(0, "pod-1", "n1");
    add_pod(1, "pod-2", "n2");
    static char uid[] = "istiod-uid", name[] = "istiod-0", address[] = "10.0.0.1", revision[] = "old";
    replica = (struct inv_replica){.uid = uid, .name = name, .address = address, .revision = revision, .xds_port = 15012};
    HASH_ADD_KEYPTR(hh, watch.inv.replicas, replica.uid, strlen(replica.uid), &replica);
    changes = 0;
    struct sessions_opts o = {.gate = &gate_opts,
                              .kube = &kube.kube,
                              .metrics = metrics,
                              .evidence = evidence,
                              .inventory = &watch,
                              .changed = on_changed};
    sessions = sessions_new(&o);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    sessions_free(sessions);
    HASH_CLEAR(hh, watch.inv.pods);
    HASH_CLEAR(hh, watch.inv.replicas);
    evidence_free(evidence);
    metrics_free(metrics);
    fake_kube_done(&kube);
    return 0;
}

static void peer_done(struct peer *x) {
    if (x->session != NULL) {
        session_closed(x->session);
    }
    free(x->text);
    free(x->refusal);
    *x = (struct peer){0};
}

__attribute__((unused)) static double counted(const char *why) {
    char label[64];
    snprintf(label, sizeof label, "why=\"%s\"", why);
    return metric_value(metric_get(metrics, METRIC_COUNTER, "meshgate_gate_dropped_total", "", label));
}

/* --- what agents say --- */

static void say_message(struct peer *x, Meshgate__V1__AgentMessage *m) {
    struct buf b;
    buf_init(&b, WIRE_MAX_MESSAGE);
    wire_pack(&m->base, &b);
    struct piece pieces[2] = {{(uint8_t *)b.p, b.len / 3}, {(uint8_t *)b.p + b.len / 3, b.len - b.len / 3}};
    session_message(x->session, pieces, 2);
    buf_done(&b);
}

static void say_hello(struct peer *x, const char *node) {
    Meshgate__V1__AgentMessage m = MESHGATE__V1__AGENT_MESSAGE__INIT;
    Meshgate__V1__Hello h = MESHGATE__V1__HELLO__INIT;
    h.node = (char *)(uintptr_t)node;
    h.node_witness = true;
    m.seq = ++x->seq;
    m.body_case = MESHGATE__V1__AGENT_MESSAGE__BODY_HELLO;
    m.hello = &h;
    say_message(x, &m);
}

static void say_reading(struct peer *x, const char *pod, const char *reads, uint64_t digest, uint32_t entries) {
    Meshgate__V1__AgentMessage m = MESHGATE__V1__AGENT_MESSAGE__INIT;
    Meshgate__V1__Report r = MESHGATE__V1__REPORT__INIT;
    Meshgate__V1__NodeScan scan = MESHGATE__V1__NODE_SCAN__INIT;
    Meshgate__V1__LocalProxy local = MESHGATE__V1__LOCAL_PROXY__INIT, *locals[1] = {&local};
    Meshgate__V1__ReplicaReading reading = MESHGATE__V1__REPLICA_READING__INIT, *readings[1] = {&reading};
    local.pod_uid = (char *)(uintptr_t)pod;
    scan.complete = true;
    scan.changed = locals;
    scan.n_changed = pod != NULL ? 1 : 0;
    r.scan = &scan;
    reading.replica = (char *)(uintptr_t)reads;
    reading.has_connections = true;
    reading.digest = digest;
    reading.entries = entries;
    r.replicas = readings;
    r.n_replicas = reads != NULL ? 1 : 0;
    m.seq = ++x->seq;
    m.body_case = MESHGATE__V1__AGENT_MESSAGE__BODY_REPORT;
    m.report = &r;
    say_message(x, &m);
}

__attribute__((unused)) static void say_report(struct peer *x, const char *pod, const char *reads) {
    say_reading(x, pod, reads, 0, 0);
}

__attribute__((unused)) static void say_digest(struct peer *x, const char *reads, uint64_t digest, uint32_t entries) {
    say_reading(x, NULL, reads, digest, entries);
}

/* --- what the API server says --- */

static const char *user_of(const char *account, const char *node) {
    static char text[512];
    snprintf(text, sizeof text,
             "{\"status\":{\"authenticated\":true,\"audiences\":[\"meshgate\"],\"user\":{\"username\":"
             "\"system:serviceaccount:istio-system:%s\",\"extra\":{\"authentication.kubernetes.io/node-name\":[\"%s\"]}}}}",
             account, node);
    return text;
}

static void review(int status, const char *body) {
    struct kube_call *c = fake_kube_find(&kube, "tokenreviews");
    assert_non_null(c);
    fake_kube_reply(c, status, body);
}

static void turn(void) {
    fake_kube_run(&kube, 1);
}

static struct peer open_peer(void) {
    return (struct peer){0};
}

static void dial(struct peer *x) {
    *x = open_peer();
    x->session = session_open(sessions, "Bearer secret", &ops, x);
}

/* Through review and Hello. */
static void join(struct peer *x, const char *node) {
    dial(x);
    review(201, user_of("meshgate-agent", node));
    say_hello(x, node);
    fake_kube_run(&kube, 200);
    assert_false(x->ended);
}

__attribute__((unused)) static void expect_end(struct peer *x, int status, const char *says) {
    turn();
    assert_true(x->ended);
    assert_int_equal(x->status, status);
    if (strstr(x->text, says) == NULL) {
        fail_msg("'%s' does not say '%s'", x->text, says);
    }
    /* Told on the stream too, unless it is only to come again. */
    assert_int_equal(x->refusals, status == 14 ? 0 : 1);
}
