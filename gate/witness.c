#include "witness.h"

#include <string.h>

#include "../core/decide.h"
#include "../lib/base/text.h"
#include "row_text.h"

enum { AGE_TEXT = 32 };

const char *witness_name(enum witness w) {
    switch (w) {
    case WITNESS_NONE:
        return "none";
    case WITNESS_INTENT:
        return "intent";
    case WITNESS_CONTROL_PLANE:
        return "control_plane";
    case WITNESS_NODE:
        return "node";
    case WITNESS_ALL:
        return "all";
    }
    return "none";
}

/* --- who decided --- */

static bool listed(const struct snapshot *seen, const struct proxy_row *p) {
    return p->attached < seen->n_revisions;
}

static bool node_is_content(const struct proxy_row *p, const struct hearing *h) {
    bool connected = p->dials == p->attached && (p->xds_up || p->no_envoy) && !p->cert_expired;
    bool version = p->no_envoy || p->version == VERSION_MATCHES || p->version == VERSION_AHEAD;
    return h->node && connected && version;
}

/* Still on its way: whoever has not said yet that it is there. */
static enum witness whoever_waits(const struct snapshot *seen, const struct proxy_row *p, const struct hearing *h) {
    uint32_t wave = p->ns < seen->n_namespaces ? seen->namespaces[p->ns].wave : IDX_NONE;
    bool watched = wave != IDX_NONE && wave == seen->progress.wave;
    if (!listed(seen, p) || (watched && !h->sync) || node_is_content(p, h)) {
        return WITNESS_CONTROL_PLANE;
    }
    return WITNESS_NODE;
}

/* Nobody has it: the replicas may have said so, or, when they are silent, its own Envoy. */
static enum witness whoever_misses_it(const struct proxy_row *p) {
    return p->attached == REV_NONE ? WITNESS_CONTROL_PLANE : WITNESS_NODE;
}

/* Zero is no answer: a unit test finds a reason that is missing here. */
enum decider {
    BY_NOBODY,
    BY_INTENT,
    BY_POD, /* the pod itself, as the API server has it: looked at when the others have been heard */
    BY_CONTROL_PLANE,
    BY_NODE,
    BY_ALL,      /* nothing is wrong */
    BY_WAITER,   /* whoever_waits() */
    BY_MISSER,   /* whoever_misses_it() */
    BY_LOSER,    /* istiod when it does not list it, else its Envoy */
    OF_NO_PROXY, /* of an upgrade, a revision, a node: no proxy has it */
};

static const enum decider DECIDERS[REASON_COUNT] = {
    [REASON_NONE] = BY_ALL,
    [REASON_WAVE_NOT_BEGUN] = BY_ALL,
    [REASON_OLD_BUILD] = BY_ALL,
    [REASON_CUSTOM_IMAGE] = BY_ALL,
    [REASON_POD_LABEL_IGNORED] = BY_ALL,
    [REASON_NO_LONGER_INJECTED] = BY_ALL,
    [REASON_STARTING] = BY_WAITER,
    [REASON_RECONNECTING] = BY_LOSER,
    [REASON_NO_STREAM] = BY_MISSER,
    [REASON_CONTROL_PLANE_DOWN] = BY_MISSER,
    [REASON_CP_STALE] = BY_CONTROL_PLANE,
    [REASON_REPLICA_SILENT] = BY_CONTROL_PLANE,
    [REASON_NACK] = BY_CONTROL_PLANE,
    [REASON_ACK_OVERDUE] = BY_CONTROL_PLANE,
    [REASON_PROXY_PUSH_BLOCKED] = BY_CONTROL_PLANE,
    [REASON_WRONG_CONTROL_PLANE] = BY_CONTROL_PLANE,
    [REASON_CONTROL_PLANE_LOST] = BY_NODE,
    [REASON_CREDENTIALS_REFUSED] = BY_NODE,
    [REASON_NODE_NO_AGENT] = BY_NODE,
    [REASON_NODE_NO_WITNESS] = BY_NODE,
    [REASON_NODE_DISBELIEVED] = BY_NODE,
    [REASON_NODE_STALE] = BY_NODE,
    [REASON_NODE_NOT_SEEN] = BY_NODE,
    [REASON_VERSION_UNSEEN] = BY_NODE,
    [REASON_VERSION_DISAGREES] = BY_NODE,
    [REASON_DIAL_DISAGREES] = BY_NODE,
    [REASON_CERT_EXPIRED] = BY_NODE,
    [REASON_NODE_LOST_XDS] = BY_NODE,
    [REASON_LEFTOVER_LABEL] = BY_INTENT,
    [REASON_NS_RELABEL_LOST] = BY_INTENT,
    [REASON_RELABEL_PENDING] = BY_INTENT,
    [REASON_BARE_POD] = BY_INTENT,
    [REASON_JOB] = BY_INTENT,
    [REASON_REPLICASET] = BY_INTENT,
    [REASON_ROLLOUT] = BY_INTENT,
    [REASON_GATEWAY] = BY_INTENT,
    [REASON_OTHER_OWNER] = BY_INTENT,
    [REASON_WORKLOAD_PAUSED] = BY_INTENT,
    [REASON_ON_DELETE] = BY_INTENT,
    [REASON_FAILED_CREATE] = BY_INTENT,
    [REASON_QUOTA_EXCEEDED] = BY_INTENT,
    [REASON_INJECTOR_AWAY] = BY_INTENT,
    [REASON_ADMISSION_DENIED] = BY_INTENT,
    [REASON_ROLLOUT_OVERDUE] = BY_INTENT,
    [REASON_RESTARTING] = BY_INTENT,
    [REASON_POD_LABEL_WINS] = BY_INTENT,
    [REASON_RESTART_DUE] = BY_INTENT,
    [REASON_RESTART_WITHOUT_EFFECT] = BY_INTENT,
    [REASON_RESTART_NEEDED] = BY_INTENT,
    [REASON_NOT_READY] = BY_POD,
    [REASON_IMAGE_PULL] = BY_POD,
    [REASON_CRASH_LOOP] = BY_POD,
    [REASON_CONFIG_MISSING] = BY_POD,
    [REASON_UNSCHEDULABLE] = BY_POD,
    [REASON_EXPECTED_UNKNOWN] = BY_INTENT,
    [REASON_TWO_INJECTORS] = BY_INTENT,
    [REASON_NO_SIDECAR] = BY_INTENT,
    [REASON_NO_INJECTOR_MATCHES] = BY_INTENT,
    [REASON_NOT_INSTALLED] = BY_INTENT,
    [REASON_HOST_NETWORK] = BY_INTENT,
    [REASON_OPTED_OUT] = BY_INTENT,
    [REASON_REVISION_GONE] = BY_INTENT,
    [REASON_PAUSED_BY_REQUEST] = OF_NO_PROXY,
    [REASON_PAUSED_BY_SIGNAL] = OF_NO_PROXY,
    [REASON_UPGRADE_IN_PROGRESS] = OF_NO_PROXY,
    [REASON_SPEC_INVALID] = OF_NO_PROXY,
    [REASON_AWAITING_APPROVAL] = OF_NO_PROXY,
    [REASON_SOAKING] = OF_NO_PROXY,
    [REASON_PROOF_DUE] = OF_NO_PROXY,
    [REASON_FROM_NOT_INSTALLED] = OF_NO_PROXY,
    [REASON_TO_NOT_INSTALLED] = OF_NO_PROXY,
    [REASON_SAME_REVISION] = OF_NO_PROXY,
    [REASON_NO_INJECTOR] = OF_NO_PROXY,
    [REASON_NO_READY_REPLICA] = OF_NO_PROXY,
    [REASON_UPGRADED_IN_PLACE] = OF_NO_PROXY,
    [REASON_REPLICA_UNREAD] = OF_NO_PROXY,
    [REASON_PUSH_BLOCKED] = OF_NO_PROXY,
    [REASON_INVENTORY_STALE] = OF_NO_PROXY,
    [REASON_NO_WAVES] = OF_NO_PROXY,
    [REASON_EMPTY_WAVE] = OF_NO_PROXY,
    [REASON_NODE_SILENT] = OF_NO_PROXY,
    [REASON_NODE_UNREACHABLE_XDS] = OF_NO_PROXY,
    [REASON_NODE_REACH_UNTESTED] = OF_NO_PROXY,
    [REASON_NS_TERMINATING] = OF_NO_PROXY,
    [REASON_FELL_BACK] = OF_NO_PROXY,
    [REASON_TROUBLE_BEFORE_MOVE] = OF_NO_PROXY,
    [REASON_BAD_TOLERATED] = OF_NO_PROXY,
    [REASON_UNHEARD_TOLERATED] = OF_NO_PROXY,
};

static enum witness of_reason(const struct snapshot *seen, const struct proxy_row *p, const struct hearing *h) {
    switch ((unsigned)p->reason < REASON_COUNT ? DECIDERS[p->reason] : BY_NOBODY) {
    case BY_INTENT:
    case BY_POD:
        return WITNESS_INTENT;
    case BY_CONTROL_PLANE:
        return WITNESS_CONTROL_PLANE;
    case BY_NODE:
        return WITNESS_NODE;
    case BY_ALL:
        return WITNESS_ALL;
    case BY_WAITER:
        return whoever_waits(seen, p, h);
    case BY_MISSER:
        return whoever_misses_it(p);
    case BY_LOSER:
        return listed(seen, p) ? WITNESS_NODE : WITNESS_CONTROL_PLANE;
    case BY_NOBODY:
    case OF_NO_PROXY:
        break;
    }
    return WITNESS_NONE;
}

bool witness_knows(enum reason r) {
    return (unsigned)r < REASON_COUNT && DECIDERS[r] != BY_NOBODY;
}

bool witness_pod_decided(const struct proxy_row *p) {
    return (unsigned)p->reason < REASON_COUNT && DECIDERS[p->reason] == BY_POD;
}

enum witness witness_decided(const struct policy *policy, const struct snapshot *seen, const struct proxy_row *p,
                             int64_t now_ms) {
    struct hearing h = proxy_hearing(policy, seen, p, now_ms);
    return proxy_counts(p) || p->reason != REASON_NONE ? of_reason(seen, p, &h) : WITNESS_NONE;
}

/* --- intent --- */

static const char *uncounted(const struct proxy_row *p) {
    return p->finished    ? "the pod has finished and counts for nothing"
           : p->deleting  ? "the pod is being deleted and counts for nothing"
           : p->opted_out ? "a label or annotation keeps the sidecar out: the pod counts for nothing"
                          : NULL;
}

void witness_intent_says(const struct join_names *n, const struct snapshot *seen, uint32_t i, struct buf *out) {
    const struct proxy_row *p = &seen->proxies[i];
    const char *expected = row_revision(n, seen, p->expected), *injected = row_revision(n, seen, p->injected);
    if (uncounted(p)) {
        buf_str(out, uncounted(p));
    } else if (p->dangling) {
        buf_str(out, "the labels name a revision or tag that is not installed");
    } else if (p->expected == REV_CONFLICT) {
        buf_str(out, "the injectors of several control planes match this pod");
    } else if (p->expected == REV_NONE) {
        buf_str(out, "no injector matches this pod");
        if (p->injected != REV_NONE) {
            buf_printf(out, ", but it has a sidecar of %s", injected);
        }
    } else if (p->expected == REV_FOREIGN) {
        buf_str(out, "this pod's injector belongs to a revision that is not installed");
    } else if (p->expected >= seen->n_revisions) {
        buf_str(out, "it cannot be said which injector matches this pod");
    } else if (p->injected == REV_NONE) {
        buf_printf(out, "%s would inject this pod, but it has no sidecar", expected);
    } else if (p->injected == REV_FOREIGN) {
        buf_printf(out, "%s would inject this pod now, but its sidecar is of a revision that is not installed", expected);
    } else if (p->injected >= seen->n_revisions) {
        buf_printf(out, "%s would inject this pod now, but its sidecar does not say who injected it", expected);
    } else if (p->injected != p->expected) {
        buf_printf(out, "%s would inject this pod now, but %s did", expected, injected);
    } else {
        buf_printf(out, "expected on and injected by %s", injected);
    }
    if (!p->ready && !uncounted(p)) {
        const char *text = n->pods[i]->trouble_text;
        const char *why = text ? text : p->trouble != REASON_NONE ? reason_sentence(p->trouble) : NULL;
        buf_printf(out, ", and the pod is not ready%s%s", why ? ": " : "", why ? why : "");
    }
}

/* --- control plane --- */

static void add_since(struct buf *out, const char *before, int64_t at_ms, int64_t now_ms) {
    char age[AGE_TEXT];
    if (at_ms != 0 && at_ms <= now_ms) {
        text_age(now_ms - at_ms, age, sizeof age);
        buf_printf(out, "%s%s", before, age);
    }
}

static void add_sync(const struct proxy_row *p, const struct attach_fact *a, int64_t now_ms, struct buf *out) {
    switch (p->sync) {
    case SYNC_UNKNOWN:
        buf_str(out, ", but its sync has not been read");
        return;
    case SYNC_PENDING:
        buf_str(out, ", but an update is not acknowledged");
        add_since(out, " since ", p->pending_since_ms, now_ms);
        return;
    case SYNC_ERROR:
        buf_printf(out, ", but it rejected %s: %s", a && a->error_type && a->error_type[0] ? a->error_type : "an update",
                   a && a->error && a->error[0] ? a->error : "without a text");
        return;
    case SYNC_SYNCED:
        buf_str(out, ", in sync");
        return;
    }
}

static void add_absence(const struct proxy_row *p, int64_t now_ms, struct buf *out) {
    buf_str(out, "no istiod replica lists it");
    if (p->absent_looks > 0) {
        buf_printf(out, " in %u complete look%s", p->absent_looks, p->absent_looks == 1 ? "" : "s");
        add_since(out, ", for ", p->detached_since_ms, now_ms);
    }
}

void witness_control_plane_says(const struct join_names *n, const struct snapshot *seen, uint32_t i, int64_t now_ms,
                                struct buf *out) {
    const struct proxy_row *p = &seen->proxies[i];
    if (p->attached == REV_NONE) {
        add_absence(p, now_ms, out);
    } else if (p->attached >= seen->n_revisions || p->replica >= seen->n_replicas) {
        buf_str(out, "no replica that has answered lists it, and not every replica has answered");
    } else {
        buf_printf(out, "%s of %s lists it", n->replicas[p->replica]->name, row_revision(n, seen, p->attached));
        add_since(out, " (read ", p->attached_at_ms, now_ms);
        buf_str(out, p->attached_at_ms != 0 && p->attached_at_ms <= now_ms ? " ago)" : " (at an unknown time)");
        if (p->attached != p->injected && p->injected < seen->n_revisions) {
            buf_printf(out, ", but %s injected it", row_revision(n, seen, p->injected));
            return;
        }
        if (seen->replicas[p->replica].failing) {
            buf_str(out, ", but it does not answer any more");
        } else if (p->blocked) {
            buf_str(out, ", but holds a lock on it: no push reaches it");
        } else {
            add_sync(p, n->attached[i], now_ms, out);
        }
    }
}

/* --- node --- */

static void no_word(const struct join_names *n, const struct snapshot *seen, const struct proxy_row *p, struct buf *out) {
    if (p->node >= seen->n_nodes) {
        buf_str(out, "the pod is not bound to a node yet");
        return;
    }
    const struct node_row *node = &seen->nodes[p->node];
    const char *name = n->nodes[p->node];
    if (node->disbelieved) {
        buf_printf(out, "the agent on %s speaks of pods that are not there and is not believed", name);
    } else if (!node->agent) {
        buf_printf(out, "no agent is heard from %s", name);
    } else if (!node->witness) {
        buf_printf(out, "the agent on %s cannot read its proxies", name);
    } else {
        buf_printf(out, "the agent on %s sees no proxy of this pod", name);
    }
}

static const char *dialled_text(uint32_t dials) {
    return dials == REV_NONE ? "no control plane" : dials == REV_UNKNOWN ? "an address that no revision has" : NULL;
}

static void versions(const struct local_fact *l, const struct attach_fact *a, struct buf *out) {
    const char *has = l && l->cds_version && l->cds_version[0] ? l->cds_version : "?";
    const char *said = a && a->cds_acked && a->cds_acked[0] ? a->cds_acked : "?";
    bool lds = strcmp(has, said) == 0;
    if (lds) {
        has = l->lds_version ? l->lds_version : "?";
        said = a->lds_acked ? a->lds_acked : "?";
    }
    buf_printf(out, "Envoy runs %s version %s, but its istiod says that %s was acknowledged", lds ? "LDS" : "CDS", has,
               said);
}

static void connected(const struct proxy_row *p, const struct local_fact *l, const struct attach_fact *a, const char *dials,
                      struct buf *out) {
    switch (p->no_envoy ? VERSION_MATCHES : p->version) {
    case VERSION_DIFFERS:
        versions(l, a, out);
        return;
    case VERSION_UNKNOWN:
        buf_printf(out, "Envoy is connected to %s; which config version it has cannot be compared", dials);
        return;
    case VERSION_AHEAD:
        buf_printf(out, "Envoy is connected to %s and has accepted a later push than was acknowledged", dials);
        return;
    case VERSION_MATCHES:
        buf_printf(out,
                   p->no_envoy ? "its process is connected to %s"
                               : "Envoy is connected to %s and runs the config version that was acknowledged",
                   dials);
        return;
    }
}

void witness_node_says(const struct join_names *n, const struct snapshot *seen, uint32_t i, int64_t now_ms,
                       struct buf *out) {
    const struct proxy_row *p = &seen->proxies[i];
    const char *dials = dialled_text(p->dials) ? dialled_text(p->dials) : row_revision(n, seen, p->dials);
    bool disbelieved = p->node < seen->n_nodes && seen->nodes[p->node].disbelieved;
    if (p->node_at_ms == 0 || !n->local[i] || disbelieved) {
        no_word(n, seen, p, out);
        return;
    }
    if (p->cert_expired) {
        buf_str(out, "the proxy's certificate has expired");
    } else if (p->refused && p->cut_since_ms != 0) {
        buf_str(out, "the proxy has no control plane: it is turned away (token, certificate request or root)");
    } else if (p->dials != p->attached && p->attached < seen->n_revisions) {
        buf_printf(out, "the proxy's process dials %s", dials);
    } else if (!p->xds_up && !p->no_envoy) {
        buf_str(out, n->local[i]->stats_ok ? "Envoy has no connection to its control plane"
                                           : "whether Envoy is connected is not known: its statistics cannot be read");
        add_since(out, ", for ", p->cut_since_ms, now_ms);
    } else {
        connected(p, n->local[i], n->attached[i], dials, out);
    }
    if (p->node_at_ms <= now_ms) {
        add_since(out, " (seen ", p->node_at_ms, now_ms);
        buf_str(out, " ago)");
    }
}
