#include "http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../lib/base/buf.h"
#include "../../lib/base/mem.h"

#define MAX_BODY (4u * 1024 * 1024)
#define MAX_UNSENT (128u * 1024 * 1024)
#define CONNECTIONS 4000

enum state { READING, SERVING, WAITING, REPLIED, STREAMING, DROPPED };

struct request {
    struct http_request face;
    struct http *http;
    struct MHD_Connection *conn;
    char *target, *method;
    enum state state;
    bool suspended, ended;
    struct buf body, unsent;
    struct MHD_Response *response;
    int status;
    void (*gone)(void *ctx);
    void *gone_ctx;
    struct request *prev, *next;
};

struct http {
    struct http_opts opts;
    struct MHD_Daemon *daemon;
    uv_poll_t poll;
    uv_timer_t timer;
    int port, handles;
    bool stopping;
    struct request *requests;
};

/* --- on the loop --- */

static void on_timer(uv_timer_t *h);

static void drive(struct http *h) {
    MHD_UNSIGNED_LONG_LONG wait_ms;
    MHD_run(h->daemon);
    if (MHD_get_timeout(h->daemon, &wait_ms) == MHD_YES) {
        /* Never 0: libuv runs a timer that sets itself to now for ever, and the peer may be in this very loop. */
        uv_timer_start(&h->timer, on_timer, wait_ms ? wait_ms : 1, 0);
    } else {
        uv_timer_stop(&h->timer);
    }
}

static void on_timer(uv_timer_t *t) {
    drive(t->data);
}

static void on_poll(uv_poll_t *p, int status, int events) {
    (void)status, (void)events;
    drive(p->data);
}

static void resume(struct request *q) {
    if (q->suspended) {
        q->suspended = false;
        MHD_resume_connection(q->conn);
        uv_timer_start(&q->http->timer, on_timer, 1, 0);
    }
}

static void suspend(struct request *q) {
    q->suspended = true;
    MHD_suspend_connection(q->conn);
}

/* --- requests --- */

static void *on_uri(void *cls, const char *uri, struct MHD_Connection *conn) {
    struct http *h = cls;
    struct request *q = mem_alloc(sizeof *q);
    q->http = h;
    q->conn = conn;
    q->target = mem_dup(uri);
    buf_init(&q->body, MAX_BODY);
    buf_init(&q->unsent, MAX_UNSENT);
    q->next = h->requests;
    if (q->next) {
        q->next->prev = q;
    }
    h->requests = q;
    return q;
}

static void on_completed(void *cls, struct MHD_Connection *conn, void **con_cls, enum MHD_RequestTerminationCode code) {
    struct request *q = *con_cls;
    (void)cls, (void)conn, (void)code;
    if (!q) {
        return;
    }
    if (q->gone) {
        q->gone(q->gone_ctx);
    }
    if (q->prev) {
        q->prev->next = q->next;
    } else {
        q->http->requests = q->next;
    }
    if (q->next) {
        q->next->prev = q->prev;
    }
    if (q->response) {
        MHD_destroy_response(q->response);
    }
    buf_done(&q->body);
    buf_done(&q->unsent);
    free(q->target);
    free(q->method);
    free(q);
    *con_cls = NULL;
}

static void fill_face(struct request *q) {
    struct sockaddr_in in = {0};
    socklen_t len = sizeof in;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(q->conn, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (info && getsockname(info->connect_fd, (struct sockaddr *)&in, &len) == 0 && in.sin_family == AF_INET) {
        inet_ntop(AF_INET, &in.sin_addr, q->face.local_ip, sizeof q->face.local_ip);
    }
    q->face.method = q->method;
    q->face.target = q->target;
    q->face.authorization = MHD_lookup_connection_value(q->conn, MHD_HEADER_KIND, "Authorization");
    q->face.content_type = MHD_lookup_connection_value(q->conn, MHD_HEADER_KIND, "Content-Type");
    q->face.accept = MHD_lookup_connection_value(q->conn, MHD_HEADER_KIND, "Accept");
    q->face.body = q->body.p ? q->body.p : "";
    q->face.len = q->body.len;
    q->face.impl = q;
}

static enum MHD_Result queue_response(struct request *q) {
    enum MHD_Result ok = MHD_queue_response(q->conn, (unsigned)q->status, q->response);
    MHD_destroy_response(q->response);
    q->response = NULL;
    return ok;
}

/* Called for the head, for each piece of the body, at its end, and again after a resume. */
static enum MHD_Result on_request(void *cls, struct MHD_Connection *conn, const char *path, const char *method,
                                  const char *version, const char *data, size_t *n, void **con_cls) {
    struct http *h = cls;
    struct request *q = *con_cls;
    (void)conn, (void)path, (void)version;
    if (!q->method) {
        q->method = mem_dup(method);
        return MHD_YES;
    }
    if (*n) {
        buf_add(&q->body, data, *n);
        *n = 0;
        return MHD_YES;
    }
    if (q->state == READING) {
        fill_face(q);
        q->state = SERVING;
        if (q->body.over || h->stopping || (!strcmp(h->opts.ip, "0.0.0.0") && strncmp(q->face.local_ip, "127.", 4))) {
            q->state = DROPPED;
        } else {
            h->opts.serve(h->opts.ctx, &q->face);
        }
    }
    if (q->response) {
        return queue_response(q);
    }
    if (q->state == DROPPED || h->stopping) {
        return MHD_NO;
    }
    q->state = WAITING;
    suspend(q);
    return MHD_YES;
}

void http_on_gone(struct http_request *r, void (*gone)(void *ctx), void *ctx) {
    struct request *q = r->impl;
    q->gone = gone;
    q->gone_ctx = ctx;
}

void http_reply(struct http_request *r, int status, const char *content_type, char *body, size_t len) {
    struct request *q = r->impl;
    q->response = MHD_create_response_from_buffer(len, body, MHD_RESPMEM_MUST_FREE);
    check(q->response);
    MHD_add_response_header(q->response, "Content-Type", content_type);
    q->status = status;
    q->state = REPLIED;
    resume(q);
}

void http_drop(struct http_request *r) {
    struct request *q = r->impl;
    q->state = DROPPED;
    resume(q);
}

/* --- streams --- */

static ssize_t on_read(void *cls, uint64_t pos, char *out, size_t max) {
    struct request *q = cls;
    (void)pos;
    if (!q->unsent.len) {
        if (q->ended || q->http->stopping) {
            return MHD_CONTENT_READER_END_OF_STREAM;
        }
        suspend(q);
        return 0;
    }
    size_t n = q->unsent.len < max ? q->unsent.len : max;
    memcpy(out, q->unsent.p, n);
    if (n == q->unsent.len) {
        buf_reset(&q->unsent);
    } else {
        memmove(q->unsent.p, q->unsent.p + n, q->unsent.len - n + 1);
        q->unsent.len -= n;
    }
    return (ssize_t)n;
}

void http_stream(struct http_request *r, const char *content_type) {
    struct request *q = r->impl;
    q->response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 64 * 1024, on_read, q, NULL);
    check(q->response);
    MHD_add_response_header(q->response, "Content-Type", content_type);
    q->status = 200;
    q->state = STREAMING;
    resume(q);
}

void http_write(struct http_request *r, const char *p, size_t n) {
    struct request *q = r->impl;
    if (!buf_add(&q->unsent, p, n)) {
        q->ended = true; /* a reader that lags this far must begin again */
    }
    resume(q);
}

void http_end(struct http_request *r) {
    struct request *q = r->impl;
    q->ended = true;
    resume(q);
}

/* --- the server --- */

static int listen_on(const struct http_opts *opts, int *port, struct err *err) {
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)opts->port)};
    socklen_t len = sizeof in;
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || inet_pton(AF_INET, opts->ip, &in.sin_addr) != 1) {
        err_set(err, ERR_INVALID, "%s is no IPv4 address", opts->ip);
        goto fail;
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (!strcmp(opts->ip, "0.0.0.0")) {
        /* Refused without the right to; on_request looks at the address in any case. */
        setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3);
    }
    if (bind(fd, (struct sockaddr *)&in, sizeof in) || listen(fd, 1024) || getsockname(fd, (struct sockaddr *)&in, &len)) {
        err_set(err, ERR_UNAVAILABLE, "cannot listen on %s:%d: %s", opts->ip, opts->port, strerror(errno));
        goto fail;
    }
    *port = ntohs(in.sin_port);
    return fd;
fail:
    if (fd >= 0) {
        close(fd);
    }
    return -1;
}

static struct MHD_Daemon *start(struct http *h, int fd) {
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | (h->opts.cert_pem ? MHD_USE_TLS : 0);
    struct MHD_OptionItem tls[] = {{MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)(uintptr_t)h->opts.cert_pem},
                                   {MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)(uintptr_t)h->opts.key_pem},
                                   {MHD_OPTION_END, 0, NULL}};
    if (!h->opts.cert_pem) {
        tls[0].option = MHD_OPTION_END;
    }
    return MHD_start_daemon(flags, 0, NULL, NULL, on_request, h, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_URI_LOG_CALLBACK,
                            on_uri, h, MHD_OPTION_NOTIFY_COMPLETED, on_completed, h, MHD_OPTION_CONNECTION_LIMIT,
                            (unsigned)CONNECTIONS, MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
}

struct http *http_new(struct loop *loop, const struct http_opts *opts, struct err *err) {
    struct http *h = mem_alloc(sizeof *h);
    h->opts = *opts;
    int fd = listen_on(opts, &h->port, err);
    if (fd < 0) {
        free(h);
        return NULL;
    }
    h->daemon = start(h, fd);
    const union MHD_DaemonInfo *info = h->daemon ? MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    if (!info) {
        err_set(err, ERR_IO, "cannot start an HTTP server on %s:%d: are certificate and key usable?", opts->ip, opts->port);
        close(fd);
        free(h);
        return NULL;
    }
    h->opts.ip = !strcmp(opts->ip, "0.0.0.0") ? "0.0.0.0" : "";
    h->opts.cert_pem = h->opts.key_pem = NULL;
    uv_poll_init(loop_uv(loop), &h->poll, info->epoll_fd);
    uv_timer_init(loop_uv(loop), &h->timer);
    h->poll.data = h->timer.data = h;
    h->handles = 2;
    uv_poll_start(&h->poll, UV_READABLE, on_poll);
    drive(h);
    return h;
}

int http_port(const struct http *h) {
    return h->port;
}

static void on_closed(uv_handle_t *handle) {
    struct http *h = handle->data;
    if (--h->handles == 0) {
        free(h);
    }
}

void http_free(struct http *h) {
    if (!h) {
        return;
    }
    h->stopping = true;
    uv_poll_stop(&h->poll);
    /* The library refuses to stop with suspended connections. */
    for (struct request *q = h->requests; q; q = q->next) {
        resume(q);
    }
    MHD_run(h->daemon);
    MHD_stop_daemon(h->daemon);
    h->daemon = NULL;
    uv_close((uv_handle_t *)&h->poll, on_closed);
    uv_close((uv_handle_t *)&h->timer, on_closed);
}
