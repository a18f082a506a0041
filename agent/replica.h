/*
 * What the reader knows of one istiod replica: its proxies by id, with what changed since it was last reported. Complete
 * readings are put in as a whole; a reading that broke off leaves the table as it was.
 */
#pragma once

#include "agent/report.h"
#include "probes/istiod_debug.h"

struct replica;

struct replica *replica_new(void);
void replica_free(struct replica *r);
/* Version of the istiod that answers, for what its word is worth (probes/drift.def); "" not known. */
void replica_drift(struct replica *r, const char *istiod_version);

/* A reading: begin, feed every element, then commit (the answer was complete) or drop. */
void replica_begin(struct replica *r);
void replica_conn(void *replica, const struct conn_seen *c);
void replica_sync(void *replica, const struct sync_seen *s);
void replica_drop(struct replica *r);
/* `connections`: whoever is not in it is gone. */
void replica_commit_connections(struct replica *r);
/* `syncz` of all namespaces (NULL) or of one; now_ms: when it was asked. Rule for unacknowledged pushes: istiod-facts 3.2.
 */
void replica_commit_syncz(struct replica *r, const char *namespace_, int64_t now_ms);
/* Protobuf syncz where `connections` is refused too: it says who hangs here and how he is. */
void replica_commit_status(struct replica *r, int64_t now_ms);

/* One proxy, for the search for locked pushes. */
struct replica_who {
    const char *id, *connection; /* connection "" not known */
    const char *namespace_;      /* "" when the id has none */
    int64_t sent_ms;             /* since when what was sent to it stands, 0 not read */
    bool lags; /* over 60 s and two readings nothing was sent to it, while most of its neighbours were sent something */
};
void replica_each(const struct replica *r, void (*fn)(void *ctx, const struct replica_who *w), void *ctx);
/* Its stream as of the latest connections; NULL: not here. */
const char *replica_connection(const struct replica *r, const char *id);
/* The proxy's question was answered: it lags because nothing concerns it. */
void replica_spare(struct replica *r, const char *id);
/* Somebody rejects, or had not acknowledged what was sent before before_ms when it was read last. */
bool replica_has_trouble(const struct replica *r, int64_t before_ms);
/* Some proxy lags. */
bool replica_has_laggards(const struct replica *r);

/* Report everything again. */
void replica_all_dirty(struct replica *r);
bool replica_dirty(const struct replica *r);
/* Put changed and gone entries in, until the report is full. true: nothing is left, digest and count are set. */
bool replica_fill(struct replica *r, struct report *rep, Meshgate__V1__ReplicaReading *on, int64_t now_ms);
/* Streams that came after the latest syncz: nothing is known of them but that they are here. */
size_t replica_fresh(const struct replica *r);
size_t replica_count(const struct replica *r);
