/*
 * Which istiod replica should be asked for the whole syncz because nodes see that proxies lag: in an idle mesh full answers
 * are rare, and what Envoys have accepted (read at the nodes, for nothing) says when one is due.
 *
 * A proxy lags when its Envoy's config version is older than the newest one on the same replica by more than LAG_MS of push
 * time. That alone proves nothing, because istiod pushes only to those whom a change concerns: it asks, it does not accuse.
 */
#pragma once

#include "join.h"

#define LAG_MS 60000        /* in push time */
#define LAG_PERIOD_MS 10000 /* between two looks */
#define LAG_AGAIN_MS 120000 /* between two audits of a replica */

struct lag;

struct lag *lag_new(void);
void lag_free(struct lag *l);
/*
 * Look at the rows of the join. audit(ctx, uid): this replica is due; it is not named again for LAG_AGAIN_MS, nor as long
 * as no more of its proxies lag than when it was.
 */
void lag_look(struct lag *l, struct join *j, int64_t now_ms, void (*audit)(void *ctx, const char *replica), void *ctx);
