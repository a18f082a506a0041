/* One reflector a resource; what they bring goes into the tables. */
#include <stdlib.h>
#include <string.h>

#include "../lib/base/buf.h"
#include "../lib/base/mem.h"
#include "../lib/kube/reflector.h"
#include "inventory_tables.h"

enum { GRACE_MS = 30000 };

struct source {
    struct inventory_watch *watch;
    enum inventory_resource resource;
    struct reflector *reflector;
    bool loaded;
};

struct inventory_watch {
    struct inventory_tables t;
    struct source sources[INVENTORY_RESOURCES];
    void (*changed)(void *ctx);
    void *ctx;
};

static const struct {
    const char *name, *path; /* %s: namespace of Istio */
    bool metadata_only;
    const char *query;
    const char *hint; /* when the API server does not know the resource */
    bool optional;    /* then there are none */
} resources[INVENTORY_RESOURCES] = {
    [INVENTORY_NAMESPACES] = {"namespaces", "/api/v1/namespaces"},
    [INVENTORY_WEBHOOKS] = {"mutatingwebhookconfigurations",
                            "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"},
    [INVENTORY_POLICIES] = {"configmaps", "/api/v1/namespaces/%s/configmaps", .query = "labelSelector=istio.io%2Frev"},
    [INVENTORY_SERVICES] = {"services", "/api/v1/namespaces/%s/services"},
    [INVENTORY_SLICES] = {"endpointslices", "/apis/discovery.k8s.io/v1/namespaces/%s/endpointslices"},
    [INVENTORY_NODES] = {"nodes", "/api/v1/nodes", .metadata_only = true},
    [INVENTORY_REPLICASETS] = {"replicasets", "/apis/apps/v1/replicasets", .metadata_only = true},
    [INVENTORY_JOBS] = {"jobs", "/apis/batch/v1/jobs", .metadata_only = true},
    [INVENTORY_DEPLOYMENTS] = {"deployments", "/apis/apps/v1/deployments"},
    [INVENTORY_STATEFULSETS] = {"statefulsets", "/apis/apps/v1/statefulsets"},
    [INVENTORY_DAEMONSETS] = {"daemonsets", "/apis/apps/v1/daemonsets"},
    [INVENTORY_PODS] = {"pods", "/api/v1/pods"},
    [INVENTORY_UPGRADES] = {"meshupgrades", "/apis/meshgate.io/v1alpha1/meshupgrades",
                            .hint =
                                "the CustomResourceDefinition meshupgrades.meshgate.io is not installed: apply deploy/crd"},
    [INVENTORY_GATEWAYS] = {"gateways", "/apis/gateway.networking.k8s.io/v1/gateways", .metadata_only = true,
                            .optional = true},
    [INVENTORY_VMS] = {"workloadentries", "/apis/networking.istio.io/v1beta1/workloadentries", .optional = true},
    [INVENTORY_VALIDATOR] = {"validatingwebhookconfigurations",
                             "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations", .metadata_only = true,
                             .query = "fieldSelector=metadata.name%3Distiod-default-validator"},
};

static void tell(const struct source *s, bool changed) {
    if (changed && s->watch->changed) {
        s->watch->changed(s->watch->ctx);
    }
}

static void on_upsert(void *ctx, const json_t *object) {
    struct source *s = ctx;
    tell(s, inventory_put(&s->watch->t, s->resource, object));
}

static void on_gone(void *ctx, const char *namespace_, const char *name, const char *uid) {
    struct source *s = ctx;
    tell(s, inventory_drop(&s->watch->t, s->resource, namespace_, name, uid));
}

static void on_synced(void *ctx) {
    struct source *s = ctx;
    s->loaded = true;
    s->watch->t.inv.version++;
    tell(s, true);
}

struct inventory_watch *inventory_watch_new(struct kube *k, const char *istio_namespace, void (*changed)(void *ctx),
                                            void *ctx, uint64_t seed) {
    static const struct reflector_ops ops = {on_upsert, on_gone, on_synced};
    struct inventory_watch *w = mem_alloc(sizeof *w);
    char *escaped = kube_escape(istio_namespace);
    w->changed = changed;
    w->ctx = ctx;
    inventory_init(&w->t, k->sched, istio_namespace);
    for (int i = 0; i < INVENTORY_RESOURCES; i++) {
        const char *hole = strstr(resources[i].path, "%s");
        char *path = hole ? mem_printf("%.*s%s%s", (int)(hole - resources[i].path), resources[i].path, escaped, hole + 2)
                          : mem_dup(resources[i].path);
        struct reflector_opts opts = {
            .path = path, .query = resources[i].query, .metadata_only = resources[i].metadata_only};
        w->sources[i] = (struct source){.watch = w, .resource = (enum inventory_resource)i};
        w->sources[i].reflector = reflector_new(k, &opts, &ops, &w->sources[i], seed + (uint64_t)i * 0x9e3779b97f4a7c15U);
        free(path);
    }
    free(escaped);
    return w;
}

void inventory_watch_free(struct inventory_watch *w) {
    if (!w) {
        return;
    }
    for (int i = 0; i < INVENTORY_RESOURCES; i++) {
        reflector_free(w->sources[i].reflector);
    }
    inventory_done(&w->t);
    free(w);
}

struct inventory *inventory_of(struct inventory_watch *w) {
    return &w->t.inv;
}

/* An optional resource that the API server does not know: there are none. */
static bool absent(const struct source *s) {
    return resources[s->resource].optional && strstr(reflector_trouble(s->reflector), ": 404 ");
}

bool inventory_fresh(const struct inventory_watch *w, struct buf *why_not) {
    bool fresh = true;
    for (int i = 0; i < INVENTORY_RESOURCES; i++) {
        const struct reflector *r = w->sources[i].reflector;
        if (reflector_fresh(r, GRACE_MS) || absent(&w->sources[i])) {
            continue;
        }
        if (why_not) {
            const char *trouble = reflector_trouble(r);
            bool unknown = resources[i].hint && strstr(trouble, ": 404 ");
            const char *text = unknown ? resources[i].hint : *trouble ? trouble : "no sign of the watch";
            buf_printf(why_not, "%s%s: %s", why_not->len ? "; " : "", resources[i].name, text);
        }
        fresh = false;
    }
    return fresh;
}

bool inventory_loaded(const struct inventory_watch *w) {
    for (int i = 0; i < INVENTORY_RESOURCES; i++) {
        if (!w->sources[i].loaded && !absent(&w->sources[i])) {
            return false;
        }
    }
    return true;
}

const struct inv_workload *inventory_owner(const struct inventory_watch *w, const struct inv_pod *p,
                                           enum workload_kind *kind, const char **name) {
    return inventory_owner_of(&w->t, p, kind, name);
}

void inventory_intent(const struct inventory_watch *w, const struct inv_pod *p, struct injector_verdict *out) {
    inventory_intent_of(&w->t, p, out);
}

const char *inventory_zone(const struct inventory_watch *w, const char *node) {
    return inventory_mesh_zone(&w->t, node);
}
