/*
 * Plays a scenario file on virtual time: embedded mesh, real gate, real agents, one process, no sockets.
 *   scenario-runner [-v] [-s SEED] FILE
 * Prints the story when it fails (with -v always). Exit code 0: all expectations held.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../lib/base/json.h"
#include "../../lib/base/log.h"
#include "../../lib/base/mem.h"
#include "../../lib/base/text.h"
#include "../../lib/base/vclock.h"
#include "../sim/scenario.h"
#include "parts.h"

#define START_WALL_MS 1795430400000 /* a Monday, 08:00 UTC */
#define STEP_MS 100
#define SETTLE_MS 5000

struct armed {
    const struct scenario_step *step;
    bool done;
};

struct run {
    struct scenario scenario;
    struct vclock *clock;
    struct sched *sched;
    struct store *store;
    struct world *world;
    struct parts *parts;
    struct scenario_before *before;
    const char *upgrade;
    struct armed *armed;
    size_t n_armed;
    json_t *said; /* status that the story has told */
    struct buf story;
    bool loud, failed;
    char waves_done[64];
};

/* ---- the story ---- */

static void tell(struct run *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void tell(struct run *r, const char *fmt, ...) {
    char text[2000];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    int64_t ms = sched_wall(r->sched) - START_WALL_MS;
    buf_printf(&r->story, "%4lld:%02lld.%03lld  %s\n", (long long)(ms / 60000), (long long)(ms / 1000 % 60),
               (long long)(ms % 1000), text);
    if (r->loud) {
        fputs(r->story.p, stdout);
        fflush(stdout);
        buf_reset(&r->story);
    }
}

static void fail(struct run *r, int line, const char *what, const char *why) {
    tell(r, "FAILED at line %d: %s%s%s", line, what, *why ? "; " : "", why);
    r->failed = true;
}

static const json_t *upgrade(struct run *r) {
    return r->upgrade ? store_get(r->store, "meshupgrades", NULL, r->upgrade) : NULL;
}

static void tell_waves(struct buf *b, const json_t *status) {
    size_t i;
    json_t *w;
    json_array_foreach(json_object_get(status, "waves"), i, w) {
        buf_printf(b, " %s=%s(%lld/%lld)", js_text(w, "name", NULL), js_text(w, "state", NULL),
                   (long long)js_int(w, 0, "moved", NULL), (long long)js_int(w, 0, "expected", NULL));
    }
}

static void tell_reasons(struct buf *b, const json_t *status) {
    size_t i;
    json_t *x;
    json_array_foreach(json_object_get(status, "reasons"), i, x) {
        const json_t *first = json_array_get(json_object_get(x, "objects"), 0);
        buf_printf(b, " %s*%lld(%s)", js_text(x, "reason", NULL), (long long)js_int(x, 0, "count", NULL),
                   js_text(first, "name", NULL));
    }
}

/* Has something changed that people would tell? Counts alone are not told each time. */
static void tell_status(struct run *r) {
    const json_t *status = js_at(upgrade(r), "status", NULL);
    struct buf b;
    buf_init(&b, 1500);
    buf_printf(&b, "%s %s", js_text(status, "phase", NULL), js_text(status, "verdict", NULL));
    tell_reasons(&b, status);
    if (b.p && strcmp(b.p, r->said ? json_string_value(r->said) : "") != 0 && status) {
        json_decref(r->said);
        r->said = json_string(b.p);
        tell_waves(&b, status);
        tell(r, "status: %s", b.p);
    }
    buf_done(&b);
}

/* ---- what must hold whatever the story ---- */

struct oracle {
    struct run *run;
    const json_t *spec;
    size_t wave;
};

static void no_proxy_left(void *ctx, const json_t *ns) {
    struct oracle *o = ctx;
    const char *name = js_text(ns, "metadata", "name", NULL);
    if (scenario_wave_takes(o->run->before, o->spec, o->wave, name) && world_proxies_on(o->run->world, name, "old") > 0) {
        fail(o->run, 0, "a wave was called done while proxies of it are on the old revision", name);
    }
}

/* When a wave is called done, none of its proxies is on the old revision in truth. */
static void judge_advance(struct run *r) {
    const json_t *u = upgrade(r);
    size_t i;
    json_t *w;
    json_array_foreach(js_at(u, "status", "waves", NULL), i, w) {
        if (i < sizeof r->waves_done && !r->waves_done[i] && strcmp(js_text(w, "state", NULL), "Done") == 0) {
            r->waves_done[i] = 1;
            struct oracle o = {.run = r, .spec = js_at(u, "spec", NULL), .wave = i};
            store_each(r->store, "namespaces", NULL, no_proxy_left, &o);
        }
    }
}

/* ---- actions ---- */

static bool request(struct run *r, const char *method, const char *path, const char *type, const json_t *body,
                    char **answer) {
    struct store_reply reply = {0};
    struct store_user admin = {.name = "admin"};
    char *text = js_dump(body);
    store_request(r->store, &admin, method, path, type, "application/json", text, strlen(text), &reply);
    free(text);
    if (answer) {
        *answer = reply.body;
    } else {
        free(reply.body);
    }
    return reply.status / 100 == 2;
}

static bool patch_upgrade(struct run *r, json_t *spec, struct err *err) {
    char path[200], *answer = NULL;
    snprintf(path, sizeof path, "/apis/meshgate.io/v1alpha1/meshupgrades/%s", r->upgrade);
    json_t *body = json_pack("{s:o}", "spec", spec);
    bool ok = request(r, "PATCH", path, "application/merge-patch+json", body, &answer);
    json_decref(body);
    if (!ok) {
        err_set(err, ERR_INVALID, "%s", answer ? answer : "no answer");
    }
    free(answer);
    return ok;
}

/* What kubectl-meshgate pause, resume and approve write. */
static json_t *upgrade_change(struct run *r, const char *action) {
    const json_t *u = upgrade(r);
    if (strcmp(action, "pause") == 0) {
        return json_pack("{s:b}", "paused", 1);
    }
    if (strcmp(action, "resume") == 0) {
        json_t *spec = json_pack("{s:b}", "paused", 0);
        if (js_bool(u, false, "status", "hold", "active", NULL)) {
            json_object_set_new(spec, "resumeHold", json_integer(js_int(u, 0, "status", "hold", "id", NULL)));
        }
        return spec;
    }
    if (strncmp(action, "approve ", 8) == 0) {
        json_t *list = js_at(u, "spec", "approvedWaves", NULL);
        list = list ? json_copy(list) : json_array();
        json_array_append_new(list, json_string(action + 8));
        return json_pack("{s:o}", "approvedWaves", list);
    }
    return NULL;
}

static void act(struct run *r, int line, const char *action) {
    struct err err = {0};
    tell(r, "do %s", action);
    json_t *change = upgrade_change(r, action);
    bool ok = change                             ? patch_upgrade(r, change, &err)
              : strcmp(action, "kill gate") == 0 ? (parts_kill_gate(r->parts), true)
                                                 : world_action(r->world, action, &err);
    if (!ok) {
        fail(r, line, action, err.text);
    }
    parts_node_changed(r->parts);
}

/* ---- time ---- */

static int holds(struct run *r, int line, const char *condition, struct buf *why) {
    struct err err = {0};
    int x = scenario_check(r->store, r->before, r->upgrade, condition, why, &err);
    if (x < 0) {
        fail(r, line, condition, err.text);
    }
    return x;
}

static void watch(struct run *r) {
    tell_status(r);
    judge_advance(r);
    for (size_t i = 0; i < r->n_armed && !r->failed; i++) {
        struct armed *a = &r->armed[i];
        if (!a->done && holds(r, a->step->line, a->step->condition, NULL) == 1) {
            a->done = true;
            tell(r, "now %s", a->step->condition);
            act(r, a->step->line, a->step->action);
        }
    }
}

static void pass(struct run *r, int64_t until) {
    while (sched_now(r->sched) < until && !r->failed) {
        int64_t next = sched_now(r->sched) + STEP_MS;
        vclock_run_until(r->clock, next < until ? next : until);
        watch(r);
    }
}

static void expect_within(struct run *r, const struct scenario_step *s) {
    int64_t until = sched_now(r->sched) + s->ms;
    int x;
    while ((x = holds(r, s->line, s->condition, NULL)) == 0 && sched_now(r->sched) < until && !r->failed) {
        pass(r, sched_now(r->sched) + STEP_MS);
    }
    struct buf why;
    buf_init(&why, 1500);
    if (x == 0 && !r->failed && holds(r, s->line, s->condition, &why) == 0) {
        fail(r, s->line, s->condition, why.p ? why.p : "");
    } else if (!r->failed) {
        tell(r, "as expected: %s", s->condition);
    }
    buf_done(&why);
}

static void expect_for(struct run *r, const struct scenario_step *s) {
    int64_t until = sched_now(r->sched) + s->ms;
    struct buf why;
    buf_init(&why, 1500);
    while (!r->failed) {
        buf_reset(&why);
        if (holds(r, s->line, s->condition, &why) == 0) {
            fail(r, s->line, s->condition, why.p ? why.p : "");
        }
        if (sched_now(r->sched) >= until) {
            break;
        }
        pass(r, sched_now(r->sched) + STEP_MS);
    }
    if (!r->failed) {
        tell(r, "as expected all the time: %s", s->condition);
    }
    buf_done(&why);
}

static void create_upgrade(struct run *r, const struct scenario_step *s) {
    bool refused = s->kind == SCN_REFUSED;
    char *answer = NULL;
    json_t *o = json_pack("{s:s,s:s,s:{s:s},s:O}", "apiVersion", "meshgate.io/v1alpha1", "kind", "MeshUpgrade", "metadata",
                          "name", s->name, "spec", s->spec);
    tell(r, "upgrade %s", s->name);
    bool ok = request(r, "POST", "/apis/meshgate.io/v1alpha1/meshupgrades", NULL, o, &answer);
    json_decref(o);
    if (ok == refused || (refused && s->condition && !strstr(answer ? answer : "", s->condition))) {
        fail(r, s->line, refused ? "should be refused with the text" : "was refused", answer ? answer : "");
    } else if (ok) {
        r->upgrade = s->name;
        memset(r->waves_done, 0, sizeof r->waves_done);
    }
    free(answer);
}

static void play_step(struct run *r, const struct scenario_step *s) {
    switch (s->kind) {
    case SCN_UPGRADE:
    case SCN_REFUSED:
        create_upgrade(r, s);
        break;
    case SCN_DO:
        act(r, s->line, s->action);
        break;
    case SCN_ON:
        r->armed[r->n_armed++] = (struct armed){.step = s};
        break;
    case SCN_WAIT:
        pass(r, sched_now(r->sched) + s->ms);
        break;
    case SCN_EXPECT:
    case SCN_EXPECT_WITHIN:
        expect_within(r, s);
        break;
    case SCN_EXPECT_FOR:
        expect_for(r, s);
        break;
    }
}

static int64_t log_time(void *ctx) {
    return sched_wall(((struct run *)ctx)->sched);
}

static void play(struct run *r, uint64_t seed) {
    const struct scenario *s = &r->scenario;
    r->clock = vclock_new(START_WALL_MS);
    r->sched = vclock_sched(r->clock);
    log_clock(log_time, r);
    r->store = store_new(r->sched);
    struct world_opts o = {.nodes = s->nodes,
                           .namespaces = s->namespaces,
                           .pods = s->pods,
                           .replicas = s->replicas,
                           .seed = seed,
                           .pod_net = "10.44",
                           .istiod_net = "10.45",
                           .service_net = "10.46"};
    r->world = world_new(&o, r->store, r->sched);
    r->before = scenario_before(r->store);
    r->parts = parts_new(r->world, r->store, r->sched, s->nodes, seed);
    r->armed = mem_alloc((s->n_steps + 1) * sizeof *r->armed);
    pass(r, sched_now(r->sched) + SETTLE_MS);
    for (size_t i = 0; i < s->n_steps && !r->failed; i++) {
        play_step(r, &s->steps[i]);
    }
    for (size_t i = 0; i < r->n_armed && !r->failed; i++) {
        if (!r->armed[i].done) {
            fail(r, r->armed[i].step->line, "never came about", r->armed[i].step->condition);
        }
    }
}

static void tell_truth(struct run *r) {
    struct world_truth t;
    world_truth(r->world, &t);
    tell(r,
         "truth: %u proxies, %u on old, %u on canary, %u detached, %u not in sync, %u rejecting; %u workloads restarted, "
         "at most %u times",
         t.proxies, t.on_old, t.on_canary, t.detached, t.not_in_sync, t.rejecting, t.workloads_restarted, t.most_templates);
    tell(r, "%llu questions were asked, %llu streams opened to test the way", (unsigned long long)parts_questions(r->parts),
         (unsigned long long)parts_streams(r->parts));
    if (strcmp(js_text(upgrade(r), "status", "phase", NULL), "Completed") == 0 && t.on_old > 0) {
        fail(r, 0, "completed while proxies are on the old revision", "");
    }
    if (t.most_templates > 1) {
        fail(r, 0, "a workload was restarted more than once", "");
    }
}

static void run_done(struct run *r) {
    parts_free(r->parts);
    world_free(r->world);
    store_free(r->store);
    vclock_free(r->clock);
    scenario_before_free(r->before);
    scenario_done(&r->scenario);
    json_decref(r->said);
    free(r->armed);
    buf_done(&r->story);
}

static int usage(void) {
    fputs("usage: scenario-runner [-v] [-l LEVEL] [-s SEED] FILE\n", stderr);
    return 2;
}

static bool load(struct run *r, const char *path) {
    struct err err;
    char *text = NULL;
    size_t len;
    bool ok = text_read_file(path, 1 << 20, &text, &len, &err) && scenario_parse(text, &r->scenario, &err);
    if (!ok) {
        fprintf(stderr, "%s: %s\n", path, err.text);
    }
    free(text);
    return ok;
}

int main(int argc, char **argv) {
    struct run r = {0};
    int64_t seed = 1;
    enum log_level level = LOG_ERROR;
    for (int c; (c = getopt(argc, argv, "vs:l:")) != -1;) {
        r.loud = r.loud || c == 'v';
        if ((c == 's' && !text_int(optarg, 0, INT32_MAX, &seed)) || (c == 'l' && !log_level_parse(optarg, &level)) ||
            c == '?') {
            return usage();
        }
    }
    if (optind + 1 != argc) {
        return usage();
    }
    if (!load(&r, argv[optind])) {
        return 2;
    }
    log_setup("scenario", level);
    buf_init(&r.story, (size_t)64 << 20);
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    play(&r, (uint64_t)seed);
    tell_truth(&r);
    clock_gettime(CLOCK_MONOTONIC, &to);
    if (r.failed && !r.loud) {
        fputs(r.story.p, stdout);
    }
    printf("%s %s (%lld s of virtual time in %.1f s)\n", r.failed ? "FAILED" : "ok", argv[optind],
           (long long)((sched_wall(r.sched) - START_WALL_MS) / 1000),
           (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9);
    bool failed = r.failed;
    log_clock(NULL, NULL);
    run_done(&r);
    return failed;
}
