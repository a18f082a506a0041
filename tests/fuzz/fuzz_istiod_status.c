/* The protobuf syncz; the first byte chooses how the rest is cut into pieces. Cutting must not change the outcome. */
#include <stdlib.h>
#include <string.h>

#include "cut.h"
#include "probes/istiod_status.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_sync(void *ctx, const struct sync_seen *s) {
    size_t *sum = ctx;
    *sum = *sum * 31 + strlen(s->id) + strlen(s->proxy_type) + strlen(s->istio_version) + strlen(s->cluster);
    for (size_t i = 0; i < s->n_types; i++) {
        const struct type_seen *t = &s->types[i];
        *sum += strlen(t->sent) + strlen(t->acked) + (t->error != NULL ? strlen(t->error) : 0) + (size_t)t->type;
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
    int64_t one = istiod_status(&whole, 1, on_sync, &sum[0], &err);
    if (one != istiod_status(cut, n, on_sync, &sum[1], &err) || sum[0] != sum[1]) {
        abort();
    }
    free(cut);
    return 0;
}
