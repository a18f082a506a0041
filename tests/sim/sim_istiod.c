#include "sim_istiod.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../lib/base/log.h"
#include "../../lib/base/mem.h"
#include "../../lib/kube/reflector.h"
#include "control.h"
#include "http.h"
#include "inject.h"
#include "sim_roots.h"
#include "sim_tokens.h"

#define DEBOUNCE_MS 100
#define N_PORTS 3

struct port {
    struct sim_istiod *owner;
    int number;
    struct http *http;
};

struct sim_istiod {
    struct loop *loop;
    struct rpc *rpc;
    struct kube *kube;
    struct sched *sched;
    char *revision, *version, *pod, *address;
    struct istiod *istiod;
    struct sim_roots *roots;
    struct sim_tokens *tokens;
    struct ads *secure, *plain;
    struct port ports[N_PORTS];
    struct control *control;
    struct reflector *services;
    struct timer push;
    bool frozen;
    char *trouble;
};

/* --- HTTP --- */

static void serve_inject(struct sim_istiod *s, struct http_request *r) {
    char *text = inject_answer(r->body, r->len, s->revision, s->version);
    if (text) {
        http_reply(r, 200, "application/json", text, strlen(text));
    } else {
        http_reply(r, 400, "text/plain; charset=utf-8", mem_dup("could not decode body\n"), 22);
    }
}

static void serve(void *ctx, struct http_request *r) {
    struct port *p = ctx;
    struct sim_istiod *s = p->owner;
    size_t len = strlen("404 page not found\n");
    if (s->frozen) {
        return;
    }
    if (p->number == 15017 && !strncmp(r->target, "/inject", 7)) {
        serve_inject(s, r);
    } else if (p->number == 15014 && !strncmp(r->target, "/metrics", 8)) {
        char *text = istiod_metrics(s->istiod, &len);
        http_reply(r, 200, "text/plain; version=0.0.4; charset=utf-8; escaping=underscores", text, len);
    } else if (p->number == 15014 && !strcmp(r->target, "/version")) {
        char *text = mem_printf(
            "{\"version\":\"%s\",\"revision\":\"unknown\",\"golang_version\":\"\",\"status\":\"Clean\",\"tag\":\"%s\"}",
            s->version, s->version);
        http_reply(r, 200, "application/json", text, strlen(text));
    } else if (p->number == 8080 && !strcmp(r->target, "/ready")) {
        http_reply(r, 200, "text/plain; charset=utf-8", mem_dup(""), 0);
    } else {
        http_reply(r, 404, "text/plain; charset=utf-8", mem_dup("404 page not found\n"), len);
    }
}

static bool open_port(struct sim_istiod *s, size_t i, int number, const char *cert, const char *key, struct err *err) {
    s->ports[i].owner = s;
    s->ports[i].number = number;
    struct http_opts opts = {
        .ip = s->address, .port = number, .cert_pem = cert, .key_pem = key, .serve = serve, .ctx = &s->ports[i]};
    s->ports[i].http = http_new(s->loop, &opts, err);
    return s->ports[i].http;
}

/* --- xDS --- */

static struct istiod *istiod_of(void *ctx) {
    return ((struct sim_istiod *)ctx)->istiod;
}

static bool is_frozen(void *ctx) {
    return ((struct sim_istiod *)ctx)->frozen;
}

static void authenticate(void *ctx, const char *token, struct ads_auth *a) {
    sim_tokens_review(((struct sim_istiod *)ctx)->tokens, token, a);
}

static struct ads *open_xds(struct sim_istiod *s, int port, const char *cert, const char *key, struct err *err) {
    char *address = mem_printf("%s:%d", s->address, port);
    struct ads_opts opts = {.rpc = s->rpc,
                            .address = address,
                            .cert_pem = cert,
                            .key_pem = key,
                            .istiod = istiod_of,
                            .frozen = is_frozen,
                            .authenticate = authenticate,
                            .ctx = s,
                            .pushes = true};
    struct ads *a = ads_new(&opts, err);
    free(address);
    return a;
}

static void on_push(void *ctx) {
    struct sim_istiod *s = ctx;
    if (!s->frozen) {
        ads_push(s->secure); /* connections of the plaintext port are of the same istiod */
    }
}

static void push_soon(struct sim_istiod *s) {
    if (s->secure && !timer_is_set(&s->push)) {
        timer_set(s->sched, &s->push, sched_now(s->sched) + DEBOUNCE_MS, on_push, s);
    }
}

static void on_service(void *ctx, const json_t *o) {
    (void)o;
    push_soon(ctx);
}

static void on_service_gone(void *ctx, const char *ns, const char *name, const char *uid) {
    (void)ns, (void)name, (void)uid;
    push_soon(ctx);
}

static void on_services(void *ctx) {
    (void)ctx;
}

/* --- start and faults --- */

static void on_root(void *ctx, const struct pki_ca *ca) {
    static const struct reflector_ops ops = {on_service, on_service_gone, on_services};
    struct sim_istiod *s = ctx;
    struct err err = {0};
    char *cert, *key;
    char *sans = mem_printf("DNS:istiod-%s.istio-system.svc,DNS:istiod.istio-system.svc,DNS:istiod-remote.istio-system.svc,"
                            "DNS:istio-pilot.istio-system.svc",
                            s->revision);
    pki_leaf(ca, NULL, sans, true, &cert, &key);
    bool ok = (s->secure = open_xds(s, 15012, cert, key, &err)) && (s->plain = open_xds(s, 15010, NULL, NULL, &err)) &&
              open_port(s, 0, 15017, cert, key, &err) && open_port(s, 1, 8080, NULL, NULL, &err) &&
              open_port(s, 2, 15014, NULL, NULL, &err);
    free(sans);
    free(cert);
    free(key);
    if (!ok) {
        s->trouble = mem_dup(err.text);
        log_error("cannot serve", log_s("error", err.text));
        loop_stop(s->loop);
        return;
    }
    struct reflector_opts services = {.path = "/api/v1/services", .metadata_only = true};
    s->services = reflector_new(s->kube, &services, &ops, s, 3);
    log_info("istiod serves", log_s("revision", s->revision), log_s("address", s->address));
}

static void on_control(void *ctx, const char *line, struct buf *out) {
    struct sim_istiod *s = ctx;
    bool known = true;
    if (!strcmp(line, "freeze") || !strcmp(line, "thaw")) {
        s->frozen = !strcmp(line, "freeze");
    } else if (!strcmp(line, "nack-canary") || !strcmp(line, "ack-canary")) {
        bool on = !strcmp(line, "nack-canary");
        ads_poison(s->secure, on);
        ads_poison(s->plain, on);
        push_soon(s);
    } else if (!strcmp(line, "push")) {
        push_soon(s);
    } else {
        known = false;
    }
    buf_str(out, known ? "ok" : "error say: freeze | thaw | nack-canary | ack-canary | push");
}

const char *sim_istiod_trouble(const struct sim_istiod *s) {
    return s->trouble;
}

struct sim_istiod *sim_istiod_new(struct loop *loop, struct rpc *rpc, struct kube *kube,
                                  const struct sim_istiod_opts *opts) {
    struct sim_istiod *s = mem_alloc(sizeof *s);
    struct err err = {0};
    s->loop = loop;
    s->rpc = rpc;
    s->kube = kube;
    s->sched = loop_sched(loop);
    s->revision = mem_dup(opts->revision);
    s->version = mem_dup(opts->version);
    s->pod = mem_dup(opts->pod);
    s->address = mem_dup(opts->address);
    s->istiod = istiod_new(opts->revision, opts->version, opts->pod, s->sched, (uint64_t)getpid());
    s->tokens = sim_tokens_new(kube);
    s->roots = sim_roots_new(kube, opts->revision, on_root, s);
    if (opts->control && *opts->control) {
        s->control = control_new(loop, opts->control, on_control, s, &err);
        mem_set(&s->trouble, s->control ? NULL : err.text);
    }
    return s;
}

void sim_istiod_free(struct sim_istiod *s) {
    if (!s) {
        return;
    }
    timer_cancel(s->sched, &s->push);
    reflector_free(s->services);
    ads_free(s->secure);
    ads_free(s->plain);
    sim_tokens_free(s->tokens);
    for (size_t i = 0; i < N_PORTS; i++) {
        http_free(s->ports[i].http);
    }
    control_free(s->control);
    sim_roots_free(s->roots);
    istiod_free(s->istiod);
    free(s->revision);
    free(s->version);
    free(s->pod);
    free(s->address);
    free(s->trouble);
    free(s);
}
