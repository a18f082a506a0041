/*
 * What a proxy goes through until it is served: connection, TLS with root and name, token, istiod's admission, an answer.
 * The question is `list` (names of debug calls: a constant answer, no proxy is touched). The stream is closed at once.
 */
#include <stdlib.h>
#include <string.h>

#include "../lib/base/mem.h"
#include "io_parts.h"

#define CHEAPEST "list"

struct stream_test {
    struct io_question q;
    struct io_real *x;
    struct io_question *asked;
    char *id; /* of the stream, among those of io_ads.c */
    uint64_t began_ns;
    void (*fn)(void *ctx, const struct io_reach *r);
    void *ctx;
};

static void test_free(struct stream_test *t) {
    io_ads_forget(t->x, t->id);
    free(t->id);
    free(t);
}

static void test_drop(struct io_question *q) {
    struct stream_test *t = (struct stream_test *)q;
    t->asked->drop(t->asked);
    test_free(t);
}

static void on_answer(void *ctx, const struct io_answer *a) {
    struct stream_test *t = ctx;
    uint64_t us = (uv_hrtime() - t->began_ns) / 1000;
    /* An istiod that does not serve debug calls has taken connection, token and stream all the same. */
    bool served = a->status == IO_OK || a->status == IO_REFUSED;
    char *error = served ? NULL : mem_dup(a->error);
    struct io_reach r = {.ok = served, .busy = a->status == IO_BUSY, .stage = "ads", .error = error};
    r.first_byte_us = !served ? 0 : us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
    void (*fn)(void *, const struct io_reach *) = t->fn;
    void *to = t->ctx;
    test_free(t);
    fn(to, &r);
    free(error);
}

struct io_question *io_stream_test(void *self, const struct io_target *target, int64_t timeout_ms,
                                   void (*fn)(void *ctx, const struct io_reach *r), void *ctx) {
    struct stream_test *t = mem_alloc(sizeof *t);
    struct io_target own = *target;
    *t = (struct stream_test){.q = {test_drop}, .x = self, .fn = fn, .ctx = ctx, .began_ns = uv_hrtime()};
    own.id = t->id = mem_printf("test of %s", target->id);
    t->asked = io_ads_ask(self, &own, CHEAPEST, timeout_ms, on_answer, t);
    return &t->q;
}
