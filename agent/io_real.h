/* The real world: gRPC to istiods and to the gate, HTTP to proxies, TLS tests, /proc. See io.h. */
#pragma once

#include "../lib/base/loop.h"
#include "../lib/rpc/rpc.h"
#include "io.h"

struct io_real;

/* Strings are borrowed until io_real_free. Files are read anew for each stream: projected tokens and roots are rotated. */
struct io_real_opts {
    const char *node, *pod_ip;
    const char *istio_namespace, *istio_token_file, *istio_root_file;
    const char *gate_address;     /* HOST:PORT */
    const char *gate_server_name; /* name in its certificate; NULL: HOST */
    const char *gate_ca_file, *token_file;
    const char *proc_root;
    uint16_t xds_port;
};

/* Borrows loop and rpc until io_real_free. */
struct io_real *io_real_new(struct loop *loop, struct rpc *rpc, const struct io_real_opts *opts);
/* After the agent: it drops its questions itself. */
void io_real_free(struct io_real *x);
struct agent_io *io_real_face(struct io_real *x);
/* Whom the link tells; borrowed. Right after agent_new(), which may have opened the link already. */
void io_real_events(struct io_real *x, const struct link_events *events);
