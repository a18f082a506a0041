/* What a proxy says of itself on 15020 / 15090 (istiod-facts 5; ztunnel: its src/metrics and src/xds/metrics.rs). */
#pragma once

#include "../lib/base/err.h"
#include <stdint.h>
#include <stddef.h>

struct proxy_seen {
    char cds_version[64], lds_version[64]; /* version_text: push version of the last accepted update; "" unknown */
    uint32_t xds_connections;              /* active connections of cluster xds-grpc */
    bool has_xds_connections;
    uint64_t cds_rejected, lds_rejected;
    bool agent;            /* pilot-agent or ztunnel spoke: the next three are known, counters not named yet are 0 */
    uint64_t xds_failures; /* streams to istiod that ended by an error */
    uint64_t csr_failures; /* requests for a certificate that failed */
    double cert_expiry_s;  /* seconds left, negative: expired; NaN when not said, as before the first certificate */
    char build[48];        /* istio_build tag or "" */
};

/* The queries that keep answers small: path and query for GET http://PODIP:PORT. Both need Accept: text/plain. */
extern const char proxy_stats_path[]; /* 15090: Envoy alone (on 15020 the filter leaves the application's metrics in) */
extern const char proxy_agent_path[]; /* 15020: pilot-agent or ztunnel; of Envoy nothing, of the application everything */
bool proxy_stats_read(const char *text, size_t len, struct proxy_seen *out, struct err *err);
