/* Pod templates that workloads have had, and pods made from them: ReplicaSets, ControllerRevisions. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/base/text.h"
#include "world_impl.h"

static void hash_of(const json_t *template, char out[11]) {
    static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
    char *text = json_dumps(template, JSON_SORT_KEYS | JSON_COMPACT);
    uint64_t h = text_hash(1, text, strlen(text));
    free(text);
    for (int i = 0; i < 10; i++, h /= 27) {
        out[i] = alphabet[h % 27];
    }
    out[10] = 0;
}

static void write_revision(struct sim_workload *x, struct sim_set *s) {
    json_t *o = json_pack("{s:s,s:s,s:{s:s,s:s,s:{s:s},s:o},s:i,s:{s:{s:O}}}", "apiVersion", "apps/v1", "kind",
                          "ControllerRevision", "metadata", "name", s->name, "namespace", x->ns, "labels",
                          "controller-revision-hash", x->kind == SIM_DAEMONSET ? s->hash : s->name, "ownerReferences",
                          world_owner("apps/v1", world_kind_name(x->kind), x->name, x->uid), "revision", (int)s->number,
                          "data", "spec", "template", s->template);
    store_put(x->w->store, "controllerrevisions", o, NULL);
}

static void write_replicaset(struct sim_workload *x, struct sim_set *s) {
    const json_t *old = store_get(x->w->store, "replicasets", x->ns, s->name);
    uint32_t pods = world_count(x, s, false), ready = world_count(x, s, true);
    json_t *status = json_pack("{s:i,s:i}", "replicas", (int)pods, "observedGeneration",
                               (int)js_int(old, 1, "metadata", "generation", NULL));
    if (ready) {
        json_object_set_new(status, "readyReplicas", json_integer(ready));
        json_object_set_new(status, "availableReplicas", json_integer(ready));
    }
    if (s->failed) {
        json_object_set_new(status, "conditions",
                            json_pack("[o]", world_condition(x, js_at(old, "status", NULL), "ReplicaFailure", "True",
                                                             "FailedCreate", s->failed)));
    }
    if (old && js_int(old, -1, "spec", "replicas", NULL) == s->want && json_equal(js_at(old, "status", NULL), status)) {
        json_decref(status);
        return;
    }
    char number[16];
    snprintf(number, sizeof number, "%u", s->number);
    json_t *labels = json_copy(js_at(s->template, "metadata", "labels", NULL));
    json_object_set_new(labels, "pod-template-hash", json_string(s->hash));
    json_t *template = json_copy(s->template), *meta = json_copy(js_at(s->template, "metadata", NULL));
    json_object_set(meta, "labels", labels);
    json_object_set_new(template, "metadata", meta);
    json_t *o = json_pack("{s:s,s:s,s:{s:s,s:s,s:O,s:{s:s},s:o},s:{s:i,s:{s:{s:s,s:s}},s:o},s:o}", "apiVersion", "apps/v1",
                          "kind", "ReplicaSet", "metadata", "name", s->name, "namespace", x->ns, "labels", labels,
                          "annotations", "deployment.kubernetes.io/revision", number, "ownerReferences",
                          world_owner("apps/v1", "Deployment", x->name, x->uid), "spec", "replicas", (int)s->want,
                          "selector", "matchLabels", "app", js_text(labels, "app", NULL), "pod-template-hash", s->hash,
                          "template", template, "status", status);
    json_decref(labels);
    store_put(x->w->store, "replicasets", o, NULL);
    if (!s->uid) {
        s->uid = mem_dup(js_text(store_get(x->w->store, "replicasets", x->ns, s->name), "metadata", "uid", NULL));
    }
}

/* The set of the template as it is now; made when make is true. */
struct sim_set *world_newest_set(struct sim_workload *x, const json_t *o, bool make) {
    int64_t generation = js_int(o, 0, "metadata", "generation", NULL);
    if (x->newest && x->generation == generation) {
        return x->newest;
    }
    json_t *template = js_at(o, "spec", "template", NULL);
    char hash[11];
    hash_of(template, hash);
    struct sim_set *s;
    DL_FOREACH(x->sets, s) {
        if (strcmp(s->hash, hash) == 0) {
            break;
        }
    }
    if (!s && make) {
        s = mem_alloc(sizeof *s);
        s->workload = x;
        s->hash = mem_dup(hash);
        s->name = mem_printf("%s-%s", x->name, hash);
        s->template = json_incref(template);
        s->number = ++x->templates;
        DL_APPEND(x->sets, s);
        x->progress_ms = sched_now(x->w->sched);
        world_note(x->w, "template", s->name);
        if (x->kind != SIM_DEPLOYMENT) {
            write_revision(x, s);
        } else {
            write_replicaset(x, s);
        }
    }
    x->newest = s;
    x->generation = generation;
    return s;
}

/* ---- pods of a set ---- */

static void refused(struct sim_set *s, const struct err *err) {
    struct world *w = s->workload->w;
    if (!s->failed || strcmp(s->failed, err->text) != 0) {
        mem_set(&s->failed, err->text);
    }
    uint32_t shift = s->failures < 7 ? s->failures : 7;
    s->retry_ms = sched_now(w->sched) + (250 << shift);
    if (++s->failures == 1) {
        json_t *event =
            json_pack("{s:s,s:s,s:{s:o,s:s},s:{s:s,s:s,s:s,s:s},s:s,s:s,s:s,s:o}", "apiVersion", "v1", "kind", "Event",
                      "metadata", "name", json_sprintf("%s.%llx", s->name, (unsigned long long)sched_wall(w->sched)),
                      "namespace", s->workload->ns, "involvedObject", "kind", "ReplicaSet", "name", s->name, "namespace",
                      s->workload->ns, "apiVersion", "apps/v1", "reason", "FailedCreate", "message", s->failed, "type",
                      "Warning", "lastTimestamp", world_time(w));
        store_put(w->store, "events", event, NULL);
    }
}

/* name NULL: with a tail of its own. false: refused, or too early after a refusal. */
bool world_set_create_pod(struct sim_set *s, const char *name, struct sim_node *node) {
    struct sim_workload *x = s->workload;
    struct world *w = x->w;
    if (s->retry_ms > sched_now(w->sched)) {
        return false;
    }
    char own[300], tail[6];
    bool deployment = x->kind == SIM_DEPLOYMENT;
    if (!name) {
        world_text_id(w, 5, tail);
        snprintf(own, sizeof own, "%s-%s", deployment ? s->name : x->name, tail);
    }
    json_t *meta = json_deep_copy(js_at(s->template, "metadata", NULL));
    json_object_set_new(meta, "name", json_string(name ? name : own));
    json_object_set_new(meta, "namespace", json_string(x->ns));
    json_t *labels = json_object_get(meta, "labels");
    if (deployment) {
        json_object_set_new(labels, "pod-template-hash", json_string(s->hash));
        json_object_set_new(meta, "generateName", json_sprintf("%s-", s->name));
    } else {
        json_object_set_new(labels, "controller-revision-hash", json_string(x->kind == SIM_DAEMONSET ? s->hash : s->name));
        json_object_set_new(meta, "generateName", json_sprintf("%s-", x->name));
    }
    json_object_set_new(meta, "ownerReferences",
                        world_owner("apps/v1", deployment ? "ReplicaSet" : world_kind_name(x->kind),
                                    deployment ? s->name : x->name, deployment ? s->uid : x->uid));
    json_t *spec = json_copy(js_at(s->template, "spec", NULL));
    if (node) {
        json_object_set_new(spec, "nodeName", json_string(node->name));
    }
    json_t *pod = json_pack("{s:s,s:s,s:o,s:o,s:{s:s}}", "apiVersion", "v1", "kind", "Pod", "metadata", meta, "spec", spec,
                            "status", "phase", "Pending");
    struct err err;
    if (!world_pod_create(w, pod, x, s, node, &err)) {
        refused(s, &err);
        return false;
    }
    s->failures = 0;
    mem_set(&s->failed, NULL);
    return true;
}

/* Which pod goes first: not ready before ready, young before old. */
static struct sim_pod *worst_pod(struct sim_set *s) {
    struct sim_pod *p, *worst = NULL;
    DL_FOREACH(s->workload->pods, p) {
        bool worse = !worst || (worst->ready && !p->ready) || (worst->ready == p->ready && p->born > worst->born);
        if (p->set == s && !p->deleting && worse) {
            worst = p;
        }
    }
    return worst;
}

void world_size_set(struct sim_set *s) {
    uint32_t have = world_count(s->workload, s, false);
    while (have < s->want && world_set_create_pod(s, NULL, NULL)) {
        have++;
    }
    for (; have > s->want; have--) {
        world_pod_delete(worst_pod(s));
    }
    if (s->want == 0) {
        mem_set(&s->failed, NULL);
        s->failures = 0;
    }
    write_replicaset(s->workload, s);
}
