/* A row of the join in words: what stands in JSON views. Texts are static or borrowed from join and evidence. */
#pragma once

#include "../lib/base/jtext.h"
#include "join.h"

/* Name of a revision field; "?", "-", "several" or "not installed" for those that are no index. */
const char *row_revision(const struct join_names *n, const struct snapshot *seen, uint32_t revision);
/* "Synced", "Pending", "Error", "?" */
const char *row_sync(enum sync_state s);
/* "Matches", "Differs", "Ahead", "?" */
const char *row_version(enum version_match v);
/* "sidecar", "gateway", "waypoint" or "ztunnel": as its objects make it, else as the proxy says to its istiod. */
const char *row_type(const struct inv_pod *pod, const struct attach_fact *a);

struct row_owner {
    char kind[64];    /* "Deployment"; "Pod" for a bare pod */
    const char *name; /* the pod's own for a bare pod */
};
struct row_owner row_owner(const struct join_names *n, const struct snapshot *seen, uint32_t i);
/* "types":{"CDS":"Synced",...}: the types that it has subscribed to; {} when they were not read. */
void row_types(struct jtext *t, const struct attach_fact *a);
/* ms since at_ms; "age":null when that was never. */
void row_age(struct jtext *t, const char *key, int64_t at_ms, int64_t now_ms);
