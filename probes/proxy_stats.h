/* What a proxy says of itself on 15020 / 15090 (istiod-facts 5). */
#pragma once

#include "../lib/base/err.h"
#include <stdint.h>
#include <stddef.h>

struct proxy_seen {
    char cds_version[64], lds_version[64]; /* version_text: push version of the last accepted update; "" unknown */
    uint32_t xds_connections;              /* active connections of cluster xds-grpc */
    bool has_xds_connections;
    uint64_t cds_rejected, lds_rejected;
    double cert_expiry_s; /* seconds left; NaN when not said */
    char build[48];       /* istio_build tag or "" */
};

/* The query that keeps the answer small: path and query for GET http://PODIP:15090 (Envoy; on 15020 the filter leaves the
 * application's metrics in). Needs Accept: text/plain. */
extern const char proxy_stats_path[];
bool proxy_stats_read(const char *text, size_t len, struct proxy_seen *out, struct err *err);
