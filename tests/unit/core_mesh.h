/*
 * A small mesh made of rows: two revisions with two replicas each, two nodes, one namespace a wave with one Deployment and
 * two proxies. Begins with everything healthy on the old revision and all evidence fresh.
 */
#pragma once

#include <string.h>

#include "core/decide.h"

enum { OLD, NEW, THIRD, REVISIONS };
#define NAMESPACES 2
#define PER_NS 2
#define PROXIES (NAMESPACES * PER_NS)
#define START_MS 10000000

struct mesh {
    struct policy policy;
    struct wave_policy waves[NAMESPACES];
    struct revision_row revisions[REVISIONS];
    struct replica_row replicas[4];
    struct node_row nodes[2];
    struct namespace_row namespaces[NAMESPACES];
    struct workload_row workloads[NAMESPACES];
    struct proxy_row proxies[PROXIES];
    struct snapshot seen;
    int64_t now_ms;
    struct wave_tally tallies[NAMESPACES];
    struct decision out;
};

/* All evidence is of now; what it says stays as it is. */
static inline void mesh_fresh(struct mesh *m) {
    for (size_t i = 0; i < 4; i++) {
        m->replicas[i].assigned = m->replicas[i].ready = true;
        m->replicas[i].answered_ms = m->now_ms;
    }
    for (size_t i = 0; i < 2; i++) {
        m->nodes[i].agent = m->nodes[i].witness = m->nodes[i].reach_known = m->nodes[i].reach_ok = true;
        m->nodes[i].heard_ms = m->now_ms;
    }
    for (size_t i = 0; i < PROXIES; i++) {
        m->proxies[i].attached_at_ms = m->proxies[i].sync_at_ms = m->proxies[i].node_at_ms = m->now_ms;
    }
}

/* A proxy that is well and lives on this revision since long. */
static inline void mesh_settle(struct mesh *m, struct proxy_row *p, uint32_t revision) {
    p->expected = p->injected = p->attached = p->dials = revision;
    p->replica = revision * 2;
    p->ready = p->xds_up = true;
    p->deleting = p->cert_expired = false;
    p->created_ms = p->expected_since_ms = m->now_ms - 3600000;
    p->attached_at_ms = p->sync_at_ms = p->node_at_ms = m->now_ms;
    p->sync = SYNC_SYNCED;
    p->version = VERSION_MATCHES;
    p->pending_since_ms = p->version_differs_since_ms = p->dials_differ_since_ms = p->xds_down_since_ms = 0;
    p->detached_since_ms = 0;
    p->absent_looks = 0;
}

static inline void mesh_relabel(struct mesh *m, uint32_t ns) {
    m->namespaces[ns].relabelled = m->namespaces[ns].relabelled_by_us = true;
    for (size_t i = 0; i < PROXIES; i++) {
        if (m->proxies[i].ns == ns) {
            m->proxies[i].expected = NEW;
            m->proxies[i].expected_since_ms = m->now_ms - 5000;
        }
    }
}

/* The namespace has been moved with all that is in it. */
static inline void mesh_move(struct mesh *m, uint32_t ns) {
    mesh_relabel(m, ns);
    m->workloads[ns].restarted = m->workloads[ns].settled = true;
    for (size_t i = 0; i < PROXIES; i++) {
        if (m->proxies[i].ns == ns) {
            mesh_settle(m, &m->proxies[i], NEW);
        }
    }
}

static inline void mesh_init(struct mesh *m) {
    memset(m, 0, sizeof *m);
    m->now_ms = START_MS;
    m->policy = (struct policy){.from = OLD,
                                .to = NEW,
                                .node_witness = true,
                                .coverage_permille = 1000,
                                .evidence_max_age_ms = 45000,
                                .dwell_start_ms = 180000,
                                .dwell_absent_ms = 60000,
                                .dwell_ack_ms = 30000,
                                .dwell_conflict_ms = 60000,
                                .waves = m->waves,
                                .n_waves = NAMESPACES};
    for (size_t i = 0; i < REVISIONS; i++) {
        m->revisions[i] =
            (struct revision_row){.installed = true, .has_injector = true, .replicas = i < THIRD ? 2 : 0, .ready = 2};
    }
    for (uint32_t i = 0; i < 4; i++) {
        m->replicas[i].revision = i / 2;
    }
    for (uint32_t i = 0; i < NAMESPACES; i++) {
        m->waves[i].soak_ms = 60000;
        m->namespaces[i].wave = i;
        m->workloads[i] = (struct workload_row){.ns = i, .kind = KIND_DEPLOYMENT, .replicas = PER_NS, .settled = true};
    }
    for (uint32_t i = 0; i < PROXIES; i++) {
        m->proxies[i].ns = m->proxies[i].workload = i / PER_NS;
        m->proxies[i].node = i % 2;
        mesh_settle(m, &m->proxies[i], OLD);
    }
    m->seen = (struct snapshot){.revisions = m->revisions,
                                .n_revisions = REVISIONS,
                                .replicas = m->replicas,
                                .n_replicas = 4,
                                .nodes = m->nodes,
                                .n_nodes = 2,
                                .namespaces = m->namespaces,
                                .n_namespaces = NAMESPACES,
                                .workloads = m->workloads,
                                .n_workloads = NAMESPACES,
                                .proxies = m->proxies,
                                .n_proxies = PROXIES,
                                .inventory_fresh = true};
    mesh_fresh(m);
}

/* A copy does not point into the original. */
static inline void mesh_copy(struct mesh *to, const struct mesh *from) {
    *to = *from;
    to->policy.waves = to->waves;
    to->seen.revisions = to->revisions;
    to->seen.replicas = to->replicas;
    to->seen.nodes = to->nodes;
    to->seen.namespaces = to->namespaces;
    to->seen.workloads = to->workloads;
    to->seen.proxies = to->proxies;
}

static inline void mesh_decide(struct mesh *m) {
    classify(&m->policy, &m->seen, m->now_ms);
    decide(&m->policy, &m->seen, m->now_ms, m->tallies, &m->out);
}
