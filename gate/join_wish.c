/* What the API server says of one pod: what its labels ask for, who would inject it, who did. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/base/json.h"
#include "join_inside.h"

static uint32_t expected(const struct join *j, const struct inv_pod *pod) {
    switch (pod->expected_kind) {
    case INJECTOR_NONE:
        return REV_NONE;
    case INJECTOR_ONE:
        return join_revision(j, pod->expected);
    case INJECTOR_SEVERAL:
        return REV_CONFLICT;
    case INJECTOR_UNKNOWN:
        break;
    }
    return REV_UNKNOWN;
}

static uint32_t injected(const struct join *j, const struct inv_pod *pod) {
    if (!pod->injected) {
        return REV_NONE;
    }
    return pod->injected[0] ? join_revision(j, pod->injected) : REV_UNKNOWN;
}

static bool is(const json_t *labels, const char *key, const char *value) {
    return strcmp(js_text(labels, key, NULL), value) == 0;
}

/* Source: dossier 5.2, the labels that take part in the selection of injectors. */
static bool asks(const json_t *of_namespace, const json_t *of_pod) {
    if (json_object_get(of_namespace, "istio-injection")) {
        return is(of_namespace, "istio-injection", "enabled");
    }
    if (json_object_get(of_namespace, "istio.io/rev") || is(of_pod, "sidecar.istio.io/inject", "true")) {
        return true;
    }
    /* istiod's own pods bear their revision, and want none. */
    return json_object_get(of_pod, "istio.io/rev") && !json_object_get(of_pod, "sidecar.istio.io/inject");
}

void join_wish_forget(struct pod_memory *m) {
    json_decref(m->pod_labels);
    json_decref(m->namespace_labels);
}

/* Labels are compared by the object that holds them; holding on to it keeps the comparison honest. */
static bool asks_cached(struct pod_memory *m, json_t *of_namespace, json_t *of_pod) {
    if (m->namespace_labels != of_namespace || m->pod_labels != of_pod || (!of_namespace && !of_pod)) {
        join_wish_forget(m);
        m->namespace_labels = json_incref(of_namespace);
        m->pod_labels = json_incref(of_pod);
        m->asks = asks(of_namespace, of_pod);
    }
    return m->asks;
}

/* The revision or tag that counts for this pod; NULL: none is named. */
static const char *named(const struct round *r, const struct proxy_row *p, const struct inv_pod *pod) {
    const json_t *labels = r->j->namespace_objects[p->ns]->labels;
    const char *of_namespace = js_str(labels, "istio.io/rev", NULL);
    return of_namespace ? of_namespace : js_str(pod->labels, "istio.io/rev", NULL);
}

static enum reason trouble_reason(enum pod_trouble t) {
    switch (t) {
    case TROUBLE_IMAGE:
        return REASON_IMAGE_PULL;
    case TROUBLE_CRASH:
        return REASON_CRASH_LOOP;
    case TROUBLE_CONFIG:
        return REASON_CONFIG_MISSING;
    case TROUBLE_UNSCHEDULABLE:
        return REASON_UNSCHEDULABLE;
    case TROUBLE_NONE:
        break;
    }
    return REASON_NONE;
}

/* istiod deploys waypoints and Gateway API gateways itself, without a webhook; it says on the pod whose they are. */
static void without_webhook(struct proxy_row *p, const struct inv_pod *pod) {
    if (pod->type != POD_SIDECAR && p->expected == REV_NONE && p->injected != REV_NONE && !p->asks) {
        p->expected = p->injected;
    }
}

void join_wish_ztunnel(struct proxy_row *p) {
    uint32_t home = p->injected != REV_NONE && p->injected != REV_UNKNOWN ? p->injected
                    : p->attached < REV_FOREIGN                           ? p->attached
                    : p->dials < REV_FOREIGN                              ? p->dials
                                                                          : REV_UNKNOWN;
    p->expected = p->injected = home;
}

static void take_ztunnel(const struct round *r, struct proxy_row *p, const struct inv_pod *pod) {
    const char *revision = js_str(pod->annotations, "istio.io/rev", NULL);
    p->no_envoy = true;
    p->opted_out = false;
    p->injected = revision && revision[0] ? join_revision(r->j, revision) : REV_UNKNOWN;
    p->expected = p->injected;
}

bool join_wish(struct round *r, struct proxy_row *p, const struct inv_pod *pod, struct pod_memory *m) {
    const struct inv_namespace *ns = r->j->namespace_objects[p->ns];
    p->asks = asks_cached(m, ns->labels, pod->labels);
    p->expected = expected(r->j, pod);
    p->injected = injected(r->j, pod);
    without_webhook(p, pod);
    if (pod->type != POD_ZTUNNEL && p->injected == REV_NONE && !p->asks && p->expected == REV_NONE) {
        return false;
    }
    const char *name = p->expected == REV_NONE && p->asks ? named(r, p, pod) : NULL;
    p->dangling = name && !inventory_resolve(r->inv, name);
    p->ready = pod->ready;
    p->deleting = pod->deleting;
    p->finished = pod->finished;
    p->host_network = pod->opt_out == OPT_OUT_HOST_NETWORK;
    p->opted_out = !pod->injected && pod->opt_out != OPT_OUT_NONE;
    p->trouble = trouble_reason(pod->trouble);
    p->expected_since_ms = pod->expected_since_ms;
    if (pod->type == POD_ZTUNNEL) {
        take_ztunnel(r, p, pod);
    }
    return true;
}

/* --- notes --- */

/* "1.29.6-distroless" is 1.29.6. */
static bool same_version(const char *a, const char *b) {
    size_t n = strcspn(a, "-"), k = strcspn(b, "-");
    return n == k && strncmp(a, b, n) == 0;
}

bool join_old_build(const struct round *r, const struct proxy_row *p, const struct attach_fact *a) {
    if (!a || !a->istio_version || !a->istio_version[0] || p->attached >= r->j->seen.n_revisions) {
        return false;
    }
    const char *version = r->j->versions[p->attached];
    return version && !same_version(a->istio_version, version);
}

static bool label_ignored(const struct round *r, const struct proxy_row *p, const struct inv_pod *pod) {
    const char *own = js_str(pod->labels, "istio.io/rev", NULL);
    const json_t *labels = r->j->namespace_objects[p->ns]->labels;
    if (!own || (!json_object_get(labels, "istio.io/rev") && !json_object_get(labels, "istio-injection"))) {
        return false;
    }
    const char *meant = inventory_resolve(r->inv, own);
    return !meant || join_revision(r->j, meant) != p->expected;
}

enum reason join_note(const struct round *r, const struct proxy_row *p, const struct inv_pod *pod) {
    if (p->injected != REV_NONE && p->expected == REV_NONE && !p->asks) {
        return REASON_NO_LONGER_INJECTED;
    }
    if (json_object_get(pod->annotations, "sidecar.istio.io/proxyImage")) {
        return REASON_CUSTOM_IMAGE;
    }
    if (p->old_build) {
        return REASON_OLD_BUILD;
    }
    return label_ignored(r, p, pod) ? REASON_POD_LABEL_IGNORED : REASON_NONE;
}
