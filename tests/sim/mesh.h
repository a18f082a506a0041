/* The embedded mesh behind real sockets on 127.x addresses: API server, istiods, proxies' ports, /proc, files for the
 * programs. */
#pragma once

#include "../../lib/base/buf.h"
#include "../../lib/rpc/rpc.h"
#include "world.h"

struct mesh;

struct mesh_opts {
    const char *dir;
    uint32_t nodes, namespaces, pods, replicas;
    int api_port;           /* 0 chooses */
    const char *gate_admin; /* IP:PORT behind Service istio-system/meshgate, or "" */
    uint64_t seed;
};

/* Writes DIR/kubeconfig (an administrator), DIR/gate.kubeconfig, DIR/tokens/NODE/{meshgate,istio}, DIR/istio-root.pem,
 * DIR/gate.{crt,key}, DIR/gate-ca.pem, DIR/proc/NODE/..., DIR/control, and DIR/ready when all of it is there. */
struct mesh *mesh_new(struct loop *loop, struct rpc *rpc, const struct mesh_opts *opts, struct err *err);
void mesh_free(struct mesh *m);
