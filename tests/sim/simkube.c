/* A struct kube that asks the embedded API server without a socket: answers come at least 1 ms later, in order. */
#include <stdlib.h>
#include <string.h>

#include "store_impl.h"

#define LATENCY_MS 1
#define REQUEST_TIMEOUT_MS 30000
#define STREAM_SILENCE_MS 90000
#define MAX_UNREAD (64u * 1024 * 1024)

struct simkube {
    struct kube kube;
    struct store *store;
    char *user;
    struct kube_call *calls;
};

struct kube_call {
    struct simkube *k;
    char *method, *path, *body, *content_type;
    int64_t timeout_ms;
    bool stream, ended;
    struct kube_handler handler;
    void *ctx;
    struct timer timer, silence;
    struct store_watch *watch;
    struct buf unread;
    struct kube_call *next;
};

static void call_free(struct kube_call *c) {
    struct sched *sched = c->k->kube.sched;
    timer_cancel(sched, &c->timer);
    timer_cancel(sched, &c->silence);
    if (c->watch) {
        store_watch_close(c->watch);
    }
    struct kube_call **p = &c->k->calls;
    while (*p != c) {
        p = &(*p)->next;
    }
    *p = c->next;
    free(c->method);
    free(c->path);
    free(c->body);
    free(c->content_type);
    buf_done(&c->unread);
    free(c);
}

static void finish(struct kube_call *c, struct kube_response *r) {
    struct kube_handler h = c->handler;
    void *ctx = c->ctx;
    if (r->status && (r->status < 200 || r->status > 299)) {
        kube_status_error(r->status, r->body, r->len, c->method, c->path, &r->err);
        r->retry_after_ms = r->status == 429 ? 1000 : 0;
    }
    call_free(c);
    h.done(ctx, r);
}

static void on_silence(void *ctx) {
    struct kube_call *c = ctx;
    struct kube_response r = {.body = ""};
    err_set(&r.err, ERR_TIMEOUT, "%s %s: no answer", c->method, c->path);
    finish(c, &r);
}

static void await(struct kube_call *c) {
    struct sched *sched = c->k->kube.sched;
    timer_set(sched, &c->silence, sched_now(sched) + c->timeout_ms, on_silence, c);
}

static void on_flush(void *ctx) {
    struct kube_call *c = ctx;
    if (c->unread.len) {
        struct buf b = c->unread;
        buf_init(&c->unread, MAX_UNREAD);
        /* The handler may cancel the call: nothing of c is used once it has been called for the last time. */
        bool ended = c->ended;
        if (ended) {
            timer_set(c->k->kube.sched, &c->timer, sched_now(c->k->kube.sched), on_flush, c);
        } else {
            await(c);
        }
        if (c->handler.data) {
            c->handler.data(c->ctx, b.p, b.len);
        }
        buf_done(&b);
        return;
    }
    if (c->ended) {
        struct kube_response r = {.status = 200, .body = ""};
        finish(c, &r);
    }
}

static void flush_soon(struct kube_call *c) {
    if (!timer_is_set(&c->timer)) {
        timer_set(c->k->kube.sched, &c->timer, sched_now(c->k->kube.sched) + LATENCY_MS, on_flush, c);
    }
}

static void on_line(void *ctx, const char *p, size_t n) {
    struct kube_call *c = ctx;
    buf_add(&c->unread, p, n);
    flush_soon(c);
}

static void on_end(void *ctx) {
    struct kube_call *c = ctx;
    c->watch = NULL;
    c->ended = true;
    flush_soon(c);
}

static void on_due(void *ctx) {
    struct kube_call *c = ctx;
    struct store_user user = {c->k->user};
    struct store_reply reply = {0};
    if (c->stream) {
        c->watch = store_watch(c->k->store, &user, c->path, on_line, on_end, c, &reply);
        if (c->watch) {
            await(c);
            return;
        }
    } else {
        store_request(c->k->store, &user, c->method, c->path, c->content_type, "application/json", c->body,
                      c->body ? strlen(c->body) : 0, &reply);
    }
    if (reply.status < 0) {
        await(c);
        return;
    }
    struct kube_response r = {
        .status = reply.status, .body = reply.body ? reply.body : "", .len = reply.body ? strlen(reply.body) : 0};
    finish(c, &r);
    free(reply.body);
}

static struct kube_call *simkube_send(void *self, const struct kube_request *req, const struct kube_handler *h, void *ctx) {
    struct simkube *k = self;
    struct kube_call *c = mem_alloc(sizeof *c);
    c->k = k;
    c->method = mem_dup(req->method);
    c->path = mem_dup(req->path);
    c->body = mem_dup(req->body);
    c->content_type = mem_dup(req->content_type ? req->content_type : "application/json");
    c->stream = req->stream;
    c->timeout_ms = req->timeout_ms ? req->timeout_ms : req->stream ? STREAM_SILENCE_MS : REQUEST_TIMEOUT_MS;
    c->handler = *h;
    c->ctx = ctx;
    buf_init(&c->unread, MAX_UNREAD);
    c->next = k->calls;
    k->calls = c;
    timer_set(k->kube.sched, &c->timer, sched_now(k->kube.sched) + LATENCY_MS, on_due, c);
    return c;
}

static void simkube_cancel(void *self, struct kube_call *c) {
    (void)self;
    call_free(c);
}

static const struct kube_ops simkube_ops = {simkube_send, simkube_cancel};

struct kube *store_kube(struct store *s, const char *user) {
    struct simkube *k = mem_alloc(sizeof *k);
    k->kube = (struct kube){&simkube_ops, k, s->sched};
    k->store = s;
    k->user = mem_dup(user);
    return &k->kube;
}

void store_kube_free(struct kube *kube) {
    if (!kube) {
        return;
    }
    struct simkube *k = kube->self;
    while (k->calls) {
        call_free(k->calls);
    }
    free(k->user);
    free(k);
}
