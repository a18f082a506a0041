#include "world_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/base/text.h"
#include "../../lib/kube/yaml.h"

static uint64_t next_random(struct world *w) {
    uint64_t z = (w->random += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

uint32_t world_random(struct world *w, uint32_t from, uint32_t to) {
    return to <= from ? from : from + (uint32_t)(next_random(w) % (to - from + 1));
}

void world_text_id(struct world *w, size_t n, char *out) {
    static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
    for (size_t i = 0; i < n; i++) {
        out[i] = alphabet[world_random(w, 0, 26)];
    }
    out[n] = 0;
}

void world_note(struct world *w, const char *what, const char *who) {
    int64_t now = sched_now(w->sched);
    w->history = text_hash(w->history, &now, sizeof now);
    w->history = text_hash(w->history, what, strlen(what));
    w->history = text_hash(w->history, who, strlen(who));
}

uint64_t world_history(const struct world *w) {
    return w->history;
}

static void push_now(void *ctx) {
    world_push(ctx);
}

void world_config_changed(struct world *w, bool full) {
    w->push_full = w->push_full || full;
    if (!w->building && !timer_is_set(&w->push)) {
        timer_set(w->sched, &w->push, sched_now(w->sched) + 100, push_now, w);
    }
}

static const char injector_config[] = "istio-sidecar-injector-";

/* What istiod takes from its injector's ConfigMap; one that it cannot read leaves it as it was. */
static void take_policy(struct world *w, const json_t *o, bool deleted) {
    const char *name = js_text(o, "metadata", "name", NULL), *text = js_text(o, "data", "config", NULL);
    struct err err;
    if (strncmp(name, injector_config, sizeof injector_config - 1) != 0) {
        return;
    }
    if (deleted) {
        injectors_remove_policy(w->injectors, name);
        return;
    }
    json_t *config = yaml_parse(text, strlen(text), &err);
    if (json_is_object(config)) {
        injectors_put_policy(w->injectors, name, js_text(o, "metadata", "namespace", NULL),
                             js_text(o, "metadata", "labels", "istio.io/rev", NULL), config);
    }
    json_decref(config);
}

static void changed(void *ctx, const char *resource, const char *event, const json_t *o) {
    struct world *w = ctx;
    bool deleted = strcmp(event, "DELETED") == 0;
    if (strcmp(resource, "pods") == 0) {
        (deleted ? world_pod_gone : strcmp(event, "ADDED") == 0 ? world_pod_added : world_pod_changed)(w, o);
    } else if (strcmp(resource, "deployments") == 0 || strcmp(resource, "statefulsets") == 0 ||
               strcmp(resource, "daemonsets") == 0) {
        world_workload_seen(w, resource, event, o);
    } else if (strcmp(resource, "mutatingwebhookconfigurations") == 0) {
        if (deleted) {
            injectors_remove(w->injectors, js_text(o, "metadata", "name", NULL));
        } else {
            injectors_put(w->injectors, o);
        }
    } else if (strcmp(resource, "configmaps") == 0) {
        take_policy(w, o, deleted);
    } else if (strcmp(resource, "services") == 0) {
        world_config_changed(w, true);
    }
}

/* Call the injector of a revision as the API server would; false: it cannot be called. */
static bool call_injector(struct world *w, int rev, struct err *err) {
    const char *name = w->revs[rev].name;
    struct sim_istiod *i = world_pick_istiod(w, rev);
    char why[120];
    if (!i) {
        snprintf(why, sizeof why, "no endpoints available for service \"istiod-%s\"", name);
    } else if (!i->process) {
        snprintf(why, sizeof why, "dial tcp %s:15017: connect: connection refused", i->ip);
    } else if (i->frozen) {
        snprintf(why, sizeof why, "context deadline exceeded");
    } else {
        return true;
    }
    return err_set(err, ERR_UNAVAILABLE,
                   "failed calling webhook \"rev.namespace.sidecar-injector.istio.io\": failed to call webhook: Post "
                   "\"https://istiod-%s.istio-system.svc:443/inject?timeout=10s\": %s",
                   name, why);
}

bool world_admit(struct world *w, json_t *pod, struct err *err) {
    const char *ns = js_text(pod, "metadata", "namespace", NULL), *refusal = world_refusal(w, ns);
    const json_t *metadata = js_at(pod, "metadata", NULL);
    const struct injector_subject subject = {
        ns, js_at(store_get(w->store, "namespaces", NULL, ns), "metadata", "labels", NULL), js_at(metadata, "labels", NULL),
        js_at(metadata, "annotations", NULL), js_bool(pod, false, "spec", "hostNetwork", NULL)};
    struct injector_verdict v;
    injectors_ask(w->injectors, &subject, &v);
    if (v.result == INJECTOR_UNKNOWN) { /* a matchCondition that fails, or that only a real API server evaluates */
        return err_set(err, ERR_DENIED, "pods \"%s\" is forbidden: %s: %s", js_text(metadata, "name", NULL),
                       v.configuration, v.why);
    }
    int rev = v.revision ? world_revision(v.revision) : -1;
    if (rev >= 0 && !call_injector(w, rev, err)) {
        return false;
    }
    if (rev >= 0 && v.opt_out == OPT_OUT_NONE) {
        world_inject(pod, w->revs[rev].name, w->revs[rev].version);
    }
    return !refusal || err_set(err, ERR_DENIED, "%s", refusal);
}

static bool admit(void *ctx, json_t *pod, struct err *err) {
    return world_admit(ctx, pod, err);
}

struct world *world_new(const struct world_opts *opts, struct store *store, struct sched *sched) {
    struct world *w = mem_alloc(sizeof *w);
    w->opts = *opts;
    w->pod_net = mem_dup(opts->pod_net);
    w->istiod_net = mem_dup(opts->istiod_net);
    w->service_net = mem_dup(opts->service_net);
    w->store = store;
    w->sched = sched;
    w->random = opts->seed * 0x2545f4914f6cdd1dULL + 1;
    w->injectors = injectors_new();
    injectors_set_words(w->injectors, "old", WORDS_STRICT);
    injectors_set_words(w->injectors, "canary", WORDS_STRICT);
    w->revs[OLD] =
        (struct sim_revision){.name = "old", .version = "1.29.6", .service_ip = mem_printf("%s.0.1", opts->service_net)};
    w->revs[CANARY] =
        (struct sim_revision){.name = "canary", .version = "1.30.3", .service_ip = mem_printf("%s.0.2", opts->service_net)};
    w->building = true;
    store_on_change(store, changed, w);
    store_on_admit_pod(store, admit, w);
    world_build(w);
    w->building = false;
    return w;
}

static void free_revision(struct world *w, struct sim_revision *r) {
    for (uint32_t n = 0; n < w->opts.replicas; n++) {
        struct sim_istiod *i = &r->istiods[n];
        timer_cancel(w->sched, &i->probe);
        timer_cancel(w->sched, &i->notice);
        istiod_free(i->process);
        free(i->ip);
        free(i->name);
        free(i->uid);
        free(i->node);
        free(i->zone);
    }
    free(r->istiods);
    free(r->service_ip);
    free(r->newer);
}

void world_free(struct world *w) {
    if (!w) {
        return;
    }
    store_on_change(w->store, NULL, NULL);
    store_on_admit_pod(w->store, NULL, NULL);
    timer_cancel(w->sched, &w->push);
    while (w->pods) {
        world_pod_free(w->pods);
    }
    while (w->workloads) {
        world_workload_free(w->workloads);
    }
    while (w->rejections) {
        world_forget_rejection(w, w->rejections);
    }
    world_faults_free(w);
    free_revision(w, &w->revs[OLD]);
    free_revision(w, &w->revs[CANARY]);
    for (uint32_t n = 0; n < w->opts.nodes; n++) {
        free(w->nodes[n].name);
        free(w->nodes[n].zone);
        free(w->nodes[n].ip);
    }
    free(w->nodes);
    free(w->by_ip);
    injectors_free(w->injectors);
    free(w->pod_net);
    free(w->istiod_net);
    free(w->service_net);
    free(w);
}
