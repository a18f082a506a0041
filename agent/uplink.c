#include "agent/uplink.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/text.h"

#define COLLECT_MS 50
#define WINDOW 16 /* reports on the way without an Ack */
#define BACKOFF_FIRST_MS 500
#define BACKOFF_MAX_MS 15000
#define ORPHAN_MS (2 * 60 * 1000)

struct uplink {
    const struct uplink_env *env;
    const struct uplink_ops *ops;
    void *ctx;
    struct link_events events;
    struct timer retry, flush, orphan;
    uint64_t seq, acked, jitter;
    uint64_t first_report; /* its sequence number; 0: none sent on this line */
    int64_t backoff_ms;
    bool open, assigned, full;
    char why[300];
};

static void open_line(void *ctx);

static int64_t jittered(struct uplink *u, int64_t ms) {
    u->jitter = text_hash(u->jitter, &u->seq, sizeof u->seq);
    return ms / 2 + (int64_t)(u->jitter % (uint64_t)(ms / 2 + 1));
}

static bool send(struct uplink *u, Meshgate__V1__AgentMessage *m) {
    struct buf b;
    buf_init(&b, WIRE_MAX_MESSAGE);
    m->seq = ++u->seq;
    wire_pack(&m->base, &b);
    bool ok = !b.over && u->env->io->link.send(u->env->io->self, b.p, b.len);
    if (b.over) {
        log_error("report is too large", log_i("limit", WIRE_MAX_MESSAGE));
    }
    metric_add(u->env->bytes, (double)b.len);
    buf_done(&b);
    return ok;
}

static void lost(struct uplink *u) {
    struct sched *s = u->env->sched;
    u->open = u->assigned = false;
    metric_set(u->env->connected, 0);
    timer_cancel(s, &u->flush);
    timer_set(s, &u->retry, sched_now(s) + jittered(u, u->backoff_ms), open_line, u);
    u->backoff_ms = u->backoff_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : u->backoff_ms * 2;
}

static void on_closed(void *ctx, int status, const char *text) {
    struct uplink *u = ctx;
    snprintf(u->why, sizeof u->why, "no line to the gate: %s (status %d)", text && text[0] ? text : "closed", status);
    log_warn("line to the gate is closed", log_i("status", status), log_s("text", text ? text : ""));
    lost(u);
}

/* A line that can't take what must be told is as good as none: start over, with everything. */
static void give_up(struct uplink *u, const char *why) {
    log_warn("line to the gate is given up", log_s("why", why));
    snprintf(u->why, sizeof u->why, "%s", why);
    u->env->io->link.close(u->env->io->self);
    lost(u);
}

void uplink_again(struct uplink *u, const char *why) {
    if (u->open) {
        give_up(u, why);
    }
}

static void flush(void *ctx) {
    struct uplink *u = ctx;
    bool more = true;
    while (more && u->open && u->assigned && u->seq - u->acked < WINDOW) {
        Meshgate__V1__Report *r = NULL;
        if (!u->ops->next(u->ctx, &r, &more)) {
            return;
        }
        r->full = u->full;
        Meshgate__V1__AgentMessage m = MESHGATE__V1__AGENT_MESSAGE__INIT;
        m.body_case = MESHGATE__V1__AGENT_MESSAGE__BODY_REPORT;
        m.report = r;
        bool sent = send(u, &m);
        u->ops->done(u->ctx);
        if (!sent) {
            give_up(u, "the gate does not take reports fast enough");
            return;
        }
        u->full = false;
        u->first_report = u->first_report ? u->first_report : u->seq;
        metric_add(u->env->reports, 1);
    }
}

void uplink_news(struct uplink *u) {
    if (u->open && u->assigned && !timer_is_set(&u->flush)) {
        timer_set(u->env->sched, &u->flush, sched_now(u->env->sched) + COLLECT_MS, flush, u);
    }
}

static void on_ack(struct uplink *u, const Meshgate__V1__Ack *a) {
    if (a->seq > u->seq) {
        give_up(u, "the gate acknowledged what was never sent");
        return;
    }
    u->acked = a->seq > u->acked ? a->seq : u->acked;
    u->backoff_ms = BACKOFF_FIRST_MS;
    if (a->resync) {
        u->full = true;
        u->ops->resync(u->ctx);
    }
    uplink_news(u);
}

static void on_assignment(struct uplink *u, const Meshgate__V1__Assignment *a) {
    bool first = !u->assigned;
    u->assigned = true;
    timer_cancel(u->env->sched, &u->orphan);
    metric_set(u->env->connected, 1);
    if (first) {
        log_info("gate has accepted this agent", log_i("replicas", (int64_t)a->n_replicas),
                 log_i("period_ms", (int64_t)a->period_ms));
        u->ops->resync(u->ctx);
    }
    u->ops->assigned(u->ctx, a);
    uplink_news(u);
}

static void on_message(void *ctx, const struct piece *pieces, size_t n) {
    struct uplink *u = ctx;
    struct err err;
    Meshgate__V1__GateMessage *m = wire_gate_message(pieces, n, &err);
    if (!m) {
        give_up(u, err.text);
        return;
    }
    switch (m->body_case) {
    case MESHGATE__V1__GATE_MESSAGE__BODY_ACK:
        on_ack(u, m->ack);
        break;
    case MESHGATE__V1__GATE_MESSAGE__BODY_ASSIGNMENT:
        on_assignment(u, m->assignment);
        break;
    case MESHGATE__V1__GATE_MESSAGE__BODY_SLOT:
        u->ops->slot(u->ctx, m->slot);
        break;
    case MESHGATE__V1__GATE_MESSAGE__BODY_REFUSAL:
        snprintf(u->why, sizeof u->why, "the gate refuses this agent: %s", m->refusal->why);
        log_error("gate refuses this agent", log_s("why", m->refusal->why));
        break; /* it closes the line itself */
    case MESHGATE__V1__GATE_MESSAGE__BODY__NOT_SET:
    case _MESHGATE__V1__GATE_MESSAGE__BODY__CASE_IS_INT_SIZE:
        break; /* a newer gate may say more than we know */
    }
    wire_gate_free(m);
}

static void on_orphan(void *ctx) {
    struct uplink *u = ctx;
    u->ops->orphaned(u->ctx);
}

static void hello(struct uplink *u) {
    char session[40];
    snprintf(session, sizeof session, "%016" PRIx64, text_hash(u->jitter, u->why, sizeof u->why));
    Meshgate__V1__Hello h = MESHGATE__V1__HELLO__INIT;
    char empty[1] = "";
    char *version = mem_dup(u->env->version), *node = mem_dup(u->env->node);
    char *why = u->env->node_witness_why ? mem_dup(u->env->node_witness_why) : NULL;
    h.version = version;
    h.node = node;
    h.session = session;
    h.node_witness = u->env->node_witness;
    h.node_witness_why = why ? why : empty;
    Meshgate__V1__AgentMessage m = MESHGATE__V1__AGENT_MESSAGE__INIT;
    m.body_case = MESHGATE__V1__AGENT_MESSAGE__BODY_HELLO;
    m.hello = &h;
    if (!send(u, &m)) {
        log_warn("Hello could not be sent");
    }
    free(version);
    free(node);
    free(why);
}

static void open_line(void *ctx) {
    struct uplink *u = ctx;
    struct sched *s = u->env->sched;
    u->open = true;
    u->assigned = false;
    u->full = true;
    u->seq = u->acked = u->first_report = 0;
    u->jitter += (uint64_t)sched_wall(s);
    if (!timer_is_set(&u->orphan)) {
        timer_set(s, &u->orphan, sched_now(s) + ORPHAN_MS, on_orphan, u);
    }
    u->env->io->link.open(u->env->io->self);
    hello(u);
}

struct uplink *uplink_new(const struct uplink_env *env, const struct uplink_ops *ops, void *ctx) {
    struct uplink *u = mem_alloc(sizeof *u);
    u->env = env;
    u->ops = ops;
    u->ctx = ctx;
    u->backoff_ms = BACKOFF_FIRST_MS;
    u->jitter = text_hash(env->seed, "uplink", 6);
    u->events = (struct link_events){.message = on_message, .closed = on_closed, .ctx = u};
    snprintf(u->why, sizeof u->why, "not connected to the gate yet");
    timer_set(env->sched, &u->retry, sched_now(env->sched) + 1, open_line, u);
    return u;
}

void uplink_free(struct uplink *u) {
    if (!u) {
        return;
    }
    timer_cancel(u->env->sched, &u->retry);
    timer_cancel(u->env->sched, &u->flush);
    timer_cancel(u->env->sched, &u->orphan);
    if (u->open) {
        u->env->io->link.close(u->env->io->self);
    }
    free(u);
}

const struct link_events *uplink_events(struct uplink *u) {
    return &u->events;
}

bool uplink_ready(const struct uplink *u, const char **why_not) {
    if (!u->open || !u->assigned) {
        *why_not = u->why;
        return false;
    }
    if (!u->first_report || u->acked < u->first_report) {
        *why_not = "the first report is not acknowledged yet";
        return false;
    }
    *why_not = "";
    return true;
}
