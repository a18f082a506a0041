/*
 * One proxy of this node: what its process showed, what its ports answered, and whether that was told. Inside of
 * agent/local.
 *
 * Envoy (15090) and readiness (15021) are asked at every look. pilot-agent (15020) answers with its own 11 kB and with all
 * of the application's metrics, so it is asked every five minutes for the certificate; at once when the proxy has a new
 * connection to istiod, at each look while it has trouble and once after. ztunnel has no Envoy: only 15020 and 15021.
 */
#pragma once

#include "agent/local.h"
#include "probes/proxy_stats.h"
#include "uthash.h"

struct local_pod {
    const struct local_env *env; /* borrowed */
    void (*answered)(void *ctx); /* all that local_pod_ask() asked */
    void *ctx;
    struct dial_seen dial;
    int64_t first_seen_ms;
    struct proxy_seen envoy, agent; /* latest answers of 15090 and 15020 */
    bool stats_ok, ready;
    struct io_question *stats, *health, *more;
    int64_t more_asked_ms;      /* 0 never */
    bool more_wanted, troubled; /* troubled: at the look before */
    int64_t cert_expires_ms;    /* on our clock; 0 not said */
    bool cert_expired;
    uint32_t look;  /* scan that had it last */
    uint32_t asked; /* scan in which it was asked */
    bool dirty;
    uint64_t told;     /* hash of what was told in this session; 0: nothing yet */
    UT_hash_handle hh; /* by dial.pod_uid */
};

struct local_pod *local_pod_new(const struct local_env *env, const struct dial_seen *d, int64_t now_ms);
/* Drops its questions. */
void local_pod_free(struct local_pod *p);
/* Its process was seen again. */
void local_pod_seen(struct local_pod *p, const struct dial_seen *d);
/* Ask its ports; false: it has no address, nothing was asked and answered() is not called. */
bool local_pod_ask(struct local_pod *p);
/* Strings of x are borrowed from p. */
void local_pod_fill(struct local_pod *p, Meshgate__V1__LocalProxy *x);
