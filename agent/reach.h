/*
 * Would a proxy of this node get through to each revision? Two tests:
 *   plain   TCP, TLS, /ready: rarely and jittered, each replica and the Service in turn; one that fails stays at work until
 *           it passes. Costs istiod a handshake.
 *   stream  a real ADS stream as a proxy opens it, to the Service; only when the gate gives a slot (its admission limit).
 * A revision is reached when the latest of both are good. A stream that failed stays so until another one passes, or until
 * the plain test has failed and passes again: then both had the same cause.
 */
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
/* Open one real stream to this revision now. One that is unknown or under test already: the slot is lost. */
void reach_slot(struct reach *r, const char *revision);
void reach_all_dirty(struct reach *r);
bool reach_has_news(const struct reach *r);
/* Up to two entries a revision: how the stream went (stage "ads"), then how all of it stands. */
void reach_fill(struct reach *r, struct report *rep);
