/* Inside of classify: one row under judgement, and what each witness makes of it. */
#pragma once

#include "rules.h"

struct judgement {
    enum proxy_state state;
    enum reason reason;
};

struct case_ {
    const struct policy *policy;
    const struct snapshot *seen;
    const struct proxy_row *p;
    int64_t now_ms;
    bool young;     /* still has time to attach and sync */
    bool watched;   /* its wave is at work */
    bool concerned; /* some wave takes it */
    bool node_seen; /* fresh and believable word of its node */
};

static inline struct judgement judged(enum proxy_state state, enum reason reason) {
    return (struct judgement){state, reason};
}

/*
 * Is it served where it ought to be? home: the revision that injected it. true and *out: it is not, or that is not known;
 * false: a replica of that revision lists it by fresh evidence, and nothing speaks against its sync.
 */
bool judge_place(const struct case_ *c, uint32_t home, struct judgement *out);
/*
 * Does the node contradict what istiod says? synced: there is a fresh reading of its sync to compare with. proof: the
 * node's word is demanded (by the policy), and missing it is a doubt; else only contradictions count.
 */
bool judge_node(const struct case_ *c, bool synced, bool proof, struct judgement *out);
/* Attached and in sync; its pod may still not be ready. */
struct judgement judge_ready(const struct case_ *c, enum proxy_state well);
