/* Views that need the rows of the join: every proxy, one proxy explained, the pre-flight. */
#include <stdlib.h>
#include <string.h>

#include "../core/decide.h"
#include "../lib/base/json.h"
#include "../lib/base/mem.h"
#include "check.h"
#include "coverage.h"
#include "explain.h"
#include "gate_inside.h"

/* Of an upgrade that is not at work: rows of its own, without the memory of how long. */
static bool write_waiting(const struct gate *g, const struct inv_upgrade *o, struct buf *out) {
    int64_t now = sched_now(g->sched), wall = sched_wall(g->sched);
    const struct tracked *t;
    struct inv_upgrade known = *o;
    struct upgrade u;
    HASH_FIND_STR(g->tracked, o->uid, t);
    known.status = t ? t->status : o->status;
    bool ok = upgrade_parse(&known, inventory_of(g->inventory), now, wall, &u, NULL);
    if (ok) {
        struct join *j = join_new();
        u.progress = t && t->known ? t->progress : u.progress;
        join_build(j, g->inventory, g->evidence, &u, gate_reader, (void *)(uintptr_t)g, now, wall);
        classify(&u.policy, join_snapshot(j), now);
        join_remember_states(j, now);
        publish_proxies(j, join_snapshot(j), o->name, now, out);
        join_free(j);
    }
    upgrade_done(&u);
    return ok;
}

bool gate_write_proxies(struct gate *g, const char *upgrade, struct buf *out) {
    bool at_work = upgrade && g->upgrade.name && strcmp(g->upgrade.name, upgrade) == 0;
    if (!upgrade || at_work) {
        gate_look(g);
        publish_proxies(g->join, join_snapshot(g->join), upgrade, sched_now(g->sched), out);
        return true;
    }
    for (const struct inv_upgrade *o = inventory_of(g->inventory)->upgrades; o; o = o->hh.next) {
        if (strcmp(o->name, upgrade) == 0) {
            return write_waiting(g, o, out);
        }
    }
    return false;
}

json_t *gate_view_explain(struct gate *g, const char *namespace_, const char *pod) {
    const struct upgrade *u = gate_look(g);
    const struct join_names *n = join_names(g->join);
    const struct snapshot *seen = join_snapshot(g->join);
    uint32_t i = explain_find(n, seen, namespace_, pod);
    return i == IDX_NONE ? NULL : explain_proxy(n, &u->policy, seen, i, sched_now(g->sched));
}

json_t *gate_view_check(struct gate *g) {
    const struct upgrade *u = gate_look(g);
    int64_t now = sched_now(g->sched);
    json_t *covered = coverage(g->join, u, g->opts.cluster, now);
    char *agents = mem_printf("look at the agents: kubectl -n %s get daemonsets,pods -o wide", g->opts.agent_namespace);
    const struct check_input in = {
        .inv = inventory_of(g->inventory),
        .evidence = g->evidence,
        .names = join_names(g->join),
        .seen = join_snapshot(g->join),
        .coverage = covered,
        .agent_daemon = agents,
        .now_ms = now,
        .max_age_ms = u->policy.evidence_max_age_ms,
    };
    json_t *o = check_view(&in);
    free(agents);
    json_decref(covered);
    return o;
}
