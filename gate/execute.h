/*
 * The only module that writes to a cluster. An action becomes one guarded patch; its result comes back as inventory, never
 * as a direct call. Each object has at most one write in flight; failures are retried with back-off, conflicts after the
 * inventory has moved on.
 */
#pragma once

#include "../core/snapshot.h"
#include "inventory.h"
#include "upgrade.h"

#define MESHGATE_MARK_TEMPLATE "meshgate.io/restarted-for" /* on pod templates: which upgrade restarted them */
#define MESHGATE_PREVIOUS "meshgate.io/previous-labels"    /* on namespaces: JSON of the labels before the move */

struct execute;
struct execute *execute_new(struct kube *k, const char *field_manager, uint64_t seed);
void execute_free(struct execute *x);
/* fn is called when the back-off of a failed write is over: nothing is repeated unless it is decided again. */
void execute_on_retry(struct execute *x, void (*fn)(void *ctx), void *ctx);
/* One patch with resourceVersion: istio.io/rev = to, istio-injection removed, mark and previous labels kept. */
void execute_relabel(struct execute *x, const struct inv_namespace *ns, const struct upgrade *u);
/* kubectl.kubernetes.io/restartedAt and our mark on the pod template, one patch with resourceVersion. */
void execute_restart(struct execute *x, const struct inv_workload *w, const struct upgrade *u);
/* PATCH of /status with resourceVersion; status is the whole status (taken): what the old one has besides is removed.
 * done(ctx, ok) once, never from inside; not ok at once when a write of this object is in flight, backs off, or is not in
 * the inventory yet. */
void execute_status(struct execute *x, const struct inv_upgrade *o, json_t *status, void (*done)(void *ctx, bool ok),
                    void *ctx);
/* A Kubernetes Event about the upgrade (type Normal/Warning) in the namespace default. Best effort; of equal ones within
 * 5 min one is sent. */
void execute_event(struct execute *x, const struct inv_upgrade *o, const char *type, const char *reason, const char *text);
uint64_t execute_writes(const struct execute *x);
uint64_t execute_failures(const struct execute *x);
/* Why the latest write of an object ("ns/NAME", "Deployment/NS/NAME", "MeshUpgrade/NAME") failed, NULL: it did not. */
const char *execute_trouble(const struct execute *x, const char *key);
