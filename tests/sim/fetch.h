/* GET http://IP:PORT/PATH for the service proxy. */
#pragma once

#include "../../lib/base/err.h"
#include "../../lib/base/loop.h"

/* Exactly one call of fn: status and body, or status 0 and the error. At most 64 MiB and 10 s. */
void fetch(struct loop *loop, const char *ip, int port, const char *target,
           void (*fn)(void *ctx, int status, const char *type, const char *body, size_t len, const struct err *err),
           void *ctx);
