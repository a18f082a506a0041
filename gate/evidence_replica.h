/* Inside of gate/evidence: what readers say of istiod replicas. */
#pragma once

#include "evidence_set.h"

struct replica_entry {
    struct replica_fact fact; /* id is the key */
    struct attach_set current;
    struct attach_set next; /* of a newer telling, until its first complete reading is there */
    struct blocked_fact *blocked;
    size_t n_blocked;
    UT_hash_handle hh;
};

struct replica_entry *evidence_replica_get(struct replica_entry *all, const char *id);
void evidence_replica_drop(struct replica_entry **all, struct replica_entry *r);
void evidence_replica_drop_all(struct replica_entry **all);
/* A reading of this telling. Returns how many entries were refused. */
uint32_t evidence_replica_take(struct replica_entry **all, const struct telling *from,
                               const Meshgate__V1__ReplicaReading *in, const struct evidence_rules *rules, int64_t now_ms);
