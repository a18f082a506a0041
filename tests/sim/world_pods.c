/* Life of a pod: created, bound to a node, running, ready, terminating, gone. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "world_impl.h"

struct sim_pod *world_pod(struct world *w, const char *ns, const char *name) {
    char key[520];
    struct sim_pod *p = NULL;
    snprintf(key, sizeof key, "%s/%s", ns, name);
    HASH_FIND_STR(w->pods, key, p);
    return p;
}

static void take_ip(struct sim_pod *p) {
    struct world *w = p->w;
    for (uint32_t tries = 0;; tries++) {
        if (tries > w->ips) {
            w->by_ip = mem_grow(w->by_ip, (w->ips * 2 + 1024) * sizeof(struct sim_pod *));
            memset(w->by_ip + w->ips, 0, (w->ips + 1024) * sizeof(struct sim_pod *));
            w->ips = w->ips * 2 + 1024;
        }
        uint32_t n = w->next_ip++ % (w->ips ? w->ips : 1);
        if (w->ips && n % 256 != 0 && n % 256 != 255 && !w->by_ip[n]) {
            w->by_ip[n] = p;
            p->ip = n;
            break;
        }
    }
    unsigned first = 10, second = 44;
    sscanf(w->pod_net, "%u.%u", &first, &second);
    snprintf(p->ip_text, sizeof p->ip_text, "%u.%u.%u.%u", first & 255, (second + (p->ip >> 16)) & 255, (p->ip >> 8) & 255,
             p->ip & 255);
}

static json_t *condition(struct world *w, const char *type, bool yes) {
    return json_pack("{s:n,s:o,s:s,s:s}", "lastProbeTime", "lastTransitionTime", world_time(w), "status",
                     yes ? "True" : "False", "type", type);
}

static bool is_sick(const struct sim_pod *p) {
    return p->faults[FAULT_SICK] || p->faults[FAULT_NO_SIDECAR];
}

static bool unschedulable(const struct sim_pod *p) {
    return p->faults[FAULT_SICK] && strcmp(p->faults[FAULT_SICK]->arg, "Unschedulable") == 0;
}

/* One container does not run; why as the kubelet writes it. */
static void set_waiting(json_t *container, const char *why) {
    bool loops = strcmp(why, "CrashLoopBackOff") == 0;
    json_object_set_new(container, "ready", json_false());
    json_object_set_new(container, "started", json_false());
    json_object_set_new(container, "restartCount", json_integer(loops ? 5 : 0));
    json_object_set_new(container, "state",
                        json_pack("{s:{s:s,s:o}}", "waiting", "reason", why, "message", json_sprintf("sim: %s", why)));
    if (loops) {
        json_object_set_new(container, "lastState",
                            json_pack("{s:{s:i,s:s}}", "terminated", "exitCode", 1, "reason", "Error"));
    }
}

static void sicken(const struct sim_pod *p, json_t *status) {
    const struct sim_fault *app = p->faults[FAULT_SICK], *sidecar = p->faults[FAULT_NO_SIDECAR];
    json_t *first = json_array_get(json_object_get(status, "containerStatuses"), 0);
    json_t *proxy = json_array_get(json_object_get(status, "initContainerStatuses"), 0);
    const char *why = sidecar ? "PodInitializing" : app ? app->arg : "";
    if (sidecar && proxy) {
        set_waiting(proxy, sidecar->arg);
    }
    if (*why && strcmp(why, "NotReady") != 0) {
        set_waiting(first, why);
    } else if (*why) {
        json_object_set_new(first, "ready", json_false());
    }
    if (*why && strcmp(why, "CrashLoopBackOff") != 0 && strcmp(why, "NotReady") != 0) {
        json_object_set_new(status, "phase", json_string("Pending"));
    }
}

static json_t *pod_status(struct sim_pod *p, const json_t *o) {
    struct world *w = p->w;
    const char *app =
        js_text(json_array_get(js_at(o, "spec", NULL) ? json_object_get(js_at(o, "spec", NULL), "containers") : NULL, 0),
                "name", NULL);
    bool main_ready = p->phase == SIM_RUNNING;
    json_t *status =
        json_pack("{s:s,s:[o,o,o,o],s:s,s:s,s:[{s:s}],s:o,s:[{s:s,s:b,s:i,s:{s:{s:o}}}]}", "phase", "Running", "conditions",
                  condition(w, "Initialized", true), condition(w, "Ready", p->ready),
                  condition(w, "ContainersReady", p->ready), condition(w, "PodScheduled", true), "hostIP", p->node->ip,
                  "podIP", p->ip_text, "podIPs", "ip", p->ip_text, "startTime", world_time(w), "containerStatuses", "name",
                  app, "ready", main_ready, "restartCount", 0, "state", "running", "startedAt", world_time(w));
    if (p->proxy.rev >= 0) {
        json_object_set_new(status, "initContainerStatuses",
                            json_pack("[{s:s,s:b,s:i,s:b,s:{s:{s:o}}}]", "name", "istio-proxy", "ready", p->proxy.served,
                                      "restartCount", 0, "started", 1, "state", "running", "startedAt", world_time(w)));
    }
    sicken(p, status);
    return status;
}

/* Replace the stored object: node and status as the struct has them. */
static void write_pod(struct sim_pod *p, bool deleting) {
    const json_t *old = store_get(p->w->store, "pods", p->ns, p->name);
    if (!old) {
        return;
    }
    json_t *o = json_copy((json_t *)(uintptr_t)old);
    json_t *spec = json_copy(js_at(old, "spec", NULL)), *meta = json_copy(js_at(old, "metadata", NULL));
    json_object_set_new(spec, "nodeName", json_string(p->node->name));
    json_object_set_new(o, "spec", spec);
    if (deleting && !json_object_get(meta, "deletionTimestamp")) {
        json_object_set_new(meta, "deletionTimestamp", world_time(p->w));
        json_object_set_new(meta, "deletionGracePeriodSeconds", json_integer(30));
    }
    json_object_set_new(o, "metadata", meta);
    json_object_set_new(o, "status", pod_status(p, old));
    struct err err;
    if (!store_put(p->w->store, "pods", o, &err)) {
        check_failed(err.text, __FILE__, __LINE__);
    }
}

static void unlink_pod(struct sim_pod *p) {
    if (p->workload) {
        DL_DELETE(p->workload->pods, p);
        world_workload_touch(p->workload);
        p->workload = NULL;
    }
    if (p->ip) {
        DL_DELETE2(p->node->pods, p, node_prev, node_next);
        p->w->by_ip[p->ip] = NULL;
    }
}

void world_pod_free(struct sim_pod *p) {
    struct world *w = p->w;
    world_proxy_stop(p);
    timer_cancel(w->sched, &p->step);
    unlink_pod(p);
    HASH_DEL(w->pods, p);
    free(p->key);
    free(p->ns);
    free(p->name);
    free(p->uid);
    free(p);
}

static void terminated(void *ctx) {
    struct sim_pod *p = ctx;
    struct world *w = p->w;
    world_note(w, "gone", p->key);
    char *ns = mem_dup(p->ns), *name = mem_dup(p->name);
    world_proxy_stop(p);
    if (!store_delete(w->store, "pods", ns, name)) {
        world_pod_free(p);
    } else if ((p = world_pod(w, ns, name)) != NULL) {
        world_pod_free(p); /* the store asked for a second word */
    }
    world_config_changed(w, false);
    free(ns);
    free(name);
}

void world_pod_delete(struct sim_pod *p) {
    if (p->deleting) {
        return;
    }
    struct world *w = p->w;
    world_note(w, "deleting", p->key);
    p->deleting = true;
    timer_set(w->sched, &p->step, sched_now(w->sched) + world_random(w, 300, 1500), terminated, p);
    if (p->workload) {
        world_workload_touch(p->workload);
    }
    if (p->ip) {
        write_pod(p, true);
    }
}

static void now_ready(void *ctx) {
    struct sim_pod *p = ctx;
    if (p->ready || p->deleting || is_sick(p) || (p->proxy.rev >= 0 && !p->proxy.served)) {
        return;
    }
    p->ready = true;
    world_note(p->w, "ready", p->key);
    write_pod(p, false);
    if (p->workload) {
        world_workload_touch(p->workload);
    }
    world_config_changed(p->w, false);
}

void world_pod_sicken(struct sim_pod *p) {
    if (p->phase != SIM_RUNNING || p->deleting || unschedulable(p)) {
        return;
    }
    if (!is_sick(p)) {
        timer_set(p->w->sched, &p->step, sched_now(p->w->sched) + 500, now_ready, p);
        return;
    }
    p->ready = false;
    write_pod(p, false);
    if (p->workload) {
        world_workload_touch(p->workload);
    }
}

/* 15021 says yes: the kubelet's next look makes the pod ready. */
void world_pod_served(struct sim_pod *p) {
    if (p->w->building) {
        p->ready = true;
    } else if (!p->ready && !p->deleting) {
        timer_set(p->w->sched, &p->step, sched_now(p->w->sched) + world_random(p->w, 50, 1000), now_ready, p);
    }
}

static void running(void *ctx) {
    struct sim_pod *p = ctx;
    struct world *w = p->w;
    p->phase = SIM_RUNNING;
    world_note(w, "running", p->key);
    if (p->proxy.rev >= 0) {
        world_proxy_start(p);
    } else if (w->building) {
        p->ready = true;
    } else {
        timer_set(w->sched, &p->step, sched_now(w->sched) + world_random(w, 100, 1000), now_ready, p);
    }
    write_pod(p, false);
    world_config_changed(w, false);
}

static struct sim_node *node_by_name(struct world *w, const char *name) {
    for (uint32_t i = 0; name && i < w->opts.nodes; i++) {
        if (strcmp(w->nodes[i].name, name) == 0) {
            return &w->nodes[i];
        }
    }
    return NULL;
}

/* The scheduler finds no node for it and says so, now and then. */
static bool left_over(struct sim_pod *p, void (*again)(void *ctx)) {
    const json_t *old = store_get(p->w->store, "pods", p->ns, p->name);
    if (!unschedulable(p) || !old) {
        return false;
    }
    json_t *o = json_copy((json_t *)(uintptr_t)old);
    json_object_set_new(o, "status",
                        json_pack("{s:s,s:[{s:s,s:s,s:s,s:s}]}", "phase", "Pending", "conditions", "type", "PodScheduled",
                                  "status", "False", "reason", "Unschedulable", "message",
                                  "0/3 nodes are available: 3 Insufficient cpu."));
    store_put(p->w->store, "pods", o, NULL);
    timer_set(p->w->sched, &p->step, sched_now(p->w->sched) + 5000, again, p);
    return true;
}

static void bind_pod(void *ctx) {
    struct sim_pod *p = ctx;
    struct world *w = p->w;
    if (left_over(p, bind_pod)) {
        return;
    }
    if (!p->node) {
        p->node = &w->nodes[w->next_node++ % w->opts.nodes];
    }
    DL_APPEND2(p->node->pods, p, node_prev, node_next);
    take_ip(p);
    p->phase = SIM_STARTING;
    if (w->building) {
        running(p);
    } else {
        timer_set(w->sched, &p->step, sched_now(w->sched) + world_random(w, 200, 800), running, p);
    }
}

void world_pod_added(struct world *w, const json_t *o) {
    const char *ns = js_text(o, "metadata", "namespace", NULL), *name = js_text(o, "metadata", "name", NULL);
    if (strcmp(ns, ISTIO_NS) == 0 || world_pod(w, ns, name)) {
        return;
    }
    struct sim_pod *p = mem_alloc(sizeof *p);
    p->w = w;
    p->ns = mem_dup(ns);
    p->name = mem_dup(name);
    p->key = mem_printf("%s/%s", ns, name);
    p->uid = mem_dup(js_text(o, "metadata", "uid", NULL));
    p->born = ++w->born;
    const char *rev = js_str(o, "metadata", "annotations", "istio.io/rev", NULL);
    snprintf(p->proxy.version, sizeof p->proxy.version, "%s",
             rev && world_revision(rev) >= 0 ? w->revs[world_revision(rev)].version : "");
    p->proxy.rev = js_str(o, "metadata", "annotations", "sidecar.istio.io/status", NULL) ? world_revision(rev) : -1;
    p->workload = w->for_workload;
    p->set = w->for_set;
    const char *node = js_str(o, "spec", "nodeName", NULL);
    p->node = w->for_node ? w->for_node : node_by_name(w, node);
    world_faults_of(p);
    HASH_ADD_KEYPTR(hh, w->pods, p->key, strlen(p->key), p);
    if (p->workload) {
        DL_APPEND(p->workload->pods, p);
        world_workload_touch(p->workload);
    }
    world_note(w, "created", p->key);
    if (!w->building) {
        timer_set(w->sched, &p->step, sched_now(w->sched) + world_random(w, 2, 20), bind_pod, p);
    }
}

/* Somebody else has written it: a deletion is carried out. */
void world_pod_changed(struct world *w, const json_t *o) {
    struct sim_pod *p = world_pod(w, js_text(o, "metadata", "namespace", NULL), js_text(o, "metadata", "name", NULL));
    if (p && js_str(o, "metadata", "deletionTimestamp", NULL)) {
        world_pod_delete(p);
    }
}

void world_pod_gone(struct world *w, const json_t *o) {
    struct sim_pod *p = world_pod(w, js_text(o, "metadata", "namespace", NULL), js_text(o, "metadata", "name", NULL));
    if (p && strcmp(p->uid, js_text(o, "metadata", "uid", NULL)) == 0) {
        world_pod_free(p);
        world_config_changed(w, false);
    }
}

bool world_pod_create(struct world *w, json_t *pod, struct sim_workload *x, struct sim_set *set, struct sim_node *node,
                      struct err *err) {
    if (!world_admit(w, pod, err)) {
        json_decref(pod);
        return false;
    }
    char *ns = mem_dup(js_text(pod, "metadata", "namespace", NULL)),
         *name = mem_dup(js_text(pod, "metadata", "name", NULL));
    w->for_workload = x;
    w->for_set = set;
    w->for_node = node;
    bool ok = store_put(w->store, "pods", pod, err);
    w->for_workload = NULL;
    w->for_set = NULL;
    w->for_node = NULL;
    struct sim_pod *p = world_pod(w, ns, name);
    if (ok && w->building && p) {
        bind_pod(p);
    }
    free(ns);
    free(name);
    return ok;
}
