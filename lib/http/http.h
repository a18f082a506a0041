/*
 * Plain HTTP GETs on the loop, for metrics and readiness of proxies and istiods: by address, no proxy, no redirect, no
 * connection kept, answers limited in size and time. libcurl's multi interface underneath.
 */
#pragma once

#include "../base/buf.h"
#include "../base/err.h"
#include "../base/loop.h"

struct http;
struct http_get;

struct http_request {
    const char *address; /* IP */
    uint16_t port;
    const char *path;   /* with the query, already escaped */
    const char *accept; /* NULL: text/plain */
    size_t max_bytes;   /* of the body; 0: 1 MiB */
    int64_t timeout_ms; /* for everything; 0: 10 s */
};

struct http_answer {
    int status;       /* 0: none came, see err */
    const char *body; /* borrowed for the callback, NUL-terminated, never NULL */
    size_t len;
    struct err err; /* ERR_TIMEOUT, ERR_UNAVAILABLE, ERR_LIMIT, ERR_PROTOCOL; ERR_NONE with any status */
};

/* Borrows loop until http_free. */
struct http *http_new(struct loop *loop);
/* Drops what is open, without callbacks. */
void http_free(struct http *h);
/* fn is called exactly once, never from inside this call. */
struct http_get *http_get(struct http *h, const struct http_request *req,
                          void (*fn)(void *ctx, const struct http_answer *a), void *ctx);
/* No callback afterwards. Not after the callback. */
void http_cancel(struct http_get *g);
