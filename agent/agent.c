#include "agent/agent.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/local.h"
#include "agent/reach.h"
#include "agent/reader.h"
#include "agent/uplink.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"

/* Reachability is tested this many reading periods apart. */
#define REACH_PERIODS 6

struct agent {
    struct agent_opts opts;
    struct reader_env reader_env;
    struct uplink_env uplink_env;
    struct local *local;
    struct reach *reach;
    struct uplink *uplink;
    struct reader **readers;
    size_t n_readers;
    struct report report;
    char witness_why[256];
};

static void on_news(void *ctx) {
    struct agent *a = ctx;
    uplink_news(a->uplink);
}

static struct reader *take_reader(struct agent *a, const char *id) {
    for (size_t i = 0; i < a->n_readers; i++) {
        if (a->readers[i] && strcmp(reader_id(a->readers[i]), id) == 0) {
            struct reader *r = a->readers[i];
            a->readers[i] = NULL;
            return r;
        }
    }
    return NULL;
}

static void free_readers(struct agent *a) {
    for (size_t i = 0; i < a->n_readers; i++) {
        reader_free(a->readers[i]);
    }
    free(a->readers);
    a->readers = NULL;
    a->n_readers = 0;
}

static void on_assigned(void *ctx, const Meshgate__V1__Assignment *s) {
    struct agent *a = ctx;
    struct reader_orders orders = {
        .focus = (const char *const *)s->focus, .n_focus = s->n_focus, .period_ms = s->period_ms, .idle = s->idle};
    struct reader **list = mem_alloc(sizeof(struct reader *) * (s->n_replicas + 1));
    size_t n = 0;
    for (size_t i = 0; i < s->n_replicas; i++) {
        const Meshgate__V1__Assignment__Replica *x = s->replicas[i];
        if (!x->read) {
            continue;
        }
        struct reader *r = take_reader(a, x->id);
        if (r && !reader_update(r, x, &orders)) {
            reader_free(r);
            r = NULL;
        }
        list[n++] = r ? r : reader_new(&a->reader_env, x, &orders);
    }
    free_readers(a);
    a->readers = list;
    a->n_readers = n;
    local_period(a->local, a->opts.node_witness ? s->local_period_ms : 0);
    reach_set(a->reach, s->revisions, s->n_revisions, s->period_ms * REACH_PERIODS);
}

static void on_resync(void *ctx) {
    struct agent *a = ctx;
    local_all_dirty(a->local);
    reach_all_dirty(a->reach);
    for (size_t i = 0; i < a->n_readers; i++) {
        reader_restart(a->readers[i]);
    }
}

static bool on_next(void *ctx, Meshgate__V1__Report **report, bool *more) {
    struct agent *a = ctx;
    bool any = false, all = true;
    if (local_has_news(a->local)) {
        any = true;
        all = local_fill(a->local, &a->report);
    }
    if (reach_has_news(a->reach)) {
        any = true;
        reach_fill(a->reach, &a->report);
    }
    for (size_t i = 0; i < a->n_readers; i++) {
        if (!reader_has_news(a->readers[i])) {
            continue;
        }
        if (report_full(&a->report)) {
            all = false;
            break;
        }
        any = true;
        all &= reader_fill(a->readers[i], &a->report);
    }
    *report = &a->report.msg;
    *more = !all;
    return any;
}

static void on_done(void *ctx) {
    struct agent *a = ctx;
    report_done(&a->report);
}

static void on_orphaned(void *ctx) {
    free_readers(ctx);
}

static void set_witness(struct agent *a) {
    const char *why = a->opts.node_witness ? local_blind(a->local) : "switched off by --node-witness=false";
    snprintf(a->witness_why, sizeof a->witness_why, "%s", why ? why : "");
    a->uplink_env.node_witness = why == NULL;
    a->uplink_env.node_witness_why = a->witness_why;
}

static void on_sight(void *ctx) {
    struct agent *a = ctx;
    if (a->uplink) {
        set_witness(a);
        uplink_again(a->uplink, a->uplink_env.node_witness ? "the node's proxies can be seen again"
                                                           : "the node's proxies can no longer be seen");
    }
}

static void on_slot(void *ctx, const Meshgate__V1__Slot *s) {
    struct agent *a = ctx;
    reach_slot(a->reach, s->revision);
}

static const struct uplink_ops uplink_ops = {.assigned = on_assigned,
                                             .slot = on_slot,
                                             .resync = on_resync,
                                             .next = on_next,
                                             .done = on_done,
                                             .orphaned = on_orphaned};

static void make_envs(struct agent *a, struct agent_io *io, struct sched *sched, struct metrics *m) {
    a->reader_env = (struct reader_env){
        .io = io,
        .sched = sched,
        .question_timeout_ms = a->opts.question_timeout_ms ? a->opts.question_timeout_ms : 10000,
        .news = on_news,
        .ctx = a,
        .questions =
            metric_get(m, METRIC_COUNTER, "meshgate_agent_questions_total", "Questions asked of istiod replicas.", NULL),
        .bytes =
            metric_get(m, METRIC_COUNTER, "meshgate_agent_istiod_bytes_total", "Bytes read from istiod replicas.", NULL),
        .failures = metric_get(m, METRIC_COUNTER, "meshgate_agent_question_failures_total",
                               "Questions to istiod replicas without a usable answer.", NULL),
        .hanging = metric_get(m, METRIC_COUNTER, "meshgate_agent_hanging_questions_total",
                              "Debug questions that ran into their deadline; where pushes are locked each costs istiod a "
                              "goroutine.",
                              NULL),
        .seed = a->opts.seed};
    a->uplink_env = (struct uplink_env){
        .io = io,
        .sched = sched,
        .node = a->opts.node,
        .version = a->opts.version,
        .seed = a->opts.seed,
        .connected =
            metric_get(m, METRIC_GAUGE, "meshgate_agent_connected", "1 while the gate has accepted this agent.", NULL),
        .reports = metric_get(m, METRIC_COUNTER, "meshgate_agent_reports_total", "Reports sent to the gate.", NULL),
        .bytes = metric_get(m, METRIC_COUNTER, "meshgate_agent_report_bytes_total", "Bytes sent to the gate.", NULL)};
}

struct agent *agent_new(const struct agent_opts *opts, struct agent_io *io, struct sched *sched, struct metrics *metrics) {
    struct agent *a = mem_alloc(sizeof *a);
    a->opts = *opts;
    report_init(&a->report);
    make_envs(a, io, sched, metrics);
    struct local_env local_env = {
        .io = io,
        .sched = sched,
        .stats_port = opts->stats_port,
        .agent_port = opts->agent_port,
        .health_port = opts->health_port,
        .news = on_news,
        .sight = on_sight,
        .ctx = a,
        .proxies = metric_get(metrics, METRIC_GAUGE, "meshgate_agent_local_proxies", "Proxies seen on this node.", NULL),
        .scan_failures = metric_get(metrics, METRIC_COUNTER, "meshgate_agent_scan_failures_total",
                                    "Scans of the node that failed.", NULL)};
    a->local = local_new(&local_env);
    set_witness(a);
    struct reach_env reach_env = {.io = io, .sched = sched, .news = on_news, .ctx = a, .seed = opts->seed};
    a->reach = reach_new(&reach_env);
    a->uplink = uplink_new(&a->uplink_env, &uplink_ops, a);
    return a;
}

void agent_free(struct agent *a) {
    if (!a) {
        return;
    }
    uplink_free(a->uplink);
    free_readers(a);
    reach_free(a->reach);
    local_free(a->local);
    report_done(&a->report);
    free(a);
}

const struct link_events *agent_link_events(struct agent *a) {
    return uplink_events(a->uplink);
}

bool agent_ready(const struct agent *a, const char **why_not) {
    if (a->opts.node_witness && local_trouble(a->local)[0]) {
        *why_not = local_trouble(a->local);
        return false;
    }
    return uplink_ready(a->uplink, why_not);
}
