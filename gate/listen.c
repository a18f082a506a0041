#include "listen.h"

#include <stdlib.h>
#include <string.h>

#include "../lib/base/log.h"
#include "../lib/base/mem.h"
#include "../lib/base/text.h"
#include "../lib/wire/wire.h"

enum { RELOAD_MS = 10000, MAX_PEM = 256 * 1024 };

struct listen {
    struct loop *loop;
    struct gate *gate;
    struct listen_opts opts;
    struct rpc_server *server;
    char *cert, *key; /* as last read, used or not */
    struct timer reload;
};

/* One agent's stream. */
struct peer {
    struct rpc_server_stream *stream;
    struct session *session;
};

static bool peer_send(void *ctx, const void *p, size_t n) {
    struct peer *x = ctx;
    return rpc_server_stream_send(x->stream, p, n);
}

static void peer_end(void *ctx, int status, const char *text) {
    struct peer *x = ctx;
    rpc_server_stream_end(x->stream, status, text);
}

static const struct session_ops session_ops = {peer_send, peer_end};

static void *on_open(void *ctx, struct rpc_server_stream *s, const char *method, const char *address,
                     const char *(*header)(struct rpc_server_stream *s, const char *key)) {
    (void)method;
    struct listen *l = ctx;
    log_debug("agent dials", log_s("peer", address));
    struct peer *x = mem_alloc(sizeof *x);
    x->stream = s;
    x->session = gate_session_open(l->gate, header(s, "authorization"), &session_ops, x);
    return x;
}

static void on_message(void *ctx, const struct piece *pieces, size_t n, size_t bytes) {
    (void)bytes;
    struct peer *x = ctx;
    gate_session_message(x->session, pieces, n);
}

static void on_closed(void *ctx) {
    struct peer *x = ctx;
    gate_session_closed(x->session);
    free(x);
}

static const struct rpc_server_ops server_ops = {on_open, on_message, on_closed};

/* --- certificate --- */

static bool read_pair(const struct listen_opts *o, char **cert, char **key, struct err *err) {
    *cert = *key = NULL;
    bool ok = text_read_file(o->cert_file, MAX_PEM, cert, NULL, err) &&
              text_read_file(o->key_file, MAX_PEM, key, NULL, err) && rpc_cert_check(*cert, *key, err);
    return ok || err_wrap(err, "--tls-cert %s, --tls-key %s", o->cert_file, o->key_file);
}

static void forget_key(char *key) {
    if (key != NULL) {
        explicit_bzero(key, strlen(key));
        free(key);
    }
}

static bool same(const char *a, const char *b) {
    return a != NULL && b != NULL && strcmp(a, b) == 0;
}

static void on_reload(void *ctx);

static void look_again(struct listen *l) {
    struct sched *s = loop_sched(l->loop);
    timer_set(s, &l->reload, sched_now(s) + (l->opts.reload_ms > 0 ? l->opts.reload_ms : RELOAD_MS), on_reload, l);
}

/* A pair caught between the replacement of its two files does not fit together: the next look finds it whole. */
static void on_reload(void *ctx) {
    struct listen *l = ctx;
    struct err err = {0};
    char *cert, *key;
    bool usable = read_pair(&l->opts, &cert, &key, &err);
    if (cert != NULL && key != NULL && !(same(cert, l->cert) && same(key, l->key))) {
        if (usable) {
            rpc_server_set_cert(l->server, cert, key);
            log_info("new certificate", log_s("file", l->opts.cert_file));
        } else {
            log_warn("the certificate on disk cannot be used; going on with the one before", log_s("error", err.text));
        }
        free(l->cert);
        forget_key(l->key);
        l->cert = cert;
        l->key = key;
    } else {
        free(cert);
        forget_key(key);
    }
    look_again(l);
}

/* --- begin and end --- */

struct listen *listen_new(struct rpc *r, struct loop *loop, struct gate *g, const struct listen_opts *opts,
                          struct err *err) {
    static const char *const methods[] = {"/meshgate.v1.Gate/Connect", NULL};
    struct listen *l = mem_alloc(sizeof *l);
    l->loop = loop;
    l->gate = g;
    l->opts = *opts;
    if (read_pair(opts, &l->cert, &l->key, err)) {
        struct rpc_server_opts o = {.address = opts->address,
                                    .cert_pem = l->cert,
                                    .key_pem = l->key,
                                    .methods = methods,
                                    .max_receive_bytes = WIRE_MAX_MESSAGE};
        l->server = rpc_server_new(r, &o, &server_ops, l, err);
        if (l->server == NULL) {
            err_wrap(err, "--agents-address %s", opts->address);
        }
    }
    if (l->server == NULL) {
        listen_free(l);
        return NULL;
    }
    look_again(l);
    return l;
}

int listen_port(const struct listen *l) {
    return rpc_server_port(l->server);
}

void listen_free(struct listen *l) {
    if (l == NULL) {
        return;
    }
    timer_cancel(loop_sched(l->loop), &l->reload);
    rpc_server_free(l->server);
    free(l->cert);
    forget_key(l->key);
    free(l);
}
