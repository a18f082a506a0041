/* What an agent meets outside, on virtual time: its io and the gate, played by the test that includes this. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "lib/base/mem.h"
#include "lib/base/vclock.h"
#include "lib/wire/wire.h"

struct io_question {
    struct play *play;
    struct timer timer;
    io_answer_fn fn;
    void (*reached)(void *ctx, const struct io_reach *r);
    void *ctx;
    enum io_status status;
    char *body;
    struct io_question *next;
};

struct play {
    struct vclock *clock;
    struct sched *sched;
    struct metrics *metrics;
    struct agent_io io;
    struct agent *agent;
    struct io_question *open;
    const char *dials;
    bool syncz_hangs, syncz_cut, refuses, link_down, blind; /* syncz_hangs: pushes to web.shop are locked */
    const char *connections, *cert, *metrics_text;
    unsigned streams, asked_proxy, asked_status, hung, asked_metrics;
    unsigned asked_cert, asked_connections, asked_syncz, asked_ns, forgot, opens, hellos, reports, fulls;
    uint64_t seq;
    bool answer_acks;
    bool behind;  /* syncz says that web.shop has not acknowledged */
    bool witness; /* as the latest Hello said */
    char witness_why[256];
    Meshgate__V1__AgentMessage *last;           /* latest report */
    Meshgate__V1__AgentMessage *replica_report; /* latest one with a replica in it */
};

static void q_free(struct io_question *q) {
    for (struct io_question **p = &q->play->open; *p; p = &(*p)->next) {
        if (*p == q) {
            *p = q->next;
            break;
        }
    }
    free(q->body);
    free(q);
}

static void q_fire(void *ctx) {
    struct io_question *q = ctx;
    struct piece piece = {(const uint8_t *)(q->body ? q->body : ""), q->body ? strlen(q->body) : 0};
    struct io_answer a = {.status = q->status,
                          .error = q->status == IO_OK ? NULL : "no answer",
                          .body = &piece,
                          .pieces = 1,
                          .bytes = piece.len};
    io_answer_fn fn = q->fn;
    void (*reached)(void *, const struct io_reach *) = q->reached;
    void *c = q->ctx;
    if (fn) {
        fn(c, &a);
    } else {
        struct io_reach r = {.ok = true, .stage = "ready", .rtt_us = 100};
        reached(c, &r);
    }
    q_free(q);
}

static struct io_question *q_new(struct play *p, int64_t after_ms, enum io_status status, const char *body, io_answer_fn fn,
                                 void *ctx) {
    struct io_question *q = mem_alloc(sizeof *q);
    q->play = p;
    q->fn = fn;
    q->ctx = ctx;
    q->status = status;
    q->body = mem_dup(body);
    q->next = p->open;
    p->open = q;
    timer_set(p->sched, &q->timer, sched_now(p->sched) + after_ms, q_fire, q);
    return q;
}

#define N1 "2026-11-23T06:00:00Z/10a0a0a0a-0000-1111-2222-333344445555"
static const char syncz[] =
    "[{\"cluster_id\":\"K\",\"proxy\":\"web.shop\",\"proxy_type\":\"sidecar\",\"istio_version\":\"1.30.3\","
    "\"resources\":{\"type.googleapis.com/envoy.config.cluster.v3.Cluster\":{\"sent\":\"" N1 "\",\"acked\":\"" N1
    "\",\"sentTime\":\"2026-11-23T06:00:01Z\"}}}]";
#define N0 "2026-11-23T05:00:00Z/90a0a0a0a-0000-1111-2222-333344445555"
static const char syncz_behind[] =
    "[{\"cluster_id\":\"K\",\"proxy\":\"web.shop\",\"proxy_type\":\"sidecar\",\"istio_version\":\"1.30.3\","
    "\"resources\":{\"type.googleapis.com/envoy.config.cluster.v3.Cluster\":{\"sent\":\"" N1 "\",\"acked\":\"" N0
    "\",\"sentTime\":\"2026-11-23T06:00:01Z\"}}}]";
static const char one_connection[] = "{\"totalClients\":1,\"clients\":[{\"connectionId\":\"web.shop-1\",\"connectedAt\":"
                                     "\"2026-11-23T06:00:00Z\",\"address\":\"10.0.0.9:4000\"}]}";

static struct io_question *io_ask(void *self, const struct io_target *t, const char *resource, int64_t timeout,
                                  io_answer_fn fn, void *ctx) {
    struct play *p = self;
    assert_string_equal(t->address, "10.9.0.1");
    if (strcmp(resource, "connections") == 0) {
        p->asked_connections++;
        return q_new(p, 5, IO_OK, p->connections, fn, ctx);
    }
    bool ns = strcmp(resource, "syncz?namespace=shop") == 0;
    bool proxy = strcmp(resource, "adsz?proxyID=web.shop-1") == 0;
    p->asked_ns += ns;
    p->asked_proxy += proxy;
    p->asked_syncz += !ns && !proxy;
    if (p->refuses) {
        bool status = strcmp(resource, IO_STATUS_SYNCZ) == 0;
        p->asked_status += status;
        return q_new(p, 5, status ? IO_GARBLED : IO_REFUSED, NULL, fn, ctx);
    }
    if (p->syncz_hangs) {
        p->hung++;
        return q_new(p, timeout, IO_TIMEOUT, NULL, fn, ctx);
    }
    if (p->syncz_cut) {
        char *half = mem_printf("%.*s", (int)(strlen(syncz) / 2), syncz);
        struct io_question *q = q_new(p, 5, IO_OK, half, fn, ctx);
        free(half);
        return q;
    }
    return q_new(p, 5, IO_OK, p->behind ? syncz_behind : syncz, fn, ctx);
}

static void io_forget(void *self, const char *id) {
    (void)id;
    ((struct play *)self)->forgot++;
}

static struct io_question *io_get(void *self, const char *address, uint16_t port, const char *path, int64_t timeout,
                                  io_answer_fn fn, void *ctx) {
    (void)address;
    (void)timeout;
    (void)path;
    struct play *p = self;
    if (port == 15014) {
        p->asked_metrics++;
        return q_new(p, 3, IO_OK, p->metrics_text, fn, ctx);
    }
    if (port == 15020) {
        p->asked_cert++;
        return q_new(p, 3, IO_OK, p->cert, fn, ctx);
    }
    if (port == 15090) {
        return q_new(p, 3, IO_OK,
                     "envoy_cluster_manager_cds_version_text{text_value=\"2026-11-23T06:00:00Z/1\"} 0\n"
                     "envoy_cluster_upstream_cx_active{cluster_name=\"xds-grpc\"} 1\n",
                     fn, ctx);
    }
    return q_new(p, 3, IO_OK, "", fn, ctx);
}

static struct io_question *io_reach(void *self, const struct io_target *t, int64_t timeout,
                                    void (*fn)(void *ctx, const struct io_reach *r), void *ctx) {
    (void)t;
    (void)timeout;
    struct io_question *q = q_new(self, 4, IO_OK, NULL, NULL, ctx);
    q->reached = fn;
    return q;
}

static struct io_question *io_stream(void *self, const struct io_target *t, int64_t timeout,
                                     void (*fn)(void *ctx, const struct io_reach *r), void *ctx) {
    ((struct play *)self)->streams++;
    return io_reach(self, t, timeout, fn, ctx);
}

static void io_drop(void *self, struct io_question *q) {
    struct play *p = self;
    timer_cancel(p->sched, &q->timer);
    q_free(q);
}

static int64_t io_scan(void *self, void (*fn)(void *ctx, const struct dial_seen *d), void *ctx, struct err *err) {
    struct play *p = self;
    if (p->blind) {
        err_set(err, ERR_DENIED, "no foreign process in /proc: hostPID is missing");
        return -1;
    }
    struct dial_seen d = {.pod_uid = "11111111-2222-3333-4444-555555555555",
                          .program = "pilot-agent",
                          .pod_ip = "10.0.0.9",
                          .connections = 1,
                          .pid = 7};
    snprintf(d.remote, sizeof d.remote, "%s", p->dials);
    fn(ctx, &d);
    return 1;
}

static void down(void *ctx) {
    struct play *p = ctx;
    const struct link_events *e = agent_link_events(p->agent);
    e->closed(e->ctx, 14, "connection refused");
}

static struct timer down_timer;

static void link_open(void *self) {
    struct play *p = self;
    p->opens++;
    p->seq = 0;
    if (p->link_down) {
        timer_set(p->sched, &down_timer, sched_now(p->sched) + 2, down, p);
    }
}

static void to_agent(struct play *p, Meshgate__V1__GateMessage *m) {
    struct buf b;
    buf_init(&b, WIRE_MAX_MESSAGE);
    wire_pack(&m->base, &b);
    struct piece piece = {(const uint8_t *)b.p, b.len};
    const struct link_events *e = agent_link_events(p->agent);
    e->message(e->ctx, &piece, 1);
    buf_done(&b);
}

static void ack(struct play *p, uint64_t seq, bool resync) {
    Meshgate__V1__Ack a = MESHGATE__V1__ACK__INIT;
    a.seq = seq;
    a.resync = resync;
    Meshgate__V1__GateMessage m = MESHGATE__V1__GATE_MESSAGE__INIT;
    m.body_case = MESHGATE__V1__GATE_MESSAGE__BODY_ACK;
    m.ack = &a;
    to_agent(p, &m);
}

static void assign_as(struct play *p, bool read, bool focus, uint32_t period, bool idle, uint32_t audit) {
    Meshgate__V1__Assignment__Replica r = MESHGATE__V1__ASSIGNMENT__REPLICA__INIT;
    char id[] = "uid-istiod", name[] = "istiod-canary-1", ip[] = "10.9.0.1", rev[] = "canary",
         host[] = "istiod-canary.istio-system.svc";
    r.id = id, r.name = name, r.address = ip, r.revision = rev, r.server_name = host, r.xds_port = 15012,
    r.http_port = 15014;
    r.read = read;
    r.audit = audit;
    Meshgate__V1__Assignment__Revision v = MESHGATE__V1__ASSIGNMENT__REVISION__INIT;
    char *ips[] = {ip};
    v.name = rev, v.server_name = host, v.n_replica_ips = 1, v.replica_ips = ips, v.xds_port = 15012;
    Meshgate__V1__Assignment__Replica *rs[] = {&r};
    Meshgate__V1__Assignment__Revision *vs[] = {&v};
    char shop[] = "shop", *names[] = {shop};
    Meshgate__V1__Assignment a = MESHGATE__V1__ASSIGNMENT__INIT;
    a.n_replicas = 1, a.replicas = rs, a.n_revisions = 1, a.revisions = vs, a.period_ms = period,
    a.local_period_ms = period;
    a.idle = idle;
    a.n_focus = focus, a.focus = names;
    Meshgate__V1__GateMessage m = MESHGATE__V1__GATE_MESSAGE__INIT;
    m.body_case = MESHGATE__V1__GATE_MESSAGE__BODY_ASSIGNMENT;
    m.assignment = &a;
    to_agent(p, &m);
}

static void assign(struct play *p, bool read, bool focus, uint32_t period) {
    assign_as(p, read, focus, period, false, 0);
}

static bool link_send(void *self, const void *bytes, size_t n) {
    struct play *p = self;
    struct piece piece = {bytes, n};
    struct err err;
    Meshgate__V1__AgentMessage *m = wire_agent_message(&piece, 1, &err);
    assert_non_null(m);
    assert_int_equal(m->seq, ++p->seq);
    if (m->body_case == MESHGATE__V1__AGENT_MESSAGE__BODY_HELLO) {
        p->hellos++;
        assert_string_equal(m->hello->node, "n1");
        p->witness = m->hello->node_witness;
        snprintf(p->witness_why, sizeof p->witness_why, "%s", m->hello->node_witness_why);
        wire_agent_free(m);
        return true;
    }
    p->reports++;
    p->fulls += m->report->full;
    if (m->report->n_replicas) {
        wire_agent_free(p->replica_report);
        p->replica_report = wire_agent_message(&piece, 1, &err);
    }
    wire_agent_free(p->last);
    p->last = m;
    return true;
}

static void link_close(void *self) {
    timer_cancel(((struct play *)self)->sched, &down_timer);
}

static struct play *play_new(void) {
    struct play *p = mem_alloc(sizeof *p);
    p->clock = vclock_new(1795400000000);
    p->sched = vclock_sched(p->clock);
    p->metrics = metrics_new();
    p->connections = one_connection;
    p->dials = "10.96.0.7:15012";
    p->metrics_text = "pilot_total_xds_rejects{type=\"lds\"} 0\n";
    p->cert = "istio_agent_cert_expiry_seconds{resource_name=\"default\"} 600\n";
    p->io = (struct agent_io){.self = p,
                              .ask = io_ask,
                              .forget = io_forget,
                              .get = io_get,
                              .reach = io_reach,
                              .stream = io_stream,
                              .drop = io_drop,
                              .scan = io_scan,
                              .link = {link_open, link_send, link_close}};
    struct agent_opts o = {.node = "n1",
                           .version = "t",
                           .node_witness = true,
                           .xds_port = 15012,
                           .stats_port = 15090,
                           .agent_port = 15020,
                           .health_port = 15021,
                           .question_timeout_ms = 2000,
                           .seed = 7};
    p->agent = agent_new(&o, &p->io, p->sched, p->metrics);
    return p;
}

static void play_free(struct play *p) {
    agent_free(p->agent);
    assert_null(p->open);
    wire_agent_free(p->last);
    wire_agent_free(p->replica_report);
    metrics_free(p->metrics);
    vclock_free(p->clock);
    free(p);
}

static void run(struct play *p, int64_t ms) {
    vclock_run_until(p->clock, sched_now(p->sched) + ms);
}

/* Let time pass and acknowledge, as a gate would. */
static void live(struct play *p, int64_t ms) {
    for (int64_t t = 0; t < ms; t += 100) {
        run(p, 100);
        if (p->last) {
            ack(p, p->seq, false);
        }
    }
}
