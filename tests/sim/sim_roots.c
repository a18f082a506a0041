#include "sim_roots.h"

#include <stdlib.h>
#include <string.h>

#include "../../lib/base/json.h"
#include "../../lib/base/log.h"
#include "../../lib/base/mem.h"
#include "../../lib/kube/reflector.h"

#define RETRY_MS 500
#define SECRETS "/api/v1/namespaces/istio-system/secrets"

struct sim_roots {
    struct kube *kube;
    char *revision, *root_pem, *bundle;
    struct pki_ca *ca;
    void (*ready)(void *ctx, const struct pki_ca *ca);
    void *ctx;
    struct kube_call *call; /* about the Secret */
    struct timer retry;
    struct reflector *namespaces, *webhooks;
    struct write *writes;
};

/* One request whose outcome matters only for another try: the reflector shows the object again until it is right. */
struct write {
    struct sim_roots *roots;
    struct kube_call *call;
    struct write *next;
};

static void on_written(void *ctx, const struct kube_response *r) {
    struct write *w = ctx;
    struct write **p = &w->roots->writes;
    if (r->err.code != ERR_NONE && r->status != 409 && r->status != 404) { /* there already, or its namespace is gone */
        log_warn("a root of trust was not written", log_s("error", r->err.text));
    }
    while (*p != w) {
        p = &(*p)->next;
    }
    *p = w->next;
    free(w);
}

static void write_object(struct sim_roots *r, const char *method, const char *path, const json_t *body) {
    static const struct kube_handler handler = {NULL, on_written};
    struct write *w = mem_alloc(sizeof *w);
    char *text = js_dump(body);
    struct kube_request q = {.method = method, .path = path, .body = text};
    w->roots = r;
    w->next = r->writes;
    r->writes = w;
    w->call = kube_send(r->kube, &q, &handler, w);
    free(text);
}

static void on_namespace(void *ctx, const json_t *o) {
    struct sim_roots *r = ctx;
    const char *ns = js_text(o, "metadata", "name", NULL);
    if (js_at(o, "metadata", "deletionTimestamp", NULL)) {
        return;
    }
    char *path = mem_printf("/api/v1/namespaces/%s/configmaps", ns);
    json_t *m = json_pack("{s:s,s:s,s:{s:s,s:{s:s}},s:{s:s}}", "apiVersion", "v1", "kind", "ConfigMap", "metadata", "name",
                          "istio-ca-root-cert", "labels", "istio.io/config", "true", "data", "root-cert.pem", r->root_pem);
    write_object(r, "POST", path, m);
    json_decref(m);
    free(path);
}

static void on_webhook(void *ctx, const json_t *o) {
    struct sim_roots *r = ctx;
    json_t *copy = json_deep_copy(o), *hook;
    size_t i;
    bool right = true;
    json_array_foreach(json_object_get(copy, "webhooks"), i, hook) {
        json_t *client = json_object_get(hook, "clientConfig");
        right = right && !strcmp(js_text(client, "caBundle", NULL), r->bundle);
        json_object_set_new(client, "caBundle", json_string(r->bundle));
    }
    if (!right) {
        char *path = mem_printf("/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/%s",
                                js_text(o, "metadata", "name", NULL));
        write_object(r, "PUT", path, copy); /* with its resourceVersion: another replica may have been here first */
        free(path);
    }
    json_decref(copy);
}

static void ignore_gone(void *ctx, const char *ns, const char *name, const char *uid) {
    (void)ctx, (void)ns, (void)name, (void)uid;
}

static void ignore_synced(void *ctx) {
    (void)ctx;
}

static void begin(struct sim_roots *r) {
    static const struct reflector_ops on_namespaces = {on_namespace, ignore_gone, ignore_synced};
    static const struct reflector_ops on_webhooks = {on_webhook, ignore_gone, ignore_synced};
    char *query = mem_printf("labelSelector=istio.io%%2Frev%%3D%s", r->revision);
    struct reflector_opts webhooks = {.path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
                                      .query = query};
    struct reflector_opts namespaces = {.path = "/api/v1/namespaces"};
    r->root_pem = pki_ca_cert(r->ca);
    r->bundle = pki_base64(r->root_pem);
    r->namespaces = reflector_new(r->kube, &namespaces, &on_namespaces, r, 1);
    r->webhooks = reflector_new(r->kube, &webhooks, &on_webhooks, r, 2);
    free(query);
    r->ready(r->ctx, r->ca);
}

/* --- the CA --- */

static void ask_secret(void *ctx);

static void again(struct sim_roots *r, const char *what, const struct kube_response *x) {
    struct sched *s = r->kube->sched;
    log_warn(what, log_s("error", x->err.text));
    timer_set(s, &r->retry, sched_now(s) + RETRY_MS, ask_secret, r);
}

static bool take_secret(struct sim_roots *r, const struct kube_response *x) {
    struct err err = {0};
    json_t *o = js_parse(x->body, x->len, 1 << 20, &err);
    char *cert = pki_unbase64(js_text(o, "data", "ca-cert.pem", NULL)),
         *key = pki_unbase64(js_text(o, "data", "ca-key.pem", NULL));
    if (cert && key) {
        r->ca = pki_ca_load(cert, key, &err);
    }
    free(cert);
    free(key);
    json_decref(o);
    return r->ca;
}

static void on_created(void *ctx, const struct kube_response *x) {
    struct sim_roots *r = ctx;
    r->call = NULL;
    if (x->err.code == ERR_NONE && take_secret(r, x)) {
        begin(r);
    } else {
        again(r, "Secret istio-ca-secret was not made", x); /* another istiod made it: read that one */
    }
}

static void make_secret(struct sim_roots *r) {
    static const struct kube_handler handler = {NULL, on_created};
    struct pki_ca *ca = pki_ca_new("cluster.local");
    char *cert = pki_ca_cert(ca), *key = pki_ca_key(ca), *cert64 = pki_base64(cert), *key64 = pki_base64(key);
    json_t *o =
        json_pack("{s:s,s:s,s:{s:s},s:s,s:{s:s,s:s}}", "apiVersion", "v1", "kind", "Secret", "metadata", "name",
                  "istio-ca-secret", "type", "istio.io/ca-root", "data", "ca-cert.pem", cert64, "ca-key.pem", key64);
    char *text = js_dump(o);
    struct kube_request q = {.method = "POST", .path = SECRETS, .body = text};
    r->call = kube_send(r->kube, &q, &handler, r);
    json_decref(o);
    pki_ca_free(ca);
    free(text);
    free(cert);
    free(key);
    free(cert64);
    free(key64);
}

static void on_secret(void *ctx, const struct kube_response *x) {
    struct sim_roots *r = ctx;
    r->call = NULL;
    if (x->status == 404) {
        make_secret(r);
    } else if (x->err.code == ERR_NONE && take_secret(r, x)) {
        begin(r);
    } else {
        again(r, "Secret istio-ca-secret cannot be read", x);
    }
}

static void ask_secret(void *ctx) {
    static const struct kube_handler handler = {NULL, on_secret};
    struct sim_roots *r = ctx;
    struct kube_request q = {.method = "GET", .path = SECRETS "/istio-ca-secret"};
    r->call = kube_send(r->kube, &q, &handler, r);
}

struct sim_roots *sim_roots_new(struct kube *kube, const char *revision, void (*ready)(void *ctx, const struct pki_ca *ca),
                                void *ctx) {
    struct sim_roots *r = mem_alloc(sizeof *r);
    r->kube = kube;
    r->revision = mem_dup(revision);
    r->ready = ready;
    r->ctx = ctx;
    ask_secret(r);
    return r;
}

void sim_roots_free(struct sim_roots *r) {
    if (!r) {
        return;
    }
    timer_cancel(r->kube->sched, &r->retry);
    if (r->call) {
        kube_cancel(r->kube, r->call);
    }
    while (r->writes) {
        struct write *w = r->writes;
        r->writes = w->next;
        kube_cancel(r->kube, w->call);
        free(w);
    }
    reflector_free(r->namespaces);
    reflector_free(r->webhooks);
    pki_ca_free(r->ca);
    free(r->revision);
    free(r->root_pem);
    free(r->bundle);
    free(r);
}
