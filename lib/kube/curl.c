/*
 * The transport on libcurl: one multi handle on the loop. libcurl's callbacks only fill buffers; handlers run afterwards,
 * in tell_all(), when libcurl is not on the stack. So a handler may send and cancel as it likes, and no handle is added or
 * removed inside one of libcurl's callbacks.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <utlist.h>

#include "../base/mem.h"
#include "curl_call.h"

/* A file descriptor of libcurl's on the loop. */
struct watch {
    uv_poll_t poll; /* first: handles are closed through it */
    struct curl_kube *owner;
    curl_socket_t fd;
};

/* --- handlers --- */

/* The connection gave no sign to anybody since the call began: close it for all, the next request opens a new one. HTTP/2
 * would put everything that is tried again onto the same dead connection. */
static void drop_dead_connection(struct kube_call *c) {
    curl_socket_t fd = CURL_SOCKET_BAD;
    if (c->owner->heard_ms > c->heard_ms) {
        return;
    }
    if (curl_easy_getinfo(c->easy, CURLINFO_ACTIVESOCKET, &fd) == CURLE_OK && fd != CURL_SOCKET_BAD) {
        shutdown(fd, SHUT_RDWR);
    }
}

static void call_drop(struct kube_call *c) {
    DL_DELETE(c->owner->calls, c);
    if (!c->ended) {
        curl_multi_remove_handle(c->owner->multi, c->easy);
    }
    curl_call_free(c);
}

/* The handler may cancel the call: c is not touched after it. */
static void tell_data(struct kube_call *c) {
    struct buf in = c->in;
    buf_init(&c->in, in.max);
    c->told_open = true;
    if (c->handler.data) {
        c->handler.data(c->ctx, in.p ? in.p : "", in.len);
    }
    buf_done(&in);
}

static void tell_done(struct kube_call *c) {
    struct kube_response r;
    curl_call_result(c, &r);
    DL_DELETE(c->owner->calls, c);
    if (c->handler.done) {
        c->handler.done(c->ctx, &r);
    }
    curl_call_free(c);
}

/* Run one handler that has something to hear; false when there is none. Handlers change the list, so it is looked through
 * from its head each time. */
static bool tell_one(struct curl_kube *self) {
    struct kube_call *c;
    DL_FOREACH(self->calls, c) {
        if (c->stream && c->opened && (!c->told_open || c->in.len > 0)) {
            tell_data(c);
            return true;
        }
        if (c->ended) {
            tell_done(c);
            return true;
        }
    }
    return false;
}

static void collect(struct curl_kube *self) {
    CURLMsg *m;
    int left;
    while ((m = curl_multi_info_read(self->multi, &left))) {
        if (m->msg != CURLMSG_DONE) {
            continue;
        }
        struct kube_call *c = NULL;
        CURL *easy = m->easy_handle;
        CURLcode result = m->data.result;
        curl_easy_getinfo(easy, CURLINFO_PRIVATE, &c);
        c->ended = true;
        c->result = result;
        if (result == CURLE_OPERATION_TIMEDOUT) {
            drop_dead_connection(c);
        }
        curl_multi_remove_handle(self->multi, easy);
    }
}

static void tell_all(struct curl_kube *self) {
    do {
        collect(self);
    } while (tell_one(self));
}

static void on_silence(void *ctx) {
    struct kube_call *c = ctx;
    struct curl_kube *self = c->owner;
    struct sched *s = self->kube.sched;
    if (sched_now(s) - c->heard_ms < c->silence_ms) {
        timer_set(s, &c->silence, c->heard_ms + c->silence_ms, on_silence, c);
        return;
    }
    if (!c->ended) {
        drop_dead_connection(c);
        curl_multi_remove_handle(self->multi, c->easy);
        c->ended = true;
        c->forced = ERR_TIMEOUT;
    }
    tell_all(self);
}

/* --- libcurl on the loop --- */

static void on_poll(uv_poll_t *p, int status, int events) {
    struct watch *w = p->data;
    struct curl_kube *self = w->owner;
    int running, flags = status < 0 ? CURL_CSELECT_ERR : 0;
    flags |= events & UV_READABLE ? CURL_CSELECT_IN : 0;
    flags |= events & UV_WRITABLE ? CURL_CSELECT_OUT : 0;
    curl_multi_socket_action(self->multi, w->fd, flags, &running);
    tell_all(self);
}

static void on_timer(void *ctx) {
    struct curl_kube *self = ctx;
    int running;
    curl_multi_socket_action(self->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    tell_all(self);
}

static int timer_wanted(CURLM *multi, long ms, void *ctx) {
    (void)multi;
    struct curl_kube *self = ctx;
    if (ms < 0) {
        timer_cancel(self->kube.sched, &self->timer);
    } else {
        timer_set(self->kube.sched, &self->timer, sched_now(self->kube.sched) + ms, on_timer, self);
    }
    return 0;
}

static void watch_closed(uv_handle_t *h) {
    free(h);
}

static int socket_wanted(CURL *easy, curl_socket_t fd, int what, void *ctx, void *fd_ctx) {
    (void)easy;
    struct curl_kube *self = ctx;
    struct watch *w = fd_ctx;
    if (what == CURL_POLL_REMOVE) {
        if (w) {
            uv_poll_stop(&w->poll);
            uv_close((uv_handle_t *)&w->poll, watch_closed);
            curl_multi_assign(self->multi, fd, NULL);
        }
        return 0;
    }
    if (!w) {
        w = mem_alloc(sizeof *w);
        w->owner = self;
        w->fd = fd;
        w->poll.data = w;
        check(uv_poll_init_socket(self->uv, &w->poll, fd) == 0);
        w->poll.data = w;
        curl_multi_assign(self->multi, fd, w);
    }
    int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    check(uv_poll_start(&w->poll, events, on_poll) == 0);
    return 0;
}

/* --- the face --- */

static struct kube_call *curl_send(void *p, const struct kube_request *req, const struct kube_handler *h, void *ctx) {
    struct curl_kube *self = p;
    struct kube_call *c = curl_call_new(self, req, h, ctx);
    DL_APPEND(self->calls, c);
    if (c->stream) {
        timer_set(self->kube.sched, &c->silence, c->heard_ms + c->silence_ms, on_silence, c);
    }
    check(curl_multi_add_handle(self->multi, c->easy) == CURLM_OK);
    return c;
}

static void curl_cancel(void *p, struct kube_call *c) {
    (void)p;
    call_drop(c);
}

static const struct kube_ops curl_ops = {curl_send, curl_cancel};

static void copy_config(struct kube_config *to, const struct kube_config *from) {
    *to = (struct kube_config){.insecure = from->insecure};
    to->server = mem_dup(from->server);
    to->ca_pem = mem_dup(from->ca_pem);
    to->cert_pem = mem_dup(from->cert_pem);
    to->key_pem = mem_dup(from->key_pem);
    to->token = mem_dup(from->token);
    to->token_file = mem_dup(from->token_file);
    to->tls_server_name = mem_dup(from->tls_server_name);
    to->namespace_ = mem_dup(from->namespace_);
}

/* The name for certificate and SNI goes into the URL; the address to connect to is given besides. */
static bool place(struct curl_kube *self, struct err *err) {
    const char *name = self->config.tls_server_name;
    char *host = NULL, *port = NULL, *prefix = NULL;
    CURLU *u = curl_url();
    check(u != NULL);
    bool ok = self->config.server && curl_url_set(u, CURLUPART_URL, self->config.server, 0) == CURLUE_OK &&
              curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
              curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
              curl_url_get(u, CURLUPART_PATH, &prefix, 0) == CURLUE_OK && !strncmp(self->config.server, "https://", 8);
    if (!ok) {
        err_set(err, ERR_INVALID, "server \"%s\" must be https://HOST:PORT",
                self->config.server ? self->config.server : "");
        goto out;
    }
    self->base = mem_printf("https://%s:%s%s", name ? name : host, port, strcmp(prefix, "/") ? prefix : "");
    if (name) {
        char *line = mem_printf("%s:%s:%s:%s", name, port, host, port);
        self->connect_to = curl_slist_append(NULL, line);
        check(self->connect_to != NULL);
        free(line);
    }
out:
    curl_free(host);
    curl_free(port);
    curl_free(prefix);
    curl_url_cleanup(u);
    return ok;
}

struct kube *kube_curl_new(struct loop *loop, const struct kube_config *config, struct err *err) {
    struct curl_kube *self = mem_alloc(sizeof *self);
    check(curl_global_init(CURL_GLOBAL_DEFAULT) == 0);
    self->kube = (struct kube){&curl_ops, self, loop_sched(loop)};
    self->uv = loop_uv(loop);
    copy_config(&self->config, config);
    self->multi = curl_multi_init();
    check(self->multi != NULL);
    if (!place(self, err)) {
        kube_curl_free(&self->kube);
        return NULL;
    }
    curl_multi_setopt(self->multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
    curl_multi_setopt(self->multi, CURLMOPT_SOCKETFUNCTION, socket_wanted);
    curl_multi_setopt(self->multi, CURLMOPT_SOCKETDATA, self);
    curl_multi_setopt(self->multi, CURLMOPT_TIMERFUNCTION, timer_wanted);
    curl_multi_setopt(self->multi, CURLMOPT_TIMERDATA, self);
    return &self->kube;
}

void kube_curl_free(struct kube *k) {
    if (!k) {
        return;
    }
    struct curl_kube *self = k->self;
    while (self->calls) {
        call_drop(self->calls);
    }
    curl_multi_cleanup(self->multi);
    timer_cancel(self->kube.sched, &self->timer);
    curl_slist_free_all(self->connect_to);
    kube_config_done(&self->config);
    mem_set(&self->base, NULL);
    mem_set(&self->token, NULL);
    free(self);
    curl_global_cleanup();
}
