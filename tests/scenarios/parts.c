#include "parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "../../agent/agent.h"
#include "../../lib/base/mem.h"
#include "packets.h"
#include "ways.h"

#define RPC_UNAVAILABLE 14
#define SLICE 5500 /* bytes of a piece, about what gRPC delivers */
#define KEEPALIVE_MS 30000

enum line { LINE_DOWN, LINE_OPENING, LINE_UP };

struct io_question {
    struct node *node;
    enum { ASK, GET, REACH, STREAM } kind;
    char *id, *address, *what;
    uint16_t port;
    int64_t deadline_ms;
    io_answer_fn fn;
    void (*reached)(void *ctx, const struct io_reach *r);
    void *ctx;
    struct timer timer;
    struct io_question *prev, *next;
};

/* A node with its agent and the line between agent and gate. */
struct node {
    struct parts *parts;
    char name[24];
    struct agent *agent;
    struct agent_io io;
    struct metrics *metrics;
    struct io_question *questions;
    enum line line;
    struct session *session;
    struct packet *to_gate, *to_agent;
    struct timer open, up, down, silent, ended;
    int end_status;
    char end_text[300];
};

struct parts {
    struct world *world;
    struct store *store;
    struct sched *sched;
    uint64_t seed, random, questions, streams;
    int64_t idle_period_ms;
    struct gate *gate;
    struct kube *kube;
    struct metrics *metrics;
    struct timer restart;
    uint32_t starts, n_nodes;
    struct node *nodes;
};

static int64_t soon(struct parts *p, uint32_t from, uint32_t to) {
    p->random = p->random * 6364136223846793005ULL + 1442695040888963407ULL;
    return sched_now(p->sched) + from + (int64_t)((p->random >> 33) % (to - from + 1));
}

static bool dark(const struct node *n) {
    return world_node_dark(n->parts->world, n->name);
}

/* ---- questions ---- */

static void question_free(struct io_question *q) {
    timer_cancel(q->node->parts->sched, &q->timer);
    DL_DELETE(q->node->questions, q);
    free(q->id);
    free(q->address);
    free(q->what);
    free(q);
}

static void tell_reach(struct io_question *q, enum io_status s, const char *text) {
    enum world_way way = world_way(q->node->parts->world, q->node->name, q->address);
    char error[200];
    struct io_reach r = ways_say(way, q->kind == STREAM, s, text, q->address, q->what, error);
    void (*fn)(void *, const struct io_reach *) = q->reached;
    void *ctx = q->ctx;
    question_free(q);
    fn(ctx, &r);
}

static void tell(struct io_question *q, enum io_status s, char *body, size_t len) {
    static const char *const texts[] = {
        "", "no answer in time", "connection refused", "denied", "404 page not found", "garbled", "busy"};
    if (q->kind == REACH || q->kind == STREAM) {
        tell_reach(q, s, texts[s]);
        return;
    }
    size_t n = s == IO_OK ? (len + SLICE - 1) / SLICE : 0;
    struct piece *pieces = mem_alloc((n + 1) * sizeof *pieces);
    for (size_t i = 0; i < n; i++) {
        size_t left = len - i * SLICE;
        pieces[i] = (struct piece){(const uint8_t *)body + i * SLICE, left < SLICE ? left : SLICE};
    }
    struct io_answer a = {.status = s, .error = texts[s], .body = pieces, .pieces = n, .bytes = s == IO_OK ? len : 0};
    io_answer_fn fn = q->fn;
    void *ctx = q->ctx;
    question_free(q);
    fn(ctx, &a);
    free(pieces);
}

static void answer(void *ctx) {
    struct io_question *q = ctx;
    struct parts *p = q->node->parts;
    char *body = NULL;
    size_t len = 0;
    enum io_status s = IO_TIMEOUT;
    if (sched_now(p->sched) < q->deadline_ms && !dark(q->node)) {
        p->questions++;
        bool good = world_way(p->world, q->node->name, q->address) == WAY_GOOD;
        s = q->kind == ASK   ? good ? world_ask(p->world, q->address, q->what, &body, &len) : IO_UNREACHABLE
            : q->kind == GET ? world_get(p->world, q->address, q->port, q->what, &body, &len)
                             : world_reach(p->world, q->node->name, q->address);
        p->streams += q->kind == STREAM;
    }
    if (s == IO_TIMEOUT && sched_now(p->sched) < q->deadline_ms) {
        timer_set(p->sched, &q->timer, q->deadline_ms, answer, q);
        return;
    }
    tell(q, s, body, len);
    free(body);
}

static struct io_question *question(struct node *n, int kind, const char *id, const char *address, const char *what,
                                    int64_t timeout_ms, void *ctx) {
    struct io_question *q = mem_alloc(sizeof *q);
    q->node = n;
    q->kind = kind;
    q->id = mem_dup(id);
    q->address = mem_dup(address);
    q->what = mem_dup(what);
    q->deadline_ms = sched_now(n->parts->sched) + (timeout_ms > 0 ? timeout_ms : 10000);
    q->ctx = ctx;
    DL_APPEND(n->questions, q);
    timer_set(n->parts->sched, &q->timer, soon(n->parts, 1, 6), answer, q);
    return q;
}

static struct io_question *io_ask(void *self, const struct io_target *t, const char *resource, int64_t timeout_ms,
                                  io_answer_fn fn, void *ctx) {
    struct io_question *q = question(self, ASK, t->id, t->address, resource, timeout_ms, ctx);
    q->fn = fn;
    return q;
}

static void io_forget(void *self, const char *id) {
    struct node *n = self;
    struct io_question *q, *tmp;
    DL_FOREACH_SAFE(n->questions, q, tmp) {
        if (q->kind == ASK && strcmp(q->id, id) == 0) {
            question_free(q);
        }
    }
}

static struct io_question *io_get(void *self, const char *address, uint16_t port, const char *path, int64_t timeout_ms,
                                  io_answer_fn fn, void *ctx) {
    struct io_question *q = question(self, GET, "", address, path, timeout_ms, ctx);
    q->port = port;
    q->fn = fn;
    return q;
}

static struct io_question *io_reach(void *self, const struct io_target *t, int64_t timeout_ms,
                                    void (*fn)(void *ctx, const struct io_reach *r), void *ctx) {
    struct io_question *q = question(self, REACH, "", t->address, t->server_name, timeout_ms, ctx);
    q->reached = fn;
    return q;
}

static struct io_question *io_stream(void *self, const struct io_target *t, int64_t timeout_ms,
                                     void (*fn)(void *ctx, const struct io_reach *r), void *ctx) {
    struct io_question *q = question(self, STREAM, "", t->address, t->server_name, timeout_ms, ctx);
    q->reached = fn;
    return q;
}

static void io_drop(void *self, struct io_question *q) {
    (void)self;
    question_free(q);
}

static int64_t io_scan(void *self, void (*fn)(void *ctx, const struct dial_seen *d), void *ctx, struct err *err) {
    struct node *n = self;
    int64_t found = world_scan(n->parts->world, n->name, fn, ctx);
    if (found < 0) {
        err_set(err, found == -1 ? ERR_UNAVAILABLE : ERR_DENIED,
                found == -1 ? "the node stands still" : "/proc shows no process of others: hostPID is missing");
    }
    return found;
}

/* ---- the line ---- */

/* The agent hears that the line is gone. */
static void agent_closed(struct node *n, int status, const char *text) {
    struct sched *s = n->parts->sched;
    timer_cancel(s, &n->open);
    timer_cancel(s, &n->up);
    timer_cancel(s, &n->down);
    timer_cancel(s, &n->ended);
    timer_cancel(s, &n->silent);
    packets_free(&n->to_gate);
    packets_free(&n->to_agent);
    n->line = LINE_DOWN;
    const struct link_events *e = agent_link_events(n->agent);
    e->closed(e->ctx, status, text);
}

static void gate_closed(struct node *n) {
    struct session *x = n->session;
    n->session = NULL;
    if (x) {
        gate_session_closed(x);
    }
}

static void ended(void *ctx) {
    struct node *n = ctx;
    gate_closed(n);
    agent_closed(n, n->end_status, n->end_text);
}

static void end_line(struct node *n, int status, const char *text) {
    n->end_status = status;
    snprintf(n->end_text, sizeof n->end_text, "%s", text ? text : "");
    timer_set(n->parts->sched, &n->ended, soon(n->parts, 1, 2), ended, n);
}

static void deliver_up(void *ctx) {
    struct node *n = ctx;
    while (n->to_gate && n->session && !dark(n)) {
        struct packet *x = n->to_gate;
        DL_DELETE(n->to_gate, x);
        size_t half = x->n / 2; /* in two pieces, as gRPC may */
        struct piece pieces[2] = {{x->p, half}, {x->p + half, x->n - half}};
        gate_session_message(n->session, pieces, 2);
        free(x->p);
        free(x);
    }
}

static void deliver_down(void *ctx) {
    struct node *n = ctx;
    while (n->to_agent && n->line == LINE_UP && !dark(n)) {
        struct packet *x = n->to_agent;
        DL_DELETE(n->to_agent, x);
        struct piece piece = {x->p, x->n};
        const struct link_events *e = agent_link_events(n->agent);
        e->message(e->ctx, &piece, 1);
        free(x->p);
        free(x);
    }
}

/* Nothing was heard of the node for so long that the gate's transport gives the line up. */
static void silent(void *ctx) {
    gate_closed(ctx);
}

static void wake(struct node *n, struct timer *t, void (*fn)(void *ctx)) {
    if (!timer_is_set(t)) {
        timer_set(n->parts->sched, t, soon(n->parts, 1, 3), fn, n);
    }
}

static bool peer_send(void *peer, const void *p, size_t size) {
    struct node *n = peer;
    packets_keep(&n->to_agent, p, size);
    wake(n, &n->down, deliver_down);
    return true;
}

static void peer_end(void *peer, int status, const char *text) {
    struct node *n = peer;
    if (n->session) {
        end_line(n, status, text);
    }
}

static const struct session_ops peer_ops = {peer_send, peer_end};

static void opened(void *ctx) {
    struct node *n = ctx;
    if (dark(n)) {
        timer_set(n->parts->sched, &n->open, sched_now(n->parts->sched) + 1000, opened, n);
        return;
    }
    if (!n->parts->gate) {
        agent_closed(n, RPC_UNAVAILABLE, "connection refused");
        return;
    }
    char token[64];
    snprintf(token, sizeof token, "Bearer token-of-%s", n->name);
    n->line = LINE_UP;
    n->session = gate_session_open(n->parts->gate, token, &peer_ops, n);
    deliver_up(n);
}

static void link_open(void *self) {
    struct node *n = self;
    n->line = LINE_OPENING;
    timer_set(n->parts->sched, &n->open, soon(n->parts, 2, 8), opened, n);
}

static bool link_send(void *self, const void *p, size_t size) {
    struct node *n = self;
    if (n->line == LINE_DOWN) {
        return false;
    }
    packets_keep(&n->to_gate, p, size);
    wake(n, &n->up, deliver_up);
    return true;
}

static void link_close(void *self) {
    struct node *n = self;
    struct sched *s = n->parts->sched;
    timer_cancel(s, &n->open);
    timer_cancel(s, &n->up);
    timer_cancel(s, &n->down);
    timer_cancel(s, &n->ended);
    packets_free(&n->to_gate);
    packets_free(&n->to_agent);
    n->line = LINE_DOWN;
    gate_closed(n);
}

/* A node went dark or came back. */
void parts_node_changed(struct parts *p) {
    for (uint32_t i = 0; i < p->n_nodes; i++) {
        struct node *n = &p->nodes[i];
        if (n->line != LINE_UP) {
            continue;
        }
        if (dark(n) && n->session && !timer_is_set(&n->silent)) {
            timer_set(p->sched, &n->silent, sched_now(p->sched) + KEEPALIVE_MS, silent, n);
        } else if (!dark(n) && !n->session) {
            agent_closed(n, RPC_UNAVAILABLE, "keepalive timed out");
        } else if (!dark(n)) {
            timer_cancel(p->sched, &n->silent);
            wake(n, &n->up, deliver_up);
            wake(n, &n->down, deliver_down);
        }
    }
}

/* ---- the gate ---- */

static void start_gate(void *ctx) {
    struct parts *p = ctx;
    char identity[32];
    snprintf(identity, sizeof identity, "meshgate-%u", ++p->starts);
    struct gate_opts o = {.version = "test",
                          .cluster = "Kubernetes",
                          .istio_namespace = "istio-system",
                          .agent_namespace = "istio-system",
                          .agent_account = "meshgate-agent",
                          .audience = "meshgate",
                          .identity = identity,
                          .reading_period_ms = 10000,
                          .idle_period_ms = p->idle_period_ms,
                          .decide_floor_ms = 200,
                          .seed = p->seed * 31 + p->starts};
    p->kube = store_kube(p->store, "system:serviceaccount:istio-system:meshgate");
    p->metrics = metrics_new();
    p->gate = gate_new(&o, p->kube, p->sched, p->metrics);
}

static void drop_gate(struct parts *p) {
    for (uint32_t i = 0; i < p->n_nodes; i++) {
        p->nodes[i].session = NULL;
    }
    gate_free(p->gate);
    store_kube_free(p->kube);
    metrics_free(p->metrics);
    p->gate = NULL;
    p->kube = NULL;
    p->metrics = NULL;
}

bool parts_kill_gate(struct parts *p) {
    if (!p->gate) {
        return false;
    }
    drop_gate(p);
    for (uint32_t i = 0; i < p->n_nodes; i++) {
        struct node *n = &p->nodes[i];
        timer_cancel(p->sched, &n->ended);
        if (n->line == LINE_UP && !dark(n)) {
            end_line(n, RPC_UNAVAILABLE, "connection reset by peer");
        }
    }
    timer_set(p->sched, &p->restart, sched_now(p->sched) + 1000, start_gate, p);
    return true;
}

struct gate *parts_gate(struct parts *p) {
    return p->gate;
}

uint64_t parts_streams(const struct parts *p) {
    return p->streams;
}

uint64_t parts_questions(const struct parts *p) {
    return p->questions;
}

static void start_node(struct parts *p, uint32_t i) {
    struct node *n = &p->nodes[i];
    char token[64], pod[64];
    n->parts = p;
    snprintf(n->name, sizeof n->name, "node-%02u", i + 1);
    snprintf(token, sizeof token, "token-of-%s", n->name);
    snprintf(pod, sizeof pod, "meshgate-agent-%s", n->name);
    store_add_token(p->store, token, "istio-system", "meshgate-agent", "meshgate", n->name, pod);
    n->io = (struct agent_io){.self = n,
                              .ask = io_ask,
                              .forget = io_forget,
                              .get = io_get,
                              .reach = io_reach,
                              .stream = io_stream,
                              .drop = io_drop,
                              .scan = io_scan,
                              .link = {link_open, link_send, link_close}};
    n->metrics = metrics_new();
    struct agent_opts o = {.node = n->name,
                           .version = "test",
                           .node_witness = true,
                           .xds_port = 15012,
                           .stats_port = 15090,
                           .agent_port = 15020,
                           .health_port = 15021,
                           .seed = p->seed * 7919 + i};
    n->agent = agent_new(&o, &n->io, p->sched, n->metrics);
}

struct parts *parts_new(struct world *world, struct store *store, struct sched *sched, uint32_t nodes, uint64_t seed) {
    return parts_new_idle(world, store, sched, nodes, seed, 0);
}

struct parts *parts_new_idle(struct world *world, struct store *store, struct sched *sched, uint32_t nodes, uint64_t seed,
                             int64_t idle_period_ms) {
    struct parts *p = mem_alloc(sizeof *p);
    p->idle_period_ms = idle_period_ms ? idle_period_ms : 60000;
    p->world = world;
    p->store = store;
    p->sched = sched;
    p->seed = p->random = seed;
    p->n_nodes = nodes;
    p->nodes = mem_alloc(nodes * sizeof *p->nodes);
    start_gate(p);
    for (uint32_t i = 0; i < nodes; i++) {
        start_node(p, i);
    }
    return p;
}

void parts_free(struct parts *p) {
    if (!p) {
        return;
    }
    timer_cancel(p->sched, &p->restart);
    if (p->gate) {
        drop_gate(p);
    }
    for (uint32_t i = 0; i < p->n_nodes; i++) {
        struct node *n = &p->nodes[i];
        agent_free(n->agent);
        link_close(n);
        timer_cancel(p->sched, &n->silent);
        while (n->questions) {
            question_free(n->questions);
        }
        metrics_free(n->metrics);
    }
    free(p->nodes);
    free(p);
}
