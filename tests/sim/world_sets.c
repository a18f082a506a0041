/* StatefulSets and DaemonSets. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "world_impl.h"

static bool on_delete(const json_t *o) {
    return strcmp(js_text(o, "spec", "updateStrategy", "type", NULL), "OnDelete") == 0;
}

static struct sim_pod *ordinal(struct sim_workload *x, uint32_t n) {
    char name[300];
    snprintf(name, sizeof name, "%s-%u", x->name, n);
    return world_pod(x->w, x->ns, name);
}

static void statefulset_status(struct sim_workload *x, const json_t *o, uint32_t wanted) {
    struct sim_set *newest = x->newest;
    uint32_t pods = world_count(x, NULL, false), ready = world_count(x, NULL, true);
    uint32_t updated = world_count(x, newest, false);
    if (!x->current || (updated == wanted && world_count(x, newest, true) == wanted && pods == wanted)) {
        x->current = newest;
    }
    json_t *status = json_pack("{s:I,s:i,s:i,s:i,s:i,s:i,s:s,s:s,s:i}", "observedGeneration",
                               (json_int_t)js_int(o, 1, "metadata", "generation", NULL), "replicas", (int)pods,
                               "readyReplicas", (int)ready, "availableReplicas", (int)ready, "updatedReplicas",
                               (int)updated, "currentReplicas", (int)world_count(x, x->current, false), "currentRevision",
                               x->current->name, "updateRevision", newest->name, "collisionCount", 0);
    world_write_status(x, o, status);
}

/* One pod at a time, in order; a pod of an older template is replaced from the highest number down. */
static void step_statefulset(struct sim_workload *x, const json_t *o, uint32_t wanted) {
    for (uint32_t n = 0; n < wanted; n++) {
        struct sim_pod *p = ordinal(x, n);
        if (!p) {
            char name[300];
            snprintf(name, sizeof name, "%s-%u", x->name, n);
            if (!world_set_create_pod(x->newest, name, NULL) || !x->w->building) {
                return;
            }
        } else if (p->deleting || !p->ready) {
            return;
        }
    }
    struct sim_pod *extra = ordinal(x, wanted);
    if (extra) {
        world_pod_delete(extra);
        return;
    }
    for (uint32_t n = wanted; n-- > 0 && !on_delete(o);) {
        struct sim_pod *p = ordinal(x, n);
        if (p && p->set != x->newest) {
            world_pod_delete(p);
            return;
        }
    }
}

void world_sync_statefulset(struct sim_workload *x, const json_t *o) {
    uint32_t wanted = (uint32_t)js_int(o, 1, "spec", "replicas", NULL);
    step_statefulset(x, o, wanted);
    statefulset_status(x, o, wanted);
}

/* Nodes that the pod template's affinity names; all when it has none. */
static bool eligible(const json_t *o, const struct sim_node *node) {
    const json_t *terms = json_object_get(js_at(o, "spec", "template", "spec", "affinity", "nodeAffinity",
                                                "requiredDuringSchedulingIgnoredDuringExecution", NULL),
                                          "nodeSelectorTerms");
    if (!terms) {
        return true;
    }
    json_t *names =
        json_object_get(json_array_get(json_object_get(json_array_get(terms, 0), "matchExpressions"), 0), "values");
    size_t i;
    json_t *name;
    json_array_foreach(names, i, name) {
        if (strcmp(json_string_value(name), node->name) == 0) {
            return true;
        }
    }
    return false;
}

struct on_node {
    uint32_t pods;
    struct sim_pod *live;
};

static struct on_node look(struct sim_workload *x, const struct sim_node *node) {
    struct on_node seen = {0, NULL};
    struct sim_pod *p;
    DL_FOREACH(x->pods, p) {
        if (p->node == node) {
            seen.pods++;
            seen.live = p->deleting ? seen.live : p;
        }
    }
    return seen;
}

static void daemonset_status(struct sim_workload *x, const json_t *o, uint32_t desired, uint32_t scheduled) {
    uint32_t ready = world_count(x, NULL, true), updated = world_count(x, x->newest, false);
    json_t *status =
        json_pack("{s:I,s:i,s:i,s:i,s:i}", "observedGeneration", (json_int_t)js_int(o, 1, "metadata", "generation", NULL),
                  "desiredNumberScheduled", (int)desired, "currentNumberScheduled", (int)scheduled, "numberMisscheduled", 0,
                  "numberReady", (int)ready);
    if (updated) {
        json_object_set_new(status, "updatedNumberScheduled", json_integer(updated));
    }
    if (ready) {
        json_object_set_new(status, "numberAvailable", json_integer(ready));
    }
    if (desired > ready) {
        json_object_set_new(status, "numberUnavailable", json_integer(desired - ready));
    }
    world_write_status(x, o, status);
}

void world_sync_daemonset(struct sim_workload *x, const json_t *o) {
    struct world *w = x->w;
    uint32_t desired = 0, scheduled = 0, missing = 0;
    struct sim_pod *old = NULL;
    for (uint32_t i = 0; i < w->opts.nodes; i++) {
        if (!eligible(o, &w->nodes[i])) {
            continue;
        }
        desired++;
        struct on_node seen = look(x, &w->nodes[i]);
        if (!seen.pods && world_set_create_pod(x->newest, NULL, &w->nodes[i])) {
            seen = look(x, &w->nodes[i]);
        }
        scheduled += seen.live != NULL;
        missing += !seen.live || !seen.live->ready;
        if (seen.live && seen.live->set != x->newest && (!old || !seen.live->ready)) {
            old = seen.live;
        }
    }
    if (old && !on_delete(o) && (!missing || !old->ready)) {
        world_pod_delete(old);
    }
    daemonset_status(x, o, desired, scheduled);
}
