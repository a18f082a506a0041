#include "io_real.h"

#include <stdlib.h>

#include "../lib/base/mem.h"
#include "io_parts.h"

enum { TRIM_BYTES = 512 * 1024, TRIM_AFTER_MS = 50 };

static void on_trim(void *ctx) {
    (void)ctx;
    mem_give_back();
}

void io_real_trim(struct io_real *x, size_t bytes) {
    if (bytes >= TRIM_BYTES) {
        timer_set(x->sched, &x->trim, sched_now(x->sched) + TRIM_AFTER_MS, on_trim, x);
    }
}

static void drop(void *self, struct io_question *q) {
    (void)self;
    q->drop(q);
}

static int64_t scan(void *self, void (*fn)(void *ctx, const struct dial_seen *d), void *ctx, struct err *err) {
    struct io_real *x = self;
    return socket_scan(x->opts.proc_root, x->opts.xds_port, fn, ctx, err);
}

struct io_real *io_real_new(struct loop *loop, struct rpc *rpc, const struct io_real_opts *opts) {
    struct io_real *x = mem_alloc(sizeof *x);
    x->opts = *opts;
    x->loop = loop;
    x->sched = loop_sched(loop);
    x->rpc = rpc;
    x->http = http_new(loop);
    /* istiod takes only types that it knows, wants an address, and looks at nothing else of it. */
    x->node_id = mem_printf("sidecar~%s~%s.%s~%s.svc.cluster.local", opts->pod_ip, opts->node, opts->istio_namespace,
                            opts->istio_namespace);
    x->face = (struct agent_io){
        .self = x,
        .ask = io_ads_ask,
        .forget = io_ads_forget,
        .get = io_http_get,
        .reach = io_reach_test,
        .stream = io_stream_test,
        .drop = drop,
        .scan = scan,
        .link = {.open = io_link_open, .send = io_link_send, .close = io_link_close},
    };
    return x;
}

void io_real_free(struct io_real *x) {
    if (x == NULL) {
        return;
    }
    io_link_close(x);
    io_ads_done(x);
    io_reach_done(x);
    http_free(x->http);
    timer_cancel(x->sched, &x->trim);
    free(x->node_id);
    free(x);
}

struct agent_io *io_real_face(struct io_real *x) {
    return &x->face;
}

void io_real_events(struct io_real *x, const struct link_events *events) {
    x->line.events = events;
}
