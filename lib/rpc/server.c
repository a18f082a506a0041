#include "server.h"

#include <grpc/grpc_security.h>
#include <stdlib.h>
#include <string.h>

#include "../base/mem.h"
#include "cert.h"

enum {
    DEFAULT_RECEIVE = 1024 * 1024,
    DEFAULT_STREAMS = 100,
    DEFAULT_KEEPALIVE_MS = 20000,
    KEEPALIVE_TIMEOUT_MS = 10000,
    MIN_PING_INTERVAL_MS = 5000,
    HANDSHAKE_TIMEOUT_MS = 10000,
    AGE_GRACE_MS = 10000,
    MAX_HEADERS = 32 * 1024,
    STOP_GRACE_MS = 1000,
};

static grpc_arg arg_int(const char *key, int64_t value) {
    return (grpc_arg){.type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)key, .value.integer = (int)value};
}

static size_t fill_args(grpc_arg *a, const struct rpc_server_opts *o) {
    size_t n = 0;
    int64_t receive = o->max_receive_bytes > 0 ? o->max_receive_bytes : DEFAULT_RECEIVE;
    a[n++] = arg_int(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, receive);
    a[n++] = arg_int(GRPC_ARG_MAX_CONCURRENT_STREAMS, o->max_streams > 0 ? o->max_streams : DEFAULT_STREAMS);
    a[n++] = arg_int(GRPC_ARG_MAX_METADATA_SIZE, MAX_HEADERS);
    a[n++] = arg_int(GRPC_ARG_KEEPALIVE_TIME_MS, o->keepalive_ms > 0 ? o->keepalive_ms : DEFAULT_KEEPALIVE_MS);
    a[n++] = arg_int(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, KEEPALIVE_TIMEOUT_MS);
    a[n++] = arg_int(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    a[n++] = arg_int(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
    a[n++] = arg_int(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, MIN_PING_INTERVAL_MS);
    a[n++] = arg_int(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, HANDSHAKE_TIMEOUT_MS);
    /* Probing enlarges windows: a hundred fast senders then cost ten times the memory at the same speed. */
    a[n++] = arg_int(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    /* A second server on the port would otherwise start silently and take half of the connections. */
    a[n++] = arg_int(GRPC_ARG_ALLOW_REUSEPORT, 0);
    if (o->max_connection_age_ms > 0) {
        a[n++] = arg_int(GRPC_ARG_MAX_CONNECTION_AGE_MS, o->max_connection_age_ms);
        a[n++] = arg_int(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, AGE_GRACE_MS);
    }
    return n;
}

static bool bind_port(struct rpc_server *s, const struct rpc_server_opts *opts, struct err *err) {
    grpc_server_credentials *creds = NULL;
    if (opts->cert_pem == NULL) {
        creds = grpc_insecure_server_credentials_create();
    } else if (!rpc_cert_check(opts->cert_pem, opts->key_pem, err)) {
        return err_wrap(err, "certificate of %s", opts->address);
    } else {
        s->cert = cert_new(&s->r->certs, opts->cert_pem, opts->key_pem);
        creds = cert_credentials(s->cert);
    }
    char *address = mem_printf("%s%s", opts->address[0] == ':' ? "[::]" : "", opts->address);
    s->port = grpc_server_add_http2_port(s->server, address, creds);
    grpc_server_credentials_release(creds);
    free(address);
    return s->port != 0 ||
           err_set(err, ERR_UNAVAILABLE, "cannot listen on %s: is it in use, or not of this machine?", opts->address);
}

static void server_dispose(struct rpc_server *s) {
    for (size_t i = 0; i < s->n_methods; i++) {
        free(s->methods[i]);
    }
    free(s->methods);
    s->r->live--;
    free(s);
}

void server_collect(struct rpc_server *s) {
    if (s->down && s->accepting == 0 && s->streams == NULL) {
        timer_cancel(loop_sched(s->r->loop), &s->grace);
        grpc_server_destroy(s->server);
        server_dispose(s);
    }
}

static void on_down(struct rpc_op *op, bool ok) {
    (void)ok;
    struct rpc_server *s = owner_of(op, struct rpc_server, op_down);
    s->down = true;
    server_collect(s);
}

static void on_grace(void *ctx) {
    struct rpc_server *s = ctx;
    grpc_server_cancel_all_calls(s->server);
}

static void stop(struct rpc_server *s) {
    s->stopping = true;
    s->op_down.done = on_down;
    grpc_server_shutdown_and_notify(s->server, s->r->cq, &s->op_down);
}

struct rpc_server *rpc_server_new(struct rpc *r, const struct rpc_server_opts *opts, const struct rpc_server_ops *ops,
                                  void *ctx, struct err *err) {
    struct rpc_server *s = mem_alloc(sizeof *s);
    s->r = r;
    s->ops = ops;
    s->ctx = ctx;
    r->live++;
    grpc_arg list[16];
    grpc_channel_args args = {.args = list, .num_args = fill_args(list, opts)};
    s->server = grpc_server_create(&args, NULL);
    grpc_server_register_completion_queue(s->server, r->cq, NULL);
    if (!bind_port(s, opts, err)) {
        stop(s);
        return NULL;
    }
    while (opts->methods[s->n_methods] != NULL) {
        s->n_methods++;
    }
    s->methods = mem_alloc((s->n_methods + 1) * sizeof *s->methods);
    for (size_t i = 0; i < s->n_methods; i++) {
        s->methods[i] = mem_dup(opts->methods[i]);
    }
    grpc_server_start(s->server);
    server_accept(s);
    return s;
}

bool server_has_method(const struct rpc_server *s, const char *method) {
    for (size_t i = 0; i < s->n_methods; i++) {
        if (strcmp(s->methods[i], method) == 0) {
            return true;
        }
    }
    return false;
}

int rpc_server_port(const struct rpc_server *s) {
    return s->port;
}

void rpc_server_set_cert(struct rpc_server *s, const char *cert_pem, const char *key_pem) {
    if (s->cert != NULL) {
        cert_set(s->cert, cert_pem, key_pem);
    }
}

void rpc_server_free(struct rpc_server *s) {
    if (s == NULL) {
        return;
    }
    stop(s);
    for (struct rpc_server_stream *x = s->streams; x != NULL; x = server_stream_following(x)) {
        server_stream_shut(x);
    }
    struct sched *sched = loop_sched(s->r->loop);
    timer_set(sched, &s->grace, sched_now(sched) + STOP_GRACE_MS, on_grace, s);
}
