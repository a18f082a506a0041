/*
 * The Kubernetes API: how requests are sent (a transport), and the settings it is made from. The reflector (reflector.h)
 * and everything in the gate sit on the transport's face; scenario tests put the embedded API server under it.
 */
#pragma once

#include <jansson.h>

#include "../base/err.h"
#include "../base/loop.h"
#include "../base/sched.h"

struct kube_request {
    const char *method;       /* GET, POST, PUT, PATCH, DELETE */
    const char *path;         /* "/api/v1/pods?limit=500": path and query, already escaped */
    const char *body;         /* text or NULL */
    const char *content_type; /* NULL: application/json. PATCH needs application/merge-patch+json or the like */
    const char *accept;       /* NULL: application/json */
    int64_t timeout_ms;       /* whole request; 0: 30 s. For streams: longest silence; 0: 90 s */
    bool stream;              /* a watch: body bytes are handed on as they come */
};

struct kube_response {
    int status;       /* HTTP status; 0: no answer, see err */
    const char *body; /* of a request that is no stream, or the error body of a stream; may be "" */
    size_t len;
    int64_t retry_after_ms; /* from Retry-After, else 0 */
    struct err err;         /* ERR_NONE for 2xx; otherwise by kind (401/403 DENIED, 404 NOT_FOUND, 409 CONFLICT, 410 and
                               422 INVALID, 429 and 5xx UNAVAILABLE) with the server's message */
};

struct kube_handler {
    /* Bytes of a stream with status 2xx; a transport calls it once with n = 0 when that status has come, which proves that
     * the watch is open. The callback may send and cancel. May be NULL for other requests. */
    void (*data)(void *ctx, const char *p, size_t n);
    /* The request is over, for streams too. Exactly once unless cancelled; never from inside kube_send. */
    void (*done)(void *ctx, const struct kube_response *r);
};

struct kube_call;

struct kube_ops {
    struct kube_call *(*send)(void *self, const struct kube_request *req, const struct kube_handler *h, void *ctx);
    void (*cancel)(void *self, struct kube_call *c);
};

/* A connection to one API server. */
struct kube {
    const struct kube_ops *ops;
    void *self;
    struct sched *sched;
};

/* Send; the request is copied. Never NULL. */
struct kube_call *kube_send(struct kube *k, const struct kube_request *req, const struct kube_handler *h, void *ctx);
/* Forget a call that is not done; no callback afterwards. */
void kube_cancel(struct kube *k, struct kube_call *c);

/* Where the API server is and who we are. */
struct kube_config {
    char *server;             /* https://HOST:PORT */
    char *ca_pem;             /* NULL: system roots */
    char *cert_pem, *key_pem; /* client certificate, or NULL */
    char *token;              /* fixed token, or NULL */
    char *token_file;         /* re-read when it changes, at least each minute, and after a 401 */
    char *tls_server_name;
    bool insecure;    /* insecure-skip-tls-verify: refused unless the kubeconfig says so */
    char *namespace_; /* of the context or of the pod */
};

/* kubeconfig file (YAML by libyaml; inline data or file names relative to it; context NULL: current-context).
 * exec and auth-provider users are refused with a sentence. *err names file, context and field. */
bool kube_config_load(const char *path, const char *context, struct kube_config *out, struct err *err);
/* KUBERNETES_SERVICE_HOST/PORT and /var/run/secrets/kubernetes.io/serviceaccount. */
bool kube_config_in_cluster(struct kube_config *out, struct err *err);
/* The same with another directory for token, ca.crt and namespace. */
bool kube_config_from_dir(const char *dir, struct kube_config *out, struct err *err);
void kube_config_done(struct kube_config *c);

/* The real transport: libcurl multi on the loop, HTTP/2, TLS 1.2+, no redirects, every request with a deadline. */
struct kube *kube_curl_new(struct loop *loop, const struct kube_config *config, struct err *err);
/* Open calls are forgotten. The loop must turn once more (loop_free does) before the last handles are closed. */
void kube_curl_free(struct kube *k);

/* Percent-escape one path segment or query value; the caller's to free(). */
char *kube_escape(const char *s);
/* The error of a response status (used by transports). */
void kube_status_error(int status, const char *body, size_t len, const char *method, const char *path, struct err *out);
