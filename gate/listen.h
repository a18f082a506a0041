/*
 * The port that agents dial: gRPC streams of /meshgate.v1.Gate/Connect handed to the gate's sessions. The certificate files
 * are read again when they change.
 */
#pragma once

#include "../lib/rpc/rpc.h"
#include "gate.h"

struct listen;

struct listen_opts {
    const char *address;              /* "HOST:PORT", ":PORT" */
    const char *cert_file, *key_file; /* PEM; borrowed until listen_free */
    int64_t reload_ms;                /* how often they are looked at; 0: 10 s */
};

/* Borrows r, loop and g until listen_free. NULL and *err: a file that cannot be used, or the address is taken. */
struct listen *listen_new(struct rpc *r, struct loop *loop, struct gate *g, const struct listen_opts *opts,
                          struct err *err);
int listen_port(const struct listen *l);
/* Ends all sessions; before gate_free and rpc_free. */
void listen_free(struct listen *l);
