/*
 * How much of the mesh is proven, and how old the proof is: per cluster, revision, namespace and wave. What is expected
 * comes from the API server alone; whoever is silent lowers what is heard, never what is expected.
 */
#pragma once

#include <jansson.h>

#include "join.h"

/*
 * Adds up the classified rows of the join. {"cluster": ROW, "revisions": [ROW], "namespaces": [ROW], "waves": [ROW]}, where
 * ROW is {name, expected, heard, control_plane, sync, node, oldest_ms}: proxies that count, of them heard of by every
 * witness that the policy of `u` demands; by the control plane, with their sync read, by their node; and the age of the
 * oldest evidence that was counted (null: none). A proxy belongs to the revision that injected it. The caller decref()s.
 */
json_t *coverage(struct join *j, const struct upgrade *u, const char *cluster, int64_t now_ms);
