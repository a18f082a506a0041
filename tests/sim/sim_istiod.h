/*
 * One embedded istiod for a real API server: signs with the mesh's CA (Secret istio-ca-secret, made if absent), keeps
 * ConfigMap istio-ca-root-cert in every namespace and caBundle in its webhooks, reviews tokens there, serves 15010, 15012,
 * 15014, 15017 and 8080 on its address, and pushes when Services change.
 */
#pragma once

#include "../../lib/kube/kube.h"
#include "../../lib/rpc/rpc.h"

struct sim_istiod;

struct sim_istiod_opts {
    const char *revision, *version, *pod, *address;
    const char *control; /* path of a unix socket that takes: freeze thaw nack-canary ack-canary push; "" none */
};

struct sim_istiod *sim_istiod_new(struct loop *loop, struct rpc *rpc, struct kube *kube,
                                  const struct sim_istiod_opts *opts);
void sim_istiod_free(struct sim_istiod *s);
/* Something ended it (text), or NULL: serves or will. */
const char *sim_istiod_trouble(const struct sim_istiod *s);

/* The command line. */
int sim_istiod_main(int argc, char **argv);
