/*
 * Digests of what an agent has told: the XOR of the hashes of all entries that stand, on both ends. A hash covers the
 * fields that are state; ages and times to come (pending_ms, first_seen_ms, cert_expiry_s) differ from reading to reading
 * and are left out. Not for security: both ends are ours.
 */
#pragma once

#include "meshgate.pb-c.h"

/* Never 0: 0 stands for an entry that was not told. */
uint64_t wire_proxy_hash(const Meshgate__V1__ProxyOnReplica *p);
uint64_t wire_local_hash(const Meshgate__V1__LocalProxy *p);

/* One end's account. */
struct wire_digest {
    uint64_t sum;
    uint32_t entries;
};

/* The entry's hash was `before` (0: it was not there) and is `after` now (0: it is gone). */
void wire_digest_change(struct wire_digest *d, uint64_t before, uint64_t after);
