/*
 * The real gate and one real agent a node on virtual time: their sockets are replaced by calls into the embedded mesh that
 * take a few milliseconds. A dark node is one whose line and questions stand still.
 */
#pragma once

#include "../../gate/gate.h"
#include "../sim/world.h"

struct parts;

/* Starts the gate and the agents. */
struct parts *parts_new(struct world *world, struct store *store, struct sched *sched, uint32_t nodes, uint64_t seed);
/* The same with another reading period while no upgrade is at work; 0: 60 s. */
struct parts *parts_new_idle(struct world *world, struct store *store, struct sched *sched, uint32_t nodes, uint64_t seed,
                             int64_t idle_period_ms);
void parts_free(struct parts *p);
/* As SIGKILL would; a new gate starts after a second. false: it was down already. */
bool parts_kill_gate(struct parts *p);
/* After a node went dark or came back. */
void parts_node_changed(struct parts *p);
struct gate *parts_gate(struct parts *p); /* NULL while it is down */
/* Questions of the agents that were answered so far. */
uint64_t parts_questions(const struct parts *p);
/* Real ADS streams that were opened as a test, by slot. */
uint64_t parts_streams(const struct parts *p);
