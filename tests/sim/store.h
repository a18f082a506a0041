/*
 * The embedded API server without its socket: objects with real resourceVersions, list pages, watches, bookmarks,
 * 410, patches with conflicts, status subresources, eviction, TokenReview, Leases. Single thread.
 */
#pragma once

#include <jansson.h>

#include "../../lib/base/sched.h"
#include "../../lib/kube/kube.h"

struct store;

struct store_reply {
    int status; /* -1: never answer */
    char *body; /* the caller's to free() */
};

/* Who asks. groups may be NULL. */
struct store_user {
    const char *name; /* "system:serviceaccount:NS:NAME", "admin" */
};

struct store *store_new(struct sched *sched);
void store_free(struct store *s);

/* One HTTP request that is no watch. user NULL: unauthenticated (401). Status -1 in the reply: never answer (store_fault).
 * Discovery (/api, /apis ...), /version, /readyz too. */
void store_request(struct store *s, const struct store_user *user, const char *method, const char *path_query,
                   const char *content_type, const char *accept, const char *body, size_t len, struct store_reply *out);

/* A watch. line() gets whole JSON lines (with the newline), from inside other store calls or timers. end(): timeoutSeconds
 * is over. NULL and *out when it is refused (410 ...). */
struct store_watch;
struct store_watch *store_watch(struct store *s, const struct store_user *user, const char *path_query,
                                void (*line)(void *ctx, const char *p, size_t n), void (*end)(void *ctx), void *ctx,
                                struct store_reply *out);
void store_watch_close(struct store_watch *w);

/* --- for the mesh's own controllers; resources by plural name: "pods", "deployments", "meshupgrades" ... --- */
const json_t *store_get(struct store *s, const char *resource, const char *namespace_, const char *name);
/* Create or replace; fills uid, resourceVersion, creationTimestamp, generation; false: refused (text in *err). Takes obj.
 */
bool store_put(struct store *s, const char *resource, json_t *obj, struct err *err);
/* Merge-patch; status true: only .status counts. */
bool store_patch(struct store *s, const char *resource, const char *namespace_, const char *name, const json_t *patch,
                 bool status, struct err *err);
bool store_delete(struct store *s, const char *resource, const char *namespace_, const char *name);
/* fn must not change the store. namespace_ NULL: all. */
void store_each(struct store *s, const char *resource, const char *namespace_, void (*fn)(void *ctx, const json_t *obj),
                void *ctx);
/* Called after each change with "ADDED" "MODIFIED" "DELETED". One listener. */
void store_on_change(struct store *s, void (*fn)(void *ctx, const char *resource, const char *event, const json_t *obj),
                     void *ctx);
/* Called for each POST of a pod before it is stored; may change it; false + err: refused (500 "failed calling webhook
 * ..."). */
void store_on_admit_pod(struct store *s, bool (*fn)(void *ctx, json_t *pod, struct err *err), void *ctx);
/* Tokens that TokenReview and bearer authentication know. node may be NULL. */
void store_add_token(struct store *s, const char *token, const char *namespace_, const char *account, const char *audience,
                     const char *node, const char *pod);
void store_drop_token(struct store *s, const char *token);
/* User name behind a token of this audience (NULL: the API server's own), NULL: unknown. *namespace_ may be NULL. Borrowed.
 */
const char *store_authenticate(const struct store *s, const char *token, const char *audience, const char **namespace_);
/* Faults: answer requests of this user (NULL: everybody) with this status from now on (0: normal; -1: never answer). */
void store_fault(struct store *s, const char *user, int status);
/* End all running watches soon, as a lost connection does. */
void store_cut_watches(struct store *s);
/* Forget history, so that old resourceVersions get 410. */
void store_compact(struct store *s);
/* Service proxy: GET /api/v1/namespaces/NS/services/[http:]NAME:PORT/proxy/PATH is answered by fn. */
void store_on_proxy(struct store *s,
                    bool (*fn)(void *ctx, const char *ns, const char *service, const char *path, struct store_reply *out),
                    void *ctx);

/* A struct kube that goes straight into the store, on the store's clock. user as above. */
struct kube *store_kube(struct store *s, const char *user);
void store_kube_free(struct kube *k);
