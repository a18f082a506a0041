/*
 * Reads one assigned istiod replica by the ladder: /metrics, `connections`, `syncz?namespace=`, whole `syncz`. One question
 * at a time, each with a deadline; never the protobuf syncz.
 */
#pragma once

#include "agent/io.h"
#include "agent/report.h"
#include "lib/base/metrics.h"
#include "lib/base/sched.h"

struct reader;

struct reader_env {
    struct agent_io *io;
    struct sched *sched;
    int64_t question_timeout_ms;
    void (*news)(void *ctx); /* something to report */
    void *ctx;
    struct metric *questions, *bytes, *failures;
    uint64_t seed;
};

/* Borrows env until reader_free. Starts reading at once. */
struct reader *reader_new(const struct reader_env *env, const Meshgate__V1__Assignment__Replica *a,
                          const char *const *focus, size_t n_focus, uint32_t period_ms);
void reader_free(struct reader *r);
const char *reader_id(const struct reader *r);
/* Same replica, new orders. false: address or name changed, make a new one. */
bool reader_update(struct reader *r, const Meshgate__V1__Assignment__Replica *a, const char *const *focus, size_t n_focus,
                   uint32_t period_ms);
/* The gate has forgotten: tell everything again. */
void reader_restart(struct reader *r);
bool reader_has_news(const struct reader *r);
/* Add what is to be told. true: all of it fitted. */
bool reader_fill(struct reader *r, struct report *rep);
