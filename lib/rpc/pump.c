#include "pump.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/support/log.h>
#include <stdlib.h>
#include <string.h>

#include "../base/log.h"
#include "../base/mem.h"
#include "cert.h"

/* gRPC's own lines ("handshake failed ...") tell of peers' faults that also come as the status of a stream; only its last
 * words before it gives up are more. */
static void on_grpc_log(gpr_log_func_args *args) {
    bool fatal = strncmp(args->message, "assertion failed", 16) == 0;
    if (fatal) {
        log_error("grpc", log_s("text", args->message), log_s("file", args->file), log_i("line", args->line));
    } else if (args->severity == GPR_LOG_SEVERITY_ERROR) {
        log_debug("grpc", log_s("text", args->message), log_s("file", args->file), log_i("line", args->line));
    }
}

static void post(struct rpc *r, void *tag, bool ok) {
    struct pump_box *box = &r->filled;
    if (box->n == box->cap) {
        box->cap = box->cap == 0 ? 64 : box->cap * 2;
        box->events = mem_grow(box->events, box->cap * sizeof *box->events);
    }
    box->events[box->n++] = (struct pump_event){.tag = tag, .ok = ok};
}

static void run_pump(void *arg) {
    struct rpc *r = arg;
    for (bool more = true; more;) {
        grpc_event ev = grpc_completion_queue_next(r->cq, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
        more = ev.type != GRPC_QUEUE_SHUTDOWN;
        uv_mutex_lock(&r->lock);
        if (ev.type == GRPC_OP_COMPLETE) {
            post(r, ev.tag, ev.success != 0);
        }
        r->left = !more;
        uv_mutex_unlock(&r->lock);
        uv_async_send(&r->async);
    }
}

static void on_async(uv_async_t *async) {
    struct rpc *r = async->data;
    uv_mutex_lock(&r->lock);
    struct pump_box box = r->filled;
    r->filled = r->taken;
    r->filled.n = 0;
    uv_mutex_unlock(&r->lock);
    r->taken = box;
    for (size_t i = 0; i < box.n; i++) {
        struct rpc_op *op = box.events[i].tag;
        op->done(op, box.events[i].ok);
    }
}

static bool has_left(struct rpc *r) {
    uv_mutex_lock(&r->lock);
    bool left = r->left && r->filled.n == 0;
    uv_mutex_unlock(&r->lock);
    return left;
}

struct rpc *rpc_new(struct loop *loop) {
    gpr_set_log_function(on_grpc_log);
    grpc_init();
    struct rpc *r = mem_alloc(sizeof *r);
    r->loop = loop;
    r->cq = grpc_completion_queue_create_for_next(NULL);
    r->async.data = r;
    check(uv_mutex_init(&r->lock) == 0);
    check(uv_async_init(loop_uv(loop), &r->async, on_async) == 0);
    check(uv_thread_create(&r->thread, run_pump, r) == 0);
    return r;
}

static void on_closed(uv_handle_t *h) {
    h->data = NULL;
}

void rpc_free(struct rpc *r) {
    if (r == NULL) {
        return;
    }
    uv_loop_t *uv = loop_uv(r->loop);
    while (r->live > 0) {
        uv_run(uv, UV_RUN_ONCE);
    }
    grpc_completion_queue_shutdown(r->cq);
    while (!has_left(r)) {
        uv_run(uv, UV_RUN_ONCE);
    }
    uv_thread_join(&r->thread);
    uv_close((uv_handle_t *)&r->async, on_closed);
    while (r->async.data != NULL) {
        uv_run(uv, UV_RUN_ONCE);
    }
    grpc_completion_queue_destroy(r->cq);
    /* No grpc_shutdown(): its own threads may still be taking transports apart, and in 1.51 one of them that finds the
     * globals gone crashes. The library stays up until the process ends; the next rpc_new() finds it so. */
    uv_mutex_destroy(&r->lock);
    cert_free_all(r->certs);
    free(r->filled.events);
    free(r->taken.events);
    free(r);
}

void pump_start(grpc_call *call, const grpc_op *ops, size_t n, struct rpc_op *op) {
    grpc_call_error e = grpc_call_start_batch(call, ops, n, op, NULL);
    if (e != GRPC_CALL_OK) {
        log_error("grpc refused a batch", log_s("error", grpc_call_error_to_string(e)));
    }
    check(e == GRPC_CALL_OK);
}

void pump_deliver(grpc_byte_buffer *bb, void (*fn)(void *ctx, const struct piece *pieces, size_t n, size_t bytes),
                  void *ctx) {
    grpc_byte_buffer_reader reader;
    struct piece *pieces = NULL;
    if (grpc_byte_buffer_reader_init(&reader, bb)) {
        size_t cap = bb->data.raw.slice_buffer.count, n = 0;
        pieces = mem_alloc((cap + 1) * sizeof *pieces);
        grpc_slice *slice;
        while (n < cap && grpc_byte_buffer_reader_peek(&reader, &slice)) {
            pieces[n++] = (struct piece){.p = GRPC_SLICE_START_PTR(*slice), .len = GRPC_SLICE_LENGTH(*slice)};
        }
        fn(ctx, pieces, n, grpc_byte_buffer_length(bb));
        grpc_byte_buffer_reader_destroy(&reader);
    }
    free(pieces);
    grpc_byte_buffer_destroy(bb);
}
