/*
 * Proxies that no injection webhook decides about.
 *
 * Gateways and waypoints that istiods make of a Gateway (Gateway API): the istiod whose revision or tag stands in the label
 * istio.io/rev of the Gateway, or where it has none of its namespace, is the one that renders the Deployment; without
 * either the one with the tag "default", else the revision in the label of istiod-default-validator
 * (pkg/revisions/tag_watcher.go IsMine, read at 1.30.3).
 *
 * A ztunnel is what its own DaemonSet says. Proxies on machines outside have no pod at all: their WorkloadEntries are kept.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/base/json.h"
#include "../lib/base/mem.h"
#include "inventory_tables.h"

struct inventory_gateway {
    char *key;      /* "NS/NAME" */
    char *revision; /* label istio.io/rev, NULL none */
    UT_hash_handle hh;
};

enum { KEY_MAX = 600 };

static const char rev_label[] = "istio.io/rev", validator[] = "istiod-default-validator";

static bool same(const char *a, const char *b) {
    return a == b || (a && b && !strcmp(a, b));
}

/* --- Gateways --- */

static struct inventory_gateway *find_gateway(const struct inventory_tables *t, const char *ns, const char *name) {
    char key[KEY_MAX];
    struct inventory_gateway *g;
    snprintf(key, sizeof key, "%s/%s", ns, name);
    HASH_FIND_STR(t->gateways, key, g);
    return g;
}

static void gateway_free(struct inventory_tables *t, struct inventory_gateway *g) {
    HASH_DEL(t->gateways, g);
    free(g->key);
    free(g->revision);
    free(g);
}

bool inventory_gateway_put(struct inventory_tables *t, const json_t *o) {
    const char *ns = js_text(o, "metadata", "namespace", NULL), *name = js_text(o, "metadata", "name", NULL);
    const char *revision = js_str(o, "metadata", "labels", rev_label, NULL);
    struct inventory_gateway *g = find_gateway(t, ns, name);
    if (g && same(g->revision, revision)) {
        return false;
    }
    if (!g) {
        g = mem_alloc(sizeof *g);
        g->key = mem_printf("%s/%s", ns, name);
        HASH_ADD_KEYPTR(hh, t->gateways, g->key, strlen(g->key), g);
    }
    mem_set(&g->revision, revision);
    return true;
}

bool inventory_gateway_drop(struct inventory_tables *t, const char *namespace_, const char *name) {
    struct inventory_gateway *g = find_gateway(t, namespace_, name);
    if (g) {
        gateway_free(t, g);
    }
    return g != NULL;
}

unsigned inventory_gateway_count(const struct inventory_tables *t) {
    return HASH_COUNT(t->gateways);
}

bool inventory_default_put(struct inventory_tables *t, const json_t *o) {
    const char *revision = js_str(o, "metadata", "labels", rev_label, NULL);
    if (strcmp(js_text(o, "metadata", "name", NULL), validator) != 0 || same(t->default_revision, revision)) {
        return false;
    }
    mem_set(&t->default_revision, revision);
    return true;
}

bool inventory_default_drop(struct inventory_tables *t, const char *name) {
    bool known = !strcmp(name, validator) && t->default_revision;
    if (known) {
        mem_set(&t->default_revision, NULL);
    }
    return known;
}

/* --- whose they are --- */

bool inventory_is_managed(const struct inv_pod *p) {
    return p->type == POD_ZTUNNEL || js_str(p->labels, "gateway.istio.io/managed", NULL) != NULL;
}

static void one(struct injector_verdict *out, const char *revision) {
    out->result = revision ? INJECTOR_ONE : INJECTOR_NONE;
    out->revision = revision;
}

static void of_ztunnel(const struct inv_pod *p, struct injector_verdict *out) {
    if (p->injected && *p->injected) {
        one(out, p->injected);
    } else {
        snprintf(out->why, sizeof out->why, "the ztunnel does not say which revision it dials");
    }
}

void inventory_managed_intent(const struct inventory_tables *t, const struct inv_namespace *n, const struct inv_pod *p,
                              struct injector_verdict *out) {
    const char *name = js_text(p->labels, "gateway.networking.k8s.io/gateway-name", NULL);
    const struct inventory_gateway *g = find_gateway(t, p->namespace_, name);
    *out = (struct injector_verdict){INJECTOR_UNKNOWN};
    if (p->type == POD_ZTUNNEL) {
        of_ztunnel(p, out);
        return;
    }
    if (n && !t->gateways && p->injected && *p->injected) {
        one(out, p->injected); /* a Gateway API older than v1: who made it has it */
        return;
    }
    if (!n || !g) {
        snprintf(out->why, sizeof out->why, "Gateway %.63s/%.63s is not known", p->namespace_, name);
        return;
    }
    const char *wanted = g->revision ? g->revision : js_text(n->labels, rev_label, NULL);
    if (*wanted) {
        one(out, inventory_resolve(&t->inv, wanted));
        return;
    }
    const char *by_tag = inventory_resolve(&t->inv, "default");
    one(out, by_tag ? by_tag : t->default_revision);
}

/* --- machines outside --- */

static struct inv_vm *find_vm(const struct inventory_tables *t, const char *ns, const char *name) {
    char key[KEY_MAX];
    struct inv_vm *v;
    snprintf(key, sizeof key, "%s/%s", ns, name);
    HASH_FIND_STR(t->inv.vms, key, v);
    return v;
}

static void vm_free(struct inventory_tables *t, struct inv_vm *v) {
    HASH_DEL(t->inv.vms, v);
    free(v->key);
    free(v->namespace_);
    free(v->name);
    free(v->address);
    free(v->group);
    free(v);
}

bool inventory_vm_put(struct inventory_tables *t, const json_t *o) {
    const char *ns = js_text(o, "metadata", "namespace", NULL), *name = js_text(o, "metadata", "name", NULL);
    const char *address = js_text(o, "spec", "address", NULL);
    const char *group = js_str(o, "metadata", "annotations", "istio.io/autoRegistrationGroup", NULL);
    bool connected = js_str(o, "metadata", "annotations", "istio.io/connectedAt", NULL) != NULL;
    struct inv_vm *v = find_vm(t, ns, name);
    if (v && same(v->address, address) && same(v->group, group) && v->connected == connected) {
        return false;
    }
    if (!v) {
        v = mem_alloc(sizeof *v);
        v->key = mem_printf("%s/%s", ns, name);
        v->namespace_ = mem_dup(ns);
        v->name = mem_dup(name);
        HASH_ADD_KEYPTR(hh, t->inv.vms, v->key, strlen(v->key), v);
    }
    mem_set(&v->address, address);
    mem_set(&v->group, group);
    v->connected = connected;
    return true;
}

bool inventory_vm_drop(struct inventory_tables *t, const char *namespace_, const char *name) {
    struct inv_vm *v = find_vm(t, namespace_, name);
    if (v) {
        vm_free(t, v);
    }
    return v != NULL;
}

void inventory_gateways_done(struct inventory_tables *t) {
    while (t->gateways) {
        gateway_free(t, t->gateways);
    }
    while (t->inv.vms) {
        vm_free(t, t->inv.vms);
    }
    free(t->default_revision);
}
