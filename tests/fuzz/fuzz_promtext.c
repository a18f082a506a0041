/* Metrics of istiods and of proxies, with their labels. */
#include <string.h>

#include "probes/promtext.h"
#include "probes/proxy_stats.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_sample(void *ctx, const struct prom_sample *s) {
    char value[32];
    size_t *sum = ctx;
    *sum += strlen(s->name) + strlen(s->labels) + prom_label(s->labels, "type", value, sizeof(value));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    size_t sum = 0;
    struct err err;
    struct proxy_seen p;
    prom_parse((const char *)data, size, on_sample, &sum, &err);
    proxy_stats_read((const char *)data, size, &p, &err);
    return 0;
}
