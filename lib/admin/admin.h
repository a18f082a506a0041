/*
 * The HTTP side door of a program on libmicrohttpd, on the loop thread: /metrics, /healthz, /readyz and the paths that
 * the program adds. GET only. A request is answered at once from memory.
 */
#pragma once

#include "../base/buf.h"
#include "../base/err.h"
#include "../base/loop.h"
#include "../base/metrics.h"

struct admin;

struct admin_reply {
    int status;               /* 200 unless changed */
    const char *content_type; /* text/plain unless changed */
    struct buf body;
};

struct admin_opts {
    const char *address; /* "HOST:PORT", ":PORT" for all addresses; port 0 chooses one */
    struct metrics *metrics;
    /* true: ready. Otherwise fills why (shown in the answer). */
    bool (*ready)(void *ctx, struct buf *why);
    void *ctx;
};

/* Borrows loop and metrics until admin_free. NULL and *err (names the address) when it can't listen. */
struct admin *admin_new(struct loop *loop, const struct admin_opts *opts, struct err *err);
void admin_free(struct admin *a);
int admin_port(const struct admin *a);
/*
 * Serve GET on a path prefix (it must end at a '/' or at the end of the request's path). `rest` is what follows it
 * (with its '/'). arg(key) gives a query argument or NULL.
 */
typedef const char *(*admin_arg_fn)(void *request, const char *key);
typedef void (*admin_handler)(void *ctx, const char *rest, admin_arg_fn arg, void *request, struct admin_reply *reply);
void admin_serve(struct admin *a, const char *prefix, admin_handler fn, void *ctx);
