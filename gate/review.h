/* What a TokenReview asks and what its answer means for an agent. */
#pragma once

#include "../lib/kube/kube.h"
#include "gate.h"

#define REVIEW_PATH "/apis/authentication.k8s.io/v1/tokenreviews"

/* Body of the request; the caller's to free(). */
char *review_body(const char *token, const char *audience);

struct review {
    char *node;     /* that the token is bound to; NULL: refused, see below. The caller's to free() */
    int status;     /* gRPC status of the refusal */
    char text[512]; /* a sentence with what was expected */
};

void review_read(const struct kube_response *r, const struct gate_opts *expect, struct review *out);
