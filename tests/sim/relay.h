/* A Service IP: accepts on it and carries the bytes to one of the endpoints, as kube-proxy would. */
#pragma once

#include "../../lib/base/err.h"
#include "../../lib/base/loop.h"

struct relay;

/* pick: address of an endpoint for a new connection (borrowed), NULL: none, the connection is closed. */
struct relay *relay_new(struct loop *loop, const char *ip, int port, const char *(*pick)(void *ctx), void *ctx,
                        struct err *err);
void relay_free(struct relay *r);
