/*
 * Who reads an istiod replica: rendezvous hashing. Each pair of replica and agent has a weight that depends on nothing
 * else, the heaviest reads. So an agent that joins or leaves moves only the replicas that it wins or had.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct assign_agent {
    const char *node;
    const char *zone; /* NULL unknown */
    bool shunned;     /* was assigned this replica and brought no word of it: only if there is nobody else */
};

struct assign_pick {
    size_t reader, standby; /* indexes of agents, SIZE_MAX none */
};

/* zone: of the replica, NULL unknown; agents in it come first. The order of agents does not matter. */
struct assign_pick assign_choose(const char *replica, const char *zone, const struct assign_agent *agents, size_t n);
