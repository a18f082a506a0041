/*
 * gRPC C core behind a small callback face; the only folder that includes <grpc/...>.
 *
 * One completion queue, one pump thread that blocks on it and posts {tag, ok} by value to the loop; everything else,
 * all callbacks included, happens on the loop thread. Messages arrive as the pieces (slices) that gRPC received, are
 * borrowed for the time of the callback and never copied here.
 */
#pragma once

#include "../base/buf.h"
#include "../base/err.h"
#include "../base/loop.h"

struct rpc;
struct rpc_channel;
struct rpc_stream;
struct rpc_server;

/* gRPC status codes that callers look at. */
enum {
    RPC_OK = 0,
    RPC_INVALID_ARGUMENT = 3,
    RPC_DEADLINE_EXCEEDED = 4,
    RPC_PERMISSION_DENIED = 7,
    RPC_RESOURCE_EXHAUSTED = 8,
    RPC_UNIMPLEMENTED = 12,
    RPC_UNAVAILABLE = 14,
    RPC_UNAUTHENTICATED = 16,
};

/* Borrows loop until rpc_free. Starts grpc and the pump. */
struct rpc *rpc_new(struct loop *loop);
/* All streams, channels and servers must be closed. Runs the loop until the queue has drained. */
void rpc_free(struct rpc *r);

struct rpc_channel_opts {
    const char *target;      /* "IP:PORT" or "dns:///HOST:PORT" */
    const char *server_name; /* name that the server's certificate must carry (SAN); NULL: host of target */
    const char *root_pem;    /* trust roots as PEM text; NULL: plaintext (tests only) */
    int max_receive_bytes;   /* 0: 4 MiB */
    int64_t keepalive_ms;    /* 0: none. istiod refuses less than 15 s (GRPC_KEEPALIVE_INTERVAL/2) */
    int64_t max_backoff_ms;  /* of reconnecting; 0: 5 s */
};

/* Never NULL; a bad certificate or target shows when a stream ends. */
struct rpc_channel *rpc_channel_new(struct rpc *r, const struct rpc_channel_opts *opts);
/* Its streams must be closed first (rpc_stream_close is enough). */
void rpc_channel_free(struct rpc_channel *c);

struct rpc_header {
    const char *key; /* lower case */
    const char *value;
};

struct rpc_stream_ops {
    /* One message; pieces are borrowed for the call. The next one is not read before this returns. */
    void (*message)(void *ctx, const struct piece *pieces, size_t n, size_t bytes);
    /* The stream has ended (also after a failed connect); status is the gRPC code, text its details. Last callback;
     * the stream is freed after it. Not called after rpc_stream_close. */
    void (*end)(void *ctx, int status, const char *text);
};

/*
 * Open a bidirectional stream. Never NULL. method: "/package.Service/Method". Headers are copied.
 * connect_timeout_ms bounds connecting and TLS only (0: none): the stream ends with RPC_UNAVAILABLE.
 */
struct rpc_stream *rpc_stream_open(struct rpc_channel *c, const char *method, const struct rpc_header *headers,
                                   size_t n_headers, int64_t connect_timeout_ms, const struct rpc_stream_ops *ops,
                                   void *ctx);
/* Queue one message (bytes are copied). false when more than 4 MiB wait already: nothing is queued. */
bool rpc_stream_send(struct rpc_stream *s, const void *p, size_t n);
/* Bytes queued and not yet taken by gRPC. */
size_t rpc_stream_pending(const struct rpc_stream *s);
/* Cancel and forget; no callback afterwards. */
void rpc_stream_close(struct rpc_stream *s);

/* The other end. */
struct rpc_server_stream;

struct rpc_server_ops {
    /* A new stream. Return the ctx of its callbacks, or NULL after rpc_server_stream_end() to refuse it.
     * header(key) gives a request header or NULL, borrowed for the call. peer: unauthenticated "IP:PORT". */
    void *(*open)(void *ctx, struct rpc_server_stream *s, const char *method, const char *peer,
                  const char *(*header)(struct rpc_server_stream *s, const char *key));
    void (*message)(void *stream_ctx, const struct piece *pieces, size_t n, size_t bytes);
    /* Last callback: the client is gone, or the end that rpc_server_stream_end() asked for is done. */
    void (*closed)(void *stream_ctx);
};

struct rpc_server_opts {
    const char *address;            /* "IP:PORT", ":PORT" for all addresses; port 0 chooses */
    const char *cert_pem, *key_pem; /* NULL: plaintext (tests only). Used for connections opened from then on */
    const char *const *methods;     /* NULL-terminated; others are answered with UNIMPLEMENTED */
    int max_receive_bytes;          /* 0: 1 MiB */
    int max_streams;                /* per connection; 0: 100 */
    int64_t keepalive_ms;           /* server pings idle connections; 0: 20 s */
    int64_t max_connection_age_ms;  /* 0: none */
};

/* NULL and *err when the address can't be bound or the certificate is unusable. Reuse of the port is off. */
struct rpc_server *rpc_server_new(struct rpc *r, const struct rpc_server_opts *opts, const struct rpc_server_ops *ops,
                                  void *ctx, struct err *err);
int rpc_server_port(const struct rpc_server *s);
/* Is this a certificate with its own key, both as PEM text? */
bool rpc_cert_check(const char *cert_pem, const char *key_pem, struct err *err);
/* New certificate and key for connections from now on. A pair that rpc_cert_check() refuses must not be set. */
void rpc_server_set_cert(struct rpc_server *s, const char *cert_pem, const char *key_pem);
/* Refuse new streams, end the open ones with UNAVAILABLE, free. `closed` is called for each open stream. */
void rpc_server_free(struct rpc_server *s);

bool rpc_server_stream_send(struct rpc_server_stream *s, const void *p, size_t n);
size_t rpc_server_stream_pending(const struct rpc_server_stream *s);
/* End the stream with a status once what is queued was sent; a client that does not take it is cut off after 5 s. No
 * message is handed on afterwards. */
void rpc_server_stream_end(struct rpc_server_stream *s, int status, const char *text);
