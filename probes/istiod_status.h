/*
 * Reads istiod's protobuf syncz (type istio.io/debug/syncz, SotW) from the pieces in which it came: one record at a time,
 * in place where it lies in one piece, else in a copy of that record. For istiods that refuse the JSON forms only: this
 * call can lock a proxy for good (docs/protocol.md).
 *
 * Source: pilot/pkg/xds/statusgen.go debugSyncz; numbers of envoy/service/status/v3/csds.proto. There are no nonces in it:
 * type_seen.sent and .acked are tokens that are equal when istiod says SYNCED and differ when it says STALE; `acked` then
 * stands as long as the time of the last send does. So a stale type ages only while nothing new is sent, which is all that
 * can be proven.
 */
#pragma once

#include "istiod_debug.h"

/* body: the whole DiscoveryResponse. Returns the number of proxies or -1 with *err, as istiod_syncz(). */
int64_t istiod_status(const struct piece *body, size_t n, void (*fn)(void *ctx, const struct sync_seen *s), void *ctx,
                      struct err *err);
