/*
 * What people and tools see: status and conditions of the CR, Events, metrics, JSON views. All from the same snapshot and
 * decision.
 */
#pragma once

#include "../lib/base/metrics.h"
#include "execute.h"
#include "join.h"

/* The status object for the CR; the caller decref()s. Phase, verdict, wave table, reasons (with examples and remedies, at
 * most 20 named objects a reason), progress, conditions (Ready, Progressing, Healthy with stable lastTransitionTime). */
json_t *publish_status(const struct upgrade *u, const struct join *j, const struct decision *d, const struct wave_tally *tallies,
                       const json_t *previous_status, int64_t now_ms, int64_t wall_ms);
/* Equal but for times: nothing to write. */
bool publish_same(const json_t *a, const json_t *b);
/* Events for what changed between two statuses. */
void publish_events(struct execute *x, const struct inv_upgrade *o, const json_t *before, const json_t *after);
void publish_metrics(struct metrics *m, const struct upgrade *u, const struct join *j, const struct decision *d,
                     const struct wave_tally *tallies);
json_t *publish_proxies(const struct join *j, const struct upgrade *u, int64_t now_ms);
