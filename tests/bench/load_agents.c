#include <stdlib.h>
#include <string.h>

#include "../../agent/agent.h"
#include "../../lib/base/mem.h"
#include "load.h"
#include "utlist.h"

#define PIECE 8192 /* as TLS delivers them */

enum question_kind { ASK, GET, REACH };

struct io_question {
    struct node *node;
    enum question_kind kind;
    char *address, *what, *id;
    uint16_t port;
    int64_t deadline_ms;
    io_answer_fn fn;
    void (*reached)(void *ctx, const struct io_reach *r);
    void *ctx;
    struct timer timer;
    struct io_question *prev, *next;
};

struct node {
    struct load_agents *owner;
    const char *name;
    struct agent_io io;
    struct agent *agent;
    struct metrics *metrics;
    struct io_question *questions;
    struct rpc_channel *channel;
    struct rpc_stream *stream;
};

struct load_agents {
    struct load *load;
    struct node *nodes;
    uint64_t questions, up, down;
};

/* --- questions --- */

static void question_free(struct io_question *q) {
    timer_cancel(q->node->owner->load->sched, &q->timer);
    DL_DELETE(q->node->questions, q);
    free(q->address);
    free(q->what);
    free(q->id);
    free(q);
}

static void tell(struct io_question *q, enum io_status status, const char *body, size_t len) {
    struct io_question was = *q;
    if (was.kind == REACH) {
        bool stream = was.what[0], ok = status == IO_OK;
        struct io_reach r = {.ok = ok, .stage = stream ? "ads" : ok ? "ready" : "tcp", .error = "", .rtt_us = 900};
        r.first_byte_us = stream && ok ? 6000 : 0;
        question_free(q);
        was.reached(was.ctx, &r);
        return;
    }
    question_free(q);
    size_t n = status == IO_OK ? (len + PIECE - 1) / PIECE : 0;
    struct piece *pieces = mem_alloc((n + 1) * sizeof *pieces);
    for (size_t i = 0; i < n; i++) {
        size_t left = len - i * PIECE;
        pieces[i] = (struct piece){(const uint8_t *)body + i * PIECE, left < PIECE ? left : PIECE};
    }
    struct io_answer a = {.status = status, .error = "", .body = pieces, .pieces = n, .bytes = status == IO_OK ? len : 0};
    was.fn(was.ctx, &a);
    free(pieces);
}

static void answer(void *ctx) {
    struct io_question *q = ctx;
    struct load *l = q->node->owner->load;
    enum io_status status = IO_TIMEOUT;
    char *body = NULL;
    size_t len = 0;
    q->node->owner->questions++;
    switch (q->kind) {
    case ASK:
        status = world_ask(l->world, q->address, q->what, &body, &len);
        break;
    case GET:
        status = world_get(l->world, q->address, q->port, q->what, &body, &len);
        break;
    case REACH:
        status = world_reach(l->world, q->node->name, q->address);
        break;
    }
    if (status == IO_TIMEOUT && sched_now(l->sched) < q->deadline_ms) {
        timer_set(l->sched, &q->timer, q->deadline_ms, answer, q);
        return;
    }
    tell(q, status, body, len);
    free(body);
}

static struct io_question *question(void *self, enum question_kind kind, const char *id, const char *address,
                                    const char *what, int64_t timeout_ms, void *ctx) {
    struct node *n = self;
    struct load *l = n->owner->load;
    struct io_question *q = mem_alloc(sizeof *q);
    q->node = n;
    q->kind = kind;
    q->id = mem_dup(id);
    q->address = mem_dup(address);
    q->what = mem_dup(what);
    q->ctx = ctx;
    q->deadline_ms = sched_now(l->sched) + timeout_ms;
    DL_APPEND(n->questions, q);
    timer_set(l->sched, &q->timer, load_soon(l, 5), answer, q);
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
    struct io_question *q, *next;
    DL_FOREACH_SAFE(n->questions, q, next) {
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
    struct io_question *q = question(self, REACH, "", t->address, "", timeout_ms, ctx);
    q->reached = fn;
    return q;
}

static struct io_question *io_stream(void *self, const struct io_target *t, int64_t timeout_ms,
                                     void (*fn)(void *ctx, const struct io_reach *r), void *ctx) {
    struct io_question *q = question(self, REACH, "", t->address, "list", timeout_ms, ctx);
    q->reached = fn;
    return q;
}

static void io_drop(void *self, struct io_question *q) {
    (void)self;
    question_free(q);
}

static int64_t io_scan(void *self, void (*fn)(void *ctx, const struct dial_seen *d), void *ctx, struct err *err) {
    struct node *n = self;
    int64_t found = world_scan(n->owner->load->world, n->name, fn, ctx);
    if (found < 0) {
        err_set(err, ERR_UNAVAILABLE, "the node stands still");
    }
    return found;
}

/* --- the line --- */

static void hang_up(struct node *n) {
    if (n->stream) {
        rpc_stream_close(n->stream);
        n->stream = NULL;
    }
    rpc_channel_free(n->channel);
    n->channel = NULL;
}

static void on_message(void *ctx, const struct piece *pieces, size_t n_pieces, size_t bytes) {
    struct node *n = ctx;
    n->owner->down += bytes;
    const struct link_events *e = agent_link_events(n->agent);
    e->message(e->ctx, pieces, n_pieces);
}

static void on_end(void *ctx, int status, const char *text) {
    struct node *n = ctx;
    n->stream = NULL;
    hang_up(n);
    const struct link_events *e = agent_link_events(n->agent);
    e->closed(e->ctx, status, text);
}

static void link_open(void *self) {
    static const struct rpc_stream_ops ops = {.message = on_message, .end = on_end};
    struct node *n = self;
    n->channel = load_channel(n->owner->load);
    n->stream = load_stream(n->owner->load, n->channel, n->name, &ops, n);
}

static bool link_send(void *self, const void *p, size_t size) {
    struct node *n = self;
    bool sent = n->stream && rpc_stream_send(n->stream, p, size);
    n->owner->up += sent ? size : 0;
    return sent;
}

static void link_close(void *self) {
    hang_up(self);
}

/* --- all of them --- */

static void start(struct node *n, uint64_t seed) {
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
                           .version = MESHGATE_VERSION,
                           .node_witness = true,
                           .xds_port = 15012,
                           .stats_port = 15090,
                           .agent_port = 15020,
                           .health_port = 15021,
                           .seed = seed};
    n->agent = agent_new(&o, &n->io, n->owner->load->sched, n->metrics);
}

struct load_agents *load_agents_new(struct load *l) {
    struct load_agents *a = mem_alloc(sizeof *a);
    a->load = l;
    a->nodes = mem_alloc(l->n_nodes * sizeof *a->nodes);
    for (size_t i = 0; i < l->n_nodes; i++) {
        a->nodes[i].owner = a;
        a->nodes[i].name = l->nodes[i];
        start(&a->nodes[i], 7919 * l->random + i);
    }
    return a;
}

void load_agents_free(struct load_agents *a) {
    if (!a) {
        return;
    }
    for (size_t i = 0; i < a->load->n_nodes; i++) {
        struct node *n = &a->nodes[i];
        agent_free(n->agent);
        hang_up(n);
        while (n->questions) {
            question_free(n->questions);
        }
        metrics_free(n->metrics);
    }
    free(a->nodes);
    free(a);
}

size_t load_agents_ready(const struct load_agents *a) {
    size_t ready = 0;
    for (size_t i = 0; i < a->load->n_nodes; i++) {
        const char *why;
        ready += agent_ready(a->nodes[i].agent, &why);
    }
    return ready;
}

void load_agents_bytes(const struct load_agents *a, uint64_t *up, uint64_t *down) {
    *up = a->up;
    *down = a->down;
}

uint64_t load_agents_questions(const struct load_agents *a) {
    return a->questions;
}
