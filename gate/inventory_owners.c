/*
 * Workloads, and the way from a pod to the one that a person would name. Deployments, StatefulSets, DaemonSets, ReplicaSets
 * without an owner and Jobs without a CronJob are objects of their own. Owners of kinds that nobody watches (Rollout,
 * CronJob, foreign kinds) are kept as bare names for as long as a pod, ReplicaSet or Job refers to them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/base/json.h"
#include "../lib/base/mem.h"
#include "inventory_tables.h"

struct inventory_link {
    char *key;   /* "ReplicaSet/NS/NAME" */
    char *owner; /* key of a workload; its own for an object without an owner */
    bool shadow; /* that is one of a kind that nobody watches */
    UT_hash_handle hh;
};

enum { KEY_MAX = 700 };

static void make_key(char out[KEY_MAX], const char *kind, const char *ns, const char *name) {
    snprintf(out, KEY_MAX, "%s/%s/%s", kind, ns, name);
}

static struct inv_workload *find_workload(const struct inventory_tables *t, const char *key) {
    struct inv_workload *w;
    HASH_FIND_STR(t->inv.workloads, key, w);
    return w;
}

static struct inventory_link *find_link(const struct inventory_tables *t, const char *key) {
    struct inventory_link *l;
    HASH_FIND_STR(t->links, key, l);
    return l;
}

static void workload_free(struct inventory_tables *t, struct inv_workload *w) {
    HASH_DEL(t->inv.workloads, w);
    inventory_fields_free(&inventory_workload_fields, w);
    free(w);
}

bool inventory_workload_put(struct inventory_tables *t, struct inv_workload *w) {
    struct inv_workload *old = find_workload(t, w->key);
    if (!old) {
        HASH_ADD_KEYPTR(hh, t->inv.workloads, w->key, strlen(w->key), w);
        return true;
    }
    bool differs = inventory_fields_differ(&inventory_workload_fields, old, w);
    /* The table points to the key of the old struct: it stays. */
    char *key = w->key;
    w->key = old->key;
    old->key = key;
    inventory_fields_move(&inventory_workload_fields, old, w);
    free(w);
    return differs;
}

bool inventory_workload_drop(struct inventory_tables *t, enum workload_kind kind, const char *namespace_,
                             const char *name) {
    char key[KEY_MAX];
    make_key(key, inventory_kind_name(kind), namespace_, name);
    struct inv_workload *w = find_workload(t, key);
    if (w) {
        workload_free(t, w);
    }
    return w != NULL;
}

/* --- owners that nobody watches --- */

static enum workload_kind shadow_kind(const char *kind) {
    if (!strcmp(kind, "CronJob")) {
        return KIND_CRONJOB;
    }
    return strcmp(kind, "Rollout") ? KIND_OTHER : KIND_ROLLOUT;
}

static void shadow_ref(struct inventory_tables *t, const char *key, const char *kind, const char *ns, const char *name) {
    struct inv_workload *w = find_workload(t, key);
    if (!w) {
        w = mem_alloc(sizeof *w);
        w->kind = shadow_kind(kind);
        w->key = mem_dup(key);
        w->namespace_ = mem_dup(ns);
        w->name = mem_dup(name);
        HASH_ADD_KEYPTR(hh, t->inv.workloads, w->key, strlen(w->key), w);
    }
    w->refs++;
}

static void shadow_unref(struct inventory_tables *t, const char *key) {
    struct inv_workload *w = find_workload(t, key);
    if (w && --w->refs == 0) {
        workload_free(t, w);
    }
}

/* Kinds whose objects are looked up instead. */
static bool watched(const char *kind) {
    static const char *const kinds[] = {"ReplicaSet", "Job", "StatefulSet", "DaemonSet", "Deployment"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (!strcmp(kind, kinds[i])) {
            return true;
        }
    }
    return false;
}

void inventory_owner_ref(struct inventory_tables *t, const struct inv_pod *p) {
    char key[KEY_MAX];
    if (p->owner_kind && p->owner_name && !watched(p->owner_kind)) {
        make_key(key, p->owner_kind, p->namespace_, p->owner_name);
        shadow_ref(t, key, p->owner_kind, p->namespace_, p->owner_name);
    }
}

void inventory_owner_unref(struct inventory_tables *t, const struct inv_pod *p) {
    char key[KEY_MAX];
    if (p->owner_kind && p->owner_name && !watched(p->owner_kind)) {
        make_key(key, p->owner_kind, p->namespace_, p->owner_name);
        shadow_unref(t, key);
    }
}

/* --- ReplicaSets and Jobs --- */

static void link_free(struct inventory_tables *t, struct inventory_link *l) {
    HASH_DEL(t->links, l);
    if (l->shadow) {
        shadow_unref(t, l->owner);
    }
    free(l->key);
    free(l->owner);
    free(l);
}

static bool link_to(struct inventory_tables *t, const char *key, const char *owner) {
    const struct inventory_link *l = find_link(t, key);
    return l && !strcmp(l->owner, owner);
}

static struct inventory_link *link_add(struct inventory_tables *t, const char *key, const char *owner) {
    struct inventory_link *l = mem_alloc(sizeof *l);
    l->key = mem_dup(key);
    l->owner = mem_dup(owner);
    HASH_ADD_KEYPTR(hh, t->links, l->key, strlen(l->key), l);
    return l;
}

bool inventory_link_put(struct inventory_tables *t, enum workload_kind kind, const json_t *o) {
    const char *ns = js_text(o, "metadata", "namespace", NULL), *name = js_text(o, "metadata", "name", NULL);
    const json_t *ref = inventory_read_controller(o);
    char *owner_kind = ref ? inventory_read_owner_kind(ref) : mem_dup(inventory_kind_name(kind));
    const char *owner_name = ref ? js_text(ref, "name", NULL) : name;
    char key[KEY_MAX], owner[KEY_MAX];
    make_key(key, inventory_kind_name(kind), ns, name);
    make_key(owner, owner_kind, ns, owner_name);
    bool known = link_to(t, key, owner);
    if (!known) {
        inventory_link_drop(t, kind, ns, name);
        struct inventory_link *l = link_add(t, key, owner);
        l->shadow = ref && !watched(owner_kind);
        if (l->shadow) {
            shadow_ref(t, owner, owner_kind, ns, owner_name);
        }
    }
    bool changed = !ref && inventory_workload_put(t, inventory_read_workload(o, kind));
    free(owner_kind);
    return changed || !known;
}

bool inventory_link_drop(struct inventory_tables *t, enum workload_kind kind, const char *namespace_, const char *name) {
    char key[KEY_MAX];
    make_key(key, inventory_kind_name(kind), namespace_, name);
    struct inventory_link *l = find_link(t, key);
    if (l) {
        link_free(t, l);
    }
    return inventory_workload_drop(t, kind, namespace_, name) || l;
}

/* --- Deployments: most are themselves, some are a Gateway's --- */

bool inventory_deployment_put(struct inventory_tables *t, const json_t *o) {
    const char *ns = js_text(o, "metadata", "namespace", NULL), *name = js_text(o, "metadata", "name", NULL);
    struct inv_workload *w = inventory_read_workload(o, KIND_DEPLOYMENT);
    char key[KEY_MAX];
    make_key(key, inventory_kind_name(KIND_DEPLOYMENT), ns, name);
    bool managed = strcmp(key, w->key) != 0, moved = managed ? !link_to(t, key, w->key) : find_link(t, key) != NULL;
    if (moved) {
        inventory_deployment_drop(t, ns, name);
    }
    if (moved && managed) {
        link_add(t, key, w->key);
    }
    return inventory_workload_put(t, w) || moved;
}

bool inventory_deployment_drop(struct inventory_tables *t, const char *namespace_, const char *name) {
    char key[KEY_MAX];
    make_key(key, inventory_kind_name(KIND_DEPLOYMENT), namespace_, name);
    struct inventory_link *l = find_link(t, key);
    struct inv_workload *w = find_workload(t, l ? l->owner : key);
    if (w) {
        workload_free(t, w);
    }
    if (l) {
        link_free(t, l);
    }
    return w || l;
}

const struct inv_workload *inventory_owner_of(const struct inventory_tables *t, const struct inv_pod *p,
                                              enum workload_kind *kind, const char **name) {
    char key[KEY_MAX];
    if (!p->owner_kind || !p->owner_name) {
        *kind = KIND_BARE_POD;
        *name = p->name;
        return NULL;
    }
    make_key(key, p->owner_kind, p->namespace_, p->owner_name);
    const struct inventory_link *l = find_link(t, key), *above = l ? find_link(t, l->owner) : NULL;
    l = above ? above : l;
    const struct inv_workload *w = find_workload(t, l ? l->owner : key);
    *kind = w ? w->kind : KIND_UNKNOWN;
    *name = w ? w->name : p->owner_name;
    return w;
}

void inventory_owners_done(struct inventory_tables *t) {
    struct inventory_link *l, *next_link;
    struct inv_workload *w, *next;
    HASH_ITER(hh, t->links, l, next_link) {
        link_free(t, l);
    }
    HASH_ITER(hh, t->inv.workloads, w, next) {
        workload_free(t, w);
    }
}
