/*
 * Reads one assigned istiod replica by the ladder: /metrics, `connections`, `syncz?namespace=`, whole `syncz`; the protobuf
 * syncz only where those are refused. One question at a time, each with a deadline.
 *
 * Moving: /metrics, `connections` and the namespaces in focus every period, the whole every 5 minutes and when rejections
 * rise. Idle: /metrics every period, `connections` when the number of streams or rejections changed and each minute, the
 * whole every 10 minutes. While pushes are locked (reader_hunt.h) the whole is not asked.
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
    struct metric *hanging; /* questions that istiod never answered while it answered others */
    uint64_t seed;
};

struct reader_orders {
    const char *const *focus; /* namespaces; borrowed for the call */
    size_t n_focus;
    uint32_t period_ms;
    bool idle;
};

/* Borrows env until reader_free. Starts reading at once. */
struct reader *reader_new(const struct reader_env *env, const Meshgate__V1__Assignment__Replica *a,
                          const struct reader_orders *o);
void reader_free(struct reader *r);
const char *reader_id(const struct reader *r);
/* Same replica, new orders. false: address or name changed, make a new one. */
bool reader_update(struct reader *r, const Meshgate__V1__Assignment__Replica *a, const struct reader_orders *o);
/* The gate has forgotten: tell everything again. */
void reader_restart(struct reader *r);
bool reader_has_news(const struct reader *r);
/* Add what is to be told. true: all of it fitted. */
bool reader_fill(struct reader *r, struct report *rep);
