/* What the control plane and the node say of one proxy. Bad news counts without the other witness; good news does not. */
#include "judge.h"

#define ABSENT_LOOKS 2 /* complete looks in a row that make an absence */

static bool aged(const struct case_ *c, int64_t t) {
    return !fresh(t, c->now_ms, c->policy->evidence_max_age_ms);
}

/* Its Envoy says that it has no control plane. */
static bool cut_off(const struct case_ *c) {
    return c->node_seen && c->p->cut_since_ms != 0 && c->p->cut_since_ms <= c->now_ms;
}

static struct judgement waiting(const struct case_ *c, enum reason reason) {
    return judged(STATE_SYNCING, c->p->trouble != REASON_NONE ? c->p->trouble : reason);
}

static bool is_down(const struct case_ *c, uint32_t home) {
    const struct revision_row *r = is_revision(c->seen, home) ? &c->seen->revisions[home] : NULL;
    return r && (r->ready == 0 || r->answering == 0);
}

/* Its agent is turned away, by a control plane that is there. */
static bool refused(const struct case_ *c, uint32_t home) {
    return cut_off(c) && c->p->refused && !is_down(c, home);
}

/* Nobody has it, beyond every dwell time. */
static struct judgement detached(const struct case_ *c, uint32_t home) {
    if (c->p->trouble != REASON_NONE) {
        return judged(STATE_DETACHED, c->p->trouble);
    }
    return judged(STATE_DETACHED, is_down(c, home) ? REASON_CONTROL_PLANE_DOWN : REASON_NO_STREAM);
}

/* One look that missed a stream which is only being recycled. */
static bool only_recycled(const struct case_ *c) {
    const struct proxy_row *p = c->p;
    const struct policy *policy = c->policy;
    bool connected = c->node_seen ? p->xds_up && p->dials == policy->to && !p->cert_expired : !policy->node_witness;
    return c->concerned && p->expected == policy->to && p->absent_looks < ABSENT_LOOKS && p->ready && connected &&
           fresh(p->moved_at_ms, c->now_ms, policy->evidence_max_age_ms);
}

/* Nobody lists it, and all replicas were asked. */
static struct judgement judge_absent(const struct case_ *c, uint32_t home) {
    const struct proxy_row *p = c->p;
    const struct policy *policy = c->policy;
    if (p->node == IDX_NONE) {
        return waiting(c, REASON_NOT_READY);
    }
    if (only_recycled(c)) {
        return judged(STATE_MOVED, REASON_NONE);
    }
    if (refused(c, home)) {
        return judged(STATE_DETACHED, REASON_CREDENTIALS_REFUSED);
    }
    if (c->young) {
        return waiting(c, REASON_STARTING);
    }
    if (p->absent_looks < ABSENT_LOOKS || within(p->detached_since_ms, c->now_ms, policy->dwell_absent_ms)) {
        return waiting(c, REASON_RECONNECTING);
    }
    bool proof = !c->concerned || p->expected == policy->to;
    if (proof && policy->node_witness && p->node_at_ms == 0 && p->trouble == REASON_NONE) {
        return judged(STATE_UNKNOWN, REASON_NODE_NOT_SEEN);
    }
    return detached(c, home);
}

/* istiods do not say where it is. Its own Envoy may. */
static struct judgement judge_unread(const struct case_ *c, uint32_t home, enum reason why) {
    if (!cut_off(c)) {
        return judged(STATE_UNKNOWN, why);
    }
    if (refused(c, home)) {
        return judged(STATE_DETACHED, REASON_CREDENTIALS_REFUSED);
    }
    if (within(c->p->cut_since_ms, c->now_ms, c->policy->dwell_absent_ms)) {
        return waiting(c, REASON_CONTROL_PLANE_LOST);
    }
    /* One that an istiod has listed is not starting any more, however young. */
    bool starting = c->young && !is_revision(c->seen, c->p->attached);
    return starting ? waiting(c, REASON_STARTING) : detached(c, home);
}

/* An acknowledgement that istiod takes for expired never counts there, although the proxy answers each push: Envoy, which
 * takes pushes in their order, then goes on to later versions while what istiod has for acknowledged stands still. To be
 * ahead of it is not enough: one that stopped answering stays ahead. */
static bool answers_all_the_same(const struct case_ *c) {
    return c->node_seen && within(c->p->accepted_ms, c->now_ms, c->policy->dwell_ack_ms);
}

static struct judgement contradicts(bool young, enum reason meanwhile, enum reason then) {
    return young ? judged(STATE_SYNCING, meanwhile) : judged(STATE_CONFLICT, then);
}

/* Its Envoy has no connection, or does not say; its istiod lists it. */
static struct judgement not_up(const struct case_ *c) {
    bool young = within(c->p->xds_down_since_ms, c->now_ms, c->policy->dwell_conflict_ms);
    struct judgement silent = judged(STATE_UNKNOWN, REASON_VERSION_UNSEEN);
    return young || cut_off(c) ? contradicts(young, REASON_RECONNECTING, REASON_NODE_LOST_XDS) : silent;
}

/* A rejection or an overdue acknowledgement, if fresh evidence says so. */
static bool judge_sync(const struct case_ *c, struct judgement *out) {
    const struct proxy_row *p = c->p;
    if (p->blocked) {
        *out = judged(STATE_STALE, REASON_PROXY_PUSH_BLOCKED);
        return true;
    }
    if (aged(c, p->sync_at_ms)) {
        return false;
    }
    switch (p->sync) {
    case SYNC_ERROR:
        *out = judged(STATE_NACKING, REASON_NACK);
        return true;
    case SYNC_PENDING:
        if (p->pending_since_ms > c->now_ms) {
            *out = judged(STATE_UNKNOWN, REASON_CP_STALE);
            return true;
        }
        if (p->pending_since_ms != 0 && !within(p->pending_since_ms, c->now_ms, c->policy->dwell_ack_ms) &&
            !answers_all_the_same(c)) {
            *out = cut_off(c) ? not_up(c) : judged(STATE_STALE, REASON_ACK_OVERDUE);
            return true;
        }
        return false;
    case SYNC_UNKNOWN:
    case SYNC_SYNCED:
        return false;
    }
    return false;
}

bool judge_place(const struct case_ *c, uint32_t home, struct judgement *out) {
    const struct proxy_row *p = c->p;
    bool failing = p->replica < c->seen->n_replicas && c->seen->replicas[p->replica].failing;
    if (aged(c, p->attached_at_ms)) {
        *out = judge_unread(c, home, REASON_CP_STALE);
    } else if (p->attached == REV_NONE) {
        *out = judge_absent(c, home);
    } else if (!is_revision(c->seen, p->attached)) {
        *out = judge_unread(c, home, REASON_CP_STALE);
    } else if (p->attached != home) {
        *out = judged(STATE_MISPLACED, REASON_WRONG_CONTROL_PLANE);
    } else if (failing) {
        *out = judge_unread(c, home, REASON_REPLICA_SILENT);
    } else {
        return judge_sync(c, out);
    }
    return true;
}

static struct judgement node_missing(const struct case_ *c) {
    const struct proxy_row *p = c->p;
    const struct node_row *n = p->node < c->seen->n_nodes ? &c->seen->nodes[p->node] : NULL;
    if (n && n->disbelieved) {
        return judged(STATE_UNKNOWN, REASON_NODE_DISBELIEVED);
    }
    if (c->young) {
        return waiting(c, REASON_STARTING);
    }
    if (n && n->agent && !n->witness) {
        return judged(STATE_UNKNOWN, REASON_NODE_NO_WITNESS);
    }
    if (n && !n->agent && n->heard_ms == 0) {
        return judged(STATE_UNKNOWN, REASON_NODE_NO_AGENT);
    }
    return judged(STATE_UNKNOWN, p->node_at_ms == 0 ? REASON_NODE_NOT_SEEN : REASON_NODE_STALE);
}

/* Sync as Envoy has it. true: it contradicts, or its word is demanded and missing. */
static bool judge_version(const struct case_ *c, bool demanded, struct judgement *out) {
    const struct proxy_row *p = c->p;
    switch (p->version) {
    case VERSION_MATCHES:
    case VERSION_AHEAD:
        return false;
    case VERSION_DIFFERS:
        *out = judged(STATE_CONFLICT, REASON_VERSION_DISAGREES);
        return !within(p->version_differs_since_ms, c->now_ms, c->policy->dwell_conflict_ms);
    case VERSION_UNKNOWN:
        break;
    }
    *out = c->young ? waiting(c, REASON_STARTING) : judged(STATE_UNKNOWN, REASON_VERSION_UNSEEN);
    return demanded;
}

bool judge_node(const struct case_ *c, bool synced, bool proof, struct judgement *out) {
    const struct proxy_row *p = c->p;
    const struct policy *policy = c->policy;
    bool demanded = policy->node_witness && proof;
    if (!c->node_seen) {
        *out = node_missing(c);
        return demanded;
    }
    if (p->cert_expired) {
        *out = judged(STATE_CONFLICT, REASON_CERT_EXPIRED);
        return true;
    }
    if (p->dials != p->attached && (policy->node_witness || p->dials != REV_UNKNOWN)) {
        *out = contradicts(within(p->dials_differ_since_ms, c->now_ms, policy->dwell_conflict_ms), REASON_STARTING,
                           REASON_DIAL_DISAGREES);
        return true;
    }
    if (p->no_envoy) {
        return false;
    }
    if (!p->xds_up) {
        *out = not_up(c);
        return cut_off(c) || demanded;
    }
    /* Without a fresh reading of its sync there is nothing to compare with. */
    return judge_version(c, demanded && synced, out);
}

struct judgement judge_ready(const struct case_ *c, enum proxy_state well) {
    return c->p->ready ? judged(well, REASON_NONE) : waiting(c, REASON_NOT_READY);
}
