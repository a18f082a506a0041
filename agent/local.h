/*
 * The node witness: which control plane each local proxy's process dials, and what its Envoy says it accepted. Costs the
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
    void *ctx;
    struct metric *proxies, *scan_failures;
};

struct local *local_new(const struct local_env *env);
void local_free(struct local *l);
/* Look at once and then every period; 0: stop looking. */
void local_period(struct local *l, uint32_t period_ms);
void local_all_dirty(struct local *l);
bool local_has_news(const struct local *l);
/* true: all of it fitted. */
bool local_fill(struct local *l, struct report *rep);
/* Why nothing can be seen; "" when all is well. */
const char *local_trouble(const struct local *l);
