/*
 * Load for a gate process: an embedded cluster, and the agents of all its nodes in one process. What an agent asks of the
 * mesh is answered by the embedded world at once; its line to the gate is a real gRPC stream over TLS, one connection each.
 */
#pragma once

#include "../../lib/rpc/rpc.h"
#include "../sim/world.h"

struct load {
    struct loop *loop;
    struct sched *sched;
    struct rpc *rpc;
    struct store *store;
    struct world *world;
    char *gate_ca; /* PEM */
    const char *gate_address;
    char **nodes;
    size_t n_nodes;
    uint64_t random;
};

/* Milliseconds from now, spread over `spread`. */
int64_t load_soon(struct load *l, uint32_t spread);
/* Bearer token that TokenReview knows for the agent of a node. */
void load_token(const char *node, char out[64]);
/* The line of a node: a channel of its own and one stream on it. */
struct rpc_channel *load_channel(struct load *l);
struct rpc_stream *load_stream(struct load *l, struct rpc_channel *c, const char *node, const struct rpc_stream_ops *ops,
                               void *ctx);

/* load_agents.c: a real agent for every node. */
struct load_agents;
struct load_agents *load_agents_new(struct load *l);
void load_agents_free(struct load_agents *a);
/* How many the gate has accepted and whose first report it has acknowledged; questions asked of the world. */
size_t load_agents_ready(const struct load_agents *a);
uint64_t load_agents_questions(const struct load_agents *a);
/* Bytes of messages sent to the gate, and taken from it; without TLS and HTTP/2. */
void load_agents_bytes(const struct load_agents *a, uint64_t *up, uint64_t *down);

/* load_flood.c: for every node a line that sends the same small report as fast as the gate acknowledges. */
struct load_flood;
struct load_flood *load_flood_new(struct load *l);
void load_flood_free(struct load_flood *f);
uint64_t load_flood_acknowledged(const struct load_flood *f);
size_t load_flood_open(const struct load_flood *f);
