/*
 * STALE flaps. A mesh of 1,000 proxies under constant full pushes, one Service change a second for ten minutes, with
 * acknowledgements that take their time: every decision is looked at, and none may call a proxy Stale or Nacking that
 * answers. Towards the end one proxy stops to acknowledge: it must be found within the dwell time and one reading period.
 *   mesh-flaps [NAME]
 * Prints one line a case; exit code 0: all of them held.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "../../core/decide.h"
#include "../../lib/base/log.h"
#include "stage.h"

#define SECOND 1000
#define MINUTE (60 * SECOND)
#define DWELL_MS (30 * SECOND)
#define PERIOD_MS (10 * SECOND)
#define REPORT_MS (2 * SECOND) /* from the istiod's answer to the decision */

static const char silent_pod[] = "app-03/web-";

/* Acknowledgements take so long, from .. to. */
static const struct flap_case {
    const char *name;
    const char *slow; /* NULL: some milliseconds */
    bool upgrade;     /* one is soaking; else the mesh is only watched */
} cases[] = {
    {"quick", NULL, true},
    {"slow", "20 700", true},
    {"often-later-than-the-next-push", "300 1900", true},
    {"always-later-than-the-next-push", "1500 1500", true},
    {"watched-only", "300 1900", false},
};

struct look {
    const char *suspect; /* "NS/PREFIX" of the one that really is silent; NULL none yet */
    int64_t ticked_ms;
    uint64_t decisions, rows, accused, unwell;
    int64_t found_ms; /* 0: not yet */
    char first[400];
};

static bool is_suspect(const struct look *l, const struct inv_pod *pod) {
    const char *slash = l->suspect ? strchr(l->suspect, '/') : NULL;
    size_t n = slash ? (size_t)(slash - l->suspect) : 0;
    return slash && strncmp(pod->namespace_, l->suspect, n) == 0 && !pod->namespace_[n] &&
           strcmp(pod->name, slash + 1) == 0;
}

static void judge_row(struct look *l, const struct proxy_row *p, const struct inv_pod *pod, int64_t now) {
    bool accused = p->state == STATE_STALE || p->state == STATE_NACKING;
    bool well = p->state == STATE_SETTLED || p->state == STATE_MOVED;
    l->rows++;
    if (is_suspect(l, pod)) {
        l->found_ms = !l->found_ms && p->state == STATE_STALE && p->reason == REASON_ACK_OVERDUE ? now : l->found_ms;
        return;
    }
    l->accused += accused;
    l->unwell += !well;
    if (!well && !l->first[0]) {
        snprintf(l->first, sizeof l->first, "%s/%s at %llds: %s %s, pending for %lld ms, version %d", pod->namespace_,
                 pod->name, (long long)now / SECOND, state_name(p->state), reason_name(p->reason),
                 p->pending_since_ms ? (long long)(now - p->pending_since_ms) : 0LL, (int)p->version);
    }
}

/* Called often; a decision is looked at once, by the rows that it was made from. */
static void look(struct stage *s, void *ctx) {
    struct look *l = ctx;
    struct gate *g = stage_gate(s);
    if (g->ticked_ms == l->ticked_ms) {
        return;
    }
    gate_look(g);
    l->ticked_ms = g->ticked_ms;
    l->decisions++;
    const struct snapshot *seen = join_snapshot(g->join);
    const struct join_names *names = join_names(g->join);
    for (uint32_t i = 0; i < seen->n_proxies; i++) {
        judge_row(l, &seen->proxies[i], names->pods[i], stage_now(s));
    }
}

static bool first_pod(struct stage *s, char *out, size_t cap) {
    gate_look(stage_gate(s));
    const struct snapshot *seen = join_snapshot(stage_gate(s)->join);
    for (uint32_t i = 0; i < seen->n_proxies; i++) {
        const struct inv_pod *p = join_names(stage_gate(s)->join)->pods[i];
        snprintf(out, cap, "%s/%s", p->namespace_, p->name);
        if (strncmp(out, silent_pod, strlen(silent_pod)) == 0) {
            return true;
        }
    }
    return false;
}

static const char soaking[] = "{\"from\":{\"revision\":\"old\"},\"to\":{\"revision\":\"canary\"},"
                              "\"waves\":[{\"name\":\"all\",\"soak\":\"2h\"}],"
                              "\"policy\":{\"ackDwell\":\"30s\",\"maxInFlight\":{\"namespaces\":20}}}";

static void prepare(struct stage *s, const struct flap_case *c) {
    stage_pass(s, 10 * SECOND, SECOND, NULL, NULL);
    if (c->upgrade) {
        stage_upgrade(s, "to-canary", soaking);
        stage_pass(s, 8 * MINUTE, SECOND, NULL, NULL);
    }
    char action[80];
    if (c->slow) {
        snprintf(action, sizeof action, "fault slow app- %s", c->slow);
        stage_do(s, action);
    }
    stage_pushes_every(s, SECOND);
    stage_pass(s, MINUTE, SECOND, NULL, NULL);
}

static bool play(const struct flap_case *c) {
    struct stage_opts o = {
        .nodes = 20, .namespaces = 20, .pods = 1000, .replicas = 2, .seed = 7, .idle_period_ms = PERIOD_MS};
    struct stage *s = stage_new(&o, NULL);
    struct look l = {0};
    char pod[300] = "", action[400];
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    prepare(s, c);
    stage_pass(s, 10 * MINUTE, 50, look, &l);
    bool there = first_pod(s, pod, sizeof pod);
    int64_t since = stage_now(s);
    snprintf(action, sizeof action, "fault withhold %s", pod);
    stage_do(s, action);
    l.suspect = pod;
    stage_pass(s, DWELL_MS + PERIOD_MS + REPORT_MS, 50, look, &l);
    clock_gettime(CLOCK_MONOTONIC, &to);
    int64_t took = l.found_ms ? l.found_ms - since : 0;
    bool ok = there && l.decisions > 100 && !l.accused && !l.unwell && took >= DWELL_MS - PERIOD_MS;
    printf("%s %s: %llu decisions, %llu rows, %llu falsely Stale or Nacking, %llu otherwise not well; the silent one found "
           "after %.1f s (%.0f s)\n",
           ok ? "ok" : "FAILED", c->name, (unsigned long long)l.decisions, (unsigned long long)l.rows,
           (unsigned long long)l.accused, (unsigned long long)l.unwell, (double)took / SECOND,
           (double)(to.tv_sec - from.tv_sec));
    if (!ok) {
        printf("  first: %s\n", l.first[0] ? l.first : "none");
    }
    stage_free(s);
    return ok;
}

int main(int argc, char **argv) {
    bool ok = true, any = false;
    log_setup("mesh-flaps", LOG_ERROR);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (argc < 2 || strcmp(argv[1], cases[i].name) == 0) {
            any = true;
            ok = play(&cases[i]) && ok;
            fflush(stdout);
        }
    }
    return ok && any ? 0 : 1;
}
