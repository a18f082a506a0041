/*
 * What each of the three witnesses says of one proxy, in one sentence: the first thing, in the order in which core/classify
 * looks, that is not as it should be, or that all is well. Pure functions of the row and its names, so the sentence can't
 * speak of other evidence than the state was made from.
 */
#pragma once

#include "join.h"

enum witness {
    WITNESS_NONE, /* the row does not count */
    WITNESS_INTENT,
    WITNESS_CONTROL_PLANE,
    WITNESS_NODE,
    WITNESS_ALL, /* nothing is wrong */
};

/* "intent", "control_plane", "node", "all", "none" */
const char *witness_name(enum witness w);
/* Whose word made the row's state and reason what they are; policy and now_ms: those of classify(). */
enum witness witness_decided(const struct policy *policy, const struct snapshot *seen, const struct proxy_row *p,
                             int64_t now_ms);
/* Was it the pod itself, as the API server has it, when the other witnesses had been heard already? */
bool witness_pod_decided(const struct proxy_row *p);
/* Is it laid down whose word a reason is, or that no proxy has it? For the test that none is forgotten. */
bool witness_knows(enum reason r);

void witness_intent_says(const struct join_names *n, const struct snapshot *seen, uint32_t i, struct buf *out);
void witness_control_plane_says(const struct join_names *n, const struct snapshot *seen, uint32_t i, int64_t now_ms,
                                struct buf *out);
void witness_node_says(const struct join_names *n, const struct snapshot *seen, uint32_t i, int64_t now_ms,
                       struct buf *out);
