/* What the files of the real io share. */
#pragma once

#include "../lib/http/http.h"
#include "io_real.h"

/* The head of each kind of question. */
struct io_question {
    void (*drop)(struct io_question *q);
};

struct ads_stream;
struct tls_trust;

struct io_real {
    struct agent_io face;
    struct io_real_opts opts;
    struct loop *loop;
    struct sched *sched;
    struct rpc *rpc;
    struct http *http;
    char *node_id;
    struct ads_stream *streams; /* io_ads.c */
    struct tls_trust *trust;    /* io_reach.c */
    struct timer trim;
    struct {
        const struct link_events *events;
        struct rpc_channel *channel;
        struct rpc_stream *stream;
        struct timer failed; /* tells `why` */
        struct err why;
    } line;
};

/* A large answer has been read: give its memory back to the system soon. */
void io_real_trim(struct io_real *x, size_t bytes);

struct io_question *io_ads_ask(void *self, const struct io_target *t, const char *resource, int64_t timeout_ms,
                               io_answer_fn fn, void *ctx);
void io_ads_forget(void *self, const char *id);
void io_ads_done(struct io_real *x);

struct io_question *io_http_get(void *self, const char *address, uint16_t port, const char *path, int64_t timeout_ms,
                                io_answer_fn fn, void *ctx);

struct io_question *io_reach_test(void *self, const struct io_target *t, int64_t timeout_ms,
                                  void (*fn)(void *ctx, const struct io_reach *r), void *ctx);
void io_reach_done(struct io_real *x);
struct io_question *io_stream_test(void *self, const struct io_target *t, int64_t timeout_ms,
                                   void (*fn)(void *ctx, const struct io_reach *r), void *ctx);

void io_link_open(void *self);
bool io_link_send(void *self, const void *p, size_t n);
void io_link_close(void *self);

/* An IP address as text: nothing that comes from elsewhere gets into a URL or a resolver. */
bool io_trust_is_ip(const char *address);
/* "IP:PORT" or "[IP]:PORT"; the caller's to free(). */
char *io_trust_place(const char *address, uint16_t port);
/* Contents of a token file without white space at its end; the caller's to free(). flag: option that names the file. */
bool io_trust_token(const char *path, const char *flag, char **out, struct err *err);
/* Trust roots as PEM; the caller's to free(). */
bool io_trust_roots(const char *path, const char *flag, char **out, struct err *err);
/* What gRPC says of a failed connection, as a sentence that says what to mend. */
void io_trust_explain(struct err *err, const char *grpc_text, const char *who, const char *name, const char *root_flag,
                      const char *root_file);
