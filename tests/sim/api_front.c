#include "api_front.h"

#include <stdlib.h>
#include <string.h>

#include "../../lib/base/json.h"
#include "../../lib/base/mem.h"
#include "fetch.h"
#include "http.h"
#include "store_impl.h"

struct api_front {
    struct loop *loop;
    struct store *store;
    struct api_front_opts opts;
    struct http *http;
};

/* --- watches --- */

struct live_watch {
    struct http_request *request;
    struct store_watch *watch;
};

static void on_line(void *ctx, const char *p, size_t n) {
    struct live_watch *w = ctx;
    http_write(w->request, p, n);
}

static void on_end(void *ctx) {
    struct live_watch *w = ctx;
    w->watch = NULL;
    http_end(w->request);
}

static void on_watcher_gone(void *ctx) {
    struct live_watch *w = ctx;
    if (w->watch) {
        store_watch_close(w->watch);
    }
    free(w);
}

/* --- answers --- */

static void reply(struct http_request *r, struct store_reply *out) {
    if (out->status < 0) {
        return; /* told to stay silent */
    }
    const char *body = out->body ? out->body : "";
    bool json = *body == '{';
    http_reply(r, out->status, json ? "application/json" : "text/plain; charset=utf-8", out->body ? out->body : mem_dup(""),
               strlen(body));
}

static bool is_watch(const struct http_request *r) {
    struct store_call c = {.method = r->method};
    bool yes = false;
    if (!strcmp(r->method, "GET") && strstr(r->target, "watch=") && store_call_parse(&c, r->target)) {
        const char *v = store_call_param(&c, "watch");
        yes = v && (!strcmp(v, "1") || !strcmp(v, "true"));
    }
    store_call_done(&c);
    return yes;
}

static void serve_watch(struct api_front *f, struct http_request *r, const struct store_user *user) {
    struct store_reply out;
    struct live_watch *w = mem_alloc(sizeof *w);
    w->request = r;
    w->watch = store_watch(f->store, user, r->target, on_line, on_end, w, &out);
    if (!w->watch) {
        free(w);
        reply(r, &out);
        return;
    }
    http_on_gone(r, on_watcher_gone, w);
    http_stream(r, "application/json");
}

/* --- service proxy --- */

struct proxied {
    struct http_request *request; /* NULL: the client has left */
};

static void on_proxy_client_gone(void *ctx) {
    ((struct proxied *)ctx)->request = NULL;
}

static void on_fetched(void *ctx, int status, const char *type, const char *body, size_t len, const struct err *err) {
    struct proxied *p = ctx;
    struct http_request *r = p->request;
    free(p);
    if (!r) {
        return;
    }
    http_on_gone(r, NULL, NULL);
    if (!status) {
        struct store_reply out;
        store_status(&out, 503, "ServiceUnavailable", NULL, "error trying to reach service: %s", err->text);
        reply(r, &out);
        return;
    }
    char *copy = mem_alloc(len + 1);
    memcpy(copy, body, len);
    http_reply(r, status, type, copy, len);
}

/* true: it was a call of the service proxy with somewhere to go. */
static bool serve_proxy(struct api_front *f, struct http_request *r) {
    struct store_call c = {.method = r->method};
    struct store_reply out = {0};
    char ip[46], service[254] = "";
    int port;
    bool ours = !strcmp(r->method, "GET") && strstr(r->target, "/proxy/") && f->opts.endpoint &&
                store_call_parse(&c, r->target) && store_call_route(&c, &out) &&
                !strcmp(store_resources[c.res].plural, "services") && c.name && c.sub && !strcmp(c.sub, "proxy");
    if (ours) {
        const char *name = !strncmp(c.name, "http:", 5) ? c.name + 5 : !strncmp(c.name, "https:", 6) ? c.name + 6 : c.name;
        snprintf(service, sizeof service, "%.*s", (int)strcspn(name, ":"), name);
        ours = f->opts.endpoint(f->opts.ctx, c.ns, service, ip, &port);
    }
    if (ours) {
        struct proxied *p = mem_alloc(sizeof *p);
        p->request = r;
        http_on_gone(r, on_proxy_client_gone, p);
        fetch(f->loop, ip, port, c.rest, on_fetched, p);
    }
    free(out.body);
    store_call_done(&c);
    return ours;
}

/* --- requests --- */

static bool is_open_path(const char *target) {
    return !strncmp(target, "/readyz", 7) || !strncmp(target, "/healthz", 8) || !strncmp(target, "/livez", 6) ||
           !strncmp(target, "/version", 8);
}

static void serve(void *ctx, struct http_request *r) {
    struct api_front *f = ctx;
    struct store_user user = {NULL};
    struct store_reply out;
    if (r->authorization && !strncmp(r->authorization, "Bearer ", 7)) {
        user.name = store_authenticate(f->store, r->authorization + 7, NULL, NULL);
    } else if (!r->authorization && is_open_path(r->target)) {
        user.name = "system:anonymous";
    }
    const struct store_user *who = user.name ? &user : NULL;
    if (who && is_watch(r)) {
        serve_watch(f, r, who);
    } else if (!who || !serve_proxy(f, r)) {
        store_request(f->store, who, r->method, r->target, r->content_type, r->accept, r->body, r->len, &out);
        reply(r, &out);
    }
}

struct api_front *api_front_new(struct loop *loop, struct store *store, const struct api_front_opts *opts,
                                struct err *err) {
    struct api_front *f = mem_alloc(sizeof *f);
    f->loop = loop;
    f->store = store;
    f->opts = *opts;
    struct http_opts http = {.ip = "127.0.0.1",
                             .port = opts->port,
                             .cert_pem = opts->cert_pem,
                             .key_pem = opts->key_pem,
                             .serve = serve,
                             .ctx = f};
    f->http = http_new(loop, &http, err);
    f->opts.cert_pem = f->opts.key_pem = NULL;
    if (!f->http) {
        free(f);
        return NULL;
    }
    return f;
}

void api_front_free(struct api_front *f) {
    if (f) {
        http_free(f->http);
        free(f);
    }
}

int api_front_port(const struct api_front *f) {
    return http_port(f->http);
}
