/*
 * Keeps a copy of a collection up to date: list in pages, watch from there, bookmarks, 410 -> list again, back-off with
 * jitter. Rules: style guide of the Kubernetes client: resourceVersion is opaque; 410 comes as HTTP status and as an ERROR
 * event; no byte for 90 s means a dead connection.
 */
#pragma once

#include "kube.h"

struct reflector;

struct reflector_opts {
    const char *path;   /* "/api/v1/pods" */
    const char *query;  /* "labelSelector=app%3Distiod", or NULL */
    int page;           /* objects a page; 0: 500 */
    bool metadata_only; /* ask for PartialObjectMetadata; a server that can't sends whole objects */
};

/* None of these may free the reflector. */
struct reflector_ops {
    /* Object new or changed. Borrowed. */
    void (*upsert)(void *ctx, const json_t *object);
    /* Object gone, by the identity that upsert saw. */
    void (*gone)(void *ctx, const char *namespace_, const char *name, const char *uid);
    /* The first complete list, and each complete list after a gap, has been handed on. */
    void (*synced)(void *ctx);
};

/* Borrows k until reflector_free; starts at once. seed: of the jitter. */
struct reflector *reflector_new(struct kube *k, const struct reflector_opts *opts, const struct reflector_ops *ops,
                                void *ctx, uint64_t seed);
void reflector_free(struct reflector *r);
/* A complete list was seen and the watch is open (it gave a sign within its silence limit), or was lost less than grace_ms
 * ago. */
bool reflector_fresh(const struct reflector *r, int64_t grace_ms);
/* Why not, for people; "" when fresh. */
const char *reflector_trouble(const struct reflector *r);
uint64_t reflector_relists(const struct reflector *r);
