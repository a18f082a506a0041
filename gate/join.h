/*
 * inventory x evidence -> rows of a core/snapshot, and the names by the same indexes. One join an upgrade. The memory is
 * kept between rounds and reused; rows carry over state_since and the memory of absences.
 */
#pragma once

#include "../core/snapshot.h"
#include "../lib/base/buf.h"
#include "evidence.h"
#include "inventory.h"
#include "upgrade.h"

struct join;

/* All of it is borrowed from inventory and evidence until their next change. */
struct join_names {
    const char **revisions, **nodes, **namespaces;
    const struct inv_replica **replicas;
    const struct replica_fact **replica_facts;   /* NULL: nothing was read yet */
    const struct blocked_fact **replica_blocked; /* first of those whose pushes it locks; NULL: none is known */
    const struct inv_workload **workloads;       /* NULL: an owner that is not known yet; then the pod says which */
    const struct inv_pod **workload_pods;
    const struct inv_pod **pods;
    const struct attach_fact **attached; /* NULL: nobody lists it */
    const struct local_fact **local;     /* NULL: its node does not see it */
    const char **node_troubles;          /* NULL: none */
    const char *inventory_trouble;
};

struct join *join_new(void);
void join_free(struct join *j);
/* Build everything anew, the whole mesh, whether the upgrade concerns it or not; fills u->policy.from and to. reader(ctx,
 * replica uid): node of the live agent assigned to read it, or NULL. The snapshot's progress is u->progress. */
void join_build(struct join *j, struct inventory_watch *w, const struct evidence *e, struct upgrade *u,
                const char *(*reader)(void *ctx, const char *replica), void *ctx, int64_t now_ms, int64_t wall_ms);
struct snapshot *join_snapshot(struct join *j);
const struct join_names *join_names(const struct join *j);
/* Call after classify(): remembers since when each proxy is in its state, and when it was last seen MOVED. */
void join_remember_states(struct join *j, int64_t now_ms);
/* Name of an object for people: "NS", "NS/Deployment/NAME", "NS/POD", "NODE", "POD (REV)", the wave's or the upgrade's
 * name. */
void join_object_name(const struct join *j, const struct upgrade *u, enum about about, uint32_t object, struct buf *out);
