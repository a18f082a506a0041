/*
 * The node witness: which control plane each local proxy's process dials, and what the proxy says of itself. Costs the
 * control plane nothing.
 */
#pragma once

#include "agent/io.h"
#include "agent/report.h"
#include "lib/base/metrics.h"
#include "lib/base/sched.h"

struct local;

struct local_env {
    struct agent_io *io;
    struct sched *sched;
    uint16_t stats_port, agent_port, health_port; /* Envoy's, pilot-agent's metrics; readiness */
    void (*news)(void *ctx);
    void (*sight)(void *ctx); /* local_blind() would answer otherwise than before; NULL: nobody wants to know */
    void *ctx;
    struct metric *proxies, *scan_failures;
};

struct local *local_new(const struct local_env *env);
void local_free(struct local *l);
/* Look at once and then every period; 0: stop looking. */
void local_period(struct local *l, uint32_t period_ms);
/* A new session, or the gate has forgotten: nothing counts as told. */
void local_all_dirty(struct local *l);
bool local_has_news(const struct local *l);
/* true: all of it fitted. */
bool local_fill(struct local *l, struct report *rep);
/* Why this node's proxies cannot be seen at all until somebody mends it (hostPID is missing); NULL: they can. Looks when
 * nobody has looked yet. It is tried again at every look. */
const char *local_blind(struct local *l);
/* Why the latest look failed; "" when all is well. */
const char *local_trouble(const struct local *l);
