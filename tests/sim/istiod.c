#include "istiod_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/base/mem.h"
#include "../../lib/base/text.h"

#define TYPE_PREFIX "type.googleapis.com/envoy.config."
static const char type_endpoint[] = TYPE_PREFIX "endpoint.v3.ClusterLoadAssignment";

static uint64_t next_random(struct istiod *i) {
    uint64_t z = (i->random += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

static int64_t wall_ns(struct istiod *i) {
    return sched_wall(i->sched) * 1000000 + (int64_t)(next_random(i) % 1000000);
}

/* A random (version 4) uuid from the istiod's own sequence. */
static void add_uuid(struct istiod *i, char *out, size_t cap) {
    uint64_t a = next_random(i), b = next_random(i);
    snprintf(out, cap, "%08x-%04x-4%03x-%04x-%012llx", (unsigned)(a >> 32), (unsigned)(a >> 16) & 0xffff,
             (unsigned)a & 0xfff, ((unsigned)(b >> 48) & 0x3fff) | 0x8000, (unsigned long long)(b & 0xffffffffffffULL));
}

static void new_push_version(struct istiod *i) {
    char when[40];
    text_rfc3339_format(sched_wall(i->sched) / 1000 * 1000, when, sizeof when);
    snprintf(i->push_version, sizeof i->push_version, "%s/%llu", when, (unsigned long long)++i->pushes);
}

struct istiod *istiod_new(const char *revision, const char *version, const char *pod, struct sched *sched, uint64_t seed) {
    struct istiod *i = mem_alloc(sizeof *i);
    i->revision = mem_dup(revision);
    i->version = mem_dup(version);
    i->pod = mem_dup(pod);
    i->sched = sched;
    i->random = seed;
    i->started_ms = sched_now(sched);
    new_push_version(i);
    return i;
}

static void counts_free(struct istiod_count *x) {
    while (x) {
        struct istiod_count *next = x->next;
        free(x->node);
        free(x);
        x = next;
    }
}

void istiod_free(struct istiod *i) {
    if (!i) {
        return;
    }
    while (i->conns) {
        istiod_disconnect(i->conns);
    }
    counts_free(i->rejects);
    counts_free(i->rejecting_nodes);
    counts_free(i->expired);
    counts_free(i->sent);
    for (size_t n = 0; n < i->n_types; n++) {
        free(i->types[n]);
    }
    free(i->revision);
    free(i->version);
    free(i->pod);
    free(i);
}

static void count(struct istiod_count **list, const char *type, const char *node, bool only_once) {
    struct istiod_count **at = list;
    for (; *at; at = &(*at)->next) {
        if (strcmp((*at)->type, type) == 0 && strcmp((*at)->node ? (*at)->node : "", node ? node : "") == 0) {
            break;
        }
    }
    if (!*at) {
        *at = mem_alloc(sizeof **at);
        (*at)->type = type;
        (*at)->node = mem_dup(node);
    }
    (*at)->value = only_once ? 1 : (*at)->value + 1;
}

static const char *intern_type(struct istiod *i, const char *type_url) {
    for (size_t n = 0; n < i->n_types; n++) {
        if (strcmp(i->types[n], type_url) == 0) {
            return i->types[n];
        }
    }
    if (i->n_types == sizeof i->types / sizeof *i->types) {
        return NULL;
    }
    return i->types[i->n_types++] = mem_dup(type_url);
}

const char *istiod_short_type(const char *type_url) {
    static const struct {
        const char *url, *name;
    } known[] = {
        {TYPE_PREFIX "cluster.v3.Cluster", "cds"},
        {TYPE_PREFIX "listener.v3.Listener", "lds"},
        {TYPE_PREFIX "route.v3.RouteConfiguration", "rds"},
        {type_endpoint, "eds"},
        {TYPE_PREFIX "core.v3.TypedExtensionConfig", "ecds"},
    };
    for (size_t n = 0; n < sizeof known / sizeof *known; n++) {
        if (strcmp(known[n].url, type_url) == 0) {
            return known[n].name;
        }
    }
    return type_url;
}

/* Cut "TYPE~IP~POD.NS~DOMAIN" in four; NULL when it is another number of parts. */
static char *node_parts(const char *node_id, const char *part[4]) {
    char *copy = mem_dup(node_id), *at = copy;
    for (int n = 0; n < 4; n++) {
        part[n] = at;
        char *end = strchr(at, '~');
        if ((n < 3) != (end != NULL)) {
            free(copy);
            return NULL;
        }
        if (end) {
            *end = 0;
            at = end + 1;
        }
    }
    return copy;
}

static const char *bad_node(struct istiod_conn *c, const char *node_id) {
    static char why[300];
    const char *part[4];
    char *parts = node_parts(node_id, part);
    if (!parts) {
        snprintf(why, sizeof why, "missing parts in the service node \"%.200s\"", node_id);
        return why;
    }
    bool known = strcmp(part[0], "sidecar") == 0 || strcmp(part[0], "router") == 0 || strcmp(part[0], "waypoint") == 0 ||
                 strcmp(part[0], "ztunnel") == 0;
    if (!known) {
        snprintf(why, sizeof why,
                 "invalid node type (valid types: [sidecar router waypoint ztunnel]) in the service node \"%.200s\"",
                 node_id);
    } else if (strlen(part[1]) < 2 || strspn(part[1], "0123456789abcdefABCDEF.:") != strlen(part[1]) ||
               !strpbrk(part[1], ".:")) {
        snprintf(why, sizeof why, "no valid IP address in the service node id or metadata");
        known = false;
    } else {
        c->type = mem_dup(part[0]);
        c->id = mem_dup(part[2]);
    }
    free(parts);
    return known ? NULL : why;
}

static void conn_free(struct istiod_conn *c) {
    for (size_t n = 0; n < c->n_watches; n++) {
        free(c->watches[n].error);
    }
    free(c->node_id);
    free(c->id);
    free(c->connection);
    free(c->address);
    free(c->namespace_);
    free(c->version);
    free(c->type);
    free(c->cluster_id);
    free(c);
}

struct istiod_conn *istiod_connect(struct istiod *i, const struct istiod_peer *p, const char **why) {
    struct istiod_conn *c = mem_alloc(sizeof *c);
    const char *bad = bad_node(c, p->node_id ? p->node_id : "");
    if (bad) {
        if (why) {
            *why = bad;
        }
        conn_free(c);
        return NULL;
    }
    c->istiod = i;
    c->node_id = mem_dup(p->node_id);
    c->connection = mem_printf("%s-%llu", c->id, (unsigned long long)++i->connected_ever);
    c->address = mem_dup(p->address ? p->address : "");
    c->namespace_ = mem_dup(p->namespace_ ? p->namespace_ : "");
    c->version = mem_dup(p->istio_version ? p->istio_version : "");
    c->cluster_id = mem_dup(p->cluster_id ? p->cluster_id : "Kubernetes");
    c->proxy_config = p->proxy_config;
    c->outside = p->outside;
    c->connected_ns = wall_ns(i);
    c->next = i->conns;
    if (i->conns) {
        i->conns->prev = c;
    }
    i->conns = c;
    i->n_conns++;
    return c;
}

void istiod_disconnect(struct istiod_conn *c) {
    if (!c) {
        return;
    }
    if (c->prev) {
        c->prev->next = c->next;
    } else {
        c->istiod->conns = c->next;
    }
    if (c->next) {
        c->next->prev = c->prev;
    }
    c->istiod->n_conns--;
    c->istiod->n_locked -= c->locked;
    conn_free(c);
}

const struct istiod_watch *istiod_watch_of(const struct istiod_conn *c, const char *type_url) {
    for (size_t n = 0; n < c->n_watches; n++) {
        if (strcmp(c->watches[n].type_url, type_url) == 0) {
            return &c->watches[n];
        }
    }
    return NULL;
}

/* Types go out in this order. */
static int rank(const char *type_url) {
    static const char *const order[] = {"cds", "eds", "lds", "rds"};
    int n = 0;
    while (n < 4 && strcmp(istiod_short_type(type_url), order[n]) != 0) {
        n++;
    }
    return n;
}

static struct istiod_watch *watch(struct istiod_conn *c, const char *type_url, bool make) {
    struct istiod_watch *w = (struct istiod_watch *)(uintptr_t)istiod_watch_of(c, type_url);
    if (w || !make || c->n_watches == ISTIOD_WATCHES) {
        return w;
    }
    const char *interned = intern_type(c->istiod, type_url);
    if (!interned) {
        return NULL;
    }
    size_t at = c->n_watches++;
    for (; at > 0 && rank(c->watches[at - 1].type_url) > rank(type_url); at--) {
        c->watches[at] = c->watches[at - 1];
    }
    c->watches[at] = (struct istiod_watch){.type_url = interned};
    return &c->watches[at];
}

static void send_now(struct istiod_conn *c, struct istiod_watch *w, struct istiod_push *out) {
    struct istiod *i = c->istiod;
    char uuid[40];
    add_uuid(i, uuid, sizeof uuid);
    *out = (struct istiod_push){.type_url = w->type_url};
    snprintf(out->version, sizeof out->version, "%s", i->push_version);
    snprintf(out->nonce, sizeof out->nonce, "%s%s", i->push_version, uuid);
    snprintf(w->sent, sizeof w->sent, "%.*s", (int)sizeof w->sent - 1, out->nonce);
    w->sent_ns = wall_ns(i);
    count(&i->sent, istiod_short_type(w->type_url), NULL, false);
}

bool istiod_request(struct istiod_conn *c, const char *type_url, const char *nonce, const char *error,
                    struct istiod_push *out) {
    struct istiod *i = c->istiod;
    struct istiod_watch *w = c->locked ? NULL : watch(c, type_url, error == NULL);
    if (!w) {
        return false;
    }
    const char *type = istiod_short_type(w->type_url);
    if (error) {
        /* A rejection counts whatever its nonce; one with an empty text leaves no trace in the state. */
        count(&i->rejects, type, NULL, false);
        count(&i->rejecting_nodes, type, c->id, true);
        free(w->error);
        w->error = *error ? mem_dup(error) : NULL;
        return false;
    }
    if (!nonce || !*nonce || !w->sent_ns) {
        /* First request of this type on this stream (a nonce of another istiod counts as none). */
        send_now(c, w, out);
        return true;
    }
    if (strcmp(nonce, w->sent) != 0) {
        count(&i->expired, type, NULL, false);
        return false;
    }
    memcpy(w->acked, w->sent, sizeof w->acked);
    free(w->error);
    w->error = NULL;
    return false;
}

void istiod_watch_silently(struct istiod_conn *c, const char *type_url) {
    watch(c, type_url, true);
}

void istiod_lock(struct istiod_conn *c) {
    c->istiod->n_locked += !c->locked;
    c->locked = true;
}

void istiod_refuse_debug(struct istiod *i, bool on) {
    i->refuses_debug = on;
}

bool istiod_status_hangs(const struct istiod *i, const char *namespace_) {
    const struct istiod_conn *c = i->n_locked ? i->conns : NULL;
    while (c && !(c->locked && (!namespace_ || strcmp(c->namespace_, namespace_) == 0))) {
        c = c->next;
    }
    return c != NULL;
}

static void push(struct istiod *i, const char *only_type,
                 void (*fn)(void *ctx, struct istiod_conn *c, const struct istiod_push *p), void *ctx) {
    for (struct istiod_conn *c = i->conns, *next; c; c = next) {
        next = c->next;
        for (size_t n = 0; n < c->n_watches; n++) {
            struct istiod_watch *w = &c->watches[n];
            if (w->sent_ns && !c->locked && (!only_type || strcmp(only_type, w->type_url) == 0)) {
                struct istiod_push p;
                send_now(c, w, &p);
                fn(ctx, c, &p);
            }
        }
    }
}

void istiod_push_all(struct istiod *i, void (*fn)(void *ctx, struct istiod_conn *c, const struct istiod_push *p),
                     void *ctx) {
    i->triggers_full++;
    new_push_version(i);
    push(i, NULL, fn, ctx);
}

void istiod_push_endpoints(struct istiod *i, void (*fn)(void *ctx, struct istiod_conn *c, const struct istiod_push *p),
                           void *ctx) {
    i->triggers_endpoints++;
    push(i, type_endpoint, fn, ctx);
}

void istiod_conn_set(struct istiod_conn *c, void *user) {
    c->user = user;
}

void *istiod_conn_get(const struct istiod_conn *c) {
    return c->user;
}

size_t istiod_connections_count(const struct istiod *i) {
    return i->n_conns;
}
