#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/base/text.h"
#include "store_impl.h"

static const char api_audience[] = "https://kubernetes.default.svc";

void store_on_change(struct store *s, void (*fn)(void *ctx, const char *resource, const char *event, const json_t *obj),
                     void *ctx) {
    s->on_change = fn;
    s->on_change_ctx = ctx;
}

void store_on_admit_pod(struct store *s, bool (*fn)(void *ctx, json_t *pod, struct err *err), void *ctx) {
    s->on_admit = fn;
    s->on_admit_ctx = ctx;
}

void store_on_proxy(struct store *s,
                    bool (*fn)(void *ctx, const char *ns, const char *service, const char *path, struct store_reply *out),
                    void *ctx) {
    s->on_proxy = fn;
    s->on_proxy_ctx = ctx;
}

/* --- faults --- */

void store_fault(struct store *s, const char *user, int status) {
    struct store_fault_rule **p = &s->faults;
    while (*p && !((!(*p)->user && !user) || ((*p)->user && user && !strcmp((*p)->user, user)))) {
        p = &(*p)->next;
    }
    if (!*p) {
        *p = mem_alloc(sizeof **p);
        (*p)->user = mem_dup(user);
    }
    (*p)->status = status;
}

int store_fault_of(const struct store *s, const struct store_user *user) {
    for (const struct store_fault_rule *f = s->faults; f; f = f->next) {
        if (f->status && (!f->user || (user && !strcmp(f->user, user->name)))) {
            return f->status;
        }
    }
    return 0;
}

/* --- tokens --- */

void store_add_token(struct store *s, const char *token, const char *namespace_, const char *account, const char *audience,
                     const char *node, const char *pod) {
    struct store_token *t = mem_alloc(sizeof *t);
    t->token = mem_dup(token);
    t->namespace_ = mem_dup(namespace_);
    t->account = mem_dup(account);
    t->audience = mem_dup(audience ? audience : api_audience);
    t->node = mem_dup(node);
    t->pod = mem_dup(pod);
    t->user = namespace_ ? mem_printf("system:serviceaccount:%s:%s", namespace_, account) : mem_dup(account);
    t->next = s->tokens;
    s->tokens = t;
}

void store_drop_token(struct store *s, const char *token) {
    for (struct store_token **p = &s->tokens; *p; p = &(*p)->next) {
        if (!strcmp((*p)->token, token)) {
            struct store_token *t = *p;
            *p = t->next;
            t->next = NULL;
            free(t->token);
            free(t->namespace_);
            free(t->account);
            free(t->audience);
            free(t->node);
            free(t->pod);
            free(t->user);
            free(t);
            return;
        }
    }
}

static const struct store_token *token_find(const struct store *s, const char *token) {
    for (const struct store_token *t = s->tokens; t; t = t->next) {
        if (!strcmp(t->token, token)) {
            return t;
        }
    }
    return NULL;
}

const char *store_authenticate(const struct store *s, const char *token, const char *audience, const char **namespace_) {
    const struct store_token *t = token_find(s, token);
    if (!t || strcmp(t->audience, audience ? audience : api_audience)) {
        return NULL;
    }
    if (namespace_) {
        *namespace_ = t->namespace_;
    }
    return t->user;
}

void store_special_done(struct store *s) {
    while (s->tokens) {
        store_drop_token(s, s->tokens->token);
    }
    for (struct store_fault_rule *f = s->faults, *next; f; f = next) {
        next = f->next;
        free(f->user);
        free(f);
    }
}

static json_t *extra_of(const struct store_token *t) {
    json_t *extra = json_object();
    uint64_t id = text_hash(1, t->token, strlen(t->token));
    json_object_set_new(
        extra, "authentication.kubernetes.io/credential-id",
        json_pack("[o]", json_sprintf("JTI=%08x-0000-4000-8000-%012" PRIx64, (unsigned)id, id & 0xffffffffffffu)));
    if (t->node) {
        json_object_set_new(extra, "authentication.kubernetes.io/node-name", json_pack("[s]", t->node));
    }
    if (t->pod) {
        json_object_set_new(extra, "authentication.kubernetes.io/pod-name", json_pack("[s]", t->pod));
    }
    return extra;
}

static json_t *review(const struct store *s, const char *token, const json_t *audiences) {
    const struct store_token *t = token_find(s, token);
    if (!t) {
        return json_pack("{s:{},s:s}", "user", "error", "invalid bearer token");
    }
    bool match = !json_array_size(audiences) && !strcmp(t->audience, api_audience);
    size_t i;
    json_t *a;
    json_array_foreach(store_mutable(audiences), i, a) {
        match = match || !strcmp(json_is_string(a) ? json_string_value(a) : "", t->audience);
    }
    if (!match) {
        char *wanted = json_array_size(audiences) ? js_dump(audiences) : mem_printf("[\"%s\"]", api_audience);
        json_t *o = json_pack(
            "{s:{},s:o}", "user", "error",
            json_sprintf("[invalid bearer token, token audiences [\"%s\"] is invalid for the target audiences %s]",
                         t->audience, wanted));
        free(wanted);
        return o;
    }
    uint64_t uid = text_hash(2, t->user, strlen(t->user));
    json_t *user =
        json_pack("{s:s,s:o,s:[s,o,s],s:o}", "username", t->user, "uid",
                  json_sprintf("%08x-0000-4000-9000-%012" PRIx64, (unsigned)uid, uid & 0xffffffffffffu), "groups",
                  "system:serviceaccounts", json_sprintf("system:serviceaccounts:%s", t->namespace_ ? t->namespace_ : ""),
                  "system:authenticated", "extra", extra_of(t));
    return json_pack("{s:b,s:o,s:[s]}", "authenticated", 1, "user", user, "audiences", t->audience);
}

void store_token_review(struct store *s, const struct store_call *c, struct store_reply *out) {
    struct err err = {0};
    json_t *o = js_parse(c->body, c->len, 256 * 1024, &err);
    const char *token = js_str(o, "spec", "token", NULL);
    if (!o || !token || !*token) {
        store_status(out, 400, "BadRequest", NULL, "%s",
                     o ? "token is required for TokenReview in authentication" : err.text);
    } else {
        json_object_set_new(o, "apiVersion", json_string("authentication.k8s.io/v1"));
        json_object_set_new(o, "kind", json_string("TokenReview"));
        json_object_set_new(o, "status", review(s, token, js_at(o, "spec", "audiences", NULL)));
        store_answer(out, 201, o);
    }
    json_decref(o);
}

/* serviceaccounts/NAME/token */
void store_token_request(struct store *s, const struct store_call *c, struct store_reply *out) {
    struct err err = {0};
    json_t *o = js_parse(c->body, c->len, 256 * 1024, &err);
    if (!o) {
        store_status(out, 400, "BadRequest", NULL, "%s", err.text);
        return;
    }
    if (!store_find(s, c->res, c->ns, c->name)) {
        store_not_found(out, &store_resources[c->res], c->name);
        json_decref(o);
        return;
    }
    const char *audience = json_string_value(json_array_get(js_at(o, "spec", "audiences", NULL), 0));
    char tail[6], until[40];
    store_random_name(s, tail);
    char *token = mem_printf("embedded.%s.%s.%s.%" PRIu64, c->ns, c->name, tail, s->ids);
    store_add_token(s, token, c->ns, c->name, audience, NULL, NULL);
    text_rfc3339_format(sched_wall(s->sched) + 3600000, until, sizeof until);
    json_object_set_new(o, "status", json_pack("{s:s,s:s}", "token", token, "expirationTimestamp", until));
    store_answer(out, 201, o);
    free(token);
    json_decref(o);
}

/* --- eviction --- */

static bool labels_match(const json_t *selector, const json_t *labels) {
    const char *key;
    json_t *v;
    json_object_foreach(js_at(selector, "matchLabels", NULL), key, v) {
        json_t *have = json_object_get(labels, key);
        if (!have || !json_equal(have, v)) {
            return false;
        }
    }
    return true;
}

void store_evict(struct store *s, const struct store_call *c, struct store_reply *out) {
    size_t budgets;
    struct store_obj *pod = store_find(s, c->res, c->ns, c->name);
    check(store_resource_find("policy", "v1", "poddisruptionbudgets", &budgets));
    if (!pod) {
        store_not_found(out, &store_resources[c->res], c->name);
        return;
    }
    store_sort(s, budgets);
    for (const struct store_obj *b = s->tables[budgets].head; b; b = b->hh.next) {
        if (strcmp(js_text(b->o, "metadata", "namespace", NULL), c->ns) ||
            js_int(b->o, 0, "status", "disruptionsAllowed", NULL) > 0 ||
            !labels_match(js_at(b->o, "spec", "selector", NULL), js_at(pod->o, "metadata", "labels", NULL))) {
            continue;
        }
        json_t *why = json_sprintf("The disruption budget %s needs %lld healthy pods and has %lld currently",
                                   js_text(b->o, "metadata", "name", NULL),
                                   (long long)js_int(b->o, 0, "status", "desiredHealthy", NULL),
                                   (long long)js_int(b->o, 0, "status", "currentHealthy", NULL));
        store_status(out, 429, "TooManyRequests",
                     json_pack("{s:[{s:s,s:o}]}", "causes", "reason", "DisruptionBudget", "message", why),
                     "Cannot evict pod as it would violate the pod's disruption budget.");
        return;
    }
    const char *dry = store_call_param(c, "dryRun");
    if (!dry || strcmp(dry, "All")) {
        store_remove(s, c->res, pod);
    }
    json_t *ok = json_pack("{s:s,s:s,s:{},s:s,s:i}", "kind", "Status", "apiVersion", "v1", "metadata", "status", "Success",
                           "code", 201);
    store_answer(out, 201, ok);
    json_decref(ok);
}

/* --- service proxy --- */

void store_proxy(struct store *s, const struct store_call *c, struct store_reply *out) {
    const char *name = c->name;
    const char *colon = strchr(name, ':');
    if (colon && (!strncmp(name, "http:", 5) || !strncmp(name, "https:", 6))) {
        name = colon + 1;
    }
    char *service = mem_dup(name);
    if (strchr(service, ':')) {
        *strchr(service, ':') = 0;
    }
    if (!store_find(s, c->res, c->ns, service)) {
        store_not_found(out, &store_resources[c->res], service);
    } else if (!s->on_proxy || !s->on_proxy(s->on_proxy_ctx, c->ns, service, c->rest ? c->rest : "/", out)) {
        store_status(out, 503, "ServiceUnavailable", NULL, "no endpoints available for service \"%s\"", service);
    }
    free(service);
}
