#include "mesh_fronts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/base/json.h"
#include "../../lib/base/log.h"
#include "../../lib/base/mem.h"
#include "ads.h"
#include "http.h"
#include "relay.h"

static const char *const revisions[] = {"old", "canary"};
static const int proxy_ports[] = {15020, 15021, 15090};
static const int istiod_ports[] = {15014, 8080};
#define N_REVISIONS 2
#define N_SERVICES 3
#define N_PROXY_PORTS 3
#define N_ISTIOD_PORTS 2

struct port {
    struct mesh_fronts *fronts;
    int number;
    struct http *http;
};

struct replica {
    struct mesh_fronts *fronts;
    const char *ip;
    char *cert, *key;
    struct ads *ads;
    struct port ports[N_ISTIOD_PORTS];
    bool up;
};

struct service {
    struct mesh_fronts *fronts;
    const char *name;
    uint32_t next;
    struct relay *relay;
};

struct mesh_fronts {
    struct mesh_fronts_opts opts;
    struct replica *replicas; /* of all revisions, one after the other */
    size_t n;
    struct port proxies[N_PROXY_PORTS];
    struct service services[N_SERVICES];
};

/* --- HTTP of proxies and istiods --- */

static void serve(void *ctx, struct http_request *r) {
    struct port *p = ctx;
    char *body = NULL;
    size_t len = 0;
    switch (world_get(p->fronts->opts.world, r->local_ip, (uint16_t)p->number, r->target, &body, &len)) {
    case IO_OK:
        http_reply(r, 200, "text/plain; version=0.0.4; charset=utf-8", body ? body : mem_dup(""), body ? len : 0);
        break;
    case IO_BUSY:
        http_reply(r, 503, "text/plain; charset=utf-8", mem_dup(""), 0);
        break;
    case IO_TIMEOUT: /* never */
        break;
    case IO_UNREACHABLE:
        http_drop(r);
        break;
    case IO_DENIED:
    case IO_REFUSED:
    case IO_GARBLED:
        http_reply(r, 404, "text/plain; charset=utf-8", mem_dup("404 page not found\n"), 19);
        break;
    }
}

static bool open_port(struct mesh_fronts *f, struct port *p, const char *ip, int number, struct err *err) {
    p->fronts = f;
    p->number = number;
    struct http_opts opts = {.ip = ip, .port = number, .serve = serve, .ctx = p};
    p->http = http_new(f->opts.loop, &opts, err);
    return p->http;
}

/* --- xDS --- */

static struct istiod *istiod_of(void *ctx) {
    struct replica *r = ctx;
    return world_istiod(r->fronts->opts.world, r->ip);
}

static bool frozen(void *ctx) {
    struct replica *r = ctx;
    return world_istiod_frozen(r->fronts->opts.world, r->ip);
}

static void authenticate(void *ctx, const char *token, struct ads_auth *a) {
    struct replica *r = ctx;
    const char *ns = NULL, *user = store_authenticate(r->fronts->opts.store, token, "istio-ca", &ns);
    ads_authenticated(a, user ? ns : NULL, user ? strrchr(user, ':') + 1 : NULL);
}

static void replica_down(struct replica *r) {
    ads_free(r->ads);
    r->ads = NULL;
    for (size_t i = 0; i < N_ISTIOD_PORTS; i++) {
        http_free(r->ports[i].http);
        r->ports[i].http = NULL;
    }
    r->up = false;
}

static bool replica_up(struct replica *r, struct err *err) {
    char *address = mem_printf("%s:15012", r->ip);
    struct ads_opts opts = {.rpc = r->fronts->opts.rpc,
                            .address = address,
                            .cert_pem = r->cert,
                            .key_pem = r->key,
                            .istiod = istiod_of,
                            .frozen = frozen,
                            .authenticate = authenticate,
                            .ctx = r};
    r->ads = ads_new(&opts, err);
    free(address);
    r->up = r->ads;
    for (size_t i = 0; r->up && i < N_ISTIOD_PORTS; i++) {
        r->up = open_port(r->fronts, &r->ports[i], r->ip, istiod_ports[i], err);
    }
    if (!r->up) {
        replica_down(r);
    }
    return r->up;
}

void mesh_fronts_update(struct mesh_fronts *f) {
    for (size_t i = 0; i < f->n; i++) {
        struct replica *r = &f->replicas[i];
        bool dead = world_istiod_dead(f->opts.world, r->ip);
        struct err err = {0};
        if (dead && r->up) {
            replica_down(r);
        } else if (!dead && !r->up && !replica_up(r, &err)) {
            log_debug("istiod not back yet",
                      log_s("why", err.text)); /* its old socket lingers: the next turn tries again */
        }
    }
}

/* --- Services --- */

static const json_t *service_object(const struct service *s) {
    return store_get(s->fronts->opts.store, "services", "istio-system", s->name);
}

/* A tag's Service leads to the istiods of the revision in its label. */
static const char *pick(void *ctx) {
    struct service *s = ctx;
    struct mesh_fronts *f = s->fronts;
    const char *revision = js_str(service_object(s), "metadata", "labels", "istio.io/rev", NULL);
    for (uint32_t i = 0; revision && i < f->opts.replicas; i++) {
        const char *ip = world_istiod_ip(f->opts.world, revision, s->next++ % f->opts.replicas);
        if (ip && !world_istiod_dead(f->opts.world, ip)) {
            return ip;
        }
    }
    return NULL;
}

static bool open_service(struct mesh_fronts *f, size_t i, struct err *err) {
    static const char *const names[N_SERVICES] = {"istiod-old", "istiod-canary", "istiod-revision-tag-default"};
    struct service *s = &f->services[i];
    s->fronts = f;
    s->name = names[i];
    const char *ip = js_str(service_object(s), "spec", "clusterIP", NULL);
    if (!ip) {
        return true;
    }
    s->relay = relay_new(f->opts.loop, ip, 15012, pick, s, err);
    return s->relay;
}

static bool open_all(struct mesh_fronts *f, struct err *err) {
    for (size_t rev = 0; rev < N_REVISIONS; rev++) {
        char *sans =
            mem_printf("DNS:istiod-%s.istio-system.svc,DNS:istiod.istio-system.svc,DNS:istiod-remote.istio-system.svc,"
                       "DNS:istio-pilot.istio-system.svc",
                       revisions[rev]);
        for (uint32_t n = 0; n < f->opts.replicas; n++) {
            struct replica *r = &f->replicas[f->n++];
            r->fronts = f;
            r->ip = world_istiod_ip(f->opts.world, revisions[rev], n);
            pki_leaf(f->opts.ca, NULL, sans, true, &r->cert, &r->key);
            if (!replica_up(r, err)) {
                free(sans);
                return false;
            }
        }
        free(sans);
    }
    for (size_t i = 0; i < N_SERVICES; i++) {
        if (!open_service(f, i, err)) {
            return false;
        }
    }
    for (size_t i = 0; i < N_PROXY_PORTS; i++) {
        if (!open_port(f, &f->proxies[i], "0.0.0.0", proxy_ports[i], err)) {
            return false;
        }
    }
    return true;
}

struct mesh_fronts *mesh_fronts_new(const struct mesh_fronts_opts *opts, struct err *err) {
    struct mesh_fronts *f = mem_alloc(sizeof *f);
    f->opts = *opts;
    f->replicas = mem_alloc((N_REVISIONS * opts->replicas + 1) * sizeof *f->replicas);
    if (!open_all(f, err)) {
        mesh_fronts_free(f);
        return NULL;
    }
    return f;
}

void mesh_fronts_free(struct mesh_fronts *f) {
    if (!f) {
        return;
    }
    for (size_t i = 0; i < N_SERVICES; i++) {
        relay_free(f->services[i].relay);
    }
    for (size_t i = 0; i < f->n; i++) {
        replica_down(&f->replicas[i]);
        free(f->replicas[i].cert);
        free(f->replicas[i].key);
    }
    for (size_t i = 0; i < N_PROXY_PORTS; i++) {
        http_free(f->proxies[i].http);
    }
    free(f->replicas);
    free(f);
}
