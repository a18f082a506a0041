/*
 * What a decision is made from, what it is made with, and what comes out. Plain data; no pointers into the gate.
 */
#pragma once

#include "types.h"

struct wave_policy {
    int64_t soak_ms;
    bool manual;   /* approval: Manual */
    bool approved; /* its name stands in spec.approvedWaves */
};

struct policy {
    uint32_t from, to;           /* revision indexes, REV_FOREIGN when not installed */
    bool paused;                 /* spec.paused */
    uint32_t resume_hold;        /* spec.resumeHold: the hold with this id is lifted */
    bool node_witness;           /* the node's word is demanded for every proxy */
    uint32_t coverage_permille;  /* share of the expected proxies that must have been heard: 1000 = all */
    uint32_t max_bad;            /* proxies with a FAIL reason that are tolerated; 0 = none */
    uint32_t max_namespaces;     /* namespaces of a wave that move at the same time, 0 = no cap */
    int64_t evidence_max_age_ms; /* older evidence is none */
    int64_t dwell_start_ms;      /* time a new pod has to attach and sync */
    int64_t dwell_absent_ms;     /* absence of an attached proxy tolerated (stream recycling) */
    int64_t dwell_ack_ms;        /* unacknowledged update tolerated */
    int64_t dwell_conflict_ms;   /* disagreement of witnesses tolerated */
    const struct wave_policy *waves;
    uint32_t n_waves;
};

/* What survives the gate: it is written to status and read back on start. Wall-clock times are turned into
 * monotonic ones by the reader. */
struct progress {
    uint32_t wave;           /* index of the wave at work; n_waves when all are done */
    bool started;            /* the wave has been let in (approval, pre-conditions) */
    int64_t soak_started_ms; /* 0: not soaking */
    uint32_t hold_id;        /* counts pauses by a bad signal; 0: never */
    bool held;               /* pause number hold_id stands */
    enum reason hold_reason;
};

struct snapshot {
    struct revision_row *revisions;
    uint32_t n_revisions;
    const struct replica_row *replicas;
    uint32_t n_replicas;
    struct node_row *nodes;
    uint32_t n_nodes;
    struct namespace_row *namespaces;
    uint32_t n_namespaces;
    struct workload_row *workloads;
    uint32_t n_workloads;
    struct proxy_row *proxies; /* classify() writes state and reason, and the sums of the tables above */
    uint32_t n_proxies;
    bool inventory_fresh; /* every watch is in sync */
    struct progress progress;
};

/* A reason about one object. `object` is an index into the table that `about` names. */
enum about {
    ABOUT_UPGRADE,
    ABOUT_WAVE,
    ABOUT_REVISION,
    ABOUT_REPLICA,
    ABOUT_NODE,
    ABOUT_NAMESPACE,
    ABOUT_WORKLOAD,
    ABOUT_PROXY
};

struct finding {
    enum reason reason;
    enum about about;
    uint32_t object;
};

enum action_kind {
    ACTION_NONE,
    ACTION_RELABEL, /* object: namespace. One patch: istio.io/rev = to, istio-injection removed */
    ACTION_RESTART, /* object: workload. Restart mark on its pod template */
};

struct action {
    enum action_kind kind;
    uint32_t object;
};

struct wave_tally {
    uint32_t namespaces, relabelled; /* without those that are being deleted */
    uint32_t expected;               /* proxies that count */
    uint32_t heard;                  /* of them with fresh evidence of every witness demanded */
    uint32_t unheard_tolerated;      /* of the others: within coverage_permille, and injected by the new revision */
    uint32_t bad;                    /* of them with a bad signal on the new revision */
    uint32_t by_state[STATE_COUNT];
};

#define DECISION_MAX_FINDINGS 512
#define DECISION_MAX_PER_REASON 20
#define DECISION_MAX_ACTIONS 256

struct decision {
    enum phase phase;
    enum verdict verdict;
    struct progress next; /* to be written back before any action is executed */
    struct finding findings[DECISION_MAX_FINDINGS];
    uint32_t n_findings;
    uint32_t n_findings_total;        /* may be larger than what is kept: at most DECISION_MAX_PER_REASON of one reason */
    uint32_t by_reason[REASON_COUNT]; /* all findings counted */
    struct action actions[DECISION_MAX_ACTIONS];
    uint32_t n_actions;
    int64_t wake_at_ms; /* decide again at this time at the latest; 0: only when something changes */
};
