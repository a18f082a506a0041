/*
 * Revisions and their replicas, made anew from the few Services, EndpointSlices, nodes and istiod pods whenever one of them
 * changes. A Service with label istio.io/tag belongs to a tag: it adds an address to the revision in istio.io/rev.
 */
#include <stdlib.h>
#include <string.h>

#include "../lib/base/buf.h"
#include "../lib/base/json.h"
#include "../lib/base/mem.h"
#include "inventory_tables.h"

enum { XDS_PORT = 15012, MONITORING_PORT = 15014 };

/* What is kept of an object, by its name (of an istiod pod: by its UID). */
struct piece_of {
    char *name;
    json_t *about;
    UT_hash_handle hh;
};

struct inventory_mesh {
    struct piece_of *services; /* {rev, tag, ips} */
    struct piece_of *slices;   /* {service, endpoints, ports} */
    struct piece_of *zones;    /* string, by node */
    struct piece_of *versions; /* string, by pod UID */
};

/* --- pieces --- */

static bool piece_drop(struct piece_of **table, const char *name) {
    struct piece_of *x;
    HASH_FIND_STR(*table, name, x);
    if (!x) {
        return false;
    }
    HASH_DEL(*table, x);
    free(x->name);
    json_decref(x->about);
    free(x);
    return true;
}

/* Takes about; NULL: forget. True when something changed. */
static bool piece_put(struct piece_of **table, const char *name, json_t *about) {
    struct piece_of *x;
    if (!about) {
        return piece_drop(table, name);
    }
    HASH_FIND_STR(*table, name, x);
    bool same = x && json_equal(x->about, about);
    if (!x) {
        x = mem_alloc(sizeof *x);
        x->name = mem_dup(name);
        HASH_ADD_KEYPTR(hh, *table, x->name, strlen(x->name), x);
    }
    json_decref(x->about);
    x->about = about;
    return !same;
}

static const json_t *piece_get(struct piece_of *table, const char *name) {
    struct piece_of *x;
    HASH_FIND_STR(table, name, x);
    return x ? x->about : NULL;
}

static void pieces_free(struct piece_of **table) {
    while (*table) {
        piece_drop(table, (*table)->name);
    }
}

struct inventory_mesh *inventory_mesh_new(void) {
    return mem_alloc(sizeof(struct inventory_mesh));
}

void inventory_mesh_free(struct inventory_mesh *m) {
    pieces_free(&m->services);
    pieces_free(&m->slices);
    pieces_free(&m->zones);
    pieces_free(&m->versions);
    free(m);
}

/* --- reading --- */

static json_t *service_about(const json_t *o) {
    const json_t *labels = js_at(o, "metadata", "labels", NULL);
    const char *rev = js_text(labels, "istio.io/rev", NULL), *ip = js_text(o, "spec", "clusterIP", NULL);
    if (strcmp(js_text(labels, "app", NULL), "istiod") != 0) {
        return NULL;
    }
    json_t *ips = js_at(o, "spec", "clusterIPs", NULL), *kept = json_array();
    size_t i;
    const json_t *v;
    json_array_foreach(ips, i, v) {
        if (json_is_string(v) && strcmp(json_string_value(v), "None") != 0) {
            json_array_append_new(kept, json_copy((json_t *)(uintptr_t)v));
        }
    }
    if (!ips && *ip && strcmp(ip, "None") != 0) {
        json_array_append_new(kept, json_string(ip));
    }
    return json_pack("{s:s, s:s, s:o}", "rev", *rev ? rev : "default", "tag", js_text(labels, "istio.io/tag", NULL), "ips",
                     kept);
}

static json_t *slice_about(const json_t *o) {
    const char *service = js_text(o, "metadata", "labels", "kubernetes.io/service-name", NULL);
    if (!*service) {
        return NULL;
    }
    return json_pack("{s:s, s:O*, s:O*}", "service", service, "endpoints", js_at(o, "endpoints", NULL), "ports",
                     js_at(o, "ports", NULL));
}

/* Tag of the image of istiod's container; NULL: no istiod, or an image by digest only. */
static json_t *version_about(const json_t *o) {
    size_t i;
    const json_t *c;
    json_array_foreach(js_at(o, "spec", "containers", NULL), i, c) {
        if (strcmp(js_text(c, "name", NULL), "discovery") != 0) {
            continue;
        }
        const char *image = js_text(c, "image", NULL), *slash = strrchr(image, '/');
        const char *tag = strchr(slash ? slash : image, ':');
        size_t len = tag ? strcspn(tag + 1, "@") : 0;
        return len ? json_stringn(tag + 1, len) : NULL;
    }
    return NULL;
}

static json_t *zone_about(const json_t *o) {
    const char *zone = js_text(o, "metadata", "labels", "topology.kubernetes.io/zone", NULL);
    return *zone ? json_string(zone) : NULL;
}

static struct piece_of **table_of(struct inventory_mesh *m, enum inventory_resource r) {
    return r == INVENTORY_SERVICES ? &m->services
           : r == INVENTORY_SLICES ? &m->slices
           : r == INVENTORY_NODES  ? &m->zones
                                   : &m->versions;
}

bool inventory_mesh_put(struct inventory_tables *t, enum inventory_resource r, const json_t *o) {
    const char *name = js_text(o, "metadata", r == INVENTORY_PODS ? "uid" : "name", NULL);
    json_t *about = r == INVENTORY_SERVICES ? service_about(o)
                    : r == INVENTORY_SLICES ? slice_about(o)
                    : r == INVENTORY_NODES  ? zone_about(o)
                                            : version_about(o);
    return piece_put(table_of(t->mesh, r), name, about);
}

bool inventory_mesh_drop(struct inventory_tables *t, enum inventory_resource r, const char *name, const char *uid) {
    return piece_drop(table_of(t->mesh, r), r == INVENTORY_PODS ? uid : name);
}

const char *inventory_mesh_zone(const struct inventory_tables *t, const char *node) {
    return node ? json_string_value(piece_get(t->mesh->zones, node)) : NULL;
}

/* --- making --- */

static struct inv_revision *revision_of(struct inventory *inv, const char *name, const char *istio_namespace) {
    struct inv_revision *r;
    HASH_FIND_STR(inv->revisions, name, r);
    if (!r) {
        bool plain = !strcmp(name, "default");
        r = mem_alloc(sizeof *r);
        r->name = mem_dup(name);
        r->server_name = mem_printf("istiod%s%s.%s.svc", plain ? "" : "-", plain ? "" : name, istio_namespace);
        r->service_ips = json_array();
        r->tags = json_array();
        HASH_ADD_KEYPTR(hh, inv->revisions, r->name, strlen(r->name), r);
    }
    return r;
}

static uint16_t port_named(const json_t *ports, const char *name, uint16_t absent) {
    size_t i;
    const json_t *p;
    json_array_foreach(ports, i, p) {
        int64_t n = js_int(p, 0, "port", NULL);
        if (!strcmp(js_text(p, "name", NULL), name) && n > 0 && n < 65536) {
            return (uint16_t)n;
        }
    }
    return absent;
}

static void add_replica(const struct inventory_tables *t, struct inventory *inv, const char *revision,
                        const json_t *endpoint, const json_t *ports) {
    const char *address = json_string_value(json_array_get(js_at(endpoint, "addresses", NULL), 0));
    const char *uid = js_str(endpoint, "targetRef", "uid", NULL), *node = js_str(endpoint, "nodeName", NULL);
    const char *name = js_str(endpoint, "targetRef", "name", NULL), *zone = js_str(endpoint, "zone", NULL);
    struct inv_replica *r;
    if (!address) {
        return;
    }
    uid = uid ? uid : address; /* an istiod that is no pod of this cluster */
    HASH_FIND_STR(inv->replicas, uid, r);
    if (r) {
        return; /* the other address family, or a second Service of the revision */
    }
    r = mem_alloc(sizeof *r);
    r->uid = mem_dup(uid);
    r->name = mem_dup(name ? name : address);
    r->address = mem_dup(address);
    r->revision = mem_dup(revision);
    r->node = mem_dup(node);
    r->zone = mem_dup(zone ? zone : inventory_mesh_zone(t, node));
    r->ready = js_bool(endpoint, true, "conditions", "ready", NULL); /* absent means ready, says the API */
    r->xds_port = port_named(ports, "https-dns", XDS_PORT);
    r->http_port = port_named(ports, "http-monitoring", MONITORING_PORT);
    HASH_ADD_KEYPTR(hh, inv->replicas, r->uid, strlen(r->uid), r);
}

static void add_version(const struct inventory_tables *t, struct inventory *inv, struct inv_replica *r) {
    const char *version = json_string_value(piece_get(t->mesh->versions, r->uid));
    struct inv_revision *v;
    mem_set(&r->version, version);
    HASH_FIND_STR(inv->revisions, r->revision, v);
    if (v && version && !v->version) {
        v->version = mem_dup(version);
    }
}

static int by_piece(const struct piece_of *a, const struct piece_of *b) {
    return strcmp(a->name, b->name);
}

static int by_revision(const struct inv_revision *a, const struct inv_revision *b) {
    return strcmp(a->name, b->name);
}

static int by_replica(const struct inv_replica *a, const struct inv_replica *b) {
    return strcmp(a->uid, b->uid);
}

static void make(struct inventory_tables *t, struct inventory *out) {
    const struct piece_of *x;
    HASH_SORT(t->mesh->services, by_piece);
    HASH_SORT(t->mesh->slices, by_piece);
    for (x = t->mesh->services; x; x = x->hh.next) {
        struct inv_revision *r = revision_of(out, js_text(x->about, "rev", NULL), t->istio_namespace);
        json_array_extend(r->service_ips, js_at(x->about, "ips", NULL));
        if (*js_text(x->about, "tag", NULL)) {
            json_array_append(r->tags, js_at(x->about, "tag", NULL));
        }
    }
    for (x = t->mesh->slices; x; x = x->hh.next) {
        const json_t *service = piece_get(t->mesh->services, js_text(x->about, "service", NULL));
        size_t i;
        const json_t *endpoint;
        if (!service || *js_text(service, "tag", NULL)) {
            continue;
        }
        json_array_foreach(js_at(x->about, "endpoints", NULL), i, endpoint) {
            add_replica(t, out, js_text(service, "rev", NULL), endpoint, js_at(x->about, "ports", NULL));
        }
    }
    HASH_SORT(out->revisions, by_revision);
    HASH_SORT(out->replicas, by_replica);
    for (struct inv_replica *r = out->replicas; r; r = r->hh.next) {
        add_version(t, out, r);
    }
    for (struct inv_revision *r = out->revisions; r; r = r->hh.next) {
        const char *service, *ns;
        r->has_injector = injectors_service(t->inv.injectors, r->name, &service, &ns);
    }
}

/* All that revisions and replicas say, for telling whether anything changed. */
static char *mesh_text(const struct inventory *inv) {
    json_t *all = json_array();
    for (const struct inv_revision *r = inv->revisions; r; r = r->hh.next) {
        json_array_append_new(all, json_pack("[s, s, O, O, s?, b]", r->name, r->server_name, r->service_ips, r->tags,
                                             r->version, r->has_injector));
    }
    for (const struct inv_replica *r = inv->replicas; r; r = r->hh.next) {
        json_array_append_new(all, json_pack("[s, s, s, s, s?, s?, s?, b, i, i]", r->uid, r->name, r->address, r->revision,
                                             r->node, r->zone, r->version, r->ready, r->xds_port, r->http_port));
    }
    char *s = js_dump(all);
    json_decref(all);
    return s;
}

void inventory_mesh_clear(struct inventory *inv) {
    struct inv_revision *r, *next;
    struct inv_replica *p, *next_replica;
    HASH_ITER(hh, inv->revisions, r, next) {
        HASH_DEL(inv->revisions, r);
        free(r->name);
        free(r->server_name);
        free(r->version);
        json_decref(r->service_ips);
        json_decref(r->tags);
        free(r);
    }
    HASH_ITER(hh, inv->replicas, p, next_replica) {
        HASH_DEL(inv->replicas, p);
        free(p->uid);
        free(p->name);
        free(p->address);
        free(p->revision);
        free(p->node);
        free(p->zone);
        free(p->version);
        free(p);
    }
}

/* How the injector of a revision reads labels; its processes must agree. */
static enum injector_words words_of(const struct inventory *inv, const char *revision) {
    enum injector_words all = WORDS_UNKNOWN;
    for (const struct inv_replica *r = inv->replicas; r; r = r->hh.next) {
        enum injector_words one = injector_words_of(r->version);
        if (strcmp(r->revision, revision) != 0) {
            continue;
        }
        if (one == WORDS_UNKNOWN || (all != WORDS_UNKNOWN && all != one)) {
            return WORDS_UNKNOWN;
        }
        all = one;
    }
    return all;
}

static bool set_words(struct inventory_tables *t, const struct inventory *fresh) {
    bool changed = false;
    for (const struct inv_revision *r = t->inv.revisions; r; r = r->hh.next) {
        changed |= injectors_set_words(t->inv.injectors, r->name, words_of(fresh, r->name));
    }
    for (const struct inv_revision *r = fresh->revisions; r; r = r->hh.next) {
        changed |= injectors_set_words(t->inv.injectors, r->name, words_of(fresh, r->name));
    }
    return changed;
}

bool inventory_mesh_rebuild(struct inventory_tables *t, bool *words) {
    struct inventory fresh = {0};
    make(t, &fresh);
    char *was = mesh_text(&t->inv), *is = mesh_text(&fresh);
    bool changed = strcmp(was, is) != 0;
    if (changed) {
        *words = set_words(t, &fresh);
        inventory_mesh_clear(&t->inv);
        t->inv.revisions = fresh.revisions;
        t->inv.replicas = fresh.replicas;
    } else {
        inventory_mesh_clear(&fresh);
    }
    free(was);
    free(is);
    return changed;
}

const char *inventory_mesh_tag(const struct inventory *inv, const char *tag) {
    for (const struct inv_revision *r = inv->revisions; r; r = r->hh.next) {
        size_t i;
        const json_t *v;
        json_array_foreach(r->tags, i, v) {
            if (!strcmp(json_string_value(v), tag)) {
                return r->name;
            }
        }
    }
    return NULL;
}
