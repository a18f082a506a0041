/*
 * A small embedded mesh behind the gate's inventory, and agents' reports made by hand, for tests of what the gate makes of
 * them. Two nodes, namespaces app-00 (istio-injection=enabled) and app-01 (istio.io/rev=old), one istiod a revision.
 */
#pragma once

#include "gate/join.h"
#include "lib/base/vclock.h"
#include "tests/sim/world.h"

struct gate_mesh {
    struct vclock *clock;
    struct sched *sched;
    struct store *store;
    struct world *world;
    struct kube *kube;
    struct inventory_watch *watch;
    struct inventory *inv;
    struct evidence *evidence;
    struct join *join;
    struct upgrade upgrade;
    json_t *spec, *status;
    bool unread; /* nobody is assigned to the replicas */
    /* what the next report says; by pod name, NULL: nobody */
    const char *unlisted, *unseen, *rejecting;
    const char *uncertified;     /* asks for a certificate in vain, and its Envoy does not answer yet */
    const char *version;         /* that istiods say is acknowledged */
    const char *accepted;        /* that Envoys say they have ... */
    const char *behind, *older;  /* ... but this pod's says this */
    int64_t connected_before_ms; /* streams began so long before now */
    uint64_t questions;
};

int gate_mesh_setup(void **state);
int gate_mesh_teardown(void **state);
void gate_mesh_pass(struct gate_mesh *f, int64_t ms);
/* A report of every agent: each injected pod is listed by the istiod of its revision and seen by its node. */
void gate_mesh_hear(struct gate_mesh *f);
/* Only istiods' readers report, or only of this revision (NULL: all). */
void gate_mesh_read(struct gate_mesh *f, const char *revision, Meshgate__V1__ReadStatus syncz);
/* Read spec and status, build the join, classify. */
const struct snapshot *gate_mesh_join(struct gate_mesh *f);
/* Row of the first pod whose name begins so. */
const struct proxy_row *gate_mesh_proxy(struct gate_mesh *f, const char *namespace_, const char *prefix);
const struct namespace_row *gate_mesh_namespace(struct gate_mesh *f, const char *name);
/* Labels or annotations of a namespace, as JSON with null for those that go. */
void gate_mesh_patch(struct gate_mesh *f, const char *namespace_, const char *metadata);
