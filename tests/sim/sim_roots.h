/* The trust of an embedded istiod's mesh as objects of the API server: CA Secret, root ConfigMaps, caBundle of webhooks. */
#pragma once

#include "../../lib/kube/kube.h"
#include "pki.h"

struct sim_roots;

/* ready: the CA is known (ca borrowed until sim_roots_free). Tries until it works. */
struct sim_roots *sim_roots_new(struct kube *kube, const char *revision, void (*ready)(void *ctx, const struct pki_ca *ca),
                                void *ctx);
void sim_roots_free(struct sim_roots *r);
