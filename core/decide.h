/*
 * The decision. Pure: no I/O, no clock, no allocation, no logging; the same bytes in give the same bytes out.
 */
#pragma once

#include "snapshot.h"

/*
 * Give each proxy of the snapshot its one state and reason.
 * Only rows are read; state_since_ms is left to the caller. now_ms: monotonic.
 */
void classify(const struct policy *policy, struct snapshot *seen, int64_t now_ms);

/*
 * Decide what an upgrade does now. The proxies must have been classified.
 *
 * tallies: policy->n_waves elements lent by the caller, filled per wave.
 * Advance needs positive proof: each expected proxy of the wave MOVED (coverage), evidence younger than
 * evidence_max_age_ms, every replica of both revisions answered, every node of the wave heard. Whatever is missing,
 * stale, contradictory or dated in the future holds. Actions are only given for the wave at work and never while held,
 * paused or in doubt about the control planes.
 */
void decide(const struct policy *policy, const struct snapshot *seen, int64_t now_ms, struct wave_tally *tallies,
            struct decision *out);

/* Names for people and for the CR; never NULL. Unknown values give "?". */
const char *state_name(enum proxy_state s);
const char *state_meaning(enum proxy_state s);
const char *reason_name(enum reason r);
const char *reason_sentence(enum reason r);
const char *reason_remedy(enum reason r);
enum severity reason_severity(enum reason r);
const char *verdict_name(enum verdict v);
const char *phase_name(enum phase p);
/* The value of a name as it stands in a CR's status; UNKNOWN/NONE/HOLD when it is no such name. */
enum reason reason_from_name(const char *name);
