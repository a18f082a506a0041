#include "admin.h"

#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/mem.h"
#include "admin_listen.h"

enum {
    ADMIN_CONNECTIONS = 64,
    ADMIN_TIMEOUT_S = 10,
    ADMIN_BODY_MAX = 64 << 20,
    ADMIN_ROUTES = 16,
};

struct route {
    char *prefix;
    admin_handler fn;
    void *ctx;
};

struct admin {
    struct admin_opts opts;
    struct MHD_Daemon *daemon;
    uv_poll_t poll;
    uv_timer_t timer;
    int port, handles; /* handles: open or closing */
    struct route routes[ADMIN_ROUTES];
    size_t n_routes;
};

/* ---- paths ---- */

static const char *request_arg(void *request, const char *key) {
    return MHD_lookup_connection_value(request, MHD_GET_ARGUMENT_KIND, key);
}

static void serve_metrics(void *ctx, const char *rest, admin_arg_fn arg, void *request, struct admin_reply *reply) {
    (void)rest;
    (void)arg;
    (void)request;
    struct admin *a = ctx;
    reply->content_type = "text/plain; version=0.0.4";
    metrics_write(a->opts.metrics, &reply->body);
}

static void serve_healthz(void *ctx, const char *rest, admin_arg_fn arg, void *request, struct admin_reply *reply) {
    (void)ctx;
    (void)rest;
    (void)arg;
    (void)request;
    buf_str(&reply->body, "ok\n");
}

static void serve_readyz(void *ctx, const char *rest, admin_arg_fn arg, void *request, struct admin_reply *reply) {
    (void)rest;
    (void)arg;
    (void)request;
    struct admin *a = ctx;
    if (!a->opts.ready || a->opts.ready(a->opts.ctx, &reply->body)) {
        buf_reset(&reply->body);
        buf_str(&reply->body, "ok\n");
        return;
    }
    reply->status = MHD_HTTP_SERVICE_UNAVAILABLE;
    buf_str(&reply->body, reply->body.len ? "\n" : "not ready\n");
}

static void serve_unknown(struct admin *a, struct admin_reply *reply) {
    reply->status = MHD_HTTP_NOT_FOUND;
    buf_str(&reply->body, "no such path; there is:\n");
    for (size_t i = 0; i < a->n_routes; i++) {
        buf_printf(&reply->body, "  %s\n", a->routes[i].prefix);
    }
}

/* The longest prefix that ends where a part of the path ends. */
static const struct route *find_route(const struct admin *a, const char *path) {
    const struct route *best = NULL;
    size_t best_len = 0;
    for (size_t i = 0; i < a->n_routes; i++) {
        size_t n = strlen(a->routes[i].prefix);
        bool fits = strncmp(path, a->routes[i].prefix, n) == 0;
        bool ends = fits && (path[n] == '\0' || path[n] == '/' || a->routes[i].prefix[n - 1] == '/');
        if (ends && n >= best_len) {
            best = &a->routes[i];
            best_len = n;
        }
    }
    return best;
}

/* ---- HTTP ---- */

static enum MHD_Result send_reply(struct MHD_Connection *c, struct admin_reply *reply) {
    if (reply->body.over) {
        buf_done(&reply->body);
        reply->status = MHD_HTTP_INTERNAL_SERVER_ERROR;
        reply->content_type = "text/plain";
        buf_str(&reply->body, "the answer is larger than 64 MiB\n");
    }
    size_t len = reply->body.len;
    struct MHD_Response *r = MHD_create_response_from_buffer(len, buf_take(&reply->body), MHD_RESPMEM_MUST_FREE);
    if (!r) {
        return MHD_NO;
    }
    enum MHD_Result ok = MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, reply->content_type);
    if (reply->status == MHD_HTTP_METHOD_NOT_ALLOWED) {
        ok = MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    }
    if (ok == MHD_YES) {
        ok = MHD_queue_response(c, (unsigned)reply->status, r);
    }
    MHD_destroy_response(r);
    return ok;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *path, const char *method,
                                  const char *version, const char *data, size_t *data_size, void **con_cls) {
    (void)version;
    (void)data;
    static int seen;
    struct admin *a = cls;
    if (!*con_cls) { /* the headers are there, a body may follow */
        *con_cls = &seen;
        return MHD_YES;
    }
    if (*data_size) { /* nobody wants a body */
        *data_size = 0;
        return MHD_YES;
    }
    struct admin_reply reply = {.status = MHD_HTTP_OK, .content_type = "text/plain; charset=utf-8"};
    buf_init(&reply.body, ADMIN_BODY_MAX);
    const struct route *r = find_route(a, path);
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
        reply.status = MHD_HTTP_METHOD_NOT_ALLOWED;
        buf_str(&reply.body, "only GET and HEAD are served here\n");
    } else if (!r) {
        serve_unknown(a, &reply);
    } else {
        r->fn(r->ctx, path + strlen(r->prefix), request_arg, c, &reply);
    }
    return send_reply(c, &reply);
}

/* ---- on the loop ---- */

static void on_timer(uv_timer_t *h);

static void drive(struct admin *a) {
    MHD_run(a->daemon);
    MHD_UNSIGNED_LONG_LONG wait_ms;
    if (MHD_get_timeout(a->daemon, &wait_ms) == MHD_YES) {
        /* Never 0: libuv would run a timer that sets itself to now for ever. */
        uv_timer_start(&a->timer, on_timer, wait_ms ? wait_ms : 1, 0);
    } else {
        uv_timer_stop(&a->timer);
    }
}

static void on_timer(uv_timer_t *h) {
    drive(h->data);
}

static void on_poll(uv_poll_t *h, int status, int events) {
    (void)status;
    (void)events;
    drive(h->data);
}

static void on_closed(uv_handle_t *h) {
    struct admin *a = h->data;
    if (--a->handles == 0) {
        free(a);
    }
}

static struct MHD_Daemon *start_daemon(struct admin *a, int fd) {
    return MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, a, MHD_OPTION_LISTEN_SOCKET, fd,
                            MHD_OPTION_CONNECTION_LIMIT, (unsigned)ADMIN_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT,
                            (unsigned)ADMIN_TIMEOUT_S, MHD_OPTION_END);
}

struct admin *admin_new(struct loop *loop, const struct admin_opts *opts, struct err *err) {
    int port = 0;
    int fd = admin_listen(opts->address, &port, err);
    if (fd < 0) {
        return NULL;
    }
    struct admin *a = mem_alloc(sizeof(*a));
    a->opts = *opts;
    a->port = port;
    a->daemon = start_daemon(a, fd);
    const union MHD_DaemonInfo *info = a->daemon ? MHD_get_daemon_info(a->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    if (!info) {
        err_set(err, ERR_IO, "can't start the HTTP server on %s", opts->address);
        if (a->daemon) {
            MHD_stop_daemon(a->daemon); /* closes fd */
        } else {
            close(fd);
        }
        free(a);
        return NULL;
    }
    check(uv_timer_init(loop_uv(loop), &a->timer) == 0);
    check(uv_poll_init(loop_uv(loop), &a->poll, info->epoll_fd) == 0);
    a->timer.data = a->poll.data = a;
    a->handles = 2;
    check(uv_poll_start(&a->poll, UV_READABLE, on_poll) == 0);
    if (opts->metrics) {
        admin_serve(a, "/metrics", serve_metrics, a);
    }
    admin_serve(a, "/healthz", serve_healthz, a);
    admin_serve(a, "/readyz", serve_readyz, a);
    return a;
}

void admin_free(struct admin *a) {
    if (!a) {
        return;
    }
    /* The poll goes first: stopping the daemon closes the descriptor that it looks at. */
    uv_close((uv_handle_t *)&a->poll, on_closed);
    uv_close((uv_handle_t *)&a->timer, on_closed);
    MHD_stop_daemon(a->daemon);
    for (size_t i = 0; i < a->n_routes; i++) {
        free(a->routes[i].prefix);
    }
}

int admin_port(const struct admin *a) {
    return a->port;
}

void admin_serve(struct admin *a, const char *prefix, admin_handler fn, void *ctx) {
    check(prefix[0] == '/' && a->n_routes < ADMIN_ROUTES);
    a->routes[a->n_routes++] = (struct route){mem_dup(prefix), fn, ctx};
}
