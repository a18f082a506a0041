#include "review.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/base/json.h"
#include "../lib/base/mem.h"

/* Numbers of gRPC's statuses; the gate's logic knows nothing else of it. */
enum { PERMISSION_DENIED = 7, UNAVAILABLE = 14, UNAUTHENTICATED = 16 };
enum { MAX_ANSWER = 256 * 1024 };

char *review_body(const char *token, const char *audience) {
    json_t *o = json_pack("{s:s, s:s, s:{s:s, s:[s]}}", "apiVersion", "authentication.k8s.io/v1", "kind", "TokenReview",
                          "spec", "token", token, "audiences", audience);
    char *text = o != NULL ? js_dump(o) : NULL;
    json_decref(o);
    return text;
}

__attribute__((format(printf, 3, 4))) static void refuse(struct review *out, int status, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(out->text, sizeof out->text, fmt, ap);
    va_end(ap);
    out->status = status;
}

static bool has_audience(const json_t *status, const char *audience) {
    size_t i;
    const json_t *a;
    json_array_foreach(js_at(status, "audiences", NULL), i, a) {
        if (json_is_string(a) && strcmp(json_string_value(a), audience) == 0) {
            return true;
        }
    }
    return false;
}

static void judge(const json_t *status, const struct gate_opts *expect, struct review *out) {
    if (!js_bool(status, false, "authenticated", NULL)) {
        const char *why = js_text(status, "error", NULL);
        refuse(out, UNAUTHENTICATED, "the API server refuses the token: %s", why[0] != '\0' ? why : "no reason given");
        return;
    }
    if (!has_audience(status, expect->audience)) {
        refuse(out, UNAUTHENTICATED, "the token is not for audience %s; project a service account token with that audience",
               expect->audience);
        return;
    }
    char account[512];
    snprintf(account, sizeof account, "system:serviceaccount:%s:%s", expect->agent_namespace, expect->agent_account);
    const char *user = js_text(status, "user", "username", NULL);
    if (strcmp(user, account) != 0) {
        refuse(out, PERMISSION_DENIED, "the token is of %s; agents must run as %s", user, account);
        return;
    }
    const json_t *names = js_at(status, "user", "extra", "authentication.kubernetes.io/node-name", NULL);
    const char *node = json_string_value(json_array_get(names, 0));
    if (node == NULL || node[0] == '\0') {
        refuse(out, PERMISSION_DENIED,
               "the token is not bound to a pod on a node; agents must use a projected token of their own pod "
               "(Kubernetes 1.30 or later, or the ServiceAccountTokenPodNodeInfo feature)");
        return;
    }
    out->node = mem_dup(node);
}

void review_read(const struct kube_response *r, const struct gate_opts *expect, struct review *out) {
    *out = (struct review){.node = NULL};
    if (r->status != 200 && r->status != 201) {
        refuse(out, UNAVAILABLE, "the token could not be reviewed: %s", r->err.text);
        return;
    }
    struct err err = {0};
    json_t *o = js_parse(r->body, r->len, MAX_ANSWER, &err);
    const json_t *status = js_at(o, "status", NULL);
    if (status == NULL) {
        refuse(out, UNAVAILABLE, "the token could not be reviewed: the API server's answer has no status %s", err.text);
    } else {
        judge(status, expect, out);
    }
    json_decref(o);
}
