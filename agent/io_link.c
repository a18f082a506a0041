/* The line to the gate: one stream, a fresh channel each time, so that rotated tokens and roots count at the next connect.
 */
#include <stdlib.h>
#include <string.h>

#include "../lib/base/mem.h"
#include "io_parts.h"

#define METHOD "/meshgate.v1.Gate/Connect"

enum { KEEPALIVE_MS = 20000, CONNECT_MS = 10000 };

static void hang_up(struct io_real *x) {
    if (x->line.stream != NULL) {
        rpc_stream_close(x->line.stream);
        x->line.stream = NULL;
    }
    if (x->line.channel != NULL) {
        rpc_channel_free(x->line.channel);
        x->line.channel = NULL;
    }
}

static void on_message(void *ctx, const struct piece *pieces, size_t n, size_t bytes) {
    (void)bytes;
    struct io_real *x = ctx;
    x->line.events->message(x->line.events->ctx, pieces, n);
}

static const char *host_of(const struct io_real_opts *o, char *out, size_t cap) {
    const char *colon = strrchr(o->gate_address, ':');
    size_t n = colon != NULL ? (size_t)(colon - o->gate_address) : strlen(o->gate_address);
    n = n < cap ? n : cap - 1;
    memcpy(out, o->gate_address, n);
    out[n] = '\0';
    return o->gate_server_name != NULL ? o->gate_server_name : out;
}

static void on_end(void *ctx, int status, const char *text) {
    struct io_real *x = ctx;
    const struct io_real_opts *o = &x->opts;
    struct err err;
    char host[256], *who = mem_printf("the gate at %s", o->gate_address);
    if (status == RPC_UNAVAILABLE) {
        io_trust_explain(&err, text, who, host_of(o, host, sizeof host), "--gate-ca-file", o->gate_ca_file);
    } else if (status == RPC_UNAUTHENTICATED || status == RPC_PERMISSION_DENIED) {
        err_set(&err, ERR_DENIED, "%s refused this agent (--token-file %s, --node-name %s): %s", who, o->token_file,
                o->node, text);
    } else {
        err_set(&err, ERR_UNAVAILABLE, "%s: %s", who, text[0] != '\0' ? text : "closed");
    }
    free(who);
    x->line.stream = NULL;
    hang_up(x);
    x->line.events->closed(x->line.events->ctx, status, err.text);
}

static const struct rpc_stream_ops stream_ops = {.message = on_message, .end = on_end};

static void on_failed(void *ctx) {
    struct io_real *x = ctx;
    struct err why = x->line.why;
    x->line.events->closed(x->line.events->ctx, RPC_UNAVAILABLE, why.text);
}

void io_link_open(void *self) {
    struct io_real *x = self;
    const struct io_real_opts *o = &x->opts;
    char *token = NULL, *roots = NULL, *bearer = NULL, *target = NULL;
    check(x->line.stream == NULL && !timer_is_set(&x->line.failed));
    if (!io_trust_token(o->token_file, "--token-file", &token, &x->line.why) ||
        !io_trust_roots(o->gate_ca_file, "--gate-ca-file", &roots, &x->line.why)) {
        timer_set(x->sched, &x->line.failed, sched_now(x->sched), on_failed, x);
        goto out;
    }
    target = mem_printf("dns:///%s", o->gate_address);
    bearer = mem_printf("Bearer %s", token);
    x->line.channel = rpc_channel_new(
        x->rpc, &(struct rpc_channel_opts){
                    .target = target, .server_name = o->gate_server_name, .root_pem = roots, .keepalive_ms = KEEPALIVE_MS});
    struct rpc_header header = {.key = "authorization", .value = bearer};
    x->line.stream = rpc_stream_open(x->line.channel, METHOD, &header, 1, CONNECT_MS, &stream_ops, x);
out:
    free(target);
    free(bearer);
    free(token);
    free(roots);
}

/* On a line that could not be opened, what is sent before that is told is lost like on one that breaks. */
bool io_link_send(void *self, const void *p, size_t n) {
    struct io_real *x = self;
    if (x->line.stream == NULL) {
        return timer_is_set(&x->line.failed);
    }
    return rpc_stream_send(x->line.stream, p, n);
}

void io_link_close(void *self) {
    struct io_real *x = self;
    timer_cancel(x->sched, &x->line.failed);
    hang_up(x);
}
