/*
 * The decision. Pure: no I/O, no clock, no allocation, no logging; the same bytes in give the same bytes out.
 */
#pragma once

#include "snapshot.h"

/*
 * Give each proxy of the snapshot its one state and reason, and the other tables their sums. now_ms: monotonic.
 * state_since_ms and moved_at_ms are left to the caller.
 *
 * Rows that do not count (finished, opted out, being deleted) get STATE_UNKNOWN and REASON_NONE.
 * While its wave is at work a proxy's sync must have been read within evidence_max_age_ms. For other waves istiods are only
 * asked for it now and then: there it is used when it is fresh and not missed when it is not; being attached, and the
 * node's word, are demanded as ever.
 * One look that does not list a proxy is no absence yet (streams are recycled): it stays MOVED as long as the look before
 * is younger than evidence_max_age_ms and, where the node's word is demanded, its Envoy is connected.
 */
void classify(const struct policy *policy, struct snapshot *seen, int64_t now_ms);

/*
 * Decide what an upgrade does now. The proxies must have been classified.
 *
 * tallies: policy->n_waves elements lent by the caller, filled per wave.
 * Each finding about something is given once. Waves after the one at work are not looked at, but for notes; in those
 * before it a bad signal pauses, doubt holds, and what fell back to another revision keeps the upgrade from going on.
 * A soak ends with a look: every replica, and every proxy of the wave by each witness, must have been read after its time
 * was over. A wave that passes (soaked, or empty) moves next.wave on and asks to be woken at once. At next.wave == n_waves
 * the upgrade is completed, and stays so. Advance needs positive proof: each expected proxy of the wave MOVED (coverage),
 * evidence younger than evidence_max_age_ms, every replica of both revisions answered, every node of the wave heard.
 * Whatever is missing, stale, contradictory or dated in the future holds. Actions are only given for the wave at work and
 * never while held, paused or in doubt about the control planes.
 */
void decide(const struct policy *policy, const struct snapshot *seen, int64_t now_ms, struct wave_tally *tallies,
            struct decision *out);

/* Does the row count (see classify)? */
bool proxy_counts(const struct proxy_row *p);

/* Which witnesses have been heard of a proxy that counts: freshly, and believably. */
struct hearing {
    bool control_plane; /* it is listed, or proven to be listed by nobody */
    bool sync;          /* its sync has been read */
    bool node;
    bool all;          /* every one that the policy demands of a proxy of its wave */
    int64_t oldest_ms; /* of the evidence heard; 0: none */
};
struct hearing proxy_hearing(const struct policy *policy, const struct snapshot *seen, const struct proxy_row *p,
                             int64_t now_ms);

/* Names for people and for the CR; never NULL. Unknown values give "?". */
const char *state_name(enum proxy_state s);
const char *state_meaning(enum proxy_state s);
const char *reason_name(enum reason r);
const char *reason_sentence(enum reason r);
const char *reason_remedy(enum reason r);
enum severity reason_severity(enum reason r);
enum whose reason_whose(enum reason r);
const char *whose_name(enum whose w); /* "owner", "platform" ... */
const char *verdict_name(enum verdict v);
const char *phase_name(enum phase p);
/* The value of a name as it stands in a CR's status; UNKNOWN/NONE/HOLD when it is no such name. */
enum reason reason_from_name(const char *name);
