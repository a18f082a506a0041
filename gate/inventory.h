/*
 * What the API server says, as the gate needs it: plain structs in hash tables, fed by reflectors (or by tests) with JSON
 * objects. Only this module knows the shapes of Kubernetes objects.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "../core/types.h"
#include "../lib/base/buf.h"
#include "../lib/kube/kube.h"
#include "../probes/injector.h"
#include "uthash.h"

struct inv_namespace {
    char *name, *uid, *resource_version;
    json_t *labels, *annotations;
    bool terminating;
    UT_hash_handle hh;
};

/* What an injected or managed pod runs; the zero value is also that of a pod without any proxy. */
enum pod_type { POD_SIDECAR, POD_GATEWAY, POD_WAYPOINT, POD_ZTUNNEL };

/* What keeps a pod from starting, the gravest of its containers' (the proxy's first). */
enum pod_trouble { TROUBLE_NONE, TROUBLE_IMAGE, TROUBLE_CRASH, TROUBLE_CONFIG, TROUBLE_UNSCHEDULABLE };

/* Why a controller cannot create pods. */
enum create_trouble {
    CREATE_OK,
    CREATE_QUOTA,
    CREATE_INJECTOR, /* istiod's webhook does not answer or refuses */
    CREATE_DENIED,   /* admission: Pod Security, a policy, another webhook's refusal */
    CREATE_OTHER,
};

struct inv_pod {
    char *uid, *namespace_, *name, *node, *ip;
    json_t *labels;                /* shared by pods with equal ones */
    json_t *annotations;           /* only Istio's and ours, without sidecar.istio.io/status, shared likewise; NULL none */
    char *injected;                /* revision from annotations; NULL: no sidecar, "": a sidecar that does not say whose */
    char *owner_kind, *owner_name; /* controller; "KIND.GROUP" where KIND is another group's than Kubernetes'; NULL bare */
    char *proxy_image;             /* of container istio-proxy, NULL none */
    char *trouble_text;            /* "container istio-proxy: ImagePullBackOff: ...", NULL without trouble */
    bool host_network, ready, deleting, finished;
    bool proxy_ready; /* status of container istio-proxy; false without one */
    enum pod_type type;
    enum pod_trouble trouble;
    int64_t created_wall_ms;
    /* Cached, kept by inventory: result of injectors_ask(); of a managed gateway or waypoint: whose its Gateway is; of a
     * ztunnel: what it dials. */
    char *expected;
    enum injector_result expected_kind; /* INJECTOR_UNKNOWN as long as the namespace is not known */
    enum opt_out opt_out;               /* why istiod's injector would leave it alone all the same */
    int64_t expected_since_ms;          /* monotonic time at which `expected` last changed (or the pod was first seen) */
    struct inv_pod *next, *prev;        /* of the same namespace; the inventory's own */
    UT_hash_handle hh;                  /* by uid */
};

/* Also an owner that is not watched (Rollout, CronJob, somebody's own kind): then only kind and names are known. A
 * Deployment that istiod made of a Gateway is told as that Gateway. */
struct inv_workload {
    char *key; /* "Deployment/ns/name", of the top owner */
    enum workload_kind kind;
    char *namespace_, *name, *uid, *resource_version;
    char *restart_mark; /* template annotation meshgate.io/restarted-for, NULL none */
    uint32_t replicas;
    bool paused, on_delete, settled, failed_create, overdue;
    enum create_trouble create_trouble; /* CREATE_OK unless failed_create */
    char *failed_create_text;
    uint32_t refs; /* who names an owner that is not watched; the inventory's own */
    UT_hash_handle hh;
};

struct inv_replica { /* an istiod pod behind a revision's Service */
    char *uid, *name, *address, *revision, *node, *zone;
    char *version; /* of its pod's image tag, NULL unknown */
    bool ready;
    uint16_t xds_port, http_port;
    UT_hash_handle hh; /* by uid */
};

struct inv_revision {
    char *name;
    char *server_name;   /* istiod-REV.NS.svc, or istiod.NS.svc for "default" */
    json_t *service_ips; /* array of strings: ClusterIPs of Services with label istio.io/rev=REV */
    json_t *tags;        /* array of strings */
    char *version;       /* from the istiod pods' image tag, NULL unknown */
    bool has_injector;
    UT_hash_handle hh;
};

/* A WorkloadEntry: a proxy outside of the cluster's pods, if one runs there. */
struct inv_vm {
    char *key; /* "ns/name" */
    char *namespace_, *name, *address;
    char *group;    /* WorkloadGroup that it was registered by, NULL: made by hand */
    bool connected; /* registered, and an istiod holds its stream: annotation istio.io/connectedAt */
    UT_hash_handle hh;
};

struct inv_upgrade {
    char *name, *uid, *resource_version;
    int64_t generation;
    int64_t created_wall_ms;
    json_t *spec, *status; /* as the API server has them; status may be NULL */
    UT_hash_handle hh;
};

struct inventory {
    struct inv_namespace *namespaces;
    struct inv_pod *pods;
    struct inv_workload *workloads;
    struct inv_replica *replicas;
    struct inv_revision *revisions;
    struct inv_upgrade *upgrades;
    struct inv_vm *vms;
    struct injectors *injectors;
    uint64_t version; /* rises with every change that matters */
};

struct inventory_watch; /* inventory plus its reflectors */

/* Start all reflectors. changed(ctx) is called after each change, coalesced by the caller. */
struct inventory_watch *inventory_watch_new(struct kube *k, const char *istio_namespace, void (*changed)(void *ctx),
                                            void *ctx, uint64_t seed);
void inventory_watch_free(struct inventory_watch *w);
struct inventory *inventory_of(struct inventory_watch *w);
/* Every watch is in sync, or lost for less than 30 s. why_not may be NULL; it names each resource that is not, with the
 * reason. */
bool inventory_fresh(const struct inventory_watch *w, struct buf *why_not);
/* All lists have been seen once. */
bool inventory_loaded(const struct inventory_watch *w);

/* Owner that a person would name: through ReplicaSet to Deployment or Rollout, Job to CronJob, a managed Deployment to its
 * Gateway. NULL for a bare pod (KIND_BARE_POD, its own name) and as long as the ReplicaSet, Job or workload between is not
 * known (KIND_UNKNOWN, the name in ownerReferences). */
const struct inv_workload *inventory_owner(const struct inventory_watch *w, const struct inv_pod *p,
                                           enum workload_kind *kind, const char **name);
/* What `expected` and `opt_out` of a pod rest on: webhook, configuration, what is not known. Borrowed until the next
 * change.
 */
void inventory_intent(const struct inventory_watch *w, const struct inv_pod *p, struct injector_verdict *out);
/* Zone of a node, NULL unknown. */
const char *inventory_zone(const struct inventory_watch *w, const char *node);
const struct inv_replica *inventory_replica_by_ip(const struct inventory *inv, const char *ip);
/* Revision whose Service has this ClusterIP, or one of whose replicas has this address. */
const char *inventory_revision_by_ip(const struct inventory *inv, const char *ip);
/* Revision that a name in a spec stands for (revision, or tag by its injector); NULL: nobody. */
const char *inventory_resolve(const struct inventory *inv, const char *revision_or_tag);
