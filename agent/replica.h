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

/* Report everything again. */
void replica_all_dirty(struct replica *r);
bool replica_dirty(const struct replica *r);
/* Put changed and gone entries in, until the report is full. true: nothing is left. */
bool replica_fill(struct replica *r, struct report *rep, Meshgate__V1__ReplicaReading *on, int64_t now_ms);
size_t replica_count(const struct replica *r);
