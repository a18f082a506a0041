/*
 * A small HTTP(S) server on libmicrohttpd for the embedded mesh: requests with a body, answers at once, later, never, or as
 * a stream. All on the loop thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../lib/base/err.h"
#include "../../lib/base/loop.h"

struct http;

struct http_request {
    const char *method;
    const char *target;                                /* path and query as they came */
    const char *authorization, *content_type, *accept; /* NULL absent */
    const char *body;
    size_t len;
    char local_ip[46];
    void *impl;
};

struct http_opts {
    const char *ip;                 /* "0.0.0.0": all, taken from loopback only */
    int port;                       /* 0 chooses */
    const char *cert_pem, *key_pem; /* NULL: plain */
    /* Must call one of the functions below, at once or later; a request that gets none is never answered. */
    void (*serve)(void *ctx, struct http_request *r);
    void *ctx;
};

struct http *http_new(struct loop *loop, const struct http_opts *opts, struct err *err);
void http_free(struct http *h);
int http_port(const struct http *h);

/* body is taken (free()). */
void http_reply(struct http_request *r, int status, const char *content_type, char *body, size_t len);
/* Close without an answer. */
void http_drop(struct http_request *r);
/* Told when the client has gone or the server ends, whatever state the request is in. */
void http_on_gone(struct http_request *r, void (*gone)(void *ctx), void *ctx);
/* 200 and an open end. */
void http_stream(struct http_request *r, const char *content_type);
void http_write(struct http_request *r, const char *p, size_t n);
void http_end(struct http_request *r);
