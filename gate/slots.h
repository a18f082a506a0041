/*
 * Whose turn it is to open a real ADS stream to a revision (GateMessage.Slot). Pure: no I/O, no clock.
 *
 * istiod admits 25 new streams a second on 2 cores (15 + 5 x cores; istiod-facts 3.13), proxies that reconnect included,
 * and refuses the rest. All agents together take 1 a second per replica of the revision: 4 % of the smallest istiod's
 * limit, and about 2.6 ms of its CPU. So n nodes are through in n / replicas seconds: 5,000 nodes and 2 replicas, 2,500 s
 * (42 minutes) for each revision, revisions side by side; the nodes of a wave come first: 200 of them in 100 s.
 *
 * Order: nodes of the wave at work that have no good result; nodes without a result; then whose result is oldest, the
 * wave's sooner. Every fourth slot goes to the node that has waited longest whatever it is, so that failing nodes, which
 * are tested again and again, starve nobody.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Streams a second that may be opened per replica of a revision. */
#define SLOTS_PER_SECOND 1
/* Slots of a revision that are under way at a time, per replica. */
#define SLOTS_OUTSTANDING 10
/* An agent must begin within this time ... */
#define SLOTS_VALID_MS 5000
/* ... and a slot of which nothing is heard by then is lost: the time, the agent's deadline of 10 s, and the way back. */
#define SLOTS_LOST_MS (SLOTS_VALID_MS + 10000 + 5000)
/* When a node is due again: after a good result (of the wave, of others), after a bad one. */
#define SLOTS_WAVE_AGAIN_MS (10 * 60 * 1000)
#define SLOTS_AGAIN_MS (60 * 60 * 1000)
#define SLOTS_FAILED_AGAIN_MS (30 * 1000)

struct slots;

struct slots *slots_new(void);
void slots_free(struct slots *s);

/* The revisions to test and how many replicas each has; without one a revision is not tested. Others are forgotten.
 * Strings are copied. */
struct slots_revision {
    const char *name;
    uint32_t replicas;
};
void slots_revisions(struct slots *s, const struct slots_revision *list, size_t n);
/* A node's agent has come, or come again: what was given to it before is lost. */
void slots_join(struct slots *s, const char *node, int64_t now_ms);
/* It is gone: so are its slots and results. */
void slots_leave(struct slots *s, const char *node);
/* Which nodes carry pods of the wave at work: asked for each node; NULL: none. */
void slots_wave(struct slots *s, bool (*in_wave)(void *ctx, const char *node), void *ctx);
/* An agent has told how a real stream went at at_ms (now or earlier). */
void slots_result(struct slots *s, const char *node, const char *revision, bool ok, int64_t at_ms);

/* The next slot that may be given now, counted as given; false: none. Strings are borrowed until the next change. */
bool slots_next(struct slots *s, int64_t now_ms, const char **node, const char **revision);
/* When slots_next() is worth asking again; 0: not before something changes. */
int64_t slots_wake(const struct slots *s, int64_t now_ms);
