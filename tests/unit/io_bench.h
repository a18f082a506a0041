/* What the tests of the real io need: a loop, files with a token and roots, an istiod and gate on gRPC, canned TCP servers.
 */
#pragma once

#include "agent/io_real.h"
#include "cmocka_all.h"
#include "pem.h"

enum { PATIENCE_MS = 60000 };

enum bench_mode {
    BENCH_ANSWER, /* body `body` */
    BENCH_SILENT, /* takes the question and says nothing */
    BENCH_END,    /* ends the stream with end_status, end_text instead of an answer */
    BENCH_RAW,    /* sends `body` as it is, without a DiscoveryResponse around it */
    BENCH_OTHER_TYPE,
    BENCH_NO_RESOURCE,
};

struct bench {
    struct loop *loop;
    struct rpc *rpc;
    struct io_real *io;
    struct agent_io *face;
    struct pem pem;
    char dir[64], *token_file, *root_file;
    struct rpc_server *server;
    uint16_t port;
    char address[32]; /* "127.0.0.1:PORT" */

    /* what the server does and has seen */
    enum bench_mode mode;
    const char *body;
    size_t body_len;
    int end_status;
    const char *end_text;
    bool refuse; /* end the stream at once */
    struct rpc_server_stream *stream;
    size_t opened, closed, asked, introduced;
    char authorization[64], method[128], resource[128], node[128], type[64], namespace_[64], message[64];
};

/* Certificate names "DNS:istiod-canary.istio-system.svc,DNS:gate.test". */
void bench_init(struct bench *b);
void bench_done(struct bench *b);
void bench_write(const char *path, const char *text);
struct io_target bench_target(const struct bench *b);
/* Turn the loop until *what is at least n; fails the test after PATIENCE_MS. */
void bench_until(struct bench *b, const size_t *what, size_t n);
/* Let the loop turn for ms, for things that must not happen. */
void bench_turn(struct bench *b, int64_t ms);
/* Answer the question that the server holds. */
void bench_answer(struct bench *b, const char *body, size_t len);

/* What an io_answer_fn has got. */
struct bench_heard {
    size_t calls;
    enum io_status status;
    char error[256];
    struct buf body;
    size_t pieces;
};
void bench_on_answer(void *ctx, const struct io_answer *a);
void bench_heard_done(struct bench_heard *h);

/* A TCP server that answers the first bytes of each connection with `reply` and closes; NULL: never answers. */
struct canned {
    uv_tcp_t tcp;
    uint16_t port;
    const char *reply;
    size_t reply_len;
    bool keep_open;
    size_t connections;
    char request[2048];
    size_t request_len;
    uv_tcp_t *open[16];
    size_t n_open;
};
void canned_init(struct canned *c, struct bench *b, const char *reply);
void canned_done(struct canned *c, struct bench *b);
