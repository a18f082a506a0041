/*
 * Inside of the inventory: the tables behind struct inventory, fed object by object. The reflectors (inventory_watch.c)
 * and the tests of the tables are the only callers of put and drop.
 */
#pragma once

#include "../lib/base/sched.h"
#include "inventory.h"

enum inventory_resource {
    INVENTORY_NAMESPACES,
    INVENTORY_WEBHOOKS,
    INVENTORY_POLICIES, /* ConfigMaps of the injectors */
    INVENTORY_SERVICES,
    INVENTORY_SLICES,
    INVENTORY_NODES,
    INVENTORY_REPLICASETS,
    INVENTORY_JOBS,
    INVENTORY_DEPLOYMENTS,
    INVENTORY_STATEFULSETS,
    INVENTORY_DAEMONSETS,
    INVENTORY_PODS,
    INVENTORY_UPGRADES,
    INVENTORY_GATEWAYS,  /* Gateway API; may be unknown to the API server */
    INVENTORY_VMS,       /* WorkloadEntries; may be unknown to the API server */
    INVENTORY_VALIDATOR, /* istiod-default-validator */
    INVENTORY_RESOURCES
};

struct inventory_labels;  /* labels that several pods share */
struct inventory_bucket;  /* the pods of one namespace */
struct inventory_link;    /* ReplicaSet, Job or managed Deployment -> who owns it */
struct inventory_gateway; /* Gateway -> its label istio.io/rev */
struct inventory_mesh;    /* Services, EndpointSlices, nodes and versions that revisions are made from */

struct inventory_tables {
    struct inventory inv;
    struct sched *sched;
    char *istio_namespace;
    struct inventory_labels *labels;
    size_t labels_sweep_at; /* size of that table at which unused ones are looked for */
    struct inventory_bucket *buckets;
    struct inventory_link *links;
    struct inventory_mesh *mesh;
    struct inventory_gateway *gateways;
    char *default_revision; /* of istiod-default-validator, NULL none */
};

void inventory_init(struct inventory_tables *t, struct sched *sched, const char *istio_namespace);
void inventory_done(struct inventory_tables *t);
/* Both return whether something changed that matters (then inv.version has risen). */
bool inventory_put(struct inventory_tables *t, enum inventory_resource r, const json_t *object);
bool inventory_drop(struct inventory_tables *t, enum inventory_resource r, const char *namespace_, const char *name,
                    const char *uid);
/* inventory_intent(). */
void inventory_intent_of(const struct inventory_tables *t, const struct inv_pod *p, struct injector_verdict *out);
const struct inv_workload *inventory_owner_of(const struct inventory_tables *t, const struct inv_pod *p,
                                              enum workload_kind *kind, const char **name);

/* --- inventory_read.c: one object each; what is returned is new --- */
struct inv_namespace *inventory_read_namespace(const json_t *o);
struct inv_pod *inventory_read_pod(const json_t *o);
struct inv_workload *inventory_read_workload(const json_t *o, enum workload_kind kind);
struct inv_upgrade *inventory_read_upgrade(const json_t *o);
/* The named one of ownerReferences with controller: true; NULL none. */
const json_t *inventory_read_controller(const json_t *o);
/* Its kind, with its group where Kubernetes, Argo or the Gateway API mean another one by that name. New. */
char *inventory_read_owner_kind(const json_t *reference);
/* Condition of that type and status; out may be NULL. */
bool inventory_read_condition(const json_t *o, const char *type, const char *status, const json_t **out);
const char *inventory_kind_name(enum workload_kind k);

/* --- inventory_trouble.c: what keeps a pod from starting --- */
/* proxy: its container istio-proxy, NULL none. */
enum pod_type inventory_pod_type(const json_t *pod, const json_t *proxy);
/* Fill trouble, trouble_text and proxy_ready. */
void inventory_read_trouble(struct inv_pod *p, const json_t *o);
/* Class of the message of a ReplicaFailure condition. */
enum create_trouble inventory_create_trouble(const char *text);

/* Fields of a struct by kind, so that comparing, moving and freeing are written once. */
struct inventory_fields {
    const size_t *texts; /* offsets of char *; the first `silent` may change without anybody being told */
    size_t n_texts, silent;
    const size_t *trees; /* offsets of json_t * */
    size_t n_trees;
    size_t plain_from, plain_to; /* the numbers and flags, as one piece of memory; equal: none */
};
extern const struct inventory_fields inventory_namespace_fields, inventory_pod_fields, inventory_workload_fields,
    inventory_upgrade_fields;
bool inventory_fields_differ(const struct inventory_fields *f, const void *a, const void *b);
/* Free what `to` holds and give it what `from` holds; `from` is empty afterwards. */
void inventory_fields_move(const struct inventory_fields *f, void *to, void *from);
void inventory_fields_free(const struct inventory_fields *f, void *x);

/* --- inventory_policy.c: ConfigMaps istio-sidecar-injector[-REV] --- */
/* True when what an injector leaves alone may have changed. One that cannot be read changes nothing: istiod, too, stays
 * with the last one that it could. */
bool inventory_policy_put(struct inventory_tables *t, const json_t *o);

/* --- inventory_gateways.c: proxies that no injection webhook decides about --- */
bool inventory_gateway_put(struct inventory_tables *t, const json_t *o);
bool inventory_gateway_drop(struct inventory_tables *t, const char *namespace_, const char *name);
unsigned inventory_gateway_count(const struct inventory_tables *t);
bool inventory_default_put(struct inventory_tables *t, const json_t *o);
bool inventory_default_drop(struct inventory_tables *t, const char *name);
bool inventory_vm_put(struct inventory_tables *t, const json_t *o);
bool inventory_vm_drop(struct inventory_tables *t, const char *namespace_, const char *name);
/* A managed gateway or waypoint, or a ztunnel. */
bool inventory_is_managed(const struct inv_pod *p);
/* n: its namespace, NULL not known. */
void inventory_managed_intent(const struct inventory_tables *t, const struct inv_namespace *n, const struct inv_pod *p,
                              struct injector_verdict *out);
void inventory_gateways_done(struct inventory_tables *t);

/* --- inventory_owners.c: who owns whom --- */
/* A ReplicaSet or Job. */
bool inventory_link_put(struct inventory_tables *t, enum workload_kind kind, const json_t *o);
bool inventory_link_drop(struct inventory_tables *t, enum workload_kind kind, const char *namespace_, const char *name);
/* Add or replace; takes w. */
bool inventory_workload_put(struct inventory_tables *t, struct inv_workload *w);
bool inventory_workload_drop(struct inventory_tables *t, enum workload_kind kind, const char *namespace_, const char *name);
/* A Deployment, which may be a Gateway's. */
bool inventory_deployment_put(struct inventory_tables *t, const json_t *o);
bool inventory_deployment_drop(struct inventory_tables *t, const char *namespace_, const char *name);
/* A pod names an owner that is not watched, or no longer does. */
void inventory_owner_ref(struct inventory_tables *t, const struct inv_pod *p);
void inventory_owner_unref(struct inventory_tables *t, const struct inv_pod *p);
void inventory_owners_done(struct inventory_tables *t);

/* --- inventory_mesh.c: revisions and replicas --- */
struct inventory_mesh *inventory_mesh_new(void);
void inventory_mesh_free(struct inventory_mesh *m);
/* Services, EndpointSlices, nodes; and of pods in the istio namespace the version of the istiod in them. */
bool inventory_mesh_put(struct inventory_tables *t, enum inventory_resource r, const json_t *o);
bool inventory_mesh_drop(struct inventory_tables *t, enum inventory_resource r, const char *name, const char *uid);
/* Revision of a tag's Service, NULL none. */
const char *inventory_mesh_tag(const struct inventory *inv, const char *tag);
/* Make revisions and replicas anew; true when they changed. *words: and with them how an injector reads labels. */
bool inventory_mesh_rebuild(struct inventory_tables *t, bool *words);
void inventory_mesh_clear(struct inventory *inv);
const char *inventory_mesh_zone(const struct inventory_tables *t, const char *node);
