/*
 * The tables and the questions that are put to them. What is costly is cached and kept right from here: the revision that
 * would inject each pod changes with the pod's labels, its namespace's labels (then only that namespace's pods are looked
 * at) and the injectors. Labels are shared by the pods of a workload, so that 100,000 pods cost as many sets as there are
 * templates.
 */
#include "inventory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "../lib/base/json.h"
#include "../lib/base/mem.h"
#include "inventory_tables.h"

struct inventory_labels {
    char *text;
    json_t *labels;
    UT_hash_handle hh;
};

struct inventory_bucket {
    char *name;
    struct inv_pod *pods;
    UT_hash_handle hh;
};

enum { SWEEP_MIN = 1024 };

/* --- shared labels --- */

static void labels_sweep(struct inventory_tables *t, bool all) {
    struct inventory_labels *l, *next;
    HASH_ITER(hh, t->labels, l, next) {
        if (all || l->labels->refcount == 1) {
            HASH_DEL(t->labels, l);
            json_decref(l->labels);
            free(l->text);
            free(l);
        }
    }
    t->labels_sweep_at = 2 * HASH_COUNT(t->labels) + SWEEP_MIN;
}

/* Takes labels, gives the same ones shared. */
static json_t *labels_share(struct inventory_tables *t, json_t *labels) {
    struct inventory_labels *l;
    if (!labels) {
        return NULL;
    }
    if (HASH_COUNT(t->labels) >= t->labels_sweep_at) {
        labels_sweep(t, false);
    }
    char *text = json_dumps(labels, JSON_COMPACT | JSON_SORT_KEYS);
    check(text != NULL);
    HASH_FIND_STR(t->labels, text, l);
    if (l) {
        free(text);
        json_decref(labels);
        return json_incref(l->labels);
    }
    l = mem_alloc(sizeof *l);
    l->text = text;
    l->labels = labels;
    HASH_ADD_KEYPTR(hh, t->labels, l->text, strlen(l->text), l);
    return json_incref(labels);
}

/* --- which revision would inject --- */

static struct inv_namespace *find_namespace(const struct inventory_tables *t, const char *name) {
    struct inv_namespace *n;
    HASH_FIND_STR(t->inv.namespaces, name, n);
    return n;
}

static bool expect(struct inventory_tables *t, struct inv_pod *p, enum injector_result kind, const char *revision,
                   enum opt_out opt_out) {
    bool same_name = p->expected ? revision && !strcmp(p->expected, revision) : !revision;
    bool opted = p->opt_out != opt_out;
    p->opt_out = opt_out;
    if (same_name && p->expected_kind == kind) {
        return opted;
    }
    p->expected_kind = kind;
    mem_set(&p->expected, revision);
    p->expected_since_ms = sched_now(t->sched);
    return true;
}

static void ask(const struct inventory_tables *t, const struct inv_namespace *n, const struct inv_pod *p,
                struct injector_verdict *out) {
    const struct injector_subject subject = {p->namespace_, n ? n->labels : NULL, p->labels, p->annotations,
                                             p->host_network};
    if (inventory_is_managed(p)) {
        inventory_managed_intent(t, n, p, out);
        return;
    }
    injectors_ask(t->inv.injectors, &subject, out);
    if (!n) {
        *out = (struct injector_verdict){.opt_out = out->opt_out};
        snprintf(out->why, sizeof out->why, "the namespace is not known");
    }
}

static bool evaluate(struct inventory_tables *t, const struct inv_namespace *n, struct inv_pod *p) {
    struct injector_verdict v;
    ask(t, n, p, &v);
    return expect(t, p, v.result, v.revision, v.opt_out);
}

void inventory_intent_of(const struct inventory_tables *t, const struct inv_pod *p, struct injector_verdict *out) {
    ask(t, find_namespace(t, p->namespace_), p, out);
}

static bool twins(const struct inv_pod *a, const struct inv_pod *b) {
    return a && a->labels == b->labels && a->annotations == b->annotations && a->host_network == b->host_network &&
           a->type == b->type && a->type != POD_ZTUNNEL;
}

/* Neighbours mostly come from one template: what is asked about is the same, and so is the answer. */
static bool evaluate_bucket(struct inventory_tables *t, const struct inventory_bucket *b) {
    const struct inv_namespace *n = b ? find_namespace(t, b->name) : NULL;
    const struct inv_pod *last = NULL;
    struct inv_pod *p;
    bool changed = false;
    DL_FOREACH(b ? b->pods : NULL, p) {
        if (twins(last, p)) {
            changed |= expect(t, p, last->expected_kind, last->expected, last->opt_out);
        } else {
            changed |= evaluate(t, n, p);
        }
        last = p;
    }
    return changed;
}

static bool evaluate_all(struct inventory_tables *t) {
    bool changed = false;
    for (const struct inventory_bucket *b = t->buckets; b; b = b->hh.next) {
        changed |= evaluate_bucket(t, b);
    }
    return changed;
}

static bool mesh_rebuild(struct inventory_tables *t) {
    bool words = false, changed = inventory_mesh_rebuild(t, &words);
    if (words || (changed && t->gateways)) { /* tags may stand in Services */
        evaluate_all(t);
    }
    return changed || words;
}

/* --- namespaces --- */

static struct inventory_bucket *find_bucket(const struct inventory_tables *t, const char *name) {
    struct inventory_bucket *b;
    HASH_FIND_STR(t->buckets, name, b);
    return b;
}

static bool namespace_put(struct inventory_tables *t, const json_t *o) {
    struct inv_namespace *n = inventory_read_namespace(o), *old = find_namespace(t, n->name);
    if (!old) {
        HASH_ADD_KEYPTR(hh, t->inv.namespaces, n->name, strlen(n->name), n);
        evaluate_bucket(t, find_bucket(t, n->name));
        return true;
    }
    bool differs = inventory_fields_differ(&inventory_namespace_fields, old, n);
    bool labels = !(old->labels == n->labels || (old->labels && n->labels && json_equal(old->labels, n->labels)));
    char *name = n->name; /* the table points to the old one's */
    n->name = old->name;
    old->name = name;
    inventory_fields_move(&inventory_namespace_fields, old, n);
    free(n);
    if (labels) {
        evaluate_bucket(t, find_bucket(t, old->name));
    }
    return differs;
}

static bool namespace_drop(struct inventory_tables *t, const char *name) {
    struct inv_namespace *n = find_namespace(t, name);
    if (!n) {
        return false;
    }
    HASH_DEL(t->inv.namespaces, n);
    evaluate_bucket(t, find_bucket(t, name));
    inventory_fields_free(&inventory_namespace_fields, n);
    free(n);
    return true;
}

/* --- pods --- */

static void pod_free(struct inventory_tables *t, struct inv_pod *p) {
    struct inventory_bucket *b = find_bucket(t, p->namespace_);
    DL_DELETE(b->pods, p);
    if (!b->pods) {
        HASH_DEL(t->buckets, b);
        free(b->name);
        free(b);
    }
    HASH_DEL(t->inv.pods, p);
    inventory_owner_unref(t, p);
    inventory_fields_free(&inventory_pod_fields, p);
    free(p->expected);
    free(p);
}

static void pod_add(struct inventory_tables *t, struct inv_pod *p) {
    struct inventory_bucket *b = find_bucket(t, p->namespace_);
    if (!b) {
        b = mem_alloc(sizeof *b);
        b->name = mem_dup(p->namespace_);
        HASH_ADD_KEYPTR(hh, t->buckets, b->name, strlen(b->name), b);
    }
    HASH_ADD_KEYPTR(hh, t->inv.pods, p->uid, strlen(p->uid), p);
    DL_APPEND(b->pods, p);
    inventory_owner_ref(t, p);
    p->expected_since_ms = sched_now(t->sched);
    evaluate(t, find_namespace(t, p->namespace_), p);
}

static bool pod_put(struct inventory_tables *t, const json_t *o) {
    struct inv_pod *p = inventory_read_pod(o), *old;
    p->labels = labels_share(t, p->labels);
    p->annotations = labels_share(t, p->annotations);
    HASH_FIND_STR(t->inv.pods, p->uid, old);
    bool mesh = !strcmp(p->namespace_, t->istio_namespace) && inventory_mesh_put(t, INVENTORY_PODS, o) && mesh_rebuild(t);
    if (old && strcmp(old->namespace_, p->namespace_) != 0) {
        pod_free(t, old); /* no API server says so of one UID; our lists by namespace must survive it */
        old = NULL;
    }
    if (!old) {
        pod_add(t, p);
        return true;
    }
    bool differs = inventory_fields_differ(&inventory_pod_fields, old, p);
    char *uid = p->uid; /* the table points to the old one's */
    p->uid = old->uid;
    old->uid = uid;
    inventory_owner_ref(t, p);
    inventory_owner_unref(t, old);
    inventory_fields_move(&inventory_pod_fields, old, p);
    free(p);
    if (differs) {
        evaluate(t, find_namespace(t, old->namespace_), old);
    }
    return differs || mesh;
}

static bool pod_drop(struct inventory_tables *t, const char *uid) {
    struct inv_pod *p;
    HASH_FIND_STR(t->inv.pods, uid, p);
    if (!p) {
        return false;
    }
    if (!strcmp(p->namespace_, t->istio_namespace) && inventory_mesh_drop(t, INVENTORY_PODS, p->name, uid)) {
        mesh_rebuild(t);
    }
    pod_free(t, p);
    return true;
}

/* The first and the last one concern all managed pods, the others those of their namespace. */
static bool evaluate_gateways(struct inventory_tables *t, const char *ns) {
    return inventory_gateway_count(t) <= 1 ? evaluate_all(t) : evaluate_bucket(t, find_bucket(t, ns));
}

/* --- upgrades --- */

static void upgrade_free(struct inventory_tables *t, struct inv_upgrade *u) {
    HASH_DEL(t->inv.upgrades, u);
    inventory_fields_free(&inventory_upgrade_fields, u);
    free(u);
}

static bool upgrade_put(struct inventory_tables *t, const json_t *o) {
    struct inv_upgrade *u = inventory_read_upgrade(o), *old;
    HASH_FIND_STR(t->inv.upgrades, u->name, old);
    bool differs = !old || inventory_fields_differ(&inventory_upgrade_fields, old, u);
    if (!old) {
        HASH_ADD_KEYPTR(hh, t->inv.upgrades, u->name, strlen(u->name), u);
        return true;
    }
    char *name = u->name; /* the table points to the old one's */
    u->name = old->name;
    old->name = name;
    inventory_fields_move(&inventory_upgrade_fields, old, u);
    free(u);
    return differs;
}

static bool upgrade_drop(struct inventory_tables *t, const char *name) {
    struct inv_upgrade *u;
    HASH_FIND_STR(t->inv.upgrades, name, u);
    if (u) {
        upgrade_free(t, u);
    }
    return u != NULL;
}

/* --- the tables as a whole --- */

void inventory_init(struct inventory_tables *t, struct sched *sched, const char *istio_namespace) {
    *t = (struct inventory_tables){
        .sched = sched, .istio_namespace = mem_dup(istio_namespace), .mesh = inventory_mesh_new()};
    t->inv.injectors = injectors_new();
    t->labels_sweep_at = SWEEP_MIN;
}

void inventory_done(struct inventory_tables *t) {
    while (t->inv.pods) {
        pod_free(t, t->inv.pods);
    }
    while (t->inv.namespaces) {
        namespace_drop(t, t->inv.namespaces->name);
    }
    while (t->inv.upgrades) {
        upgrade_free(t, t->inv.upgrades);
    }
    inventory_owners_done(t);
    inventory_gateways_done(t);
    inventory_mesh_clear(&t->inv);
    inventory_mesh_free(t->mesh);
    labels_sweep(t, true);
    injectors_free(t->inv.injectors);
    free(t->istio_namespace);
}

static const enum workload_kind kind_of[INVENTORY_RESOURCES] = {
    [INVENTORY_STATEFULSETS] = KIND_STATEFULSET,
    [INVENTORY_DAEMONSETS] = KIND_DAEMONSET,
    [INVENTORY_REPLICASETS] = KIND_REPLICASET,
    [INVENTORY_JOBS] = KIND_JOB,
};

static bool put(struct inventory_tables *t, enum inventory_resource r, const json_t *o) {
    switch (r) {
    case INVENTORY_NAMESPACES:
        return namespace_put(t, o);
    case INVENTORY_WEBHOOKS: {
        bool istio = injectors_put(t->inv.injectors, o);
        bool mesh = mesh_rebuild(t);
        return evaluate_all(t) || istio || mesh;
    }
    case INVENTORY_POLICIES:
        return inventory_policy_put(t, o) && evaluate_all(t);
    case INVENTORY_SERVICES:
    case INVENTORY_SLICES:
    case INVENTORY_NODES:
        return inventory_mesh_put(t, r, o) && (mesh_rebuild(t) || r == INVENTORY_NODES);
    case INVENTORY_REPLICASETS:
    case INVENTORY_JOBS:
        return inventory_link_put(t, kind_of[r], o);
    case INVENTORY_DEPLOYMENTS:
        return inventory_deployment_put(t, o);
    case INVENTORY_STATEFULSETS:
    case INVENTORY_DAEMONSETS:
        return inventory_workload_put(t, inventory_read_workload(o, kind_of[r]));
    case INVENTORY_PODS:
        return pod_put(t, o);
    case INVENTORY_UPGRADES:
        return upgrade_put(t, o);
    case INVENTORY_GATEWAYS:
        return inventory_gateway_put(t, o) && evaluate_gateways(t, js_text(o, "metadata", "namespace", NULL));
    case INVENTORY_VMS:
        return inventory_vm_put(t, o);
    case INVENTORY_VALIDATOR:
        return inventory_default_put(t, o) && evaluate_all(t);
    case INVENTORY_RESOURCES:
        break;
    }
    return false;
}

static bool drop(struct inventory_tables *t, enum inventory_resource r, const char *ns, const char *name, const char *uid) {
    switch (r) {
    case INVENTORY_NAMESPACES:
        return namespace_drop(t, name);
    case INVENTORY_WEBHOOKS:
        injectors_remove(t->inv.injectors, name);
        mesh_rebuild(t);
        evaluate_all(t);
        return true;
    case INVENTORY_POLICIES:
        return injectors_remove_policy(t->inv.injectors, name) && evaluate_all(t);
    case INVENTORY_SERVICES:
    case INVENTORY_SLICES:
    case INVENTORY_NODES:
        return inventory_mesh_drop(t, r, name, uid) && (mesh_rebuild(t) || r == INVENTORY_NODES);
    case INVENTORY_REPLICASETS:
    case INVENTORY_JOBS:
        return inventory_link_drop(t, kind_of[r], ns, name);
    case INVENTORY_DEPLOYMENTS:
        return inventory_deployment_drop(t, ns, name);
    case INVENTORY_STATEFULSETS:
    case INVENTORY_DAEMONSETS:
        return inventory_workload_drop(t, kind_of[r], ns, name);
    case INVENTORY_PODS:
        return pod_drop(t, uid);
    case INVENTORY_UPGRADES:
        return upgrade_drop(t, name);
    case INVENTORY_GATEWAYS:
        return inventory_gateway_drop(t, ns, name) && evaluate_gateways(t, ns);
    case INVENTORY_VMS:
        return inventory_vm_drop(t, ns, name);
    case INVENTORY_VALIDATOR:
        return inventory_default_drop(t, name) && evaluate_all(t);
    case INVENTORY_RESOURCES:
        break;
    }
    return false;
}

bool inventory_put(struct inventory_tables *t, enum inventory_resource r, const json_t *object) {
    bool changed = put(t, r, object);
    t->inv.version += changed;
    return changed;
}

bool inventory_drop(struct inventory_tables *t, enum inventory_resource r, const char *namespace_, const char *name,
                    const char *uid) {
    bool changed = drop(t, r, namespace_, name, uid);
    t->inv.version += changed;
    return changed;
}

/* --- questions --- */

const struct inv_replica *inventory_replica_by_ip(const struct inventory *inv, const char *ip) {
    for (const struct inv_replica *r = inv->replicas; r; r = r->hh.next) {
        if (!strcmp(r->address, ip)) {
            return r;
        }
    }
    return NULL;
}

const char *inventory_revision_by_ip(const struct inventory *inv, const char *ip) {
    for (const struct inv_revision *r = inv->revisions; r; r = r->hh.next) {
        size_t i;
        const json_t *v;
        json_array_foreach(r->service_ips, i, v) {
            if (!strcmp(json_string_value(v), ip)) {
                return r->name;
            }
        }
    }
    const struct inv_replica *replica = inventory_replica_by_ip(inv, ip);
    return replica ? replica->revision : NULL;
}

const char *inventory_resolve(const struct inventory *inv, const char *revision_or_tag) {
    struct inv_revision *r;
    HASH_FIND_STR(inv->revisions, revision_or_tag, r);
    if (r) {
        return r->name;
    }
    const char *by_injector = injectors_resolve(inv->injectors, revision_or_tag);
    return by_injector ? by_injector : inventory_mesh_tag(inv, revision_or_tag);
}
