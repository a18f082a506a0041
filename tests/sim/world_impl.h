/* Inside of the embedded mesh, shared by world*.c only. */
#pragma once

#include <uthash.h>
#include <utlist.h>

#include "../../lib/base/json.h"
#include "../../lib/base/mem.h"
#include "../../probes/injector.h"
#include "istiod.h"
#include "world.h"

#define ISTIO_NS "istio-system"

enum { OLD, CANARY, REVISIONS };
enum { CDS, EDS, LDS, RDS, XDS_KINDS };

struct sim_istiod {
    struct world *w;
    int rev;
    uint32_t n;
    char *ip, *name, *uid, *node, *zone;
    struct istiod *process; /* NULL: dead */
    bool frozen, ready;     /* ready: what its EndpointSlice says */
    bool owes_full, owes_endpoints;
    struct timer probe, notice;
    uint32_t starts;
};

struct sim_revision {
    const char *name, *version;
    char *newer; /* the version once it has been upgraded in place */
    char *service_ip;
    bool bad_config;
    struct sim_istiod *istiods;
};

struct sim_node {
    char *name, *zone, *ip;
    bool dark;
    bool blind; /* its agent has no hostPID */
    enum world_way ways[REVISIONS];
    struct sim_pod *pods;
};

/* A push that is on its way to a slow proxy. */
struct sim_late {
    int kind;
    char nonce[80], version[40];
    int64_t due_ms;
    struct sim_late *prev, *next;
};

/* What can be wrong with a proxy, world_faults.c. */
enum sim_fault_kind {
    FAULT_WITHHOLD,    /* takes pushes and never answers */
    FAULT_SLOW,        /* answers each push, so many ms after it was sent */
    FAULT_CUT,         /* reaches no istiod any more */
    FAULT_REFUSED,     /* its token is refused */
    FAULT_MISDIRECTED, /* dials the istiods of another revision */
    FAULT_FOREIGN_CA,  /* has its certificates from another revision: a connection there stands */
    FAULT_EXPIRED,     /* its certificate has expired */
    FAULT_HIDDEN,      /* its processes are not to be seen in the node's /proc (a sandboxed runtime) */
    FAULT_MUTE,        /* its stats ports do not answer */
    FAULT_STUCK,       /* Envoy stands still behind an agent that acknowledges */
    FAULT_HALF,        /* its stream is dead, and its istiod has not noticed */
    FAULT_SICK,        /* its containers do not run; arg says why, as in a container's status */
    FAULT_NO_SIDECAR,  /* the same for the sidecar */
    FAULT_KINDS
};

struct sim_fault {
    enum sim_fault_kind kind;
    char *prefix, *arg; /* "NS/PREFIX" */
    int rev;
    uint32_t from_ms, to_ms;
    struct sim_fault *next;
};

/* A pod's sidecar: pilot-agent and Envoy together. */
struct sim_proxy {
    int rev; /* that injected it, -1: none */
    char version[16];
    struct sim_istiod *at;
    struct istiod_conn *conn;
    bool dials; /* a TCP connection stands, served or not */
    uint16_t port;
    uint32_t attempt, fresh_until_conns;
    struct {
        char nonce[80], version[40];
        bool set;
    } pending[XDS_KINDS];
    struct sim_late *late;
    char cds_version[40], lds_version[40];
    uint64_t csr_failed;
    uint64_t cds_rejected, lds_rejected, ended_by_error, ended_in_order;
    bool served; /* 15021 */
    struct timer life, answer;
};

/* A pod template that a workload has had: ReplicaSet or ControllerRevision. */
struct sim_set {
    struct sim_workload *workload;
    char *name, *uid, *hash;
    json_t *template;
    uint32_t number, want;
    char *failed; /* admission's refusal, NULL none */
    uint32_t failures;
    int64_t retry_ms;
    struct sim_set *prev, *next;
};

enum sim_kind { SIM_DEPLOYMENT, SIM_STATEFULSET, SIM_DAEMONSET };

struct sim_workload {
    struct world *w;
    enum sim_kind kind;
    char *key, *ns, *name, *uid;
    struct sim_pod *pods;
    struct sim_set *sets;    /* oldest first */
    struct sim_set *current; /* StatefulSet: revision that all pods had last */
    uint32_t templates;
    int64_t generation; /* for which newest is right */
    struct sim_set *newest;
    struct timer sync;
    int64_t progress_ms;
    uint64_t progress_mark;
    UT_hash_handle hh;
};

enum sim_phase { SIM_PENDING, SIM_STARTING, SIM_RUNNING };

struct sim_pod {
    struct world *w;
    char *key, *ns, *name, *uid;
    struct sim_workload *workload; /* NULL: bare */
    struct sim_set *set;
    struct sim_node *node;
    uint32_t ip; /* number in the pod net, 0 none */
    char ip_text[16];
    enum sim_phase phase;
    bool ready, deleting;
    const struct sim_fault *faults[FAULT_KINDS]; /* NULL: not wrong */
    int64_t born;                                /* order of creation */
    struct timer step;
    struct sim_proxy proxy;
    struct sim_pod *prev, *next;           /* of the workload */
    struct sim_pod *node_prev, *node_next; /* of the node */
    UT_hash_handle hh;
};

struct sim_rejection {
    char *ns, *text;
    UT_hash_handle hh;
};

/* Why the API server refuses pods of a namespace (quota, policy). */
struct sim_refusal {
    char *ns, *text;
    UT_hash_handle hh;
};

struct world {
    struct world_opts opts;
    char *pod_net, *istiod_net, *service_net;
    struct store *store;
    struct sched *sched;
    struct injectors *injectors;
    uint64_t random, history;
    struct sim_revision revs[REVISIONS];
    struct sim_node *nodes;
    uint32_t next_node;
    struct sim_workload *workloads;
    struct sim_pod *pods;
    struct sim_pod **by_ip;
    uint32_t ips, next_ip;
    int64_t born;
    struct sim_rejection *rejections;
    struct sim_fault *faults;
    struct sim_refusal *refusals;
    struct timer push;
    bool push_full;
    bool building;
    /* who creates the pod that is being stored */
    struct sim_workload *for_workload;
    struct sim_set *for_set;
    struct sim_node *for_node;
};

/* world.c */
uint32_t world_random(struct world *w, uint32_t from, uint32_t to); /* both inclusive */
/* Part of the history by which two runs are compared. */
void world_note(struct world *w, const char *what, const char *who);
void world_text_id(struct world *w, size_t n, char *out); /* n characters and NUL, as in names of pods */
bool world_admit(struct world *w, json_t *pod, struct err *err);
void world_config_changed(struct world *w, bool full);

/* world_actions.c */
struct words {
    char text[512];
    char *at[12];
    size_t n;
    const char *rest[12]; /* the action from this word on, as it was written */
};
/* "NS/NAME" in two; false when it is none. */
bool world_pair(char *s, char **ns, char **name);
void world_forget_rejection(struct world *w, struct sim_rejection *r);

/* world_faults.c: what is wrong with single pods, and what the API server refuses */
bool world_do_fault(struct world *w, struct words *a, struct err *err);
bool world_do_mend(struct world *w, struct words *a, struct err *err);
bool world_do_refuse(struct world *w, struct words *a, struct err *err);
void world_faults_of(struct sim_pod *p); /* of a new pod */
void world_faults_free(struct world *w);
/* NULL: taken. */
const char *world_refusal(const struct world *w, const char *ns);

/* world_create.c */
bool world_do_create(struct world *w, struct words *a, struct err *err);
bool world_do_finish(struct world *w, struct words *a, struct err *err);
bool world_do_version(struct world *w, struct words *a, struct err *err);
bool world_do_uninstall(struct world *w, struct words *a, struct err *err);

/* world_objects.c */
void world_build(struct world *w);
json_t *world_time(struct world *w);
void world_write_slices(struct world *w, int rev);
void world_write_istiod_pod(struct world *w, struct sim_istiod *i);
json_t *world_template(const char *app);
json_t *world_affinity(struct world *w, uint32_t first, uint32_t n);
void world_inject(json_t *pod, const char *revision, const char *version);
void world_put_tag(struct world *w, const char *tag, const char *rev);
/* A webhook configuration of a revision that takes the pods of one namespace; condition: CEL, NULL none. */
void world_put_injector(struct world *w, const char *name, const char *rev, const char *ns, const char *condition);
json_t *world_owner(const char *api, const char *kind, const char *name, const char *uid);

/* world_pods.c */
void world_pod_added(struct world *w, const json_t *o);
void world_pod_changed(struct world *w, const json_t *o);
void world_pod_gone(struct world *w, const json_t *o);
void world_pod_free(struct sim_pod *p);
struct sim_pod *world_pod(struct world *w, const char *ns, const char *name);
void world_pod_delete(struct sim_pod *p);
void world_pod_served(struct sim_pod *p);
/* Write its status anew, as its faults want it. */
void world_pod_sicken(struct sim_pod *p);
/* Create a pod as a controller does: admission, then the store. false: refused. */
bool world_pod_create(struct world *w, json_t *pod, struct sim_workload *x, struct sim_set *set, struct sim_node *node,
                      struct err *err);

/* world_templates.c */
/* The set of the template as it is now; made when make is true. */
struct sim_set *world_newest_set(struct sim_workload *x, const json_t *o, bool make);
/* Create or delete pods until the set has as many as it wants. */
void world_size_set(struct sim_set *s);
/* name NULL: with a tail of its own. false: refused, or too early after a refusal. */
bool world_set_create_pod(struct sim_set *s, const char *name, struct sim_node *node);

/* world_roll.c: workloads, Deployments */
const char *world_kind_name(enum sim_kind kind);
struct sim_workload *world_workload(struct world *w, enum sim_kind kind, const char *ns, const char *name);
void world_workload_seen(struct world *w, const char *resource, const char *event, const json_t *o);
void world_workload_touch(struct sim_workload *x);
void world_workload_sync(struct sim_workload *x);
void world_workload_free(struct sim_workload *x);
const char *world_resource(enum sim_kind kind);
uint32_t world_count(const struct sim_workload *x, const struct sim_set *set, bool ready_only);
json_t *world_condition(struct sim_workload *x, const json_t *before, const char *type, const char *status,
                        const char *reason, const char *message);
void world_write_status(struct sim_workload *x, const json_t *o, json_t *status);
void world_sync_deployment(struct sim_workload *x, const json_t *o);

/* world_sets.c */
void world_sync_statefulset(struct sim_workload *x, const json_t *o);
void world_sync_daemonset(struct sim_workload *x, const json_t *o);

/* world_proxies.c */
void world_istiods_start(struct world *w);
void world_proxy_start(struct sim_pod *p);
void world_proxy_stop(struct sim_pod *p);
/* on: its istiod holds a lock on it; off: its stream is cut and it dials again. */
void world_proxy_lock(struct sim_pod *p, bool on);
void world_proxy_answer_soon(struct sim_pod *p);
/* Something has gone wrong with it, or is mended: its stream ends or is dialled anew. */
void world_proxy_shaken(struct sim_pod *p);
void world_push(struct world *w);
/* Something has happened to the way from this node to that revision. */
void world_way_changed(struct sim_node *n, int rev);
bool world_istiod_fault(struct sim_istiod *i, const char *what, struct err *err);
struct sim_istiod *world_istiod_at(const struct world *w, const char *ip);
struct sim_istiod *world_pick_istiod(struct world *w, int rev);
int world_revision(const char *name);
