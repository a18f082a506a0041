/* Both debug answers; the first byte chooses how the rest is cut into pieces. Cutting must not change the outcome. */
#include <stdlib.h>
#include <string.h>

#include "cut.h"
#include "probes/istiod_debug.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_connection(void *ctx, const struct conn_seen *c) {
    *(size_t *)ctx += strlen(c->id) + strlen(c->connection) + strlen(c->address);
}

static void on_sync(void *ctx, const struct sync_seen *s) {
    size_t *sum = ctx;
    *sum += strlen(s->id) + strlen(s->proxy_type) + strlen(s->istio_version) + strlen(s->cluster);
    for (size_t i = 0; i < s->n_types; i++) {
        char version[64];
        istiod_nonce_version(s->types[i].sent, version, sizeof(version));
        *sum += strlen(version) + strlen(s->types[i].acked) + (s->types[i].error != NULL ? strlen(s->types[i].error) : 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) {
        return 0;
    }
    struct piece whole;
    size_t n;
    struct piece *cut = fuzz_cut(data, size, &whole, &n);
    size_t sum[2] = {0, 0};
    struct err err;
    if (istiod_connections(&whole, 1, on_connection, &sum[0], &err) !=
            istiod_connections(cut, n, on_connection, &sum[1], &err) ||
        istiod_syncz(&whole, 1, on_sync, &sum[0], &err) != istiod_syncz(cut, n, on_sync, &sum[1], &err) ||
        sum[0] != sum[1]) {
        abort();
    }
    free(cut);
    return 0;
}
