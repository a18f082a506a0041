/* GETs on proxies and istiods, with statuses in the agent's words. */
#include <stdlib.h>

#include "../lib/base/mem.h"
#include "io_parts.h"

struct http_question {
    struct io_question q;
    struct io_real *x;
    struct http_get *get; /* NULL: the address is no address */
    struct timer failed;
    char *place;
    io_answer_fn fn;
    void *ctx;
};

static void question_free(struct http_question *q) {
    timer_cancel(q->x->sched, &q->failed);
    free(q->place);
    free(q);
}

static void question_drop(struct io_question *base) {
    struct http_question *q = (struct http_question *)base;
    if (q->get != NULL) {
        http_cancel(q->get);
    }
    question_free(q);
}

static enum io_status status_of(const struct http_answer *a) {
    switch (a->err.code) {
    case ERR_NONE:
        break;
    case ERR_TIMEOUT:
        return IO_TIMEOUT;
    case ERR_LIMIT:
    case ERR_PROTOCOL:
        return IO_GARBLED;
    case ERR_INVALID:
    case ERR_NOT_FOUND:
    case ERR_CONFLICT:
    case ERR_DENIED:
    case ERR_UNAVAILABLE:
    case ERR_IO:
        return IO_UNREACHABLE;
    }
    switch (a->status) {
    case 200:
        return IO_OK;
    case 401:
    case 403:
        return IO_DENIED;
    case 404:
        return IO_REFUSED;
    case 503:
        return IO_BUSY;
    default:
        return IO_GARBLED;
    }
}

static void tell(struct http_question *q, enum io_status status, const char *error, const char *body, size_t len) {
    struct piece piece = {(const uint8_t *)body, len};
    struct io_answer a = {.status = status, .error = error};
    if (status == IO_OK) {
        a.body = &piece;
        a.pieces = 1;
        a.bytes = len;
    }
    io_answer_fn fn = q->fn;
    void *ctx = q->ctx;
    question_free(q);
    fn(ctx, &a);
}

static void on_answer(void *ctx, const struct http_answer *a) {
    struct http_question *q = ctx;
    enum io_status status = status_of(a);
    struct err err = a->err;
    q->get = NULL;
    if (status == IO_DENIED) {
        err_set(&err, ERR_DENIED, "%s answers %d: is METRICS_LOCALHOST_ACCESS_ONLY set there?", q->place, a->status);
    } else if (status != IO_OK && err.code == ERR_NONE) {
        err_set(&err, ERR_PROTOCOL, "%s answers %d", q->place, a->status);
    }
    tell(q, status, status == IO_OK ? NULL : err.text, a->body, a->len);
}

static void on_failed(void *ctx) {
    struct http_question *q = ctx;
    struct err err;
    err_set(&err, ERR_INVALID, "\"%s\" is not an IP address", q->place);
    tell(q, IO_UNREACHABLE, err.text, "", 0);
}

struct io_question *io_http_get(void *self, const char *address, uint16_t port, const char *path, int64_t timeout_ms,
                                io_answer_fn fn, void *ctx) {
    struct io_real *x = self;
    struct http_question *q = mem_alloc(sizeof *q);
    *q = (struct http_question){.q = {question_drop}, .x = x, .fn = fn, .ctx = ctx};
    if (!io_trust_is_ip(address)) {
        q->place = mem_dup(address);
        timer_set(x->sched, &q->failed, sched_now(x->sched), on_failed, q);
        return &q->q;
    }
    q->place = io_trust_place(address, port);
    struct http_request req = {.address = address, .port = port, .path = path, .timeout_ms = timeout_ms};
    q->get = http_get(x->http, &req, on_answer, q);
    return &q->q;
}
