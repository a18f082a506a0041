/*
 * Inside of lib/rpc: the completion queue, its thread, and how completions come to the loop.
 *
 * The pump thread only moves {tag, ok} by value into a mailbox; a tag is the address of an operation embedded in its
 * stream and is looked at on the loop thread alone. All batches are started on the loop thread too.
 */
#pragma once

#include <grpc/grpc.h>
#include <stdbool.h>

#include "rpc.h"

/* An operation in flight; its owner holds one reference for it until done() is called. */
struct rpc_op {
    void (*done)(struct rpc_op *op, bool ok);
};

#define owner_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

struct pump_event {
    void *tag;
    bool ok;
};

struct pump_box {
    struct pump_event *events;
    size_t n, cap;
};

/* Certificate of a server; read by gRPC's threads at each handshake. */
struct cert;

struct rpc {
    struct loop *loop;
    grpc_completion_queue *cq;
    uv_thread_t thread;
    uv_async_t async;
    uv_mutex_t lock; /* of filled and left */
    struct pump_box filled, taken;
    bool left;          /* the thread has seen the end of the queue */
    size_t live;        /* streams and servers that still have operations in flight */
    struct cert *certs; /* kept to the end: a handshake may still look */
};

/* Start a batch; op->done is called when it is over. */
void pump_start(grpc_call *call, const grpc_op *ops, size_t n, struct rpc_op *op);
/* Hand a received message to fn as its pieces. Takes the buffer. */
void pump_deliver(grpc_byte_buffer *bb, void (*fn)(void *ctx, const struct piece *pieces, size_t n, size_t bytes),
                  void *ctx);
