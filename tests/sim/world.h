/*
 * The embedded mesh: nodes, controllers that roll pods, an injector, istiods with what they would answer, proxies that
 * connect, acknowledge, reject, go stale; scripted faults. Deterministic: same seed, same history. Runs on any struct
 * sched. It knows the truth of the mesh, which tests use as oracle.
 */
#pragma once

#include "../../agent/io.h"
#include "store.h"

struct world;

struct world_opts {
    uint32_t nodes, namespaces, pods, replicas;
    uint64_t seed;
    const char *pod_net;     /* first two bytes of pod addresses: "127.44" (demo), "10.44" (virtual) */
    const char *istiod_net;  /* of istiod addresses: "127.45"; replica N of old: .0.N+1, of canary: .1.N+1 */
    const char *service_net; /* of Service IPs: "127.46" */
};

/* Borrows store and sched. Creates all objects of the mesh in the store (nodes, namespaces, Services, EndpointSlices,
 * webhooks, istiod Deployments and pods, workloads, pods). */
struct world *world_new(const struct world_opts *opts, struct store *store, struct sched *sched);
void world_free(struct world *w);

/* One action of the scenario language (without "do"); false + err: unknown or impossible. Actions about gate and upgrade
 * (kill gate, pause, resume, approve) are the runner's. */
bool world_action(struct world *w, const char *action, struct err *err);

/* What an istiod at this address answers to a debug question. IO_OK: *body is the caller's to free(). IO_TIMEOUT: frozen,
 * or it waits for a locked proxy. IO_UNREACHABLE: dead. */
enum io_status world_ask(struct world *w, const char *istiod_ip, const char *resource, char **body, size_t *len);
/* GET on istiod 15014 / 8080 and on a proxy's 15020 / 15021 / 15090. */
enum io_status world_get(struct world *w, const char *ip, uint16_t port, const char *path, char **body, size_t *len);
/* What the agent of a node sees in /proc. -1: the node is dark; -2: the agent has no hostPID. */
int64_t world_scan(struct world *w, const char *node, void (*fn)(void *ctx, const struct dial_seen *d), void *ctx);
bool world_node_dark(const struct world *w, const char *node);
/* What is wrong on the way from a node to a revision. */
enum world_way { WAY_GOOD, WAY_CUT, WAY_WRONG_NAME, WAY_WRONG_ROOT, WAY_TOKEN };
/* istiod_ip: of a replica or the Service. */
enum world_way world_way(const struct world *w, const char *node, const char *istiod_ip);
/* IO_UNREACHABLE also where the way is cut. */
enum io_status world_reach(struct world *w, const char *node, const char *istiod_ip);
/* Address of replica n of a revision; NULL none. Are they to be seen as frozen / dead by whoever serves real sockets? */
const char *world_istiod_ip(const struct world *w, const char *revision, uint32_t n);
bool world_istiod_frozen(const struct world *w, const char *ip);
bool world_istiod_dead(const struct world *w, const char *ip);
/* The process at this address, for streams of others than the mesh's own proxies (readers); NULL: dead. */
struct istiod;
struct istiod *world_istiod(struct world *w, const char *ip);

/* Truth, for oracles. */
struct world_truth {
    uint32_t proxies, on_old, on_canary, detached, not_in_sync, rejecting;
    uint32_t workloads_restarted, most_templates; /* templates a workload has had besides its first */
};
void world_truth(const struct world *w, struct world_truth *out);
/* Proxies of a namespace with a stream to a revision. */
uint32_t world_proxies_on(const struct world *w, const char *ns, const char *revision);
/* Digest of everything that has happened: equal for equal seeds and actions. */
uint64_t world_history(const struct world *w);
