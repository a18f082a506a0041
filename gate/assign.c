#include "assign.h"

#include <string.h>

#include "../lib/base/text.h"

struct claim {
    int rank; /* shunned 0, elsewhere 1, same zone 2 */
    uint64_t weight;
    const char *node;
};

/* FNV alone leaves its high bits nearly untouched by the last characters, which are what node names differ in. */
static uint64_t mix(uint64_t x) {
    x ^= x >> 33;
    x *= UINT64_C(0xff51afd7ed558ccd);
    x ^= x >> 33;
    x *= UINT64_C(0xc4ceb9fe1a85ec53);
    return x ^ (x >> 33);
}

static struct claim claim_of(const char *replica, const char *zone, const struct assign_agent *a) {
    uint64_t h = mix(text_hash(0, replica, strlen(replica)));
    bool near = zone != NULL && a->zone != NULL && strcmp(zone, a->zone) == 0;
    int rank = a->shunned ? 0 : near ? 2 : 1;
    return (struct claim){.rank = rank, .weight = mix(text_hash(h, a->node, strlen(a->node))), .node = a->node};
}

static bool beats(const struct claim *a, const struct claim *b) {
    if (b->node == NULL || a->rank != b->rank) {
        return b->node == NULL || a->rank > b->rank;
    }
    return a->weight != b->weight ? a->weight > b->weight : strcmp(a->node, b->node) < 0;
}

struct assign_pick assign_choose(const char *replica, const char *zone, const struct assign_agent *agents, size_t n) {
    struct assign_pick pick = {.reader = SIZE_MAX, .standby = SIZE_MAX};
    struct claim first = {.node = NULL}, second = {.node = NULL};
    for (size_t i = 0; i < n; i++) {
        struct claim c = claim_of(replica, zone, &agents[i]);
        if (beats(&c, &first)) {
            second = first;
            pick.standby = pick.reader;
            first = c;
            pick.reader = i;
        } else if (beats(&c, &second)) {
            second = c;
            pick.standby = i;
        }
    }
    return pick;
}
