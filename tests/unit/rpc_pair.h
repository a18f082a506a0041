/* A server and a client in one loop, and what both have heard. For the tests of lib/rpc. */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "lib/base/mem.h"
#include "lib/rpc/rpc.h"
#include "pem.h"

enum { PATIENCE_MS = 20000 };

struct server_side {
    struct rpc_server_stream *stream;
    char *authorization;
    char *peer;
    size_t opened, closed, messages, bytes;
    bool refuse, echo;
    struct buf last;
};

struct client_side {
    size_t messages, bytes, pieces;
    bool ended;
    int status;
    char *text;
    struct buf last;
    void (*on_message)(struct client_side *c);
    struct rpc_stream *stream;
};

static struct loop *loop;
static struct rpc *rpc;
static struct server_side server;
static struct client_side client;

static void keep(struct buf *b, const struct piece *pieces, size_t n) {
    buf_reset(b);
    for (size_t i = 0; i < n; i++) {
        buf_add(b, pieces[i].p, pieces[i].len);
    }
}

static void *on_open(void *ctx, struct rpc_server_stream *s, const char *method, const char *peer,
                     const char *(*header)(struct rpc_server_stream *s, const char *key)) {
    struct server_side *x = ctx;
    assert_string_equal(method, "/test.Service/Talk");
    x->opened++;
    mem_set(&x->authorization, header(s, "authorization"));
    mem_set(&x->peer, peer);
    assert_null(header(s, "x-absent"));
    if (x->refuse) {
        rpc_server_stream_end(s, RPC_UNAUTHENTICATED, "who are you?");
        return NULL;
    }
    x->stream = s;
    return x;
}

static void on_server_message(void *ctx, const struct piece *pieces, size_t n, size_t bytes) {
    struct server_side *x = ctx;
    x->messages++;
    x->bytes += bytes;
    keep(&x->last, pieces, n);
    if (x->echo) {
        rpc_server_stream_send(x->stream, x->last.p != NULL ? x->last.p : "", x->last.len);
    }
}

static void on_server_closed(void *ctx) {
    struct server_side *x = ctx;
    x->closed++;
    x->stream = NULL;
}

static const struct rpc_server_ops server_ops = {on_open, on_server_message, on_server_closed};

static void on_client_message(void *ctx, const struct piece *pieces, size_t n, size_t bytes) {
    struct client_side *c = ctx;
    c->messages++;
    c->bytes += bytes;
    c->pieces += n;
    keep(&c->last, pieces, n);
    if (c->on_message != NULL) {
        c->on_message(c);
    }
}

static void on_client_end(void *ctx, int status, const char *text) {
    struct client_side *c = ctx;
    c->ended = true;
    c->status = status;
    mem_set(&c->text, text);
    c->stream = NULL;
}

static const struct rpc_stream_ops client_ops = {on_client_message, on_client_end};

static void alarm_rang(void *ctx) {
    *(bool *)ctx = true;
}

/* Let the loop turn until *what is at least n; fails the test after PATIENCE_MS. */
static void until(const size_t *what, size_t n) {
    bool late = false;
    struct timer t = {0};
    struct sched *s = loop_sched(loop);
    uv_update_time(loop_uv(loop));
    timer_set(s, &t, sched_now(s) + PATIENCE_MS, alarm_rang, &late);
    while (*what < n && !late) {
        uv_run(loop_uv(loop), UV_RUN_ONCE);
    }
    timer_cancel(s, &t);
    assert_false(late);
}

static void until_ended(void) {
    bool late = false;
    struct timer t = {0};
    struct sched *s = loop_sched(loop);
    uv_update_time(loop_uv(loop));
    timer_set(s, &t, sched_now(s) + PATIENCE_MS, alarm_rang, &late);
    while (!client.ended && !late) {
        uv_run(loop_uv(loop), UV_RUN_ONCE);
    }
    timer_cancel(s, &t);
    assert_false(late);
}

static int pair_setup(void **state) {
    (void)state;
    loop = loop_new();
    rpc = rpc_new(loop);
    server = (struct server_side){.echo = true};
    client = (struct client_side){0};
    buf_init(&server.last, 64 << 20);
    buf_init(&client.last, 64 << 20);
    return 0;
}

static int pair_teardown(void **state) {
    (void)state;
    rpc_free(rpc);
    loop_free(loop);
    buf_done(&server.last);
    buf_done(&client.last);
    free(server.authorization);
    free(server.peer);
    free(client.text);
    return 0;
}

static const char *const pair_methods[] = {"/test.Service/Talk", NULL};

__attribute__((unused)) static struct rpc_server *pair_serve(const struct pem *pem, int max_receive) {
    struct err err = {0};
    struct rpc_server_opts o = {.address = "127.0.0.1:0",
                                .cert_pem = pem != NULL ? pem->cert : NULL,
                                .key_pem = pem != NULL ? pem->key : NULL,
                                .methods = pair_methods,
                                .max_receive_bytes = max_receive};
    struct rpc_server *s = rpc_server_new(rpc, &o, &server_ops, &server, &err);
    assert_string_equal(err.text, "");
    assert_non_null(s);
    return s;
}

static struct rpc_channel *pair_dial(int port, const char *root, const char *name, int max_receive) {
    char target[64];
    snprintf(target, sizeof target, "127.0.0.1:%d", port);
    struct rpc_channel_opts o = {.target = target, .root_pem = root, .server_name = name, .max_receive_bytes = max_receive};
    return rpc_channel_new(rpc, &o);
}

static void pair_open(struct rpc_channel *c, const char *method, const char *authorization) {
    struct rpc_header h = {"authorization", authorization};
    client.ended = false;
    client.stream = rpc_stream_open(c, method, &h, authorization != NULL ? 1 : 0, 5000, &client_ops, &client);
}
