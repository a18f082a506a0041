#include "io_bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/mem.h"
#include "lib/wire/wire.h"

static const char *const methods[] = {"/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources",
                                      "/meshgate.v1.Gate/Connect", NULL};

static void copy(char *out, size_t cap, const char *text) {
    snprintf(out, cap, "%s", text != NULL ? text : "(none)");
}

static void *on_open(void *ctx, struct rpc_server_stream *s, const char *method, const char *peer,
                     const char *(*header)(struct rpc_server_stream *s, const char *key)) {
    struct bench *b = ctx;
    (void)peer;
    b->opened++;
    copy(b->method, sizeof b->method, method);
    copy(b->authorization, sizeof b->authorization, header(s, "authorization"));
    if (b->refuse) {
        rpc_server_stream_end(s, b->end_status, b->end_text);
        return NULL;
    }
    b->stream = s;
    return b;
}

static void pack_answer(struct bench *b, const char *body, size_t len, struct buf *out) {
    Meshgate__Xds__DiscoveryResponse r = MESHGATE__XDS__DISCOVERY_RESPONSE__INIT;
    Meshgate__Xds__Any any = MESHGATE__XDS__ANY__INIT, *list[] = {&any};
    static char type[] = "istio.io/debug", other[] = "type.googleapis.com/x", version[] = "2026-11-23T06:06:37Z/59";
    any.type_url = type;
    any.value = (ProtobufCBinaryData){len, (uint8_t *)(uintptr_t)body};
    r.type_url = b->mode == BENCH_OTHER_TYPE ? other : type;
    r.version_info = r.nonce = version;
    r.resources = list;
    r.n_resources = b->mode == BENCH_NO_RESOURCE ? 0 : 1;
    wire_pack(&r.base, out);
}

void bench_answer(struct bench *b, const char *body, size_t len) {
    struct buf out;
    buf_init(&out, 64 << 20);
    pack_answer(b, body, len, &out);
    assert_true(rpc_server_stream_send(b->stream, out.p, out.len));
    buf_done(&out);
}

static void note_request(struct bench *b, const char *bytes, size_t len) {
    Meshgate__Xds__DiscoveryRequest *r = meshgate__xds__discovery_request__unpack(NULL, len, (const uint8_t *)bytes);
    assert_non_null(r);
    b->introduced += r->node != NULL;
    copy(b->node, sizeof b->node, r->node != NULL ? r->node->id : NULL);
    copy(b->type, sizeof b->type, r->type_url);
    assert_int_equal(r->n_resource_names, 1);
    copy(b->resource, sizeof b->resource, r->resource_names[0]);
    if (r->node != NULL) {
        assert_int_equal(r->node->metadata->n_fields, 1);
        assert_string_equal(r->node->metadata->fields[0]->key, "NAMESPACE");
        copy(b->namespace_, sizeof b->namespace_, r->node->metadata->fields[0]->value->string_value);
    }
    assert_string_equal(r->response_nonce, ""); /* an ACK would be one more question */
    meshgate__xds__discovery_request__free_unpacked(r, NULL);
}

static void on_message(void *ctx, const struct piece *pieces, size_t n, size_t bytes) {
    struct bench *b = ctx;
    struct buf flat;
    buf_init(&flat, bytes + 1);
    for (size_t i = 0; i < n; i++) {
        buf_add(&flat, pieces[i].p, pieces[i].len);
    }
    b->asked++;
    if (strcmp(b->method, methods[1]) == 0) {
        copy(b->message, sizeof b->message, flat.p);
        rpc_server_stream_send(b->stream, flat.p, flat.len);
        buf_done(&flat);
        return;
    }
    note_request(b, flat.p, flat.len);
    buf_done(&flat);
    switch (b->mode) {
    case BENCH_ANSWER:
    case BENCH_OTHER_TYPE:
    case BENCH_NO_RESOURCE:
        bench_answer(b, b->body, b->body_len > 0 ? b->body_len : strlen(b->body));
        break;
    case BENCH_RAW:
        rpc_server_stream_send(b->stream, b->body, strlen(b->body));
        break;
    case BENCH_END:
        rpc_server_stream_end(b->stream, b->end_status, b->end_text);
        break;
    case BENCH_SILENT:
        break;
    }
}

static void on_closed(void *ctx) {
    struct bench *b = ctx;
    b->closed++;
    b->stream = NULL;
}

static const struct rpc_server_ops server_ops = {.open = on_open, .message = on_message, .closed = on_closed};

void bench_write(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

void bench_init(struct bench *b) {
    struct err err = {0};
    *b = (struct bench){.body = "[]"};
    pem_init(&b->pem, "DNS:istiod-canary.istio-system.svc,DNS:gate.test");
    snprintf(b->dir, sizeof b->dir, "/tmp/meshgate-io-XXXXXX");
    assert_non_null(mkdtemp(b->dir));
    b->token_file = mem_printf("%s/token", b->dir);
    b->root_file = mem_printf("%s/root.pem", b->dir);
    bench_write(b->token_file, "secret-token\n");
    bench_write(b->root_file, b->pem.ca);
    b->loop = loop_new();
    b->rpc = rpc_new(b->loop);
    struct rpc_server_opts so = {
        .address = "127.0.0.1:0", .cert_pem = b->pem.cert, .key_pem = b->pem.key, .methods = methods};
    b->server = rpc_server_new(b->rpc, &so, &server_ops, b, &err);
    assert_string_equal(err.text, "");
    b->port = (uint16_t)rpc_server_port(b->server);
    snprintf(b->address, sizeof b->address, "127.0.0.1:%u", b->port);
    struct io_real_opts o = {.node = "node-1",
                             .pod_ip = "10.1.2.3",
                             .istio_namespace = "istio-system",
                             .istio_token_file = b->token_file,
                             .istio_root_file = b->root_file,
                             .gate_address = b->address,
                             .gate_server_name = "gate.test",
                             .gate_ca_file = b->root_file,
                             .token_file = b->token_file,
                             .proc_root = b->dir,
                             .xds_port = 15012};
    b->io = io_real_new(b->loop, b->rpc, &o);
    b->face = io_real_face(b->io);
}

void bench_done(struct bench *b) {
    io_real_free(b->io);
    if (b->server != NULL) {
        rpc_server_free(b->server);
    }
    rpc_free(b->rpc);
    loop_free(b->loop);
    unlink(b->token_file);
    unlink(b->root_file);
    rmdir(b->dir);
    free(b->token_file);
    free(b->root_file);
    pem_done(&b->pem);
}

struct io_target bench_target(const struct bench *b) {
    return (struct io_target){.id = "replica-1",
                              .address = "127.0.0.1",
                              .xds_port = b->port,
                              .http_port = 0,
                              .server_name = "istiod-canary.istio-system.svc"};
}

/* UV_RUN_ONCE runs timers first and may then wait for the next one, so there is always one that is near. */
struct ticker {
    struct timer timer;
    struct sched *sched;
};

static void on_tick(void *ctx) {
    struct ticker *t = ctx;
    timer_set(t->sched, &t->timer, sched_now(t->sched) + 10, on_tick, t);
}

static bool turn(struct bench *b, const size_t *what, size_t n, int64_t ms) {
    struct ticker t = {.sched = loop_sched(b->loop)};
    uv_update_time(loop_uv(b->loop));
    int64_t end = sched_now(t.sched) + ms;
    on_tick(&t);
    while (*what < n && sched_now(t.sched) < end) {
        uv_run(loop_uv(b->loop), UV_RUN_ONCE);
    }
    timer_cancel(t.sched, &t.timer);
    return *what >= n;
}

void bench_until(struct bench *b, const size_t *what, size_t n) {
    assert_true(turn(b, what, n, PATIENCE_MS));
}

void bench_turn(struct bench *b, int64_t ms) {
    size_t never = 0;
    turn(b, &never, 1, ms);
}

void bench_on_answer(void *ctx, const struct io_answer *a) {
    struct bench_heard *h = ctx;
    h->calls++;
    h->status = a->status;
    copy(h->error, sizeof h->error, a->error);
    h->pieces = a->pieces;
    h->body.max = 64 << 20;
    buf_reset(&h->body);
    for (size_t i = 0; i < a->pieces; i++) {
        buf_add(&h->body, a->body[i].p, a->body[i].len);
    }
    assert_int_equal(a->bytes, h->body.len);
    assert_true(a->status == IO_OK ? a->error == NULL : a->error != NULL && a->error[0] != '\0');
}

void bench_heard_done(struct bench_heard *h) {
    buf_done(&h->body);
}

/* --- canned servers --- */

static void on_free(uv_handle_t *h) {
    free(h);
}

static void on_room(uv_handle_t *h, size_t size, uv_buf_t *out) {
    (void)h;
    *out = uv_buf_init(mem_alloc(size), (unsigned)size);
}

static void hang_up(struct canned *c, uv_tcp_t *t) {
    for (size_t i = 0; i < c->n_open; i++) {
        if (c->open[i] == t) {
            c->open[i] = c->open[--c->n_open];
            uv_close((uv_handle_t *)t, on_free);
            return;
        }
    }
}

struct reply {
    uv_write_t req; /* first */
    struct canned *canned;
};

static void on_written(uv_write_t *req, int status) {
    (void)status;
    struct reply *r = (struct reply *)req;
    if (!r->canned->keep_open) {
        hang_up(r->canned, (uv_tcp_t *)req->handle);
    }
    free(r);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf) {
    struct canned *c = s->data;
    if (n < 0) {
        free(buf->base);
        hang_up(c, (uv_tcp_t *)s);
        return;
    }
    size_t room = sizeof c->request - 1 - c->request_len, take = (size_t)n < room ? (size_t)n : room;
    memcpy(c->request + c->request_len, buf->base, take);
    c->request_len += take;
    c->request[c->request_len] = '\0';
    free(buf->base);
    if (c->reply != NULL) {
        struct reply *r = mem_alloc(sizeof *r);
        r->canned = c;
        uv_buf_t b = uv_buf_init((char *)(uintptr_t)c->reply, (unsigned)c->reply_len);
        uv_read_stop(s);
        assert_int_equal(uv_write(&r->req, s, &b, 1, on_written), 0);
    }
}

static void on_client(uv_stream_t *server, int status) {
    struct canned *c = server->data;
    assert_int_equal(status, 0);
    uv_tcp_t *t = mem_alloc(sizeof *t);
    uv_tcp_init(server->loop, t);
    t->data = c;
    assert_int_equal(uv_accept(server, (uv_stream_t *)t), 0);
    c->connections++;
    c->request_len = 0;
    assert_true(c->n_open < sizeof c->open / sizeof c->open[0]);
    c->open[c->n_open++] = t;
    uv_read_start((uv_stream_t *)t, on_room, on_read);
}

void canned_init(struct canned *c, struct bench *b, const char *reply) {
    *c = (struct canned){.reply = reply, .reply_len = reply != NULL ? strlen(reply) : 0};
    struct sockaddr_in at;
    int len = sizeof at;
    uv_ip4_addr("127.0.0.1", 0, &at);
    uv_tcp_init(loop_uv(b->loop), &c->tcp);
    c->tcp.data = c;
    assert_int_equal(uv_tcp_bind(&c->tcp, (struct sockaddr *)&at, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&c->tcp, 16, on_client), 0);
    uv_tcp_getsockname(&c->tcp, (struct sockaddr *)&at, &len);
    c->port = ntohs(at.sin_port);
}

void canned_done(struct canned *c, struct bench *b) {
    while (c->n_open > 0) {
        hang_up(c, c->open[0]);
    }
    uv_close((uv_handle_t *)&c->tcp, NULL);
    bench_turn(b, 1); /* c may lie on the stack: let libuv be done with it */
}
