#include "lag.h"

#include <stdlib.h>
#include <string.h>

#include "../lib/base/mem.h"
#include "push_version.h"
#include "uthash.h"

struct replica_lag {
    char *uid;
    uint32_t lagging; /* when it was named last; 0 never */
    int64_t named_ms;
    uint64_t look;
    UT_hash_handle hh;
};

struct lag {
    struct replica_lag *replicas;
    uint64_t look;
    int64_t looked_ms;
};

/* Of one look, by the replica's index in the join. */
struct count {
    int64_t newest_ms;
    uint32_t lagging;
};

struct lag *lag_new(void) {
    return mem_alloc(sizeof(struct lag));
}

static void forget(struct lag *l, bool all) {
    struct replica_lag *r, *next;
    HASH_ITER(hh, l->replicas, r, next) {
        if (all || r->look != l->look) {
            HASH_DEL(l->replicas, r);
            free(r->uid);
            free(r);
        }
    }
}

void lag_free(struct lag *l) {
    if (l) {
        forget(l, true);
        free(l);
    }
}

/* Push time that its Envoy has accepted; 0: it does not say. */
static int64_t accepted_ms(const struct join *j, uint32_t i) {
    const struct local_fact *f = join_names(j)->local[i];
    struct push_version v;
    return f && f->stats_ok && f->cds_version && push_version_read(f->cds_version, &v) ? v.at_ms : 0;
}

static void count(struct join *j, struct count *counts) {
    const struct snapshot *seen = join_snapshot(j);
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < seen->n_proxies; i++) {
            uint32_t replica = seen->proxies[i].replica;
            int64_t at = replica < seen->n_replicas ? accepted_ms(j, i) : 0;
            if (at != 0 && round == 0 && at > counts[replica].newest_ms) {
                counts[replica].newest_ms = at;
            } else if (at != 0 && round == 1 && at < counts[replica].newest_ms - LAG_MS) {
                counts[replica].lagging++;
            }
        }
    }
}

static struct replica_lag *replica_of(struct lag *l, const char *uid) {
    struct replica_lag *r;
    HASH_FIND_STR(l->replicas, uid, r);
    if (!r) {
        r = mem_alloc(sizeof *r);
        r->uid = mem_dup(uid);
        HASH_ADD_KEYPTR(hh, l->replicas, r->uid, strlen(r->uid), r);
    }
    r->look = l->look;
    return r;
}

void lag_look(struct lag *l, struct join *j, int64_t now_ms, void (*audit)(void *ctx, const char *replica), void *ctx) {
    if (l->look > 0 && now_ms < l->looked_ms + LAG_PERIOD_MS) {
        return;
    }
    l->looked_ms = now_ms;
    l->look++;
    uint32_t n = join_snapshot(j)->n_replicas;
    struct count *counts = mem_alloc((n + 1) * sizeof *counts);
    count(j, counts);
    for (uint32_t i = 0; i < n; i++) {
        struct replica_lag *r = replica_of(l, join_names(j)->replicas[i]->uid);
        bool soon = r->lagging > 0 && now_ms < r->named_ms + LAG_AGAIN_MS;
        if (counts[i].lagging > r->lagging && !soon) {
            r->lagging = counts[i].lagging;
            r->named_ms = now_ms;
            audit(ctx, r->uid);
        } else if (counts[i].lagging < r->lagging && !soon) {
            r->lagging = counts[i].lagging;
        }
    }
    free(counts);
    forget(l, false);
}
