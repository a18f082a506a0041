/*
 * inventory x evidence -> rows of a core/snapshot, and the names by the same indexes. One join an upgrade. The memory is
 * kept between rounds and reused; rows carry over state_since and the memory of absences.
 */
#pragma once

#include "../core/snapshot.h"
#include "evidence.h"
#include "inventory.h"
#include "upgrade.h"

struct join;

struct join_names {
    const char **revisions, **replicas, **nodes, **namespaces; /* borrowed from the inventory until its next change */
    const struct inv_workload **workloads;                     /* NULL where the owner is no watched kind */
    const char **workload_names;                               /* "Deployment/name", "Job/name" ... */
    const struct inv_pod **pods;
    const struct attach_fact **attached;                       /* NULL: nobody lists it */
    const struct local_fact **local;
};

struct join *join_new(void);
void join_free(struct join *j);
/* Build everything anew. reader(ctx, replica uid): node of the live agent assigned to read it, or NULL. */
void join_build(struct join *j, const struct inventory_watch *w, const struct evidence *e, const struct upgrade *u,
                const char *(*reader)(void *ctx, const char *replica), void *ctx, int64_t now_ms);
struct snapshot *join_snapshot(struct join *j);
const struct join_names *join_names(const struct join *j);
/* Call after classify(): remembers since when each proxy is in its state. */
void join_remember_states(struct join *j, int64_t now_ms);
