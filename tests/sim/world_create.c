/* Things that people create: pods and workloads of every kind that stands in the way of a move, namespaces, webhooks. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "world_impl.h"

/* The word behind "KEY=" of the options; NULL: not given. which counts those that were given. */
static const char *option(const struct words *a, const char *key, size_t which) {
    size_t n = strlen(key);
    for (size_t i = 3; i < a->n; i++) {
        if (strncmp(a->at[i], key, n) == 0 && (a->at[i][n] == '=' || !a->at[i][n]) && which-- == 0) {
            return a->at[i][n] ? a->at[i] + n + 1 : "";
        }
    }
    return NULL;
}

/* "K=V" options into an object. */
static void options_into(const struct words *a, const char *key, json_t *meta, const char *field) {
    const char *kv;
    for (size_t i = 0; (kv = option(a, key, i)) != NULL; i++) {
        const char *equals = strchr(kv, '=');
        char name[200];
        json_t *into = json_object_get(meta, field);
        if (!into) {
            into = json_object();
            json_object_set_new(meta, field, into);
        }
        snprintf(name, sizeof name, "%.*s", (int)(equals ? equals - kv : (long)strlen(kv)), kv);
        json_object_set_new(into, name, json_string(equals ? equals + 1 : ""));
    }
}

static json_t *template_of(const struct words *a, const char *name) {
    json_t *t = world_template(name);
    json_t *meta = json_object_get(t, "metadata");
    options_into(a, "label", meta, "labels");
    options_into(a, "annotation", meta, "annotations");
    if (option(a, "hostnetwork", 0)) {
        json_object_set_new(json_object_get(t, "spec"), "hostNetwork", json_true());
    }
    return t;
}

/* A pod that no controller of this mesh looks after. owner is taken; NULL: none. */
static bool create_pod(struct world *w, const struct words *a, const char *ns, const char *name, json_t *owner,
                       struct err *err) {
    json_t *t = template_of(a, name), *meta = json_object_get(t, "metadata");
    json_object_set_new(meta, "name", json_string(name));
    json_object_set_new(meta, "namespace", json_string(ns));
    if (owner) {
        json_object_set_new(meta, "ownerReferences", owner);
    }
    json_t *pod = json_pack("{s:s,s:s,s:O,s:O,s:{s:s}}", "apiVersion", "v1", "kind", "Pod", "metadata", meta, "spec",
                            json_object_get(t, "spec"), "status", "phase", "Pending");
    json_decref(t);
    return world_pod_create(w, pod, NULL, NULL, NULL, err);
}

/* Owners without a controller in this mesh, with one pod. */
static const struct {
    const char *word, *api, *kind, *resource; /* resource NULL: the API server does not know the kind */
} lone[] = {
    {"replicaset", "apps/v1", "ReplicaSet", "replicasets"},
    {"job", "batch/v1", "Job", "jobs"},
    {"rollout", "argoproj.io/v1alpha1", "Rollout", NULL},
    {"cloneset", "apps.kruise.io/v1alpha1", "CloneSet", NULL},
};

static bool create_lone(struct world *w, const struct words *a, size_t which, const char *ns, const char *name,
                        struct err *err) {
    const char *resource = lone[which].resource, *cron = option(a, "cronjob", 0), *uid = "0f0f0f0f";
    char pod[200];
    if (resource) {
        json_t *o =
            json_pack("{s:s,s:s,s:{s:s,s:s},s:{s:i,s:o}}", "apiVersion", lone[which].api, "kind", lone[which].kind,
                      "metadata", "name", name, "namespace", ns, "spec", "replicas", 1, "template", template_of(a, name));
        if (cron) {
            json_object_set_new(json_object_get(o, "metadata"), "ownerReferences",
                                world_owner("batch/v1", "CronJob", cron, uid));
        }
        if (!store_put(w->store, resource, o, err)) {
            return false;
        }
        uid = js_text(store_get(w->store, resource, ns, name), "metadata", "uid", NULL);
    }
    snprintf(pod, sizeof pod, "%s-x7k2p", name);
    return create_pod(w, a, ns, pod, world_owner(lone[which].api, lone[which].kind, name, uid), err);
}

static bool set_paused(struct world *w, const char *ns, const char *name, struct err *err) {
    json_t *patch = json_pack("{s:{s:b}}", "spec", "paused", 1);
    bool ok = store_patch(w->store, "deployments", ns, name, patch, false, err);
    json_decref(patch);
    return ok;
}

/* A Deployment that is created paused would never get pods: it is paused once its ReplicaSet stands. */
static bool create_workload(struct world *w, const struct words *a, enum sim_kind kind, const char *ns, const char *name,
                            struct err *err) {
    const char *strategy = kind == SIM_DEPLOYMENT ? "strategy" : "updateStrategy";
    json_t *spec =
        json_pack("{s:{s:{s:s}},s:o,s:{s:s}}", "selector", "matchLabels", "app", name, "template", template_of(a, name),
                  strategy, "type", option(a, "ondelete", 0) ? "OnDelete" : "RollingUpdate");
    if (kind == SIM_DAEMONSET) {
        json_object_set_new(js_at(spec, "template", "spec", NULL), "affinity", world_affinity(w, 0, 2));
    } else {
        json_object_set_new(spec, "replicas", json_integer(2));
    }
    json_t *o = json_pack("{s:s,s:s,s:{s:s,s:s,s:{s:s}},s:o}", "apiVersion", "apps/v1", "kind", world_kind_name(kind),
                          "metadata", "name", name, "namespace", ns, "labels", "app", name, "spec", spec);
    if (!store_put(w->store, world_resource(kind), o, err)) {
        return false;
    }
    if (!option(a, "paused", 0)) {
        return true;
    }
    world_workload_sync(world_workload(w, kind, ns, name));
    return set_paused(w, ns, name, err);
}

static bool create_namespace(struct world *w, const struct words *a, struct err *err) {
    json_t *meta = json_pack("{s:s,s:{s:s}}", "name", a->at[2], "labels", "kubernetes.io/metadata.name", a->at[2]);
    options_into(a, "label", meta, "labels");
    return store_put(w->store, "namespaces",
                     json_pack("{s:s,s:s,s:o,s:{s:[s]},s:{s:s}}", "apiVersion", "v1", "kind", "Namespace", "metadata", meta,
                               "spec", "finalizers", "kubernetes", "status", "phase", "Active"),
                     err);
}

static bool create_service(struct world *w, const char *ns, const char *name, struct err *err) {
    return store_put(w->store, "services",
                     json_pack("{s:s,s:s,s:{s:s,s:s},s:{s:s,s:[{s:i}]}}", "apiVersion", "v1", "kind", "Service", "metadata",
                               "name", name, "namespace", ns, "spec", "clusterIP", "10.96.7.7", "ports", "port", 80),
                     err);
}

/* create injector NAME REV NS [odd] */
static bool create_injector(struct world *w, const struct words *a, struct err *err) {
    if (a->n < 5 || world_revision(a->at[3]) < 0) {
        return err_set(err, ERR_INVALID, "create injector NAME REVISION NAMESPACE [odd]");
    }
    bool odd = a->n > 5 && strcmp(a->at[5], "odd") == 0;
    world_put_injector(w, a->at[2], a->at[3], a->at[4], odd ? "object.spec.containers.exists(c, c.image != '')" : NULL);
    return true;
}

/* create tag NAME REV */
static bool create_tag(struct world *w, const struct words *a, struct err *err) {
    if (a->n < 4 || world_revision(a->at[3]) < 0) {
        return err_set(err, ERR_INVALID, "create tag NAME REVISION");
    }
    world_put_tag(w, a->at[2], a->at[3]);
    return true;
}

bool world_do_create(struct world *w, struct words *a, struct err *err) {
    static const char *const workloads[] = {"deployment", "statefulset", "daemonset"};
    char *ns, *name;
    if (strcmp(a->at[1], "namespace") == 0) {
        return create_namespace(w, a, err);
    }
    if (strcmp(a->at[1], "injector") == 0) {
        return create_injector(w, a, err);
    }
    if (strcmp(a->at[1], "tag") == 0) {
        return create_tag(w, a, err);
    }
    if (!world_pair(a->at[2], &ns, &name) || !store_get(w->store, "namespaces", NULL, ns)) {
        return err_set(err, ERR_INVALID, "create: \"%s\" is not NAMESPACE/NAME of a namespace that is there", a->at[2]);
    }
    if (strcmp(a->at[1], "bare") == 0) {
        return create_pod(w, a, ns, name, NULL, err);
    }
    if (strcmp(a->at[1], "service") == 0) {
        return create_service(w, ns, name, err);
    }
    for (size_t i = 0; i < sizeof workloads / sizeof *workloads; i++) {
        if (strcmp(a->at[1], workloads[i]) == 0) {
            return create_workload(w, a, (enum sim_kind)i, ns, name, err);
        }
    }
    for (size_t i = 0; i < sizeof lone / sizeof *lone; i++) {
        if (strcmp(a->at[1], lone[i].word) == 0) {
            return create_lone(w, a, i, ns, name, err);
        }
    }
    return err_set(err, ERR_INVALID, "create: there is no kind \"%s\" here", a->at[1]);
}

/* "finish NS/POD": its containers have ended well; the pod stays until somebody deletes it. */
bool world_do_finish(struct world *w, struct words *a, struct err *err) {
    char *ns, *name;
    struct sim_pod *p = world_pair(a->at[1], &ns, &name) ? world_pod(w, ns, name) : NULL;
    if (!p) {
        return err_set(err, ERR_NOT_FOUND, "finish: there is no such pod");
    }
    world_proxy_stop(p);
    timer_cancel(w->sched, &p->step);
    p->phase = SIM_PENDING;
    json_t *patch = json_pack("{s:{s:s,s:[{s:s,s:s,s:s}]}}", "status", "phase", "Succeeded", "conditions", "type", "Ready",
                              "status", "False", "reason", "PodCompleted");
    bool ok = store_patch(w->store, "pods", p->ns, p->name, patch, true, err);
    json_decref(patch);
    return ok;
}

/* "version REV V": the istiods of a revision are upgraded in place, one image for the other. */
bool world_do_version(struct world *w, struct words *a, struct err *err) {
    int rev = world_revision(a->at[1]);
    if (rev < 0) {
        return err_set(err, ERR_NOT_FOUND, "version: there is no revision %s", a->at[1]);
    }
    struct sim_revision *r = &w->revs[rev];
    mem_set(&r->newer, a->at[2]);
    r->version = r->newer;
    for (uint32_t n = 0; n < w->opts.replicas; n++) {
        if (!world_istiod_fault(&r->istiods[n], "kill", err) || !world_istiod_fault(&r->istiods[n], "start", err)) {
            return false;
        }
        world_write_istiod_pod(w, &r->istiods[n]);
    }
    return true;
}

/* As helm uninstall does: webhooks, Service, Deployment and istiods of a revision are gone, its proxies are not. */
bool world_do_uninstall(struct world *w, struct words *a, struct err *err) {
    int rev = world_revision(a->at[1]);
    char name[80];
    if (rev < 0) {
        return err_set(err, ERR_NOT_FOUND, "uninstall: there is no revision %s", a->at[1]);
    }
    struct sim_revision *r = &w->revs[rev];
    snprintf(name, sizeof name, "istio-sidecar-injector-%s", r->name);
    store_delete(w->store, "mutatingwebhookconfigurations", NULL, name);
    snprintf(name, sizeof name, "istiod-%s", r->name);
    store_delete(w->store, "services", ISTIO_NS, name);
    store_delete(w->store, "deployments", ISTIO_NS, name);
    snprintf(name, sizeof name, "istiod-%s-sim%d", r->name, rev);
    store_delete(w->store, "endpointslices", ISTIO_NS, name);
    for (uint32_t n = 0; n < w->opts.replicas; n++) {
        struct sim_istiod *i = &r->istiods[n];
        if (i->process && !world_istiod_fault(i, "kill", err)) {
            return false;
        }
        timer_cancel(w->sched, &i->probe);
        i->ready = false;
        store_delete(w->store, "pods", ISTIO_NS, i->name);
    }
    return true;
}
