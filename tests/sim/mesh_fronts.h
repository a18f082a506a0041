/* Sockets of the embedded mesh's istiods and proxies. */
#pragma once

#include "../../lib/rpc/rpc.h"
#include "pki.h"
#include "world.h"

struct mesh_fronts;

struct mesh_fronts_opts {
    struct loop *loop;
    struct rpc *rpc;
    struct world *world;
    struct store *store; /* tokens */
    const struct pki_ca *ca;
    uint32_t replicas;
};

struct mesh_fronts *mesh_fronts_new(const struct mesh_fronts_opts *opts, struct err *err);
void mesh_fronts_free(struct mesh_fronts *f);
/* Follow the world: sockets of an istiod that died are closed, of one that returned opened. */
void mesh_fronts_update(struct mesh_fronts *f);
