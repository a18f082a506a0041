/*
 * One tick: join -> classify -> decide -> status -> actions. What is decided to be the progress is written first; actions
 * are only carried out on a progress that stands in the cluster, so that a gate that dies at any moment is followed by one
 * that knows at least as much.
 */
#include <stdlib.h>
#include <string.h>

#include "../core/decide.h"
#include "../lib/base/json.h"
#include "../lib/base/log.h"
#include "../lib/base/mem.h"
#include "coverage.h"
#include "gate_inside.h"

enum {
    STATUS_MS = 2000, /* between two writes when only counts have changed */
    RETRY_MS = 500,
};

static bool same_progress(const struct progress *a, const struct progress *b) {
    return a->wave == b->wave && a->started == b->started && a->soak_started_ms == b->soak_started_ms &&
           a->hold_id == b->hold_id && a->held == b->held && a->hold_reason == b->hold_reason;
}

static void tracked_free(struct tracked *t) {
    json_decref(t->status);
    json_decref(t->latest);
    json_decref(t->writing_status);
    free(t->uid);
    free(t);
}

static void tell(struct tracked *t) {
    const struct inv_upgrade *o = inventory_of(t->gate->inventory)->upgrades;
    while (o && strcmp(o->uid, t->uid) != 0) {
        o = o->hh.next;
    }
    if (o) {
        publish_events(t->gate->execute, o, t->status, t->writing_status);
    }
}

static void on_written(void *ctx, bool ok) {
    struct tracked *t = ctx;
    t->writing = false;
    if (ok) {
        tell(t);
        json_decref(t->status);
        t->status = t->writing_status;
        t->progress = t->writing_progress;
        t->written = true;
        t->writing_status = NULL;
    } else {
        json_decref(t->writing_status);
        t->writing_status = NULL;
        t->retry_ms = sched_now(t->gate->sched) + RETRY_MS;
    }
    gate_dirty(t->gate);
}

int64_t gate_publish(struct gate *g, struct tracked *t, const struct inv_upgrade *o, json_t *status,
                     const struct progress *next) {
    int64_t now = sched_now(g->sched), at = 0;
    bool moved = next && (!t->written || !same_progress(next, &t->progress));
    json_decref(t->latest);
    t->latest = status;
    if (t->writing || (!moved && publish_same(t->status, status))) {
        return 0;
    }
    if (!moved && !publish_urgent(t->status, status)) {
        at = t->written_ms + STATUS_MS;
    }
    at = t->retry_ms > at ? t->retry_ms : at;
    if (at > now) {
        return at;
    }
    t->writing = true;
    t->writing_status = json_incref(status);
    t->writing_progress = next ? *next : t->progress;
    t->written_ms = now;
    execute_status(g->execute, o, json_incref(status), on_written, t);
    return 0;
}

/* Progress as this process knows it; what the status says only at the beginning and when the spec has been changed. */
static void adopt(struct gate *g, struct tracked *t) {
    struct upgrade *u = &g->upgrade;
    if (t->known && t->generation != u->generation && t->progress.wave == u->progress.wave) {
        u->progress = t->progress; /* exact times instead of rounded ones */
    }
    if (!t->known || t->generation != u->generation) {
        t->progress = u->progress;
        t->written = t->known ? t->written : !u->fresh;
        t->known = true;
        t->generation = u->generation;
    }
    u->progress = t->progress;
    if (t->pause_unwritten) {
        u->progress.held = true;
        u->progress.hold_id = t->unwritten.hold_id;
        u->progress.hold_reason = t->unwritten.hold_reason;
        u->progress.soak_started_ms = 0;
    }
}

static bool may_act(const struct tracked *t, const struct progress *next) {
    return t->written && same_progress(next, &t->progress) && (!t->writing || same_progress(next, &t->writing_progress));
}

static void act(struct gate *g) {
    const struct join_names *names = join_names(g->join);
    const struct inventory *inv = inventory_of(g->inventory);
    for (uint32_t i = 0; i < g->decision.n_actions; i++) {
        const struct action *a = &g->decision.actions[i];
        const struct inv_namespace *ns;
        switch (a->kind) {
        case ACTION_NONE:
            break;
        case ACTION_RELABEL:
            HASH_FIND_STR(inv->namespaces, names->namespaces[a->object], ns);
            check(ns != NULL);
            execute_relabel(g->execute, ns, &g->upgrade);
            break;
        case ACTION_RESTART:
            check(names->workloads[a->object] != NULL);
            execute_restart(g->execute, names->workloads[a->object], &g->upgrade);
            break;
        }
    }
}

/* istiods are asked for the sync of the proxies of the wave at work, whatever it waits for. */
static void assign(struct gate *g) {
    const struct snapshot *seen = join_snapshot(g->join);
    const char **focus = mem_alloc((seen->n_namespaces + 1) * sizeof *focus);
    size_t n = 0;
    for (uint32_t i = 0; i < seen->n_namespaces; i++) {
        if (seen->namespaces[i].wave == g->decision.next.wave) {
            focus[n++] = join_names(g->join)->namespaces[i];
        }
    }
    sessions_assign(g->sessions, focus, n, g->decision.phase == PHASE_COMPLETED);
    free(focus);
}

static void log_change(const struct gate *g, const struct tracked *t) {
    const char *phase = phase_name(g->decision.phase);
    if (!t->latest || strcmp(js_text(t->latest, "phase", NULL), phase) != 0) {
        log_info("phase", log_s("upgrade", g->upgrade.name), log_s("phase", phase),
                 log_s("verdict", verdict_name(g->decision.verdict)), log_i("wave", g->decision.next.wave));
    }
}

const struct upgrade *gate_look(struct gate *g) {
    struct upgrade *u = g->upgrade.name ? &g->upgrade : &g->nobody;
    int64_t now = sched_now(g->sched);
    join_build(g->join, g->inventory, g->evidence, u, gate_reader, g, now, sched_wall(g->sched));
    classify(&u->policy, join_snapshot(g->join), now);
    join_remember_states(g->join, now);
    return u;
}

json_t *gate_view_coverage(struct gate *g) {
    const struct upgrade *u = gate_look(g);
    return coverage(g->join, u, g->opts.cluster, sched_now(g->sched));
}

static void on_lag(void *ctx, const char *replica) {
    struct gate *g = ctx;
    sessions_audit(g->sessions, replica);
}

/* While an upgrade is at work its proxies are read each period anyway. */
void gate_watch(struct gate *g) {
    gate_look(g);
    lag_look(g->lag, g->join, sched_now(g->sched), on_lag, g);
    publish_metrics_mesh(g->metrics, join_snapshot(g->join));
}

int64_t gate_follow(struct gate *g, struct tracked *t, const struct inv_upgrade *o) {
    struct upgrade *u = &g->upgrade;
    int64_t now = sched_now(g->sched), wall = sched_wall(g->sched);
    adopt(g, t);
    gate_look(g);
    struct snapshot *seen = join_snapshot(g->join);
    g->tallies = mem_grow(g->tallies, u->policy.n_waves * sizeof *g->tallies);
    decide(&u->policy, seen, now, g->tallies, &g->decision);
    metric_add(g->decisions, 1);
    log_change(g, t);
    struct publication p = {u, g->join, seen, &g->decision, g->tallies, g->execute, now, wall};
    const struct progress next = g->decision.next;
    int64_t again = gate_publish(g, t, o, publish_status(&p, t->status), &next);
    t->pause_unwritten = next.held && !(t->written && t->progress.held && t->progress.hold_id == next.hold_id);
    t->unwritten = next;
    if (may_act(t, &next)) {
        act(g);
    }
    assign(g);
    publish_metrics(g->metrics, &p);
    return sched_sooner(again, g->decision.wake_at_ms);
}

/* --- what is tracked --- */

struct tracked *gate_track(struct gate *g, const struct inv_upgrade *o) {
    struct tracked *t;
    HASH_FIND_STR(g->tracked, o->uid, t);
    if (!t) {
        t = mem_alloc(sizeof *t);
        t->gate = g;
        t->uid = mem_dup(o->uid);
        t->status = json_incref(o->status);
        HASH_ADD_KEYPTR(hh, g->tracked, t->uid, strlen(t->uid), t);
    }
    t->round = g->round;
    return t;
}

/* One whose write is under way is kept until that is over. */
void gate_untrack(struct gate *g, bool all) {
    struct tracked *t, *next;
    HASH_ITER(hh, g->tracked, t, next) {
        if (all || (t->round != g->round && !t->writing)) {
            HASH_DEL(g->tracked, t);
            tracked_free(t);
        }
    }
}
