#include "digest.h"

#include <string.h>

#include "../base/text.h"

/* With its end, so that text cannot move from one field to the next unseen. */
static uint64_t add_text(uint64_t h, const char *s) {
    return text_hash(h, s, strlen(s) + 1);
}

/* The bytes of the number in one order, whatever the machine's is. */
static uint64_t add_number(uint64_t h, uint64_t v) {
    uint8_t b[8];
    for (int i = 0; i < 8; i++) {
        b[i] = (uint8_t)(v >> (8 * i));
    }
    return text_hash(h, b, sizeof b);
}

/* FNV's high bits depend little on the last bytes; under XOR that would let changes cancel out. */
static uint64_t finish(uint64_t h) {
    h ^= h >> 33;
    h *= UINT64_C(0xff51afd7ed558ccd);
    h ^= h >> 33;
    h *= UINT64_C(0xc4ceb9fe1a85ec53);
    h ^= h >> 33;
    return h != 0 ? h : 1;
}

uint64_t wire_proxy_hash(const Meshgate__V1__ProxyOnReplica *p) {
    uint64_t h = add_text(1, p->id);
    h = add_text(h, p->connection);
    h = add_number(h, (uint64_t)p->connected_at_ms);
    h = add_text(h, p->address);
    h = add_number(h, (uint64_t)p->sync);
    h = add_text(h, p->error);
    h = add_text(h, p->error_type);
    h = add_text(h, p->cds_acked);
    h = add_text(h, p->lds_acked);
    h = add_text(h, p->istio_version);
    h = add_text(h, p->proxy_type);
    h = add_number(h, p->copies);
    return finish(add_text(h, p->types));
}

uint64_t wire_local_hash(const Meshgate__V1__LocalProxy *p) {
    uint64_t h = add_text(2, p->pod_uid);
    h = add_text(h, p->pod_ip);
    h = add_text(h, p->dials);
    h = add_number(h, p->connections);
    h = add_number(h, p->stats_ok);
    h = add_text(h, p->cds_version);
    h = add_text(h, p->lds_version);
    h = add_number(h, p->xds_connections);
    h = add_number(h, p->cds_rejected);
    h = add_number(h, p->lds_rejected);
    h = add_number(h, p->ready);
    h = add_text(h, p->build);
    h = add_text(h, p->program);
    h = add_number(h, p->xds_failures);
    return finish(add_number(h, p->csr_failures));
}

void wire_digest_change(struct wire_digest *d, uint64_t before, uint64_t after) {
    d->sum ^= before ^ after;
    d->entries += (after != 0) - (before != 0);
}
