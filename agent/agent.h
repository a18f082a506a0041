/* The agent without its sockets: schedule, picture of the node, reading of assigned replicas, line to the gate. */
#pragma once

#include "../lib/base/metrics.h"
#include "../lib/base/sched.h"
#include "io.h"

struct agent;

struct agent_opts {
    const char *node; /* name of the Kubernetes node */
    const char *version;
    bool node_witness;           /* look at local proxies */
    uint16_t xds_port;           /* 15012 */
    uint16_t stats_port;         /* 15090: Envoy's own metrics */
    uint16_t agent_port;         /* 15020: pilot-agent's, merged with the application's */
    uint16_t health_port;        /* 15021 */
    int64_t question_timeout_ms; /* 0: 10 s */
    int64_t ack_deadline_ms;     /* 0: 10 s; two readings of an unacknowledged push are at least this far apart to count */
    uint64_t seed;               /* of all jitter */
};

/* Borrows io, sched, metrics until agent_free. Starts at once. */
struct agent *agent_new(const struct agent_opts *opts, struct agent_io *io, struct sched *sched, struct metrics *metrics);
void agent_free(struct agent *a);
/* What the io calls when the line has news. */
const struct link_events *agent_link_events(struct agent *a);
/* Connected to the gate and the first full report is acknowledged. */
bool agent_ready(const struct agent *a, const char **why_not);
