/* Inside of lib/rpc: a listening server and its streams. */
#pragma once

#include "pump.h"

struct rpc_server {
    struct rpc *r;
    grpc_server *server;
    const struct rpc_server_ops *ops;
    void *ctx;
    char **methods;
    size_t n_methods;
    struct cert *cert;
    int port;
    struct rpc_server_stream *streams; /* all accepted ones that are not freed */
    struct rpc_op op_down;
    bool stopping;
    bool down;        /* gRPC has said that nothing comes any more */
    size_t accepting; /* requests armed */
    struct timer grace;
};

/* Arm the next stream. */
void server_accept(struct rpc_server *s);
bool server_has_method(const struct rpc_server *s, const char *method);
/* A stream or an armed request is gone. */
void server_collect(struct rpc_server *s);
/* Tell the owner of the stream that it is over and end it with UNAVAILABLE. */
void server_stream_shut(struct rpc_server_stream *x);
struct rpc_server_stream *server_stream_following(struct rpc_server_stream *x);
