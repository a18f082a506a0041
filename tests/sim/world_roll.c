/* Controllers of workloads: sets of pods of one template, Deployments. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/base/text.h"
#include "world_impl.h"

const char *world_resource(enum sim_kind kind) {
    static const char *const names[] = {"deployments", "statefulsets", "daemonsets"};
    return names[kind];
}

const char *world_kind_name(enum sim_kind kind) {
    static const char *const names[] = {"Deployment", "StatefulSet", "DaemonSet"};
    return names[kind];
}

struct sim_workload *world_workload(struct world *w, enum sim_kind kind, const char *ns, const char *name) {
    char key[540];
    struct sim_workload *x = NULL;
    snprintf(key, sizeof key, "%s/%s/%s", world_kind_name(kind), ns, name);
    HASH_FIND_STR(w->workloads, key, x);
    return x;
}

static void set_free(struct sim_set *s) {
    DL_DELETE(s->workload->sets, s);
    json_decref(s->template);
    free(s->name);
    free(s->uid);
    free(s->hash);
    free(s->failed);
    free(s);
}

void world_workload_free(struct sim_workload *x) {
    struct sim_pod *p, *tmp;
    DL_FOREACH_SAFE(x->pods, p, tmp) {
        DL_DELETE(x->pods, p);
        p->workload = NULL;
        p->set = NULL;
    }
    while (x->sets) {
        set_free(x->sets);
    }
    timer_cancel(x->w->sched, &x->sync);
    HASH_DEL(x->w->workloads, x);
    free(x->key);
    free(x->ns);
    free(x->name);
    free(x->uid);
    free(x);
}

static void sync_now(void *ctx) {
    world_workload_sync(ctx);
}

void world_workload_touch(struct sim_workload *x) {
    if (!timer_is_set(&x->sync) || x->sync.at_ms > sched_now(x->w->sched) + 20) {
        timer_set(x->w->sched, &x->sync, sched_now(x->w->sched) + 5, sync_now, x);
    }
}

static void delete_all(struct sim_workload *x) {
    struct sim_pod *p, *tmp;
    DL_FOREACH_SAFE(x->pods, p, tmp) {
        struct sim_pod *gone = p;
        world_pod_delete(gone);
    }
    world_workload_free(x);
}

void world_workload_seen(struct world *w, const char *resource, const char *event, const json_t *o) {
    const char *ns = js_text(o, "metadata", "namespace", NULL), *name = js_text(o, "metadata", "name", NULL);
    enum sim_kind kind = resource[0] == 's' ? SIM_STATEFULSET : resource[1] == 'a' ? SIM_DAEMONSET : SIM_DEPLOYMENT;
    if (strcmp(ns, ISTIO_NS) == 0) {
        return;
    }
    struct sim_workload *x = world_workload(w, kind, ns, name);
    if (strcmp(event, "DELETED") == 0) {
        if (x) {
            delete_all(x);
        }
        return;
    }
    if (!x) {
        x = mem_alloc(sizeof *x);
        x->w = w;
        x->kind = kind;
        x->ns = mem_dup(ns);
        x->name = mem_dup(name);
        x->uid = mem_dup(js_text(o, "metadata", "uid", NULL));
        x->key = mem_printf("%s/%s/%s", world_kind_name(kind), ns, name);
        x->progress_ms = sched_now(w->sched);
        HASH_ADD_KEYPTR(hh, w->workloads, x->key, strlen(x->key), x);
    }
    world_workload_touch(x);
}

uint32_t world_count(const struct sim_workload *x, const struct sim_set *set, bool ready_only) {
    uint32_t n = 0;
    const struct sim_pod *p;
    DL_FOREACH(x->pods, p) {
        n += !p->deleting && (!set || p->set == set) && (p->ready || !ready_only);
    }
    return n;
}

json_t *world_condition(struct sim_workload *x, const json_t *before, const char *type, const char *status,
                        const char *reason, const char *message) {
    size_t i;
    json_t *c, *time = NULL, *update = NULL;
    json_array_foreach(json_object_get(before, "conditions"), i, c) {
        if (strcmp(js_text(c, "type", NULL), type) == 0) {
            bool same_status = strcmp(js_text(c, "status", NULL), status) == 0;
            time = same_status ? json_incref(json_object_get(c, "lastTransitionTime")) : NULL;
            bool same = same_status && strcmp(js_text(c, "reason", NULL), reason) == 0;
            update = same ? json_incref(json_object_get(c, "lastUpdateTime")) : NULL;
        }
    }
    time = time ? time : world_time(x->w);
    update = update ? update : world_time(x->w);
    return json_pack("{s:s,s:s,s:s,s:s,s:o,s:o}", "type", type, "status", status, "reason", reason, "message", message,
                     "lastTransitionTime", time, "lastUpdateTime", update);
}

void world_write_status(struct sim_workload *x, const json_t *o, json_t *status) {
    if (!json_equal(js_at(o, "status", NULL), status)) {
        json_t *copy = json_copy((json_t *)(uintptr_t)o);
        json_object_set(copy, "status", status);
        store_put(x->w->store, world_resource(x->kind), copy, NULL);
    }
    json_decref(status);
}

static bool overdue(struct sim_workload *x, uint64_t mark) {
    int64_t now = sched_now(x->w->sched), limit = 600000;
    if (mark != x->progress_mark) {
        x->progress_mark = mark;
        x->progress_ms = now;
    }
    if (now - x->progress_ms >= limit) {
        return true;
    }
    if (!timer_is_set(&x->sync)) {
        timer_set(x->w->sched, &x->sync, x->progress_ms + limit, sync_now, x);
    }
    return false;
}

static json_t *progressing(struct sim_workload *x, const json_t *o, const struct sim_set *newest, bool paused,
                           bool complete, uint64_t mark) {
    const json_t *before = js_at(o, "status", NULL);
    if (paused) {
        return world_condition(x, before, "Progressing", "Unknown", "DeploymentPaused", "Deployment is paused");
    }
    if (complete) {
        return world_condition(x, before, "Progressing", "True", "NewReplicaSetAvailable",
                               "ReplicaSet has successfully progressed.");
    }
    if (newest && overdue(x, mark)) {
        return world_condition(x, before, "Progressing", "False", "ProgressDeadlineExceeded",
                               "ReplicaSet has timed out progressing.");
    }
    return world_condition(x, before, "Progressing", "True", "ReplicaSetUpdated", "ReplicaSet is progressing.");
}

static void deployment_status(struct sim_workload *x, const json_t *o, struct sim_set *newest, bool paused, uint32_t wanted,
                              uint32_t may_miss) {
    uint32_t pods = world_count(x, NULL, false), ready = world_count(x, NULL, true);
    uint32_t updated = newest ? world_count(x, newest, false) : 0, good = newest ? world_count(x, newest, true) : 0;
    bool complete = updated == wanted && pods == wanted && ready == wanted;
    const json_t *before = js_at(o, "status", NULL);
    json_t *status = json_pack("{s:I}", "observedGeneration", (json_int_t)js_int(o, 1, "metadata", "generation", NULL));
    const struct {
        const char *key;
        uint32_t n;
    } counts[] = {{"replicas", pods},
                  {"updatedReplicas", updated},
                  {"readyReplicas", ready},
                  {"availableReplicas", ready},
                  {"unavailableReplicas", (pods > wanted ? pods : wanted) - ready}};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        if (counts[i].n) {
            json_object_set_new(status, counts[i].key, json_integer(counts[i].n));
        }
    }
    bool available = ready + may_miss >= wanted;
    json_t *list =
        json_pack("[o,o]",
                  world_condition(x, before, "Available", available ? "True" : "False",
                                  available ? "MinimumReplicasAvailable" : "MinimumReplicasUnavailable",
                                  available ? "Deployment has minimum availability."
                                            : "Deployment does not have minimum availability."),
                  progressing(x, o, newest, paused, complete, ((uint64_t)updated << 40) ^ ((uint64_t)good << 20) ^ pods));
    struct sim_set *s;
    DL_FOREACH(x->sets, s) {
        if (s->failed) {
            json_array_append_new(list, world_condition(x, before, "ReplicaFailure", "True", "FailedCreate", s->failed));
            break;
        }
    }
    json_object_set_new(status, "conditions", list);
    world_write_status(x, o, status);
}

/* "25%" or a number, of n; up: rounded up. */
static uint32_t share(const json_t *v, uint32_t n, bool up) {
    if (json_is_integer(v)) {
        return (uint32_t)json_integer_value(v);
    }
    uint32_t percent = json_is_string(v) ? (uint32_t)atoi(json_string_value(v)) : 25;
    return (n * percent + (up ? 99 : 0)) / 100;
}

/* One step of a rolling update, as the deployment controller does it. */
static void roll(struct sim_workload *x, struct sim_set *newest, uint32_t wanted, uint32_t surge, uint32_t may_miss) {
    uint32_t total = 0, available = world_count(x, NULL, true);
    struct sim_set *s;
    DL_FOREACH(x->sets, s) {
        total += s->want;
    }
    if (newest->want < wanted && wanted + surge > total) {
        uint32_t more = wanted + surge - total;
        newest->want = newest->want + more < wanted ? newest->want + more : wanted;
    } else if (newest->want > wanted) {
        newest->want = wanted;
    }
    total = 0;
    DL_FOREACH(x->sets, s) {
        total += s->want;
    }
    uint32_t good = world_count(x, newest, true);
    uint32_t least = wanted > may_miss ? wanted - may_miss : 0;
    int64_t budget = (int64_t)total - least - (newest->want > good ? newest->want - good : 0);
    DL_FOREACH(x->sets, s) {
        uint32_t fine = world_count(x, s, true);
        if (s != newest && budget > 0 && s->want > fine) {
            uint32_t cut = s->want - fine < budget ? s->want - fine : (uint32_t)budget;
            s->want -= cut;
            budget -= cut;
        }
    }
    int64_t spare = (int64_t)available - least < budget ? (int64_t)available - least : budget;
    DL_FOREACH(x->sets, s) {
        if (s != newest && spare > 0 && s->want) {
            uint32_t cut = s->want < spare ? s->want : (uint32_t)spare;
            s->want -= cut;
            spare -= cut;
        }
    }
}

void world_sync_deployment(struct sim_workload *x, const json_t *o) {
    uint32_t wanted = (uint32_t)js_int(o, 1, "spec", "replicas", NULL);
    const json_t *rolling = js_at(o, "spec", "strategy", "rollingUpdate", NULL);
    uint32_t surge = share(json_object_get(rolling, "maxSurge"), wanted, true);
    uint32_t may_miss = share(json_object_get(rolling, "maxUnavailable"), wanted, false);
    if (!surge && !may_miss) {
        may_miss = 1;
    }
    bool paused = js_bool(o, false, "spec", "paused", NULL);
    json_t *held = json_incref((json_t *)(uintptr_t)o);
    struct sim_set *newest = world_newest_set(x, o, !paused), *s;
    if (newest && !paused) {
        roll(x, newest, wanted, surge, may_miss);
    }
    DL_FOREACH(x->sets, s) {
        world_size_set(s);
    }
    deployment_status(x, held, newest, paused, wanted, may_miss);
    json_decref(held);
}

void world_workload_sync(struct sim_workload *x) {
    const json_t *o = store_get(x->w->store, world_resource(x->kind), x->ns, x->name);
    if (!o) {
        return;
    }
    json_t *held = json_incref((json_t *)(uintptr_t)o);
    if (x->kind == SIM_DEPLOYMENT) {
        world_sync_deployment(x, held);
    } else {
        world_newest_set(x, held, true);
        if (x->kind == SIM_STATEFULSET) {
            world_sync_statefulset(x, held);
        } else {
            world_sync_daemonset(x, held);
        }
    }
    int64_t retry = 0;
    struct sim_set *s;
    DL_FOREACH(x->sets, s) {
        if (s->failed && (!retry || s->retry_ms < retry)) {
            retry = s->retry_ms;
        }
    }
    if (retry && (!timer_is_set(&x->sync) || x->sync.at_ms > retry)) {
        timer_set(x->w->sched, &x->sync, retry, sync_now, x);
    }
    json_decref(held);
}
