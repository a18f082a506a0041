/*
 * The line to the gate: opens it, says Hello, sends report after report, takes assignments. Lost lines are opened again
 * with growing, jittered pauses; every new line begins with everything.
 */
#pragma once

#include "agent/io.h"
#include "lib/base/metrics.h"
#include "lib/base/sched.h"
#include "lib/wire/wire.h"

struct uplink;

struct uplink_ops {
    /* Orders; borrowed. */
    void (*assigned)(void *ctx, const Meshgate__V1__Assignment *a);
    /* One real ADS stream to a revision may be opened now; borrowed. */
    void (*slot)(void *ctx, const Meshgate__V1__Slot *s);
    /* Everything must be told again; the next report is marked full. */
    void (*resync)(void *ctx);
    /* Put together the next report. false: nothing to tell. *more: there is another one right behind it. The report stays
     * the caller's until it has been packed: done() follows. */
    bool (*next)(void *ctx, Meshgate__V1__Report **report, bool *more);
    void (*done)(void *ctx);
    /* The line has been down for longer than two minutes: stop reading for nobody. */
    void (*orphaned)(void *ctx);
};

struct uplink_env {
    struct agent_io *io;
    struct sched *sched;
    const char *node, *version;
    bool node_witness; /* what the next Hello says of it */
    const char *node_witness_why;
    uint64_t seed;
    struct metric *connected, *reports, *bytes;
};

/* Borrows env, ops and ctx until uplink_free. Opens the line at once. */
struct uplink *uplink_new(const struct uplink_env *env, const struct uplink_ops *ops, void *ctx);
void uplink_free(struct uplink *u);
const struct link_events *uplink_events(struct uplink *u);
/* What Hello said is no longer so: begin a new session. */
void uplink_again(struct uplink *u, const char *why);
/* There is something to tell; collected for a moment. */
void uplink_news(struct uplink *u);
/* Connected, orders received and the first report acknowledged. */
bool uplink_ready(const struct uplink *u, const char **why_not);
