#include "stage.h"

#include <stdio.h>
#include <stdlib.h>

#include "../../lib/base/json.h"
#include "../../lib/base/log.h"
#include "../../lib/base/mem.h"
#include "../../lib/base/vclock.h"

#define START_WALL_MS 1795430400000 /* a Monday, 08:00 UTC */

struct stage {
    struct vclock *clock;
    struct sched *sched;
    struct store *store;
    struct world *world;
    struct parts *parts;
    struct timer push;
    int64_t push_every_ms;
};

static int64_t log_time(void *ctx) {
    return sched_wall(((struct stage *)ctx)->sched);
}

static void must(bool ok, const char *what, const struct err *err) {
    if (!ok) {
        fprintf(stderr, "%s: %s\n", what, err->text);
        exit(2);
    }
}

void stage_do(struct stage *s, const char *action) {
    struct err err = {0};
    must(world_action(s->world, action, &err), action, &err);
    if (s->parts) {
        parts_node_changed(s->parts);
    }
}

struct stage *stage_new(const struct stage_opts *o, const char *const *before) {
    struct stage *s = mem_alloc(sizeof *s);
    s->clock = vclock_new(START_WALL_MS);
    s->sched = vclock_sched(s->clock);
    log_clock(log_time, s);
    s->store = store_new(s->sched);
    struct world_opts w = {.nodes = o->nodes,
                           .namespaces = o->namespaces,
                           .pods = o->pods,
                           .replicas = o->replicas,
                           .seed = o->seed,
                           .pod_net = "10.44",
                           .istiod_net = "10.45",
                           .service_net = "10.46"};
    s->world = world_new(&w, s->store, s->sched);
    while (before && *before) {
        stage_do(s, *before++);
    }
    s->parts = parts_new_idle(s->world, s->store, s->sched, o->nodes, o->seed, o->idle_period_ms);
    return s;
}

void stage_free(struct stage *s) {
    timer_cancel(s->sched, &s->push);
    parts_free(s->parts);
    world_free(s->world);
    store_free(s->store);
    log_clock(NULL, NULL);
    vclock_free(s->clock);
    free(s);
}

void stage_upgrade(struct stage *s, const char *name, const char *spec) {
    struct err err = {0};
    json_error_t why;
    json_t *body = json_loads(spec, 0, &why);
    snprintf(err.text, sizeof err.text, "%s", why.text);
    must(body != NULL, spec, &err);
    json_t *o = json_pack("{s:s,s:s,s:{s:s},s:o}", "apiVersion", "meshgate.io/v1alpha1", "kind", "MeshUpgrade", "metadata",
                          "name", name, "spec", body);
    struct store_reply reply = {0};
    struct store_user admin = {.name = "admin"};
    char *text = js_dump(o);
    store_request(s->store, &admin, "POST", "/apis/meshgate.io/v1alpha1/meshupgrades", NULL, "application/json", text,
                  strlen(text), &reply);
    snprintf(err.text, sizeof err.text, "%s", reply.body ? reply.body : "");
    must(reply.status / 100 == 2, name, &err);
    free(reply.body);
    free(text);
    json_decref(o);
}

static void push(void *ctx) {
    struct stage *s = ctx;
    stage_do(s, "touch app-00/shop");
    timer_set(s->sched, &s->push, sched_now(s->sched) + s->push_every_ms, push, s);
}

void stage_pushes_every(struct stage *s, int64_t ms) {
    timer_cancel(s->sched, &s->push);
    s->push_every_ms = ms;
    if (ms > 0) {
        stage_do(s, "create service app-00/shop");
        timer_set(s->sched, &s->push, sched_now(s->sched) + ms, push, s);
    }
}

void stage_pass(struct stage *s, int64_t ms, int64_t step_ms, void (*fn)(struct stage *s, void *ctx), void *ctx) {
    int64_t until = sched_now(s->sched) + ms;
    while (sched_now(s->sched) < until) {
        int64_t next = sched_now(s->sched) + step_ms;
        vclock_run_until(s->clock, next < until ? next : until);
        if (fn) {
            fn(s, ctx);
        }
    }
}

int64_t stage_now(const struct stage *s) {
    return sched_now(s->sched);
}

void stage_kill_gate(struct stage *s) {
    parts_kill_gate(s->parts);
}

struct gate *stage_gate(struct stage *s) {
    return parts_gate(s->parts);
}

const json_t *stage_object(struct stage *s, const char *resource, const char *ns, const char *name) {
    return store_get(s->store, resource, ns, name);
}
