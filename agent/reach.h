/* Tests each revision's xDS endpoint from this node, rarely and jittered, a different replica each time. */
#pragma once

#include "agent/io.h"
#include "agent/report.h"
#include "lib/base/sched.h"

struct reach;

struct reach_env {
    struct agent_io *io;
    struct sched *sched;
    void (*news)(void *ctx);
    void *ctx;
    uint64_t seed;
};

struct reach *reach_new(const struct reach_env *env);
void reach_free(struct reach *r);
/* Revisions to test and how often (each at a random point of the first tenth of the period, then every period). */
void reach_set(struct reach *r, Meshgate__V1__Assignment__Revision *const *revisions, size_t n, uint32_t period_ms);
void reach_all_dirty(struct reach *r);
bool reach_has_news(const struct reach *r);
void reach_fill(struct reach *r, struct report *rep);
