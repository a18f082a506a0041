/* Kubernetes objects to structs. Whatever is absent or of another type reads as its least permissive value. */
#include <stdlib.h>
#include <string.h>

#include "../lib/base/json.h"
#include "../lib/base/mem.h"
#include "../lib/base/text.h"
#include "execute.h"
#include "inventory_tables.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define GATEWAY_GROUP "gateway.networking.k8s.io"
#define AT(type, field) offsetof(struct type, field)

/* --- fields --- */

static const size_t namespace_texts[] = {AT(inv_namespace, resource_version), AT(inv_namespace, name),
                                         AT(inv_namespace, uid)};
static const size_t namespace_trees[] = {AT(inv_namespace, labels), AT(inv_namespace, annotations)};
const struct inventory_fields inventory_namespace_fields = {namespace_texts,
                                                            COUNT(namespace_texts),
                                                            1,
                                                            namespace_trees,
                                                            COUNT(namespace_trees),
                                                            AT(inv_namespace, terminating),
                                                            AT(inv_namespace, terminating) + sizeof(bool)};

static const size_t pod_texts[] = {AT(inv_pod, uid),         AT(inv_pod, namespace_), AT(inv_pod, name),
                                   AT(inv_pod, node),        AT(inv_pod, ip),         AT(inv_pod, injected),
                                   AT(inv_pod, owner_kind),  AT(inv_pod, owner_name), AT(inv_pod, proxy_image),
                                   AT(inv_pod, trouble_text)};
static const size_t pod_trees[] = {AT(inv_pod, labels), AT(inv_pod, annotations)};
const struct inventory_fields inventory_pod_fields = {
    pod_texts, COUNT(pod_texts), 0, pod_trees, COUNT(pod_trees), AT(inv_pod, host_network), AT(inv_pod, expected)};

static const size_t workload_texts[] = {AT(inv_workload, resource_version),
                                        AT(inv_workload, key),
                                        AT(inv_workload, namespace_),
                                        AT(inv_workload, name),
                                        AT(inv_workload, uid),
                                        AT(inv_workload, restart_mark),
                                        AT(inv_workload, failed_create_text)};
const struct inventory_fields inventory_workload_fields = {workload_texts,
                                                           COUNT(workload_texts),
                                                           1,
                                                           NULL,
                                                           0,
                                                           AT(inv_workload, replicas),
                                                           AT(inv_workload, create_trouble) + sizeof(enum create_trouble)};

static const size_t upgrade_texts[] = {AT(inv_upgrade, resource_version), AT(inv_upgrade, name), AT(inv_upgrade, uid)};
static const size_t upgrade_trees[] = {AT(inv_upgrade, spec), AT(inv_upgrade, status)};
const struct inventory_fields inventory_upgrade_fields = {upgrade_texts,
                                                          COUNT(upgrade_texts),
                                                          1,
                                                          upgrade_trees,
                                                          COUNT(upgrade_trees),
                                                          AT(inv_upgrade, generation),
                                                          AT(inv_upgrade, generation) + sizeof(int64_t)};

static char **text_at(const void *x, size_t offset) {
    return (char **)((uintptr_t)x + offset);
}

static json_t **tree_at(const void *x, size_t offset) {
    return (json_t **)((uintptr_t)x + offset);
}

static bool same_text(const char *a, const char *b) {
    return a == b || (a && b && !strcmp(a, b));
}

static bool same_tree(const json_t *a, const json_t *b) {
    return a == b || (a && b && json_equal(a, b));
}

bool inventory_fields_differ(const struct inventory_fields *f, const void *a, const void *b) {
    for (size_t i = f->silent; i < f->n_texts; i++) {
        if (!same_text(*text_at(a, f->texts[i]), *text_at(b, f->texts[i]))) {
            return true;
        }
    }
    for (size_t i = 0; i < f->n_trees; i++) {
        if (!same_tree(*tree_at(a, f->trees[i]), *tree_at(b, f->trees[i]))) {
            return true;
        }
    }
    return memcmp((const char *)a + f->plain_from, (const char *)b + f->plain_from, f->plain_to - f->plain_from) != 0;
}

void inventory_fields_free(const struct inventory_fields *f, void *x) {
    for (size_t i = 0; i < f->n_texts; i++) {
        mem_set(text_at(x, f->texts[i]), NULL);
    }
    for (size_t i = 0; i < f->n_trees; i++) {
        json_decref(*tree_at(x, f->trees[i]));
        *tree_at(x, f->trees[i]) = NULL;
    }
}

void inventory_fields_move(const struct inventory_fields *f, void *to, void *from) {
    inventory_fields_free(f, to);
    for (size_t i = 0; i < f->n_texts; i++) {
        *text_at(to, f->texts[i]) = *text_at(from, f->texts[i]);
        *text_at(from, f->texts[i]) = NULL;
    }
    for (size_t i = 0; i < f->n_trees; i++) {
        *tree_at(to, f->trees[i]) = *tree_at(from, f->trees[i]);
        *tree_at(from, f->trees[i]) = NULL;
    }
    memcpy((char *)to + f->plain_from, (const char *)from + f->plain_from, f->plain_to - f->plain_from);
}

/* --- reading --- */

/* "" and absent are the same: NULL. */
static char *text_of(const char *s) {
    return s && *s ? mem_dup(s) : NULL;
}

static json_t *keep(json_t *o) {
    return json_is_object(o) && json_object_size(o) > 0 ? json_incref(o) : NULL;
}

bool inventory_read_condition(const json_t *o, const char *type, const char *status, const json_t **out) {
    size_t i;
    const json_t *c;
    json_array_foreach(js_at(o, "status", "conditions", NULL), i, c) {
        if (!strcmp(js_text(c, "type", NULL), type)) {
            if (out) {
                *out = c;
            }
            return !strcmp(js_text(c, "status", NULL), status);
        }
    }
    return false;
}

struct inv_namespace *inventory_read_namespace(const json_t *o) {
    struct inv_namespace *n = mem_alloc(sizeof *n);
    n->name = mem_dup(js_text(o, "metadata", "name", NULL));
    n->uid = mem_dup(js_text(o, "metadata", "uid", NULL));
    n->resource_version = mem_dup(js_text(o, "metadata", "resourceVersion", NULL));
    n->labels = keep(js_at(o, "metadata", "labels", NULL));
    n->annotations = keep(js_at(o, "metadata", "annotations", NULL));
    n->terminating =
        js_str(o, "metadata", "deletionTimestamp", NULL) || !strcmp(js_text(o, "status", "phase", NULL), "Terminating");
    return n;
}

static json_t *pod_annotations(const json_t *all) {
    json_t *out = json_object();
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)all, key, v) {
        bool ours = strstr(key, "istio.io/") || strstr(key, "meshgate.io/");
        if (ours && strcmp(key, "sidecar.istio.io/status") != 0) {
            json_object_set(out, key, v);
        }
    }
    if (json_object_size(out) == 0) {
        json_decref(out);
        return NULL;
    }
    return out;
}

static const json_t *container(const json_t *pod, const char *list, const char *name) {
    size_t i;
    const json_t *c;
    json_array_foreach(js_at(pod, "spec", list, NULL), i, c) {
        if (!strcmp(js_text(c, "name", NULL), name)) {
            return c;
        }
    }
    return NULL;
}

/* "istiod[-REV].NS.svc:15012" as ztunnel's chart writes it; "" when it is something else. */
static char *dialled_revision(const json_t *proxy) {
    static const char service[] = "istiod";
    size_t i;
    const json_t *e;
    json_array_foreach(js_at(proxy, "env", NULL), i, e) {
        const char *value = js_text(e, "value", NULL), *rest = value + sizeof service - 1;
        bool xds = !strcmp(js_text(e, "name", NULL), "XDS_ADDRESS");
        if (!xds || strncmp(value, service, sizeof service - 1) != 0) {
            continue;
        }
        size_t len = *rest == '-' ? strcspn(rest + 1, ".") : 0;
        if (*rest == '.') {
            return mem_dup("default");
        }
        return len > 0 && rest[1 + len] == '.' ? mem_printf("%.*s", (int)len, rest + 1) : mem_dup("");
    }
    return mem_dup("");
}

/* The annotations tell the truth; the label istio.io/rev can lie and is not looked at. */
static char *pod_revision(const json_t *o, const json_t *proxy, enum pod_type type) {
    const char *revision = js_text(o, "metadata", "annotations", "istio.io/rev", NULL);
    if (*revision) {
        return mem_dup(revision);
    }
    if (type == POD_ZTUNNEL) {
        return dialled_revision(proxy);
    }
    const char *text = js_text(o, "metadata", "annotations", "sidecar.istio.io/status", NULL);
    json_t *status = js_parse(text, strlen(text), 1 << 20, NULL);
    char *out = mem_dup(js_text(status, "revision", NULL));
    json_decref(status);
    return out;
}

const json_t *inventory_read_controller(const json_t *o) {
    size_t i;
    const json_t *ref;
    json_array_foreach(js_at(o, "metadata", "ownerReferences", NULL), i, ref) {
        bool named = *js_text(ref, "kind", NULL) && *js_text(ref, "name", NULL);
        if (named && js_bool(ref, false, "controller", NULL)) {
            return ref;
        }
    }
    return NULL;
}

/* A kind that somebody else's group has as well (a StatefulSet of apps.kruise.io) is told apart by the group. */
char *inventory_read_owner_kind(const json_t *reference) {
    static const struct {
        const char *kind, *group;
    } ours[] = {{"ReplicaSet", "apps"}, {"Deployment", "apps"}, {"StatefulSet", "apps"},    {"DaemonSet", "apps"},
                {"Job", "batch"},       {"CronJob", "batch"},   {"Rollout", "argoproj.io"}, {"Gateway", GATEWAY_GROUP}};
    const char *kind = js_text(reference, "kind", NULL), *version = js_text(reference, "apiVersion", NULL);
    size_t len = strcspn(version, "/");
    for (size_t i = 0; *version && i < COUNT(ours); i++) {
        bool same_group = strlen(ours[i].group) == len && !strncmp(version, ours[i].group, len);
        if (!strcmp(kind, ours[i].kind) && !same_group) {
            return mem_printf("%s.%.*s", kind, version[len] ? (int)len : 0, version);
        }
    }
    return mem_dup(kind);
}

/* What istiod makes of a Gateway refers to it without calling it the controller. */
static const json_t *gateway_of(const json_t *o) {
    size_t i;
    const json_t *ref;
    json_array_foreach(js_at(o, "metadata", "ownerReferences", NULL), i, ref) {
        const char *version = js_text(ref, "apiVersion", NULL);
        if (!strcmp(js_text(ref, "kind", NULL), "Gateway") && !strncmp(version, GATEWAY_GROUP "/", sizeof GATEWAY_GROUP)) {
            return ref;
        }
    }
    return NULL;
}

struct inv_pod *inventory_read_pod(const json_t *o) {
    struct inv_pod *p = mem_alloc(sizeof *p);
    const json_t *owner = inventory_read_controller(o), *proxy = container(o, "containers", "istio-proxy");
    const char *phase = js_text(o, "status", "phase", NULL);
    proxy = proxy ? proxy : container(o, "initContainers", "istio-proxy");
    p->uid = mem_dup(js_text(o, "metadata", "uid", NULL));
    p->namespace_ = mem_dup(js_text(o, "metadata", "namespace", NULL));
    p->name = mem_dup(js_text(o, "metadata", "name", NULL));
    p->node = text_of(js_str(o, "spec", "nodeName", NULL));
    p->ip = text_of(js_str(o, "status", "podIP", NULL));
    p->labels = keep(js_at(o, "metadata", "labels", NULL));
    p->annotations = pod_annotations(js_at(o, "metadata", "annotations", NULL));
    p->type = inventory_pod_type(o, proxy);
    p->injected = proxy ? pod_revision(o, proxy, p->type) : NULL;
    p->proxy_image = text_of(js_str(proxy, "image", NULL));
    p->owner_kind = owner ? inventory_read_owner_kind(owner) : NULL;
    p->owner_name = text_of(js_str(owner, "name", NULL));
    p->host_network = js_bool(o, false, "spec", "hostNetwork", NULL);
    p->ready = inventory_read_condition(o, "Ready", "True", NULL);
    p->deleting = js_str(o, "metadata", "deletionTimestamp", NULL) != NULL;
    p->finished = !strcmp(phase, "Succeeded") || !strcmp(phase, "Failed");
    if (!p->finished && !p->deleting) {
        inventory_read_trouble(p, o);
    }
    if (!text_rfc3339(js_text(o, "metadata", "creationTimestamp", NULL), &p->created_wall_ms)) {
        p->created_wall_ms = 0;
    }
    return p;
}

const char *inventory_kind_name(enum workload_kind k) {
    switch (k) {
    case KIND_DEPLOYMENT:
        return "Deployment";
    case KIND_STATEFULSET:
        return "StatefulSet";
    case KIND_DAEMONSET:
        return "DaemonSet";
    case KIND_REPLICASET:
        return "ReplicaSet";
    case KIND_JOB:
        return "Job";
    case KIND_CRONJOB:
        return "CronJob";
    case KIND_ROLLOUT:
        return "Rollout";
    case KIND_GATEWAY:
        return "Gateway";
    case KIND_BARE_POD:
        return "Pod";
    case KIND_UNKNOWN:
    case KIND_OTHER:
        break;
    }
    return "Other";
}

static bool deployment_settled(const json_t *o, int64_t wanted) {
    return js_int(o, 0, "status", "updatedReplicas", NULL) == wanted &&
           js_int(o, 0, "status", "replicas", NULL) == wanted && js_int(o, 0, "status", "readyReplicas", NULL) == wanted;
}

static bool statefulset_settled(const json_t *o, int64_t wanted) {
    const char *update = js_text(o, "status", "updateRevision", NULL);
    return *update && !strcmp(update, js_text(o, "status", "currentRevision", NULL)) &&
           js_int(o, 0, "status", "replicas", NULL) == wanted && js_int(o, 0, "status", "readyReplicas", NULL) == wanted;
}

static bool daemonset_settled(const json_t *o, int64_t wanted) {
    return js_int(o, 0, "status", "updatedNumberScheduled", NULL) == wanted &&
           js_int(o, 0, "status", "numberReady", NULL) == wanted;
}

static bool settled(const json_t *o, enum workload_kind kind, int64_t wanted) {
    int64_t generation = js_int(o, -1, "metadata", "generation", NULL);
    if (generation < 0 || js_int(o, -2, "status", "observedGeneration", NULL) != generation) {
        return false;
    }
    return kind == KIND_DEPLOYMENT    ? deployment_settled(o, wanted)
           : kind == KIND_STATEFULSET ? statefulset_settled(o, wanted)
                                      : kind == KIND_DAEMONSET && daemonset_settled(o, wanted);
}

struct inv_workload *inventory_read_workload(const json_t *o, enum workload_kind kind) {
    struct inv_workload *w = mem_alloc(sizeof *w);
    const json_t *c = NULL, *gateway = kind == KIND_DEPLOYMENT ? gateway_of(o) : NULL;
    int64_t wanted = kind == KIND_DAEMONSET ? js_int(o, 0, "status", "desiredNumberScheduled", NULL)
                                            : js_int(o, 1, "spec", "replicas", NULL);
    w->kind = gateway ? KIND_GATEWAY : kind;
    w->namespace_ = mem_dup(js_text(o, "metadata", "namespace", NULL));
    w->name = mem_dup(js_text(gateway ? gateway : js_at(o, "metadata", NULL), "name", NULL));
    w->key = mem_printf("%s/%s/%s", inventory_kind_name(w->kind), w->namespace_, w->name);
    w->uid = mem_dup(js_text(o, "metadata", "uid", NULL));
    w->resource_version = mem_dup(js_text(o, "metadata", "resourceVersion", NULL));
    w->replicas = wanted < 0 || wanted > INT32_MAX ? 0 : (uint32_t)wanted;
    w->restart_mark = text_of(js_str(o, "spec", "template", "metadata", "annotations", MESHGATE_MARK_TEMPLATE, NULL));
    w->paused = js_bool(o, false, "spec", "paused", NULL);
    w->on_delete = !strcmp(js_text(o, "spec", "updateStrategy", "type", NULL), "OnDelete");
    w->settled = settled(o, kind, wanted);
    if (inventory_read_condition(o, "ReplicaFailure", "True", &c)) {
        w->failed_create = true;
        w->failed_create_text = text_of(js_str(c, "message", NULL));
        w->create_trouble = inventory_create_trouble(js_text(c, "message", NULL));
    }
    c = NULL;
    if (inventory_read_condition(o, "Progressing", "False", &c)) {
        w->overdue = !strcmp(js_text(c, "reason", NULL), "ProgressDeadlineExceeded");
    }
    return w;
}

struct inv_upgrade *inventory_read_upgrade(const json_t *o) {
    struct inv_upgrade *u = mem_alloc(sizeof *u);
    u->name = mem_dup(js_text(o, "metadata", "name", NULL));
    u->uid = mem_dup(js_text(o, "metadata", "uid", NULL));
    u->resource_version = mem_dup(js_text(o, "metadata", "resourceVersion", NULL));
    u->generation = js_int(o, 0, "metadata", "generation", NULL);
    if (!text_rfc3339(js_text(o, "metadata", "creationTimestamp", NULL), &u->created_wall_ms)) {
        u->created_wall_ms = 0;
    }
    u->spec = json_incref(js_at(o, "spec", NULL));
    u->status = keep(js_at(o, "status", NULL));
    return u;
}
