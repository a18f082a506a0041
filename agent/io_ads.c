/*
 * One ADS stream a replica, opened by the first question and kept: opening costs istiod a token review and counts against
 * its limit of new streams. istiod answers each request once and in order, and nothing in an answer says which request it
 * answers. So a question that is given up takes its stream with it: a late answer can never be taken for the next one's.
 * Answers are never acknowledged: an ACK is one more request.
 */
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "../lib/base/mem.h"
#include "../lib/wire/skim.h"
#include "../lib/wire/wire.h"
#include "io_parts.h"

#define METHOD "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"
#define DEBUG_TYPE "istio.io/debug"

enum { MAX_ANSWER = 256 * 1024 * 1024, KEEPALIVE_MS = 20000, CONNECT_MS = 5000 };

struct ads_question {
    struct io_question q;
    struct ads_stream *on;
    char *resource;
    io_answer_fn fn;
    void *ctx;
    struct timer timer; /* the deadline; or, when failed is set, now */
    int64_t timeout_ms;
    bool failed, again;
    enum io_status status;
    struct err why;
};

struct ads_stream {
    struct io_real *x;
    char *id, *address, *server_name, *place;
    uint16_t port;
    struct rpc_channel *channel;
    struct rpc_stream *stream; /* NULL: not open */
    struct ads_question *question;
    bool introduced, answered; /* on this stream */
    struct ads_stream *prev, *next;
};

static void hang_up(struct ads_stream *s) {
    if (s->stream != NULL) {
        rpc_stream_close(s->stream);
        s->stream = NULL;
    }
    if (s->channel != NULL) {
        rpc_channel_free(s->channel);
        s->channel = NULL;
    }
}

static void question_free(struct ads_question *q) {
    q->on->question = NULL;
    timer_cancel(q->on->x->sched, &q->timer);
    free(q->resource);
    free(q);
}

/* The receiver may ask again at once. */
static void finish(struct ads_question *q, const struct io_answer *a) {
    io_answer_fn fn = q->fn;
    void *ctx = q->ctx;
    question_free(q);
    fn(ctx, a);
}

static void fail(struct ads_question *q, enum io_status status, const struct err *why) {
    struct err copy = *why;
    finish(q, &(struct io_answer){.status = status, .error = copy.text});
}

/* --- what the stream says --- */

static enum io_status status_of(int rpc_status, const char *text) {
    switch (rpc_status) {
    case RPC_UNAUTHENTICATED:
    case RPC_PERMISSION_DENIED:
        return IO_DENIED;
    case RPC_RESOURCE_EXHAUSTED: /* the same code for a message that is too large */
        return strstr(text, "rate limit") != NULL ? IO_BUSY : IO_GARBLED;
    case RPC_DEADLINE_EXCEEDED:
        return IO_TIMEOUT;
    case RPC_UNIMPLEMENTED:
    case RPC_INVALID_ARGUMENT:
        return IO_REFUSED;
    case RPC_OK:
    case RPC_UNAVAILABLE:
    case 1: /* cancelled */
        return IO_UNREACHABLE;
    default:
        return IO_GARBLED;
    }
}

static void explain(const struct ads_stream *s, enum io_status status, const char *text, struct err *err) {
    const struct io_real_opts *o = &s->x->opts;
    switch (status) {
    case IO_DENIED:
        err_set(err, ERR_DENIED,
                "istiod at %s refused the token of --istio-token-file %s (audience istio-ca, namespace %s?): %s", s->place,
                o->istio_token_file, o->istio_namespace, text);
        return;
    case IO_UNREACHABLE: {
        char *who = mem_printf("istiod at %s", s->place);
        io_trust_explain(err, text[0] != '\0' ? text : "the stream was closed", who, s->server_name, "--istio-root-file",
                         o->istio_root_file);
        free(who);
        return;
    }
    case IO_OK:
    case IO_TIMEOUT:
    case IO_REFUSED:
    case IO_GARBLED:
    case IO_BUSY:
        err_set(err, ERR_PROTOCOL, "istiod at %s: %s", s->place, text);
        return;
    }
}

static bool dial(struct ads_stream *s, struct err *err, enum io_status *status);
static void put(struct ads_stream *s);

static void on_end(void *ctx, int rpc_status, const char *text) {
    struct ads_stream *s = ctx;
    struct ads_question *q = s->question;
    bool worked = s->answered;
    s->stream = NULL;
    hang_up(s);
    if (q == NULL) {
        return;
    }
    struct err err = {0};
    enum io_status status = status_of(rpc_status, text);
    explain(s, status, text, &err);
    /* istiod recycles old connections: a question that met the end of one is put once more, on a new one. */
    if (status == IO_UNREACHABLE && worked && !q->again) {
        q->again = true;
        if (dial(s, &err, &status)) {
            put(s);
            return;
        }
    }
    fail(q, status, &err);
}

/* istiod's handler for names that it does not serve, or serves no more. */
static bool is_refused(const struct piece *body, size_t n, char *text, size_t cap) {
    static const char refusal[] = "404 page not found";
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < body[i].len && len + 1 < cap; k++) {
            text[len++] = (char)body[i].p[k];
        }
    }
    text[len] = '\0';
    return strncmp(text, refusal, sizeof refusal - 1) == 0;
}

static bool is_status(const struct ads_question *q) {
    return strcmp(q->resource, IO_STATUS_SYNCZ) == 0;
}

/* The protobuf syncz is read from the message itself. */
static void deliver_status(struct ads_question *q, const struct piece *pieces, size_t n, size_t bytes) {
    struct io_real *x = q->on->x;
    finish(q, &(struct io_answer){.status = IO_OK, .body = pieces, .pieces = n, .bytes = bytes});
    io_real_trim(x, bytes);
}

static void deliver(struct ads_question *q, const struct skim *body) {
    struct ads_stream *s = q->on;
    struct io_real *x = s->x;
    size_t cap = body->n - body->i + 1, bytes = body->left;
    struct piece *pieces = mem_alloc(cap * sizeof *pieces);
    size_t n = skim_pieces(body, pieces, cap);
    char head[32];
    if (is_refused(pieces, n, head, sizeof head)) {
        struct err err;
        err_set(&err, ERR_DENIED, "istiod at %s does not serve %s: is ENABLE_DEBUG_ON_HTTP=false set on it?", s->place,
                q->resource);
        fail(q, IO_REFUSED, &err);
    } else {
        finish(q, &(struct io_answer){.status = IO_OK, .body = pieces, .pieces = n, .bytes = bytes});
    }
    free(pieces);
    io_real_trim(x, bytes);
}

static void on_message(void *ctx, const struct piece *pieces, size_t n, size_t bytes) {
    struct ads_stream *s = ctx;
    struct ads_question *q = s->question;
    struct skim_debug d;
    struct err err = {0};
    if (q == NULL || q->failed) {
        hang_up(s); /* nobody asked */
        return;
    }
    if (is_status(q)) {
        s->answered = true;
        deliver_status(q, pieces, n, bytes);
        return;
    }
    bool ok = skim_debug_response(pieces, n, &d, &err);
    if (ok && (strcmp(d.type_url, DEBUG_TYPE) != 0 || d.resources != 1)) {
        ok = err_set(&err, ERR_PROTOCOL, "answer of type %s with %zu resources", d.type_url, d.resources);
    }
    if (!ok) {
        err_wrap(&err, "istiod at %s, %zu bytes", s->place, bytes);
        hang_up(s);
        fail(q, IO_GARBLED, &err);
        return;
    }
    s->answered = true;
    deliver(q, &d.body);
}

static const struct rpc_stream_ops stream_ops = {.message = on_message, .end = on_end};

/* --- asking --- */

static bool dial(struct ads_stream *s, struct err *err, enum io_status *status) {
    const struct io_real_opts *o = &s->x->opts;
    char *token = NULL, *roots = NULL, *bearer = NULL;
    bool ok = false;
    *status = IO_DENIED;
    if (!io_trust_token(o->istio_token_file, "--istio-token-file", &token, err)) {
        goto out;
    }
    *status = IO_UNREACHABLE;
    if (!io_trust_roots(o->istio_root_file, "--istio-root-file", &roots, err)) {
        goto out;
    }
    s->channel = rpc_channel_new(s->x->rpc, &(struct rpc_channel_opts){.target = s->place,
                                                                       .server_name = s->server_name,
                                                                       .root_pem = roots,
                                                                       .max_receive_bytes = MAX_ANSWER,
                                                                       .keepalive_ms = KEEPALIVE_MS});
    bearer = mem_printf("Bearer %s", token);
    struct rpc_header header = {.key = "authorization", .value = bearer};
    s->introduced = s->answered = false;
    s->stream = rpc_stream_open(s->channel, METHOD, &header, 1, CONNECT_MS, &stream_ops, s);
    ok = true;
out:
    free(bearer);
    free(token);
    free(roots);
    return ok;
}

static void put(struct ads_stream *s) {
    struct buf request;
    buf_init(&request, 64 * 1024);
    bool status = is_status(s->question);
    wire_debug_request(&request, s->introduced ? NULL : s->x->node_id, s->x->opts.istio_namespace,
                       status ? IO_STATUS_SYNCZ : DEBUG_TYPE, status ? NULL : s->question->resource);
    s->introduced = true;
    rpc_stream_send(s->stream, request.p, request.len); /* one that is over already says so through on_end */
    buf_done(&request);
}

static void on_timer(void *ctx) {
    struct ads_question *q = ctx;
    struct ads_stream *s = q->on;
    if (q->failed) {
        fail(q, q->status, &q->why);
        return;
    }
    hang_up(s);
    struct err err;
    err_set(&err, ERR_TIMEOUT, "istiod at %s did not answer %s within %lld ms", s->place, q->resource,
            (long long)q->timeout_ms);
    fail(q, IO_TIMEOUT, &err);
}

static void question_drop(struct io_question *base) {
    struct ads_question *q = (struct ads_question *)base;
    hang_up(q->on);
    question_free(q);
}

static void stream_free(struct ads_stream *s) {
    DL_DELETE(s->x->streams, s);
    if (s->question != NULL) {
        question_free(s->question);
    }
    hang_up(s);
    free(s->id);
    free(s->address);
    free(s->server_name);
    free(s->place);
    free(s);
}

static struct ads_stream *find(struct io_real *x, const char *id) {
    struct ads_stream *s;
    DL_FOREACH(x->streams, s) {
        if (strcmp(s->id, id) == 0) {
            return s;
        }
    }
    return NULL;
}

static struct ads_stream *stream_to(struct io_real *x, const struct io_target *t) {
    struct ads_stream *s = find(x, t->id);
    if (s != NULL &&
        (strcmp(s->address, t->address) != 0 || s->port != t->xds_port || strcmp(s->server_name, t->server_name) != 0)) {
        stream_free(s);
        s = NULL;
    }
    if (s == NULL) {
        s = mem_alloc(sizeof *s);
        s->x = x;
        s->id = mem_dup(t->id);
        s->address = mem_dup(t->address);
        s->server_name = mem_dup(t->server_name);
        s->port = t->xds_port;
        s->place = io_trust_place(t->address, t->xds_port);
        DL_APPEND(x->streams, s);
    }
    check(s->question == NULL);
    return s;
}

struct io_question *io_ads_ask(void *self, const struct io_target *t, const char *resource, int64_t timeout_ms,
                               io_answer_fn fn, void *ctx) {
    struct io_real *x = self;
    struct ads_question *q = mem_alloc(sizeof *q);
    struct ads_stream *s = stream_to(x, t);
    *q = (struct ads_question){
        .q = {question_drop}, .on = s, .resource = mem_dup(resource), .fn = fn, .ctx = ctx, .timeout_ms = timeout_ms};
    s->question = q;
    if (!io_trust_is_ip(t->address)) {
        q->failed = true;
        q->status = IO_UNREACHABLE;
        err_set(&q->why, ERR_INVALID, "\"%s\" is not an IP address", t->address);
    } else if (s->stream == NULL) {
        q->failed = !dial(s, &q->why, &q->status);
    }
    if (!q->failed) {
        put(s);
    }
    timer_set(x->sched, &q->timer, sched_now(x->sched) + (q->failed ? 0 : timeout_ms), on_timer, q);
    return &q->q;
}

void io_ads_forget(void *self, const char *id) {
    struct ads_stream *s = find(self, id);
    if (s != NULL) {
        stream_free(s);
    }
}

void io_ads_done(struct io_real *x) {
    while (x->streams != NULL) {
        stream_free(x->streams);
    }
}
