#include <stdlib.h>
#include <string.h>

#include "../../lib/base/mem.h"
#include "../../lib/wire/wire.h"
#include "load.h"

#define WINDOW 16 /* messages on the way without an Ack, as the agent's */
#define CHANGED 2 /* proxies in a report */
#define AGAIN_MS 1000

struct line {
    struct load_flood *owner;
    const char *name;
    struct rpc_channel *channel;
    struct rpc_stream *stream;
    struct timer again;
    struct dial_seen seen[CHANGED];
    size_t n_seen;
    uint64_t seq, acknowledged;
    bool open;
};

struct load_flood {
    struct load *load;
    struct line *lines;
    uint64_t acknowledged;
};

static void on_dial(void *ctx, const struct dial_seen *d) {
    struct line *x = ctx;
    if (x->n_seen < CHANGED) {
        x->seen[x->n_seen++] = *d;
    }
}

static void tell(struct line *x, Meshgate__V1__AgentMessage *m) {
    struct buf b;
    buf_init(&b, WIRE_MAX_MESSAGE);
    m->seq = ++x->seq;
    wire_pack(&m->base, &b);
    rpc_stream_send(x->stream, b.p, b.len);
    buf_done(&b);
}

static void say_hello(struct line *x) {
    Meshgate__V1__Hello h = MESHGATE__V1__HELLO__INIT;
    char version[] = "load", *node = mem_dup(x->name);
    h.version = version;
    h.node = node;
    h.session = version;
    h.node_witness = true;
    Meshgate__V1__AgentMessage m = MESHGATE__V1__AGENT_MESSAGE__INIT;
    m.body_case = MESHGATE__V1__AGENT_MESSAGE__BODY_HELLO;
    m.hello = &h;
    tell(x, &m);
    free(node);
}

/* Something is different every time, as in a mesh at work. */
static void report(struct line *x) {
    Meshgate__V1__Report r = MESHGATE__V1__REPORT__INIT;
    Meshgate__V1__NodeScan scan = MESHGATE__V1__NODE_SCAN__INIT;
    Meshgate__V1__LocalProxy proxies[CHANGED], *list[CHANGED];
    char version[] = "2026-11-23T04:56:41Z/4", build[] = "1.29.6";
    version[18] = (char)('0' + x->seq % 10);
    for (size_t i = 0; i < x->n_seen; i++) {
        meshgate__v1__local_proxy__init(&proxies[i]);
        proxies[i].pod_uid = x->seen[i].pod_uid;
        proxies[i].pod_ip = x->seen[i].pod_ip;
        proxies[i].dials = x->seen[i].remote;
        proxies[i].connections = proxies[i].xds_connections = 1;
        proxies[i].stats_ok = proxies[i].ready = true;
        proxies[i].cds_version = proxies[i].lds_version = version;
        proxies[i].build = build;
        list[i] = &proxies[i];
    }
    scan.complete = true;
    scan.n_changed = x->n_seen;
    scan.changed = list;
    r.scan = &scan;
    r.full = x->seq == 1;
    Meshgate__V1__AgentMessage m = MESHGATE__V1__AGENT_MESSAGE__INIT;
    m.body_case = MESHGATE__V1__AGENT_MESSAGE__BODY_REPORT;
    m.report = &r;
    tell(x, &m);
}

static void fill(struct line *x) {
    while (x->open && x->seq - x->acknowledged < WINDOW) {
        report(x);
    }
}

static void on_message(void *ctx, const struct piece *pieces, size_t n, size_t bytes) {
    (void)bytes;
    struct line *x = ctx;
    struct err err;
    Meshgate__V1__GateMessage *m = wire_gate_message(pieces, n, &err);
    if (m && m->body_case == MESHGATE__V1__GATE_MESSAGE__BODY_ASSIGNMENT) {
        x->acknowledged = x->open ? x->acknowledged : x->seq;
        x->open = true;
    } else if (m && m->body_case == MESHGATE__V1__GATE_MESSAGE__BODY_ACK && m->ack->seq > x->acknowledged) {
        x->owner->acknowledged += m->ack->seq - x->acknowledged;
        x->acknowledged = m->ack->seq;
    }
    wire_gate_free(m);
    fill(x);
}

static void hang_up(struct line *x) {
    if (x->stream) {
        rpc_stream_close(x->stream);
        x->stream = NULL;
    }
    rpc_channel_free(x->channel);
    x->channel = NULL;
    x->open = false;
    x->seq = x->acknowledged = 0;
}

static void dial(void *ctx);

static void on_end(void *ctx, int status, const char *text) {
    (void)status;
    (void)text;
    struct line *x = ctx;
    struct load *l = x->owner->load;
    x->stream = NULL;
    hang_up(x);
    timer_set(l->sched, &x->again, load_soon(l, AGAIN_MS), dial, x);
}

static void dial(void *ctx) {
    static const struct rpc_stream_ops ops = {.message = on_message, .end = on_end};
    struct line *x = ctx;
    x->channel = load_channel(x->owner->load);
    x->stream = load_stream(x->owner->load, x->channel, x->name, &ops, x);
    say_hello(x);
}

struct load_flood *load_flood_new(struct load *l) {
    struct load_flood *f = mem_alloc(sizeof *f);
    f->load = l;
    f->lines = mem_alloc(l->n_nodes * sizeof *f->lines);
    for (size_t i = 0; i < l->n_nodes; i++) {
        struct line *x = &f->lines[i];
        x->owner = f;
        x->name = l->nodes[i];
        world_scan(l->world, x->name, on_dial, x);
        dial(x);
    }
    return f;
}

void load_flood_free(struct load_flood *f) {
    if (!f) {
        return;
    }
    for (size_t i = 0; i < f->load->n_nodes; i++) {
        timer_cancel(f->load->sched, &f->lines[i].again);
        hang_up(&f->lines[i]);
    }
    free(f->lines);
    free(f);
}

uint64_t load_flood_acknowledged(const struct load_flood *f) {
    return f->acknowledged;
}

size_t load_flood_open(const struct load_flood *f) {
    size_t open = 0;
    for (size_t i = 0; i < f->load->n_nodes; i++) {
        open += f->lines[i].open;
    }
    return open;
}
