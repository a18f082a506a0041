/*
 * The confusion table: each cause of cases.h is made in the embedded mesh, and what the gate calls each proxy is compared
 * with what was made. Every proxy counts: one that is called well while it is stuck, one that is called stuck while nothing
 * was made, a wrong reason, a wrong state, a wrong owner.
 *   stuck-causes [SCENE-NUMBER]
 * Exit code 0: nothing off the diagonal.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../core/decide.h"
#include "../../lib/base/log.h"
#include "../../lib/base/mem.h"
#include "cases.h"
#include "stage.h"

#define SECOND 1000
#define MINUTE (60 * SECOND)
#define N_CAUSES (sizeof causes / sizeof *causes)

static const struct setting {
    uint32_t replicas;
    const char *upgrade;   /* spec, NULL none */
    int64_t push_every_ms; /* 0 never */
    int64_t wait_ms;       /* from the last action to the judgement */
} settings[SCENES] = {
    [SCENE_WATCHED] = {2, NULL, 5 * SECOND, 6 * MINUTE},
    [SCENE_NODES] = {2, NULL, 5 * SECOND, 6 * MINUTE},
    [SCENE_DOWN] = {1, NULL, 0, 6 * MINUTE},
    [SCENE_FROZEN] = {1, NULL, 0, 25 * SECOND},
    [SCENE_UNINSTALLED] = {1, NULL, 0, 6 * MINUTE},
    [SCENE_LOCKED] = {2, NULL, 5 * SECOND, 2 * MINUTE},
    [SCENE_SHADOWED] = {2, NULL, 0, 2 * MINUTE},
    [SCENE_IN_PLACE] = {2, NULL, 0, 12 * MINUTE},
    [SCENE_QUIET] = {2, NULL, 0, 14 * MINUTE},
    [SCENE_UPGRADE] = {2,
                       "{\"from\":{\"revision\":\"old\"},\"to\":{\"revision\":\"canary\"},\"waves\":[{\"name\":\"all\","
                       "\"soak\":\"2h\"}],\"policy\":{\"maxInFlight\":{\"namespaces\":20}}}",
                       5 * SECOND, 3 * MINUTE},
};

/* What became of one cause. */
struct tally {
    uint32_t right, reason_wrong, state_wrong, owner_wrong;
    char wrong[200]; /* the first of them */
};

struct table {
    struct tally causes[N_CAUSES];
    uint32_t well, accused; /* proxies of which nothing was made */
    uint32_t named[REASON_COUNT], made[REASON_COUNT];
    char wrong[400];
};

static void act(struct stage *s, const char *actions) {
    char *text = mem_dup(actions), *rest = text, *one;
    while ((one = strsep(&rest, ";")) != NULL) {
        if (*one) {
            stage_do(s, one);
        }
    }
    free(text);
}

static void act_all(struct stage *s, enum scene scene, bool then) {
    for (size_t i = 0; i < N_CAUSES; i++) {
        if (causes[i].scene == scene) {
            act(s, then ? causes[i].then : causes[i].first);
        }
    }
}

static struct stage *begin(enum scene scene) {
    const char *before[N_CAUSES + 1] = {NULL};
    size_t n = 0;
    for (size_t i = 0; i < N_CAUSES; i++) {
        if (causes[i].scene == scene && *causes[i].before) {
            before[n++] = causes[i].before;
        }
    }
    struct stage_opts o = {.nodes = 12,
                           .namespaces = 44,
                           .pods = 176,
                           .replicas = settings[scene].replicas,
                           .seed = 11,
                           .idle_period_ms = 10 * SECOND};
    return stage_new(&o, before);
}

static bool is_at(const struct cause *c, const struct inv_pod *p) {
    const char *slash = strchr(c->where, '/');
    if (!*c->where) {
        return true;
    }
    if (*c->where == '@') {
        return p->node && strcmp(p->node, c->where + 1) == 0;
    }
    size_t n = (size_t)(slash - c->where), prefix = strcspn(slash + 1, "~");
    bool unbound = slash[1 + prefix] == '~';
    return strncmp(p->namespace_, c->where, n) == 0 && !p->namespace_[n] && strncmp(p->name, slash + 1, prefix) == 0 &&
           !(unbound && p->node && p->node[0]);
}

static const struct cause *made_of(enum scene scene, const struct inv_pod *p) {
    for (size_t i = 0; i < N_CAUSES; i++) {
        if (causes[i].scene == scene && is_at(&causes[i], p)) {
            return &causes[i];
        }
    }
    return NULL;
}

/* "KIND/NAME" of the top owner, as a person would name it. */
static void owner_of(struct gate *g, const struct inv_pod *p, char *out, size_t cap) {
    enum workload_kind kind;
    const char *name;
    const struct inv_workload *w = inventory_owner(g->inventory, p, &kind, &name);
    const char *slash = w ? strchr(w->key, '/') : NULL;
    if (slash) {
        snprintf(out, cap, "%.*s/%s", (int)(slash - w->key), w->key, name);
    } else {
        snprintf(out, cap, "%s/%s", kind == KIND_BARE_POD ? "Pod" : "?", name);
    }
}

static void judge_cause(struct table *t, const struct cause *c, const struct proxy_row *p, const struct inv_pod *pod,
                        const char *owner) {
    struct tally *x = &t->causes[c - causes];
    bool reason = p->reason == c->reason, state = p->state == c->state, whose = !c->owner || strcmp(owner, c->owner) == 0;
    t->made[c->reason]++;
    t->named[p->reason]++;
    x->right += reason && state && whose;
    x->reason_wrong += !reason;
    x->state_wrong += reason && !state;
    x->owner_wrong += !whose;
    if (!(reason && state && whose) && !x->wrong[0]) {
        snprintf(x->wrong, sizeof x->wrong, "%.40s/%.40s is %s %s, of %.60s", pod->namespace_, pod->name,
                 state_name(p->state), reason_name(p->reason), owner);
    }
}

static void judge_rest(struct table *t, const struct proxy_row *p, const struct inv_pod *pod) {
    bool well = (p->state == STATE_SETTLED || p->state == STATE_MOVED) && p->reason == REASON_NONE;
    t->well += well;
    t->accused += !well;
    t->named[p->reason] += p->reason != REASON_NONE;
    if (!well && !t->wrong[0]) {
        snprintf(t->wrong, sizeof t->wrong, "%s/%s on %s is %s %s", pod->namespace_, pod->name, pod->node ? pod->node : "-",
                 state_name(p->state), reason_name(p->reason));
    }
}

static void judge(struct table *t, enum scene scene, struct stage *s) {
    struct gate *g = stage_gate(s);
    char owner[300];
    gate_look(g);
    const struct snapshot *seen = join_snapshot(g->join);
    for (uint32_t i = 0; i < seen->n_proxies; i++) {
        const struct inv_pod *pod = join_names(g->join)->pods[i];
        const struct cause *c = made_of(scene, pod);
        owner_of(g, pod, owner, sizeof owner);
        if (pod->deleting) {
            continue;
        }
        if (c) {
            judge_cause(t, c, &seen->proxies[i], pod, owner);
        } else {
            judge_rest(t, &seen->proxies[i], pod);
        }
    }
}

static void play(struct table *t, enum scene scene) {
    const struct setting *set = &settings[scene];
    struct stage *s = begin(scene);
    stage_pass(s, 70 * SECOND, SECOND, NULL, NULL);
    if (set->upgrade) {
        stage_upgrade(s, "to-canary", set->upgrade);
        stage_pass(s, 6 * MINUTE, SECOND, NULL, NULL);
    }
    stage_pushes_every(s, set->push_every_ms);
    act_all(s, scene, false);
    stage_pass(s, MINUTE, SECOND, NULL, NULL);
    act_all(s, scene, true);
    stage_pass(s, set->wait_ms, SECOND, NULL, NULL);
    judge(t, scene, s);
    stage_free(s);
}

/* ---- the table ---- */

static bool tell_cause(const struct cause *c, const struct tally *x) {
    bool ok = x->right > 0 && !x->reason_wrong && !x->state_wrong && !x->owner_wrong;
    printf("%-6s %-44s %4u  %-15s %-20s %s\n", ok ? "ok" : "FAILED", c->name, x->right, state_name(c->state),
           reason_name(c->reason), c->owner ? c->owner : "");
    if (!ok) {
        printf("         %u with another reason, %u in another state, %u of another owner: %s\n", x->reason_wrong,
               x->state_wrong, x->owner_wrong, x->wrong[0] ? x->wrong : "there is no such proxy");
    }
    return ok;
}

static bool tell_columns(const struct table *t) {
    bool ok = true;
    printf("\n%-22s %5s %6s\n", "named", "made", "named");
    for (int r = 0; r < REASON_COUNT; r++) {
        if ((t->made[r] || t->named[r]) && r != REASON_NONE) {
            printf("%-22s %5u %6u%s\n", reason_name((enum reason)r), t->made[r], t->named[r],
                   t->made[r] == t->named[r] ? "" : "  differs");
            ok = ok && t->made[r] == t->named[r];
        }
    }
    return ok;
}

int main(int argc, char **argv) {
    static struct table t;
    uint32_t n = 0, right = 0;
    int only = argc > 1 ? atoi(argv[1]) : -1;
    log_setup("stuck-causes", LOG_ERROR);
    for (int scene = 0; scene < SCENES; scene++) {
        if (only < 0 || only == scene) {
            play(&t, (enum scene)scene);
        }
    }
    printf("%-6s %-44s %4s  %-15s %-20s %s\n", "", "made", "pods", "state", "named", "owner");
    for (size_t i = 0; i < N_CAUSES; i++) {
        if (only < 0 || only == (int)causes[i].scene) {
            n++;
            right += tell_cause(&causes[i], &t.causes[i]);
        }
    }
    bool columns = tell_columns(&t);
    printf("\n%u of %u causes named right, each proxy with its owner; of %u proxies of which nothing was made %u are "
           "well%s%s\n",
           right, n, t.well + t.accused, t.well, t.accused ? ", but " : "", t.wrong);
    return right == n && columns && !t.accused && (t.well > 0 || only >= 0) ? 0 : 1;
}
