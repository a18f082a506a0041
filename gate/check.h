/*
 * The pre-flight of what is seen: is everything there that a verdict about this mesh needs, and is the mesh well? Pure:
 * only looks at what inventory, evidence and the latest join hold. Missing evidence is "unknown", never "ok".
 */
#pragma once

#include <jansson.h>

#include "join.h"

struct check_input {
    const struct inventory *inv;
    const struct evidence *evidence;
    const struct join_names *names;
    const struct snapshot *seen;
    const json_t *coverage;   /* as /api/v1/coverage gives it; NULL: not known */
    const char *agent_daemon; /* how a person looks at the agents: "kubectl -n NS get ds NAME" */
    int64_t now_ms, max_age_ms;
};

/* {"sections":[{"name","checks":[{"name","result":"ok|warn|fail|unknown","text","hint"}]}]}; the caller decref()s. */
json_t *check_view(const struct check_input *in);
