/*
 * The client's end of a stream. Three batches are in flight from the start (headers, status, message); the stream is freed
 * when the last has come back. Reading the initial metadata is not optional: without it neither messages nor status come.
 */
#include <grpc/byte_buffer.h>
#include <grpc/slice.h>
#include <grpc/support/alloc.h>
#include <stdlib.h>
#include <string.h>

#include "../base/mem.h"
#include "channel.h"
#include "outbox.h"

struct rpc_stream {
    struct rpc *r;
    grpc_call *call;
    const struct rpc_stream_ops *ops; /* NULL: closed by its owner */
    void *ctx;
    struct rpc_op op_start, op_head, op_read, op_write, op_status;
    unsigned in_flight;
    bool over; /* the status is there */
    struct timer connect;
    int64_t connect_timeout_ms;
    struct outbox out;
    grpc_byte_buffer *incoming;
    grpc_metadata *headers;
    size_t n_headers;
    grpc_metadata_array initial, trailing;
    grpc_status_code status;
    grpc_slice details;
};

static void stream_free(struct rpc_stream *s) {
    outbox_drop(&s->out);
    for (size_t i = 0; i < s->n_headers; i++) {
        grpc_slice_unref(s->headers[i].key);
        grpc_slice_unref(s->headers[i].value);
    }
    free(s->headers);
    grpc_metadata_array_destroy(&s->initial);
    grpc_metadata_array_destroy(&s->trailing);
    grpc_slice_unref(s->details);
    grpc_call_unref(s->call);
    s->r->live--;
    free(s);
}

static void tell_end(struct rpc_stream *s) {
    char *text = grpc_slice_to_c_string(s->details);
    const struct rpc_stream_ops *ops = s->ops;
    s->ops = NULL;
    ops->end(s->ctx, (int)s->status, text);
    gpr_free(text);
}

/* One operation has come back. */
static void drop_ref(struct rpc_stream *s) {
    if (--s->in_flight == 0) {
        timer_cancel(loop_sched(s->r->loop), &s->connect);
        if (s->ops != NULL) {
            tell_end(s);
        }
        stream_free(s);
    }
}

static void start(struct rpc_stream *s, const grpc_op *op, struct rpc_op *tag, void (*done)(struct rpc_op *, bool)) {
    tag->done = done;
    s->in_flight++;
    pump_start(s->call, op, 1, tag);
}

/* --- writing --- */

static void write_next(struct rpc_stream *s);

static void on_written(struct rpc_op *op, bool ok) {
    struct rpc_stream *s = owner_of(op, struct rpc_stream, op_write);
    outbox_sent(&s->out);
    if (!ok || s->over || s->ops == NULL) {
        outbox_drop(&s->out);
    }
    write_next(s);
    drop_ref(s);
}

static void write_next(struct rpc_stream *s) {
    grpc_byte_buffer *bytes = outbox_next(&s->out);
    if (bytes != NULL) {
        grpc_op op = {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = bytes};
        start(s, &op, &s->op_write, on_written);
    }
}

bool rpc_stream_send(struct rpc_stream *s, const void *p, size_t n) {
    if (s->over || !outbox_add(&s->out, p, n)) {
        return false;
    }
    write_next(s);
    return true;
}

size_t rpc_stream_pending(const struct rpc_stream *s) {
    return s->out.pending;
}

/* --- reading --- */

static void read_next(struct rpc_stream *s);

static void on_read(struct rpc_op *op, bool ok) {
    struct rpc_stream *s = owner_of(op, struct rpc_stream, op_read);
    grpc_byte_buffer *bytes = s->incoming;
    s->incoming = NULL;
    if (ok && bytes != NULL) {
        if (s->ops != NULL) {
            pump_deliver(bytes, s->ops->message, s->ctx);
        } else {
            grpc_byte_buffer_destroy(bytes);
        }
        /* Also when the owner has closed: the status only comes after the last message was taken. */
        read_next(s);
    }
    drop_ref(s);
}

static void read_next(struct rpc_stream *s) {
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &s->incoming};
    start(s, &op, &s->op_read, on_read);
}

/* --- begin and end --- */

static void on_started(struct rpc_op *op, bool ok) {
    struct rpc_stream *s = owner_of(op, struct rpc_stream, op_start);
    if (ok) {
        timer_cancel(loop_sched(s->r->loop), &s->connect);
    }
    drop_ref(s);
}

static void on_head(struct rpc_op *op, bool ok) {
    (void)ok;
    drop_ref(owner_of(op, struct rpc_stream, op_head));
}

static void on_status(struct rpc_op *op, bool ok) {
    (void)ok;
    struct rpc_stream *s = owner_of(op, struct rpc_stream, op_status);
    s->over = true;
    outbox_drop(&s->out);
    drop_ref(s);
}

static void on_connect_timeout(void *ctx) {
    struct rpc_stream *s = ctx;
    char *text = mem_printf("no connection within %lld ms", (long long)s->connect_timeout_ms);
    grpc_call_cancel_with_status(s->call, GRPC_STATUS_UNAVAILABLE, text, NULL);
    free(text);
}

/* The first header that gRPC would refuse, or NULL. */
static const char *illegal_header(const grpc_metadata *h, size_t n, const struct rpc_header *names) {
    for (size_t i = 0; i < n; i++) {
        if (!grpc_header_key_is_legal(h[i].key) || !grpc_header_nonbin_value_is_legal(h[i].value)) {
            return names[i].key;
        }
    }
    return NULL;
}

static void copy_headers(struct rpc_stream *s, const struct rpc_header *headers, size_t n) {
    s->headers = mem_alloc((n + 1) * sizeof *s->headers);
    s->n_headers = n;
    for (size_t i = 0; i < n; i++) {
        s->headers[i].key = grpc_slice_from_copied_string(headers[i].key);
        s->headers[i].value = grpc_slice_from_copied_string(headers[i].value);
    }
}

static void start_all(struct rpc_stream *s, size_t n_headers) {
    grpc_op send = {.op = GRPC_OP_SEND_INITIAL_METADATA};
    send.data.send_initial_metadata.count = n_headers;
    send.data.send_initial_metadata.metadata = s->headers;
    start(s, &send, &s->op_start, on_started);
    grpc_op head = {.op = GRPC_OP_RECV_INITIAL_METADATA};
    head.data.recv_initial_metadata.recv_initial_metadata = &s->initial;
    start(s, &head, &s->op_head, on_head);
    grpc_op status = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};
    status.data.recv_status_on_client.trailing_metadata = &s->trailing;
    status.data.recv_status_on_client.status = &s->status;
    status.data.recv_status_on_client.status_details = &s->details;
    start(s, &status, &s->op_status, on_status);
    read_next(s);
}

struct rpc_stream *rpc_stream_open(struct rpc_channel *c, const char *method, const struct rpc_header *headers,
                                   size_t n_headers, int64_t connect_timeout_ms, const struct rpc_stream_ops *ops,
                                   void *ctx) {
    struct rpc_stream *s = mem_alloc(sizeof *s);
    s->r = c->r;
    s->r->live++;
    s->ops = ops;
    s->ctx = ctx;
    s->connect_timeout_ms = connect_timeout_ms;
    s->details = grpc_empty_slice();
    grpc_metadata_array_init(&s->initial);
    grpc_metadata_array_init(&s->trailing);
    grpc_slice path = grpc_slice_from_copied_string(method);
    s->call = grpc_channel_create_call(c->channel, NULL, GRPC_PROPAGATE_DEFAULTS, s->r->cq, path, NULL,
                                       gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    grpc_slice_unref(path);
    copy_headers(s, headers, n_headers);
    const char *bad = illegal_header(s->headers, n_headers, headers);
    if (bad != NULL) {
        char *text = mem_printf("header %s holds a character that is not allowed, such as a line feed", bad);
        grpc_call_cancel_with_status(s->call, GRPC_STATUS_INVALID_ARGUMENT, text, NULL);
        free(text);
    }
    start_all(s, bad == NULL ? n_headers : 0);
    if (connect_timeout_ms > 0) {
        struct sched *sched = loop_sched(s->r->loop);
        timer_set(sched, &s->connect, sched_now(sched) + connect_timeout_ms, on_connect_timeout, s);
    }
    return s;
}

void rpc_stream_close(struct rpc_stream *s) {
    if (s == NULL) {
        return;
    }
    s->ops = NULL;
    timer_cancel(loop_sched(s->r->loop), &s->connect);
    outbox_drop(&s->out);
    grpc_call_cancel(s->call, NULL);
}
