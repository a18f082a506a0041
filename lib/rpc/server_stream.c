/*
 * The server's end of a stream. A stream object is made when a request is armed; it is freed when the last of its batches
 * has come back. "Close" completes when the client is gone or our status went out, whatever comes first.
 */
#include <grpc/byte_buffer.h>
#include <grpc/slice.h>
#include <grpc/support/alloc.h>
#include <stdlib.h>
#include <string.h>

#include "../base/mem.h"
#include "outbox.h"
#include "server.h"
#include "utlist.h"

enum { LINGER_MS = 5000 };

struct rpc_server_stream {
    struct rpc_server *server;
    struct rpc_server_stream *prev, *next;
    grpc_call *call;
    grpc_call_details details;
    grpc_metadata_array headers;
    char **header_texts; /* handed out while `open` runs */
    size_t n_header_texts;
    void *ctx; /* NULL: nobody to tell */
    struct rpc_op op_accept, op_start, op_close, op_read, op_write, op_status;
    unsigned in_flight;
    int cancelled;
    struct outbox out;
    grpc_byte_buffer *incoming;
    bool ending; /* a status is set; nothing more is taken */
    bool status_sent;
    bool gone; /* close has completed */
    int status;
    char *status_text;
    struct timer linger;
};

/* --- life --- */

static void free_header_texts(struct rpc_server_stream *x) {
    for (size_t i = 0; i < x->n_header_texts; i++) {
        gpr_free(x->header_texts[i]);
    }
    free(x->header_texts);
    x->header_texts = NULL;
    x->n_header_texts = 0;
}

static void stream_dispose(struct rpc_server_stream *x) {
    outbox_drop(&x->out);
    free_header_texts(x);
    grpc_call_details_destroy(&x->details);
    grpc_metadata_array_destroy(&x->headers);
    if (x->call != NULL) {
        grpc_call_unref(x->call);
    }
    free(x->status_text);
    free(x);
}

static void tell_closed(struct rpc_server_stream *x) {
    void *ctx = x->ctx;
    x->ctx = NULL;
    if (ctx != NULL) {
        x->server->ops->closed(ctx);
    }
}

static void drop_ref(struct rpc_server_stream *x) {
    if (--x->in_flight > 0) {
        return;
    }
    struct rpc_server *server = x->server;
    timer_cancel(loop_sched(server->r->loop), &x->linger);
    tell_closed(x);
    DL_DELETE(server->streams, x);
    server->r->live--;
    stream_dispose(x);
    server_collect(server);
}

static void start(struct rpc_server_stream *x, const grpc_op *op, struct rpc_op *tag, void (*done)(struct rpc_op *, bool)) {
    tag->done = done;
    x->in_flight++;
    pump_start(x->call, op, 1, tag);
}

/* --- writing and ending --- */

static void go_on(struct rpc_server_stream *x);

static void on_written(struct rpc_op *op, bool ok) {
    struct rpc_server_stream *x = owner_of(op, struct rpc_server_stream, op_write);
    outbox_sent(&x->out);
    if (!ok || x->gone) {
        outbox_drop(&x->out);
    }
    go_on(x);
    drop_ref(x);
}

static void on_status_sent(struct rpc_op *op, bool ok) {
    (void)ok;
    drop_ref(owner_of(op, struct rpc_server_stream, op_status));
}

static void send_status(struct rpc_server_stream *x) {
    x->status_sent = true;
    grpc_slice text = grpc_slice_from_copied_string(x->status_text);
    grpc_op op = {.op = GRPC_OP_SEND_STATUS_FROM_SERVER};
    op.data.send_status_from_server.status = (grpc_status_code)x->status;
    op.data.send_status_from_server.status_details = &text;
    start(x, &op, &x->op_status, on_status_sent);
    grpc_slice_unref(text);
}

/* The next message, or after the last one the status. */
static void go_on(struct rpc_server_stream *x) {
    grpc_byte_buffer *bytes = outbox_next(&x->out);
    if (bytes != NULL) {
        grpc_op op = {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = bytes};
        start(x, &op, &x->op_write, on_written);
    } else if (x->ending && !x->status_sent && !x->out.busy) {
        send_status(x);
    }
}

static void on_linger(void *ctx) {
    struct rpc_server_stream *x = ctx;
    grpc_call_cancel(x->call, NULL);
}

bool rpc_server_stream_send(struct rpc_server_stream *x, const void *p, size_t n) {
    if (x->ending || x->gone || !outbox_add(&x->out, p, n)) {
        return false;
    }
    /* Inside `open` the headers have not been sent yet. */
    if (x->op_start.done != NULL) {
        go_on(x);
    }
    return true;
}

size_t rpc_server_stream_pending(const struct rpc_server_stream *x) {
    return x->out.pending;
}

void rpc_server_stream_end(struct rpc_server_stream *x, int status, const char *text) {
    if (x->ending) {
        return;
    }
    x->ending = true;
    x->status = status;
    x->status_text = mem_dup(text);
    if (x->op_start.done != NULL) {
        struct sched *sched = loop_sched(x->server->r->loop);
        timer_set(sched, &x->linger, sched_now(sched) + LINGER_MS, on_linger, x);
        go_on(x);
    }
}

/* --- reading --- */

static void read_next(struct rpc_server_stream *x);

static void on_read(struct rpc_op *op, bool ok) {
    struct rpc_server_stream *x = owner_of(op, struct rpc_server_stream, op_read);
    grpc_byte_buffer *bytes = x->incoming;
    x->incoming = NULL;
    if (!ok || bytes == NULL) {
        /* The client has finished speaking. */
        rpc_server_stream_end(x, RPC_OK, "");
    } else if (x->ending || x->ctx == NULL) {
        grpc_byte_buffer_destroy(bytes);
    } else {
        pump_deliver(bytes, x->server->ops->message, x->ctx);
        read_next(x);
    }
    drop_ref(x);
}

static void read_next(struct rpc_server_stream *x) {
    if (!x->ending) {
        grpc_op op = {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &x->incoming};
        start(x, &op, &x->op_read, on_read);
    }
}

static void on_close(struct rpc_op *op, bool ok) {
    (void)ok;
    struct rpc_server_stream *x = owner_of(op, struct rpc_server_stream, op_close);
    x->gone = true;
    outbox_drop(&x->out);
    tell_closed(x);
    /* A status is owed in any case, or the call is never over. */
    rpc_server_stream_end(x, RPC_UNAVAILABLE, "the client is gone");
    drop_ref(x);
}

/* --- accepting --- */

static void on_started(struct rpc_op *op, bool ok) {
    (void)ok;
    drop_ref(owner_of(op, struct rpc_server_stream, op_start));
}

static void start_all(struct rpc_server_stream *x) {
    grpc_op send = {.op = GRPC_OP_SEND_INITIAL_METADATA};
    start(x, &send, &x->op_start, on_started);
    grpc_op closing = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER, .data.recv_close_on_server.cancelled = &x->cancelled};
    start(x, &closing, &x->op_close, on_close);
    if (x->ending) {
        x->ending = false;
        char *text = x->status_text;
        x->status_text = NULL;
        rpc_server_stream_end(x, x->status, text);
        free(text);
    } else {
        go_on(x);
        read_next(x);
    }
}

static const char *header_of(struct rpc_server_stream *x, const char *key) {
    for (size_t i = 0; i < x->headers.count; i++) {
        if (grpc_slice_str_cmp(x->headers.metadata[i].key, key) == 0) {
            char *text = grpc_slice_to_c_string(x->headers.metadata[i].value);
            x->header_texts = mem_grow(x->header_texts, (x->n_header_texts + 1) * sizeof *x->header_texts);
            x->header_texts[x->n_header_texts++] = text;
            return text;
        }
    }
    return NULL;
}

/* gRPC writes "ipv4:1.2.3.4:5" and "ipv6:%5B::1%5D:5". The caller's to free(). */
static char *peer_of(grpc_call *call) {
    char *peer = grpc_call_get_peer(call);
    const char *from = peer;
    if (strncmp(from, "ipv4:", 5) == 0 || strncmp(from, "ipv6:", 5) == 0) {
        from += 5;
    }
    char *out = mem_alloc(strlen(from) + 1), *to = out;
    while (*from != '\0') {
        bool open = strncmp(from, "%5B", 3) == 0, close = strncmp(from, "%5D", 3) == 0;
        *to++ = open ? '[' : close ? ']' : *from;
        from += open || close ? 3 : 1;
    }
    gpr_free(peer);
    return out;
}

static void introduce(struct rpc_server_stream *x) {
    struct rpc_server *server = x->server;
    char *method = grpc_slice_to_c_string(x->details.method);
    if (server->stopping) {
        rpc_server_stream_end(x, RPC_UNAVAILABLE, "the server is stopping");
    } else if (!server_has_method(server, method)) {
        rpc_server_stream_end(x, RPC_UNIMPLEMENTED, "this server has no such method");
    } else {
        char *peer = peer_of(x->call);
        x->ctx = server->ops->open(server->ctx, x, method, peer, header_of);
        free(peer);
        if (x->ctx == NULL) {
            rpc_server_stream_end(x, RPC_UNAVAILABLE, "refused");
        }
    }
    gpr_free(method);
    free_header_texts(x);
    start_all(x);
}

static void on_accept(struct rpc_op *op, bool ok) {
    struct rpc_server_stream *x = owner_of(op, struct rpc_server_stream, op_accept);
    struct rpc_server *server = x->server;
    server->accepting--;
    if (!ok) {
        stream_dispose(x);
        server_collect(server);
        return;
    }
    if (!server->stopping) {
        server_accept(server);
    }
    server->r->live++;
    DL_APPEND(server->streams, x);
    introduce(x);
}

void server_accept(struct rpc_server *s) {
    struct rpc_server_stream *x = mem_alloc(sizeof *x);
    x->server = s;
    x->op_accept.done = on_accept;
    grpc_call_details_init(&x->details);
    grpc_metadata_array_init(&x->headers);
    s->accepting++;
    grpc_completion_queue *cq = s->r->cq;
    grpc_call_error e = grpc_server_request_call(s->server, &x->call, &x->details, &x->headers, cq, cq, &x->op_accept);
    check(e == GRPC_CALL_OK);
}

void server_stream_shut(struct rpc_server_stream *x) {
    rpc_server_stream_end(x, RPC_UNAVAILABLE, "the server is stopping");
    tell_closed(x);
}

struct rpc_server_stream *server_stream_following(struct rpc_server_stream *x) {
    return x->next;
}
