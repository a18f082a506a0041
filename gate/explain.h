/*
 * Why a proxy is in its state: every witness's evidence with its age, the rule that decided, cause, whose it is, remedy.
 * Pure; the rule is put together from the same row that the state was made from.
 */
#pragma once

#include <jansson.h>

#include "join.h"

/* Row of a pod; IDX_NONE: none. */
uint32_t explain_find(const struct join_names *n, const struct snapshot *seen, const char *namespace_, const char *pod);
/* Row i, as policy and now_ms made classify() judge it. The caller decref()s. */
json_t *explain_proxy(const struct join_names *n, const struct policy *policy, const struct snapshot *seen, uint32_t i,
                      int64_t now_ms);
