/* One round over the rungs: what is due, and what each answer leads to. */
#include <stdlib.h>
#include <string.h>

#include "agent/reader_inside.h"
#include "lib/base/mem.h"
#include "probes/drift.h"

enum {
    AUDIT_MS = 5 * 60 * 1000,       /* of the whole syncz while something moves */
    IDLE_AUDIT_MS = 10 * 60 * 1000, /* when nothing does; also until a refused JSON is tried again */
    IDLE_CONNECTIONS_MS = 60 * 1000,
    SECOND_MS = 45 * 1000, /* from a whole syncz to a second look; longer than an acknowledgement may take */
    CHEAP_PROXIES = 500,   /* 10 ms of istiod's CPU */
    STATUS_MS = 60 * 1000, /* the protobuf syncz can lock a proxy for good: never more often, whatever the period */
    WORD_MS = 1000,        /* in a long round the gate is told that we are alive */
};

static void next_step(struct reader *r);

static struct io_target target(const struct reader *r) {
    return (struct io_target){.id = r->id,
                              .address = r->address,
                              .xds_port = r->xds_port,
                              .http_port = r->http_port,
                              .server_name = r->server_name};
}

void reader_round(void *reader) {
    struct reader *r = reader;
    r->round_ms = sched_now(r->env->sched);
    r->rung = RUNG_METRICS;
    r->at = 0;
    next_step(r);
}

static void word(struct reader *r) {
    r->word_ms = sched_now(r->env->sched);
    r->news = true;
    r->env->news(r->env->ctx);
}

/* Rest until the next round; rounds keep their distance even when one took long. */
static void rest(struct reader *r) {
    int64_t now = sched_now(r->env->sched);
    int64_t at = r->round_ms + r->period_ms;
    timer_set(r->env->sched, &r->timer, at > now ? at : now + r->period_ms / 4 + 1, reader_round, r);
    r->rung = RUNG_REST;
    word(r);
}

static void step(struct reader *r, enum rung rung) {
    r->rung = rung;
    next_step(r);
}

static void count(struct reader *r, const struct io_answer *a) {
    r->question = NULL;
    r->bytes += a->bytes;
    r->questions++;
    metric_add(r->env->questions, 1);
    metric_add(r->env->bytes, (double)a->bytes);
    if (sched_now(r->env->sched) - r->word_ms >= WORD_MS) {
        word(r);
    }
}

/* A question without an answer blocks its stream at istiod, and one of its goroutines for as long as the lock stands. */
static void hung(struct reader *r) {
    metric_add(r->env->hanging, 1);
    r->env->io->forget(r->env->io->self, r->id);
}

static enum hunt_result became(struct reader *r, enum io_status s) {
    if (s == IO_TIMEOUT) {
        hung(r);
        return HUNT_HUNG;
    }
    return s == IO_OK ? HUNT_ANSWERED : HUNT_BROKE;
}

static bool by_namespace(const struct reader *r) {
    return drift_has(r->version, DRIFT_JSON_NAMESPACE);
}

/* New streams are to be read soon where that is cheap or they are many; where each minute brings some, because old streams
 * are recycled all the time, the ten minutes are soon enough. */
static bool fresh_is_due(const struct reader *r) {
    size_t all = replica_count(r->replica), fresh = replica_fresh(r->replica);
    return r->idle && r->syncz_ms && r->asked_ms - r->syncz_ms >= SECOND_MS && fresh > 0 &&
           (all <= CHEAP_PROXIES || fresh * 5 >= all);
}

static bool json_is_refused(const struct reader *r) {
    return r->refused_ms && r->asked_ms - r->refused_ms < IDLE_AUDIT_MS;
}

static bool syncz_is_due(const struct reader *r) {
    int64_t every = r->idle ? IDLE_AUDIT_MS : AUDIT_MS;
    return !r->syncz_ms || r->asked_ms - r->syncz_ms >= every || r->want_syncz || r->n_focus > FOCUS_MAX ||
           (r->n_focus > 0 && !by_namespace(r)) || r->now.uptime_s < r->at_syncz.uptime_s ||
           (r->status_only && !json_is_refused(r));
}

/* One reading that finds somebody behind proves nothing, and bad news must not grow old unread: while the mesh is idle, who
 * was behind is looked at once more, and who rejects or stands still in every round until he is well. */
static bool second_look_is_due(const struct reader *r) {
    return r->idle && r->syncz_ms && r->asked_ms - r->syncz_ms >= SECOND_MS &&
           (replica_has_trouble(r->replica, r->syncz_ms - SECOND_MS) ||
            (!r->second && replica_has_trouble(r->replica, r->syncz_ms)));
}

static bool connections_are_due(const struct reader *r) {
    return !r->idle || !r->connections_ms || !r->metrics_ok || syncz_is_due(r) ||
           r->now.streams != r->at_connections.streams || r->now.uptime_s < r->at_connections.uptime_s ||
           r->now.rejects != r->at_connections.rejects ||
           r->asked_ms - r->connections_ms >= IDLE_CONNECTIONS_MS - r->period_ms / 2 ||
           hunt_forbids_syncz(r->hunt, r->asked_ms);
}

static void on_metrics(void *ctx, const struct io_answer *a) {
    struct reader *r = ctx;
    count(r, a);
    reader_take_metrics(r, a);
    if (connections_are_due(r)) {
        step(r, RUNG_CONNECTIONS);
    } else {
        rest(r);
    }
}

static void on_connections(void *ctx, const struct io_answer *a) {
    struct reader *r = ctx;
    count(r, a);
    enum io_status status = reader_take_connections(r, a);
    if (status == IO_REFUSED) {
        step(r, RUNG_STATUS);
    } else if (status != IO_OK) {
        rest(r); /* dead or deaf: the rest would only cost time */
    } else if (json_is_refused(r)) {
        step(r, RUNG_STATUS);
    } else {
        bool due = syncz_is_due(r) || fresh_is_due(r), again = !due && second_look_is_due(r);
        hunt_round(r->hunt);
        r->second = (due || again) ? again : r->second;
        step(r, (due || again) && !hunt_forbids_syncz(r->hunt, r->asked_ms) ? RUNG_SYNCZ : RUNG_NAMESPACE);
    }
}

static void on_syncz(void *ctx, const struct io_answer *a) {
    struct reader *r = ctx;
    count(r, a);
    switch (reader_take_syncz(r, a, NULL)) {
    case IO_OK:
        hunt_clear(r->hunt);
        rest(r);
        return;
    case IO_REFUSED:
        step(r, RUNG_STATUS);
        return;
    case IO_TIMEOUT:
        /* Somebody may have locked one proxy: the namespaces on their own say which (istiod-facts 1). */
        hung(r);
        if (by_namespace(r)) {
            hunt_search(r->hunt, r->asked_ms);
        }
        break;
    case IO_UNREACHABLE:
    case IO_DENIED:
    case IO_GARBLED:
    case IO_BUSY:
        break;
    }
    step(r, RUNG_NAMESPACE);
}

static void on_status(void *ctx, const struct io_answer *a) {
    struct reader *r = ctx;
    count(r, a);
    if (reader_take_status(r, a) == IO_TIMEOUT) {
        hung(r);
    }
    rest(r);
}

static void on_namespace(void *ctx, const struct io_answer *a) {
    struct reader *r = ctx;
    count(r, a);
    struct focus *f = &r->focus[r->at++];
    enum io_status s = reader_take_syncz(r, a, f->name);
    f->read_ms = s == IO_OK ? r->asked_ms : f->read_ms;
    hunt_namespace(r->hunt, f->name, became(r, s), r->asked_ms);
    next_step(r);
}

static void on_hunted(void *ctx, const struct io_answer *a) {
    struct reader *r = ctx;
    count(r, a);
    bool reading = r->hunted.kind == HUNT_NAMESPACE;
    enum io_status s = reading ? reader_take_syncz(r, a, r->hunted.namespace_) : a->status;
    hunt_result(r->hunt, became(r, s), r->asked_ms);
    next_step(r);
}

static void ask(struct reader *r, const char *resource, int64_t limit_ms, io_answer_fn fn) {
    struct io_target t = target(r);
    r->question = r->env->io->ask(r->env->io->self, &t, resource, limit_ms, fn, r);
}

static int64_t short_limit(const struct reader *r) {
    return r->env->question_timeout_ms < HUNT_QUESTION_MS ? r->env->question_timeout_ms : HUNT_QUESTION_MS;
}

static void ask_namespace(struct reader *r) {
    while (r->at < r->n_focus && hunt_is_blocked(r->hunt, r->focus[r->at].name)) {
        r->at++;
    }
    if (r->at == r->n_focus || r->n_focus > FOCUS_MAX || !by_namespace(r)) {
        step(r, RUNG_HUNT);
        return;
    }
    char *name = mem_printf("syncz?namespace=%s", r->focus[r->at].name);
    ask(r, name, short_limit(r), on_namespace);
    free(name);
}

static void ask_hunted(struct reader *r) {
    hunt_next(r->hunt, r->asked_ms, &r->hunted);
    if (r->hunted.kind == HUNT_NOTHING) {
        rest(r);
    } else {
        ask(r, r->hunted.resource, short_limit(r), on_hunted);
    }
}

static void ask_status(struct reader *r) {
    if (r->status_ms && r->asked_ms - r->status_ms < STATUS_MS) {
        rest(r);
        return;
    }
    r->status_ms = r->asked_ms;
    ask(r, IO_STATUS_SYNCZ, r->env->question_timeout_ms, on_status);
}

static void next_step(struct reader *r) {
    struct agent_io *io = r->env->io;
    r->asked_ms = sched_now(r->env->sched);
    switch (r->rung) {
    case RUNG_METRICS:
        r->question = io->get(io->self, r->address, r->http_port, "/metrics", r->env->question_timeout_ms, on_metrics, r);
        return;
    case RUNG_CONNECTIONS:
        ask(r, "connections", r->env->question_timeout_ms, on_connections);
        return;
    case RUNG_SYNCZ:
        ask(r, "syncz", r->env->question_timeout_ms, on_syncz);
        return;
    case RUNG_STATUS:
        ask_status(r);
        return;
    case RUNG_NAMESPACE:
        ask_namespace(r);
        return;
    case RUNG_HUNT:
        ask_hunted(r);
        return;
    case RUNG_REST:
        return;
    }
}
