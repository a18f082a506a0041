/* The embedded API server on HTTPS: bearer tokens, watches as chunked streams, the service proxy. */
#pragma once

#include "../../lib/base/err.h"
#include "../../lib/base/loop.h"
#include "store.h"

struct api_front;

struct api_front_opts {
    int port; /* on 127.0.0.1; 0 chooses */
    const char *cert_pem, *key_pem;
    /* Where the service proxy finds a Service; false: no endpoints. May be NULL. */
    bool (*endpoint)(void *ctx, const char *namespace_, const char *service, char ip[46], int *port);
    void *ctx;
};

struct api_front *api_front_new(struct loop *loop, struct store *store, const struct api_front_opts *opts, struct err *err);
void api_front_free(struct api_front *f);
int api_front_port(const struct api_front *f);
