/*
 * Reads istiod's JSON debug answers where they lie: the array is cut into elements, each read in place, memory of one
 * record. Source of the shapes: pilot/pkg/xds/debug.go (ConnectionList, SyncStatus) and recordings of 1.29.6, 1.30.3.
 */
#pragma once

#include "../lib/base/buf.h"
#include "../lib/base/err.h"

/* One entry of `connections`. Strings are borrowed for the callback. */
struct conn_seen {
    const char *id;          /* POD.NAMESPACE, the counter taken off */
    const char *connection;  /* with the counter */
    int64_t connected_at_ms; /* istiod's wall clock */
    const char *address;     /* peer IP, port taken off */
};

enum xds_type {
    XDS_CDS,
    XDS_LDS,
    XDS_EDS,
    XDS_RDS,
    XDS_ECDS,
    XDS_SDS,
    XDS_NDS,
    XDS_PCDS,
    XDS_WDS,
    XDS_WADS,
    XDS_OTHER,
    XDS_TYPES
};
const char *xds_type_name(enum xds_type t); /* "CDS" ... */
enum xds_type xds_type_of_url(const char *type_url);

struct type_seen {
    enum xds_type type;
    const char *sent, *acked; /* nonces, "" = never */
    int64_t sent_at_ms;       /* last send (not the last ACK: istiod-facts 3.1); 0 never */
    const char *error;        /* text of the standing rejection, NULL none */
};

/* One entry of `syncz`. */
struct sync_seen {
    const char *id;         /* POD.NAMESPACE */
    const char *proxy_type; /* "" before 1.18 */
    const char *istio_version;
    const char *cluster;
    struct type_seen types[24];
    size_t n_types;
    bool has_types; /* false: a client without watches (a reader such as we), to be left out */
};

/*
 * Both return the number of elements, or -1 with *err: not JSON, cut in the middle, a plain-text refusal ("404 page not
 * found" ...: ERR_DENIED with the text), an element larger than 1 MiB. Elements before the fault have been handed on:
 * a caller that needs all or nothing takes the reading back.
 */
int64_t istiod_connections(const struct piece *body, size_t n, void (*fn)(void *ctx, const struct conn_seen *c), void *ctx,
                           struct err *err);
int64_t istiod_syncz(const struct piece *body, size_t n, void (*fn)(void *ctx, const struct sync_seen *s), void *ctx,
                     struct err *err);
/* Push version of a nonce: everything before its last 36 characters; "" when it is shorter. */
void istiod_nonce_version(const char *nonce, char *out, size_t cap);
