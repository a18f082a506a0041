/*
 * The shared vocabulary: plain values, no functions, nothing of ours included.
 *
 * Everything that the decision looks at is in here as rows of numbers. Names live with the gate, by the same index.
 * Times are milliseconds of the monotonic clock of the process that holds the row; 0 means "never".
 * Zero is always the least permissive value.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Index of a row in a table of the snapshot. */
#define IDX_NONE UINT32_MAX

/* Values of a revision field that are not an index into snapshot.revisions. */
#define REV_UNKNOWN UINT32_MAX        /* cannot be said (a selector form that we do not evaluate, no evidence) */
#define REV_NONE (UINT32_MAX - 1)     /* no control plane: not injected, not attached */
#define REV_CONFLICT (UINT32_MAX - 2) /* two injectors match */
#define REV_FOREIGN (UINT32_MAX - 3)  /* a revision that is not installed */

enum proxy_state {
#define X(name, ...) STATE_##name,
#include "states.def"
#undef X
    STATE_COUNT
};

enum reason {
#define X(name, ...) REASON_##name,
#include "reasons.def"
#undef X
    REASON_COUNT
};

/* How much a reason weighs. The verdict of a wave is the heaviest of its reasons. */
enum severity {
    SEV_UNKNOWN, /* evidence is missing or contradicts itself: hold, go on by itself when it is back */
    SEV_WAIT,    /* something must happen first (by itself or by a person): hold, go on by itself */
    SEV_FAIL,    /* a bad signal: pause until a person resumes */
    SEV_NOTE,    /* worth telling, holds nothing */
};

/* Who can do something about a reason. */
enum whose {
    WHOSE_NOBODY,    /* it passes by itself */
    WHOSE_OPERATOR,  /* who runs the upgrade */
    WHOSE_PLATFORM,  /* who runs the control planes */
    WHOSE_NODE,      /* who runs the node and the agent on it */
    WHOSE_NAMESPACE, /* who writes the namespace's labels */
    WHOSE_OWNER,     /* the top owner of the pod: Deployment, Rollout, Gateway, Job ... */
};

enum verdict { VERDICT_UNKNOWN, VERDICT_WAIT, VERDICT_FAIL, VERDICT_PASS };

/* Where an upgrade is. HOLD is the zero value: nothing may be written. */
enum phase {
    PHASE_HOLD, /* not allowed to act: doubt, or a spec that cannot be followed */
    PHASE_AWAITING_APPROVAL,
    PHASE_MOVING,
    PHASE_SOAKING,
    PHASE_PAUSED, /* by request or by a bad signal */
    PHASE_COMPLETED,
};

enum workload_kind {
    KIND_UNKNOWN,
    KIND_DEPLOYMENT,
    KIND_STATEFULSET,
    KIND_DAEMONSET,
    KIND_REPLICASET, /* without a Deployment above it */
    KIND_JOB,        /* without a CronJob above it */
    KIND_CRONJOB,
    KIND_ROLLOUT,
    KIND_GATEWAY, /* Deployment that an istiod makes of a Gateway (Gateway API) */
    KIND_BARE_POD,
    KIND_OTHER,
};

/* Sync of one proxy as its istiod tells it, the worst of its types. */
enum sync_state {
    SYNC_UNKNOWN, /* not read yet */
    SYNC_PENDING, /* sent differs from acked on at least one type */
    SYNC_ERROR,   /* rejected (NACK) */
    SYNC_SYNCED,  /* acked equals sent on every type for which something was sent */
};

/* Does the config version that Envoy accepted equal the one that its istiod says was acknowledged? */
enum version_match {
    VERSION_UNKNOWN, /* one of the two ends did not say */
    VERSION_DIFFERS, /* Envoy is behind what was acknowledged, or the two cannot be compared */
    VERSION_MATCHES,
    VERSION_AHEAD, /* Envoy has accepted a later push than was acknowledged when istiod was read */
};

struct revision_row {
    bool installed;    /* a Service and at least one EndpointSlice address exist */
    bool has_injector; /* a MutatingWebhookConfiguration of this revision, with endpoints behind it */
    uint32_t replicas; /* addresses in its EndpointSlices */
    uint32_t ready;    /* of them ready */

    /* written by classify */
    uint32_t answering;  /* of them answered their reader's latest question, and lately */
    uint32_t old_builds; /* proxies attached to it that were built for another version */
};

/* One istiod process. */
struct replica_row {
    uint32_t revision;
    bool ready;          /* EndpointSlice condition */
    bool assigned;       /* a live agent reads it */
    int64_t answered_ms; /* when the last complete reading was true (its age is already taken off) */
    bool failing;        /* the latest question about its connections had no usable answer */
    bool push_blocked;   /* connections answered, JSON syncz did not (istiod-facts: lock hazard) */
};

struct node_row {
    bool agent;       /* an authenticated agent session is open */
    bool witness;     /* that agent can read local proxies (hostPID) */
    bool disbelieved; /* it has lately spoken of pods that are not its own: what it says is no evidence */
    int64_t heard_ms; /* when the last complete local scan was true */
    bool reach_known; /* the agent has tested the new revision's xDS endpoint */
    bool reach_ok;

    /* written by classify */
    uint32_t first_wave; /* lowest wave with a proxy that counts on this node; IDX_NONE: none */
    uint32_t unmoved;    /* proxies of the wave at work that the new revision has not injected yet */
};

struct namespace_row {
    uint32_t wave;         /* index of the wave, IDX_NONE: in no wave */
    bool relabelled;       /* istio.io/rev equals the new revision and istio-injection is absent */
    bool leftover;         /* istio.io/rev equals the new revision, but istio-injection is (again) there and wins */
    bool relabelled_by_us; /* carries the annotation of this upgrade */
    bool terminating;

    /* written by classify */
    uint32_t expected, moved; /* proxies that count, and of them MOVED */
    bool unreachable;         /* one of its unmoved proxies is on a node that cannot reach the new revision */
    bool untested;            /* ... that has not tested it yet */
    bool rolling;             /* a workload of it still rolls */
};

struct workload_row {
    uint32_t ns;
    enum workload_kind kind;
    uint32_t replicas;  /* wanted */
    bool restarted;     /* pod template carries the restart mark of this upgrade */
    bool paused;        /* Deployment spec.paused */
    bool on_delete;     /* updateStrategy OnDelete */
    bool settled;       /* controller has observed the newest generation, all replicas updated and ready */
    bool failed_create; /* ReplicaFailure / FailedCreate condition */
    enum reason create; /* what keeps it from creating pods, if that is known more exactly; NONE: it is not */
    bool overdue;       /* Progressing=False, ProgressDeadlineExceeded */

    /* written by classify */
    uint32_t rows;     /* pods of it that are not being deleted, whether they count or not */
    uint32_t expected; /* of them: that count */
    uint32_t odd;      /* that count and are not expected on the new revision */
    uint32_t astray;   /* of the odd ones: expected on a revision that can be named */
    enum reason cause; /* why its pods are not re-created on the new revision; NONE: none waits for that */
    int64_t due_at_ms; /* not restarted before this time: API servers see a label a moment after we do */
};

/* One pod that runs, or should run, a proxy. */
struct proxy_row {
    uint32_t ns;
    uint32_t workload; /* IDX_NONE: bare pod */
    uint32_t node;     /* IDX_NONE: not bound yet */

    /* intent */
    uint32_t expected; /* revision that would inject this pod if it were created now */
    uint32_t injected; /* revision that did inject it (annotation), REV_NONE without a sidecar */
    bool ready;        /* Pod condition Ready */
    bool deleting;
    bool finished;       /* Succeeded or Failed: counts for nothing */
    bool opted_out;      /* gets no sidecar by its own wish or the injector's policy: counts for nothing */
    bool asks;           /* labels of its namespace or its own ask for a sidecar */
    bool dangling;       /* ... by a revision or tag that is not installed */
    bool host_network;   /* why it is opted out, if it is */
    bool old_build;      /* its sidecar is of another version than the istiod that lists it */
    bool no_envoy;       /* ztunnel: has no Envoy whose config version could be compared */
    enum reason trouble; /* what keeps its containers from running; NONE: nothing known */
    enum reason note;    /* worth telling beside a good state; NONE: nothing */
    int64_t created_ms;
    int64_t expected_since_ms; /* since when `expected` has its value */

    /* control plane */
    uint32_t attached;      /* revision whose replica lists it; REV_NONE: fresh answers of all replicas, not listed;
                               REV_UNKNOWN: some replica is silent and nobody lists it */
    uint32_t replica;       /* IDX_NONE when not attached */
    int64_t attached_at_ms; /* when that was last true: time of the reading it comes from (absence: the oldest reading) */
    int64_t detached_since_ms; /* first complete look in a row that did not list it; 0 while listed */
    uint32_t absent_looks;     /* complete looks in a row, over all replicas, that did not list it */
    enum sync_state sync;
    int64_t sync_at_ms;       /* reading that `sync` comes from */
    int64_t pending_since_ms; /* acked stands still and differs from sent since then; 0 otherwise */
    bool blocked;             /* its istiod holds a lock on it: no push reaches it */

    /* node */
    int64_t node_at_ms;            /* when the node last looked at this pod; 0: the node knows no such proxy */
    uint32_t dials;                /* revision that its pilot-agent has a connection to; REV_NONE, REV_UNKNOWN */
    int64_t dials_differ_since_ms; /* since when that is not `attached`; 0: it is */
    bool xds_up;                   /* Envoy's xds-grpc cluster has an active connection */
    int64_t xds_down_since_ms;     /* 0 while up, or while nobody lists it */
    int64_t cut_since_ms;          /* its Envoy says that it has no control plane since then; 0: it has, or says nothing */
    bool refused;                  /* ... and its agent, that it is turned away (certificate request, token, root) */
    enum version_match version;
    int64_t accepted_ms; /* when its Envoy was last seen to have taken another config than before; 0: not seen */
    int64_t version_differs_since_ms;
    bool cert_expired;

    int64_t moved_at_ms; /* reading of the control plane with which it was last MOVED; kept by the gate over snapshots */

    /* written by classify */
    enum proxy_state state;
    enum reason reason;     /* REASON_NONE in a final state */
    int64_t state_since_ms; /* kept by the gate over snapshots */
};
