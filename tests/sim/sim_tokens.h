/* TokenReview for the streams of an embedded istiod. */
#pragma once

#include "../../lib/kube/kube.h"
#include "ads.h"

struct sim_tokens;

struct sim_tokens *sim_tokens_new(struct kube *kube);
void sim_tokens_free(struct sim_tokens *t);
/* Answers a by ads_authenticated(): audience istio-ca. */
void sim_tokens_review(struct sim_tokens *t, const char *token, struct ads_auth *a);
