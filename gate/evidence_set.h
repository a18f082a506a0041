/* Inside of gate/evidence: how facts are kept. A fact and all its texts are one block. */
#pragma once

#include "../lib/wire/digest.h"
#include "evidence.h"
#include "uthash.h"

struct attach_entry {
    struct attach_fact fact; /* id is the key */
    uint64_t told;           /* wire_proxy_hash() of it as it was told */
    UT_hash_handle hh;
};

struct age_entry {
    char *name; /* namespace */
    int64_t syncz_ms;
    UT_hash_handle hh;
};

/* Which telling of a replica's proxies facts belong to: of whom, in which session, in which epoch. */
struct telling {
    char *node;
    uint64_t session;
    uint32_t epoch;
};

/* What one telling says. */
struct attach_set {
    struct telling from;
    struct attach_entry *entries;
    struct age_entry *ages;
    int64_t connections_ms, syncz_ms;
    uint64_t questions; /* when connections_ms was set */
    struct wire_digest digest;
    bool partial; /* some entries were refused: the digests cannot agree */
};

/* Ages come off on arrival; never 0, which means never. */
int64_t evidence_before(int64_t now_ms, int64_t age_ms);

void attach_set_clear(struct attach_set *s);
bool attach_set_is(const struct attach_set *s, const char *node, uint64_t session, uint32_t epoch);
void attach_set_begin(struct attach_set *s, const char *node, uint64_t session, uint32_t epoch);
/* Entries, gone ones and namespace ages of a reading. Returns how many entries were refused because there are too many. */
uint32_t attach_set_apply(struct attach_set *s, const Meshgate__V1__ReplicaReading *r, int64_t now_ms);
/* Does the set hold what the reading says that was told? Only its last part says so. */
bool attach_set_agrees(const struct attach_set *s, const Meshgate__V1__ReplicaReading *r);
/* A telling begins with `connections`; until its first `syncz` what the one before it knew of the same streams stands, with
 * its old age. */
void attach_set_inherit(struct attach_set *s, struct attach_set *before);
