/*
 * What people and tools see: status and conditions of the CR, Events, metrics, JSON views. All from the same snapshot and
 * decision.
 */
#pragma once

#include "../lib/base/metrics.h"
#include "execute.h"
#include "join.h"

/* Everything that one decision is published from. */
struct publication {
    const struct upgrade *upgrade;
    const struct join *join;
    const struct snapshot *seen;
    const struct decision *decision;
    const struct wave_tally *tallies;
    const struct execute *execute; /* texts of failed writes; NULL: none */
    int64_t now_ms, wall_ms;
};

/* The status object for the CR; the caller decref()s. Phase, verdict, wave table, reasons (with examples and remedies, at
 * most 20 named objects a reason), progress, conditions (Ready, Progressing, Healthy). Times that stand in previous (NULL:
 * none) are kept as long as what they are about has not changed. */
json_t *publish_status(const struct publication *p, const json_t *previous);
/* Status of an upgrade that is not followed: previous, with this as its only reason. What it goes on from later is kept.
 * object and text may be NULL. */
json_t *publish_blocked(const char *name, int64_t generation, enum reason reason, const char *object, const char *text,
                        const json_t *previous, int64_t wall_ms);
/* Equal but for times: nothing to write. */
bool publish_same(const json_t *a, const json_t *b);
/* More than counts has changed (phase, verdict, a wave, a reason): not to be kept back. */
bool publish_urgent(const json_t *before, const json_t *after);
/* Events for what changed between two statuses. */
void publish_events(struct execute *x, const struct inv_upgrade *o, const json_t *before, const json_t *after);
void publish_metrics(struct metrics *m, const struct publication *p);
/* No upgrade is at work: no series about one, only how the mesh is. */
void publish_metrics_mesh(struct metrics *m, const struct snapshot *seen);
/* Every proxy that counts, and pods that ask for one and get none by their own wish, with what each witness says, as JSON
 * text: {"upgrade":NAME|null,"proxies":[...]}. upgrade NULL: of the whole mesh, else only those that it concerns. out->over:
 * it did not fit. */
void publish_proxies(const struct join *j, const struct snapshot *seen, const char *upgrade, int64_t now_ms,
                     struct buf *out);
