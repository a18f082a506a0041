/* kubectl as transport: it knows the kubeconfig, credentials and proxies of the person who calls. No shell is involved. */
#pragma once

#include "../lib/base/buf.h"
#include "../lib/base/err.h"

struct kubectl {
    const char *path, *kubeconfig, *context; /* the last two may be NULL */
    int64_t timeout_ms;                      /* for one call */
    struct buf said;                         /* what the last call that failed wrote to its stderr */
};

void kubectl_init(struct kubectl *k, const char *path, const char *kubeconfig, const char *context, int64_t timeout_ms);
void kubectl_done(struct kubectl *k);
/* kubectl get --raw PATH; out gets its output. err->code tells NotFound, Conflict, Forbidden ... apart. */
bool kubectl_get(struct kubectl *k, const char *path, struct buf *out, struct err *err);
/* kubectl replace --raw PATH -f - with body as its input (an HTTP PUT). */
bool kubectl_put(struct kubectl *k, const char *path, const char *body, struct buf *out, struct err *err);
