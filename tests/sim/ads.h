/*
 * The xDS port of an embedded istiod: ADS (SotW and Delta) over lib/rpc with TLS. Identity rules and texts are istiod's:
 * a token of audience istio-ca, the namespace that the node claims must be the token's, debug types need an identity and
 * one resource name, and every further request on a debug type, an ACK included, is another question.
 */
#pragma once

#include "../../lib/rpc/rpc.h"
#include "istiod.h"

struct ads;
struct ads_auth;

struct ads_opts {
    struct rpc *rpc;
    const char *address;                 /* "IP:15012" */
    const char *cert_pem, *key_pem;      /* NULL: plaintext, nobody is authenticated */
    struct istiod *(*istiod)(void *ctx); /* whoever answers now; NULL: streams end with UNAVAILABLE */
    bool (*frozen)(void *ctx);           /* accepts, never answers */
    /* Who owns a token; the answer is ads_authenticated(), at once or later. */
    void (*authenticate)(void *ctx, const char *token, struct ads_auth *a);
    void *ctx;
    /* The istiod is ours: its pushes go to the streams (ads_push). false: somebody else drives it, streams get answers
     * only, and the front must be freed before another process stands at the same place. */
    bool pushes;
};

struct ads *ads_new(const struct ads_opts *opts, struct err *err);
void ads_free(struct ads *a);
/* namespace_ NULL: refused. */
void ads_authenticated(struct ads_auth *a, const char *namespace_, const char *account);
/* A full push to all streams. */
void ads_push(struct ads *a);
/* From the next push on, listeners carry a filter that no proxy has (true). */
void ads_poison(struct ads *a, bool on);
