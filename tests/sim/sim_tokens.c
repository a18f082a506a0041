#include "sim_tokens.h"

#include <stdlib.h>
#include <string.h>

#include "../../lib/base/json.h"
#include "../../lib/base/mem.h"

struct review {
    struct sim_tokens *owner;
    struct ads_auth *auth;
    struct kube_call *call;
    struct review *next;
};

struct sim_tokens {
    struct kube *kube;
    struct review *reviews;
};

/* "system:serviceaccount:NS:NAME" */
static void conclude(struct ads_auth *a, const json_t *answer) {
    static const char prefix[] = "system:serviceaccount:";
    const char *user = js_text(answer, "status", "user", "username", NULL);
    const char *account = strrchr(user, ':');
    if (!js_bool(answer, false, "status", "authenticated", NULL) || strncmp(user, prefix, sizeof prefix - 1) || !account) {
        ads_authenticated(a, NULL, NULL);
        return;
    }
    char ns[254];
    snprintf(ns, sizeof ns, "%.*s", (int)(account - user - (ptrdiff_t)(sizeof prefix - 1)), user + sizeof prefix - 1);
    ads_authenticated(a, ns, account + 1);
}

static void on_reviewed(void *ctx, const struct kube_response *r) {
    struct review *x = ctx;
    struct review **p = &x->owner->reviews;
    struct err err = {0};
    while (*p != x) {
        p = &(*p)->next;
    }
    *p = x->next;
    json_t *o = r->err.code == ERR_NONE ? js_parse(r->body, r->len, 1 << 20, &err) : NULL;
    conclude(x->auth, o);
    json_decref(o);
    free(x);
}

void sim_tokens_review(struct sim_tokens *t, const char *token, struct ads_auth *a) {
    static const struct kube_handler handler = {NULL, on_reviewed};
    struct review *x = mem_alloc(sizeof *x);
    json_t *o = json_pack("{s:s,s:s,s:{s:s,s:[s]}}", "apiVersion", "authentication.k8s.io/v1", "kind", "TokenReview",
                          "spec", "token", token, "audiences", "istio-ca");
    char *text = o ? js_dump(o) : mem_dup("{}"); /* no UTF-8: the server refuses it */
    struct kube_request q = {.method = "POST", .path = "/apis/authentication.k8s.io/v1/tokenreviews", .body = text};
    x->owner = t;
    x->auth = a;
    x->next = t->reviews;
    t->reviews = x;
    x->call = kube_send(t->kube, &q, &handler, x);
    free(text);
    json_decref(o);
}

struct sim_tokens *sim_tokens_new(struct kube *kube) {
    struct sim_tokens *t = mem_alloc(sizeof *t);
    t->kube = kube;
    return t;
}

void sim_tokens_free(struct sim_tokens *t) {
    if (!t) {
        return;
    }
    while (t->reviews) {
        struct review *x = t->reviews;
        t->reviews = x->next;
        kube_cancel(t->kube, x->call);
        ads_authenticated(x->auth, NULL, NULL);
        free(x);
    }
    free(t);
}
