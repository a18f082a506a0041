#include "gate.h"

#include <stdlib.h>
#include <string.h>

#include "../core/decide.h"
#include "../lib/base/json.h"
#include "../lib/base/mem.h"
#include "gate_inside.h"

enum {
    PROXIES_A_MS = 25,
    PAUSE_MORE_MS = 600,
    IDLE_PAUSE_MS = 2000,        /* with no upgrade at work nothing waits for a decision */
    IDLE_CONNECTIONS_MS = 60000, /* readers ask for connections at least so often then */
    IDLE_EVIDENCE_PERIODS = 3,   /* of them that evidence may be old, and time for questions that fail */
    IDLE_EVIDENCE_MORE_MS = 20000,
};

static void tick(void *ctx);

/* Every decision looks at every proxy: the more there are, the less often, so that looking never takes the whole core. */
static int64_t pause_ms(const struct gate *g) {
    int64_t more = join_snapshot(g->join)->n_proxies / PROXIES_A_MS;
    int64_t pause = g->opts.decide_floor_ms + (more < PAUSE_MORE_MS ? more : PAUSE_MORE_MS);
    return g->watching && pause < IDLE_PAUSE_MS ? IDLE_PAUSE_MS : pause;
}

static void wake(struct gate *g, int64_t at_ms) {
    int64_t floor = g->ticked_ms + pause_ms(g);
    at_ms = at_ms < floor ? floor : at_ms;
    if (!timer_is_set(&g->timer) || at_ms < g->timer.at_ms) {
        timer_set(g->sched, &g->timer, at_ms, tick, g);
    }
}

void gate_dirty(struct gate *g) {
    g->dirty = true;
    wake(g, sched_now(g->sched));
}

static int64_t idle_evidence_ms(const struct gate *g) {
    int64_t period = g->opts.idle_period_ms > IDLE_CONNECTIONS_MS ? g->opts.idle_period_ms : IDLE_CONNECTIONS_MS;
    return IDLE_EVIDENCE_PERIODS * period + IDLE_EVIDENCE_MORE_MS;
}

static void on_changed(void *ctx) {
    gate_dirty(ctx);
}

const char *gate_reader(void *ctx, const char *replica) {
    const struct gate *g = ctx;
    return sessions_reader(g->sessions, replica);
}

/* --- which upgrade is at work --- */

static int by_age(const void *a, const void *b) {
    const struct inv_upgrade *x = *(const struct inv_upgrade *const *)a, *y = *(const struct inv_upgrade *const *)b;
    if (x->created_wall_ms != y->created_wall_ms) {
        return x->created_wall_ms < y->created_wall_ms ? -1 : 1;
    }
    return strcmp(x->name, y->name);
}

static const struct inv_upgrade **all_upgrades(const struct gate *g, size_t *n) {
    const struct inventory *inv = inventory_of(g->inventory);
    const struct inv_upgrade **list = mem_alloc((HASH_COUNT(inv->upgrades) + 1) * sizeof *list);
    *n = 0;
    for (const struct inv_upgrade *o = inv->upgrades; o; o = o->hh.next) {
        list[(*n)++] = o;
    }
    qsort(list, *n, sizeof *list, by_age);
    return list;
}

/* With the status that this process knows, which may be newer than the inventory's. */
static struct inv_upgrade as_known(const struct tracked *t, const struct inv_upgrade *o) {
    struct inv_upgrade known = *o;
    known.status = t->status;
    return known;
}

static bool has_begun(const json_t *status) {
    return js_int(status, 0, "progress", "wave", NULL) > 0 || js_bool(status, false, "progress", "started", NULL);
}

/* Read the spec into g->upgrade. false: it cannot be followed, and its status says so. */
static bool take_up(struct gate *g, struct tracked *t, const struct inv_upgrade *o, int64_t *again) {
    struct inv_upgrade known = as_known(t, o);
    struct err err = {.code = ERR_NONE};
    upgrade_done(&g->upgrade);
    if (upgrade_parse(&known, inventory_of(g->inventory), sched_now(g->sched), sched_wall(g->sched), &g->upgrade, &err)) {
        return true;
    }
    upgrade_done(&g->upgrade);
    json_t *status =
        publish_blocked(o->name, o->generation, REASON_SPEC_INVALID, NULL, err.text, t->status, sched_wall(g->sched));
    *again = sched_sooner(*again, gate_publish(g, t, o, status, NULL));
    return false;
}

static int64_t wait_for(struct gate *g, const struct inv_upgrade *o, const char *other) {
    struct tracked *t = gate_track(g, o);
    return gate_publish(
        g, t, o,
        publish_blocked(o->name, o->generation, REASON_UPGRADE_IN_PROGRESS, other, NULL, t->status, sched_wall(g->sched)),
        NULL);
}

static bool completed(const struct tracked *t, const struct inv_upgrade *o) {
    struct inv_upgrade known = as_known(t, o);
    return upgrade_completed(&known);
}

/* The oldest that is not completed is at work; one that cannot be followed is passed over unless it has begun. */
static int64_t upgrades(struct gate *g) {
    size_t n;
    const struct inv_upgrade **list = all_upgrades(g, &n);
    const char *at_work = NULL;
    int64_t again = 0;
    for (size_t i = 0; i < n; i++) {
        struct tracked *t = gate_track(g, list[i]);
        if (completed(t, list[i])) {
            continue;
        }
        if (at_work) {
            again = sched_sooner(again, wait_for(g, list[i], at_work));
        } else if (take_up(g, t, list[i], &again)) {
            at_work = list[i]->name;
            again = sched_sooner(again, gate_follow(g, t, list[i]));
        } else if (has_begun(t->status)) {
            at_work = list[i]->name;
        }
    }
    free(list);
    g->watching = !g->upgrade.name;
    if (g->watching) {
        sessions_assign(g->sessions, NULL, 0, at_work == NULL);
        gate_watch(g);
    }
    return again;
}

static void tick(void *ctx) {
    struct gate *g = ctx;
    int64_t again = 0;
    g->dirty = false;
    g->ticked_ms = sched_now(g->sched);
    g->round++;
    upgrade_done(&g->upgrade);
    if (inventory_loaded(g->inventory)) {
        again = upgrades(g);
        gate_untrack(g, false);
    }
    metric_set(g->writes, (double)execute_writes(g->execute));
    metric_set(g->write_failures, (double)execute_failures(g->execute));
    if (g->dirty || again != 0) {
        wake(g, g->dirty ? g->ticked_ms : again);
    }
}

/* --- the whole --- */

static void own_texts(struct gate_opts *o) {
    const char **texts[] = {&o->version,       &o->cluster,  &o->istio_namespace, &o->agent_namespace,
                            &o->agent_account, &o->audience, &o->identity};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        *texts[i] = mem_dup(*texts[i]);
    }
}

static void free_texts(const struct gate_opts *o) {
    const char *texts[] = {o->version,       o->cluster,  o->istio_namespace, o->agent_namespace,
                           o->agent_account, o->audience, o->identity};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        free((char *)(uintptr_t)texts[i]);
    }
}

struct gate *gate_new(const struct gate_opts *opts, struct kube *kube, struct sched *sched, struct metrics *metrics) {
    struct gate *g = mem_alloc(sizeof *g);
    g->opts = *opts;
    own_texts(&g->opts);
    g->kube = kube;
    g->sched = sched;
    g->metrics = metrics;
    g->ticked_ms = sched_now(sched) - g->opts.decide_floor_ms;
    g->decisions = metric_get(metrics, METRIC_COUNTER, "meshgate_decisions_total", "Decisions made.", NULL);
    g->writes = metric_get(metrics, METRIC_COUNTER, "meshgate_writes_total", "Objects written to the API server.", NULL);
    g->write_failures = metric_get(metrics, METRIC_COUNTER, "meshgate_write_failures_total", "Writes that failed.", NULL);
    upgrade_none(&g->nobody, idle_evidence_ms(g));
    g->evidence = evidence_new();
    g->join = join_new();
    g->lag = lag_new();
    g->execute = execute_new(kube, "meshgate", opts->seed + 1);
    execute_on_retry(g->execute, on_changed, g);
    g->inventory = inventory_watch_new(kube, g->opts.istio_namespace, on_changed, g, opts->seed + 2);
    struct sessions_opts sessions = {.gate = &g->opts,
                                     .kube = kube,
                                     .metrics = metrics,
                                     .evidence = g->evidence,
                                     .inventory = g->inventory,
                                     .changed = on_changed,
                                     .ctx = g};
    g->sessions = sessions_new(&sessions);
    return g;
}

void gate_free(struct gate *g) {
    if (!g) {
        return;
    }
    timer_cancel(g->sched, &g->timer);
    sessions_free(g->sessions);
    execute_free(g->execute);
    inventory_watch_free(g->inventory);
    timer_cancel(g->sched, &g->timer); /* what ended has told of changes */
    gate_untrack(g, true);
    join_free(g->join);
    lag_free(g->lag);
    evidence_free(g->evidence);
    upgrade_done(&g->upgrade);
    upgrade_done(&g->nobody);
    free(g->tallies);
    free_texts(&g->opts);
    free(g);
}

bool gate_ready(const struct gate *g, struct buf *why_not) {
    if (inventory_loaded(g->inventory)) {
        return true;
    }
    inventory_fresh(g->inventory, why_not);
    return false;
}

struct session *gate_session_open(struct gate *g, const char *authorization, const struct session_ops *ops, void *peer) {
    return session_open(g->sessions, authorization, ops, peer);
}

void gate_session_message(struct session *s, const struct piece *pieces, size_t n) {
    session_message(s, pieces, n);
}

void gate_session_closed(struct session *s) {
    session_closed(s);
}
