#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "store_impl.h"

struct store *store_new(struct sched *sched) {
    struct store *s = mem_alloc(sizeof *s);
    check(store_resource_count() <= STORE_RES_MAX);
    s->sched = sched;
    s->rv = 1000; /* so that nobody takes it for a small counter of its own */
    s->compacted = 0;
    return s;
}

void store_free(struct store *s) {
    if (!s) {
        return;
    }
    store_watch_done_all(s);
    store_compact(s);
    for (size_t i = 0; i < store_resource_count(); i++) {
        struct store_obj *o, *next;
        HASH_ITER(hh, s->tables[i].head, o, next) {
            HASH_DEL(s->tables[i].head, o);
            json_decref(o->o);
            free(o->key);
            free(o);
        }
    }
    store_special_done(s);
    free(s->changes);
    free(s);
}

static int hex(char c) {
    return isdigit((unsigned char)c) ? c - '0' : isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10 : -1;
}

/* In place; '+' is a blank in queries only. */
static void unescape(char *s, bool query) {
    char *to = s;
    for (; *s; s++) {
        if (*s == '%' && hex(s[1]) >= 0 && hex(s[2]) >= 0) {
            *to++ = (char)(hex(s[1]) * 16 + hex(s[2]));
            s += 2;
        } else {
            *to++ = query && *s == '+' ? ' ' : *s;
        }
    }
    *to = 0;
}

static bool parse_query(struct store_call *c, char *q) {
    while (q && *q) {
        char *next = strchr(q, '&');
        if (next) {
            *next++ = 0;
        }
        if (c->n_param == STORE_CALL_PARAMS) {
            return false;
        }
        char *eq = strchr(q, '=');
        if (eq) {
            *eq++ = 0;
            unescape(eq, true);
        }
        unescape(q, true);
        c->param[c->n_param].key = q;
        c->param[c->n_param++].value = eq ? eq : "";
        q = next;
    }
    return true;
}

bool store_call_parse(struct store_call *c, const char *path_query) {
    c->text = mem_dup(path_query);
    char *q = strchr(c->text, '?');
    if (q) {
        *q++ = 0;
    }
    const char *rest = strstr(path_query, "/proxy/");
    c->rest = rest ? rest + strlen("/proxy") : NULL;
    char *p = c->text;
    while (*p) {
        while (*p == '/') {
            *p++ = 0;
        }
        if (!*p) {
            break;
        }
        if (c->n_seg == STORE_CALL_SEGMENTS) {
            return c->rest && parse_query(c, q);
        }
        c->seg[c->n_seg++] = p;
        p += strcspn(p, "/");
    }
    for (size_t i = 0; i < c->n_seg; i++) {
        unescape(c->seg[i], false);
    }
    return parse_query(c, q);
}

void store_call_done(struct store_call *c) {
    free(c->text);
    *c = (struct store_call){0};
}

const char *store_call_param(const struct store_call *c, const char *key) {
    for (size_t i = 0; i < c->n_param; i++) {
        if (!strcmp(c->param[i].key, key)) {
            return c->param[i].value;
        }
    }
    return NULL;
}

/* Segments of the path behind the group and version. */
static bool route_tail(struct store_call *c, const char *group, const char *version, size_t at, struct store_reply *out) {
    char **seg = c->seg + at;
    size_t n = c->n_seg - at;
    bool of_namespace = n >= 3 && !strcmp(seg[0], "namespaces") && strcmp(seg[2], "status") && strcmp(seg[2], "finalize");
    if (of_namespace) {
        c->ns = seg[1];
        seg += 2;
        n -= 2;
    }
    if (!n || !store_resource_find(group, version, seg[0], &c->res) ||
        (of_namespace && !store_resources[c->res].namespaced)) {
        store_plain(out, 404, "404 page not found\n");
        return false;
    }
    c->name = n > 1 ? seg[1] : NULL;
    c->sub = n > 2 ? seg[2] : NULL;
    if (c->name && store_resources[c->res].namespaced && !c->ns) {
        store_plain(out, 404, "404 page not found\n");
        return false;
    }
    return true;
}

bool store_call_route(struct store_call *c, struct store_reply *out) {
    if (c->n_seg >= 3 && !strcmp(c->seg[0], "api")) {
        return route_tail(c, "", c->seg[1], 2, out);
    }
    if (c->n_seg >= 4 && !strcmp(c->seg[0], "apis")) {
        return route_tail(c, c->seg[1], c->seg[2], 3, out);
    }
    store_plain(out, 404, "404 page not found\n");
    return false;
}

static void forbidden(const struct store_call *c, struct store_reply *out) {
    const struct store_res *r = &store_resources[c->res];
    const char *verb = !strcmp(c->method, "GET")      ? (c->name                        ? "get"
                                                         : store_call_param(c, "watch") ? "watch"
                                                                                        : "list")
                       : !strcmp(c->method, "POST")   ? "create"
                       : !strcmp(c->method, "PUT")    ? "update"
                       : !strcmp(c->method, "DELETE") ? "delete"
                                                      : "patch";
    char q[128], scope[300], where[300];
    store_qualified(r, q, sizeof q);
    snprintf(scope, sizeof scope, "in the namespace \"%s\"", c->ns ? c->ns : "");
    snprintf(where, sizeof where, c->name ? " \"%s\"" : "%s", c->name ? c->name : "");
    store_status(out, 403, "Forbidden", store_details(r, c->name),
                 "%s%s is forbidden: User \"%s\" cannot %s resource \"%s%s%s\" in API group \"%s\" %s", q, where,
                 c->user->name, verb, r->plural, c->sub ? "/" : "", c->sub ? c->sub : "", r->group,
                 c->ns ? scope : "at the cluster scope");
}

static void answer_fault(const struct store_call *c, int fault, struct store_reply *out) {
    switch (fault) {
    case -1:
        out->status = -1;
        return;
    case 401:
        store_status(out, 401, "Unauthorized", NULL, "Unauthorized");
        return;
    case 403:
        forbidden(c, out);
        return;
    case 409:
        store_conflict(out, &store_resources[c->res], c->name ? c->name : "", NULL);
        return;
    case 410:
        store_status(out, 410, "Expired", NULL, "too old resource version: 1 (2)");
        return;
    case 429:
        store_status(out, 429, "TooManyRequests", json_pack("{s:i}", "retryAfterSeconds", 1),
                     "the server has received too many requests and has asked us to try again later");
        return;
    case 503:
        store_status(out, 503, "ServiceUnavailable", NULL, "the server is currently unable to handle the request");
        return;
    default:
        store_status(out, fault, "InternalError", json_object(),
                     "an error on the server (\"told to fail\") has prevented the "
                     "request from succeeding");
    }
}

static void not_allowed(struct store_reply *out) {
    store_status(out, 405, "MethodNotAllowed", json_object(),
                 "the server does not allow this method on the requested resource");
}

static void get_one(struct store *s, const struct store_call *c, struct store_reply *out) {
    struct store_obj *o = store_find(s, c->res, c->ns, c->name);
    if (o) {
        store_answer(out, 200, o->o);
    } else {
        store_not_found(out, &store_resources[c->res], c->name);
    }
}

static void serve_post(struct store *s, const struct store_call *c, struct store_reply *out) {
    const struct store_res *r = &store_resources[c->res];
    if (!strcmp(r->plural, "tokenreviews")) {
        store_token_review(s, c, out);
    } else if (!strcmp(r->plural, "pods") && c->sub && !strcmp(c->sub, "eviction")) {
        store_evict(s, c, out);
    } else if (!strcmp(r->plural, "serviceaccounts") && c->sub && !strcmp(c->sub, "token")) {
        store_token_request(s, c, out);
    } else if (c->name) {
        not_allowed(out);
    } else {
        store_create(s, c, out);
    }
}

static bool known_subresource(const struct store_call *c) {
    const struct store_res *r = &store_resources[c->res];
    return !c->sub || (r->status && !strcmp(c->sub, "status")) ||
           (!strcmp(r->plural, "pods") && !strcmp(c->sub, "eviction")) ||
           (!strcmp(r->plural, "serviceaccounts") && !strcmp(c->sub, "token"));
}

static void serve_resource(struct store *s, const struct store_call *c, struct store_reply *out) {
    const struct store_res *r = &store_resources[c->res];
    bool post = !strcmp(c->method, "POST"), get = !strcmp(c->method, "GET");
    if (!strcmp(r->plural, "services") && c->sub && !strcmp(c->sub, "proxy")) {
        store_proxy(s, c, out);
    } else if (!known_subresource(c)) {
        store_status(out, 404, "NotFound", json_object(), "the server could not find the requested resource");
    } else if (post) {
        serve_post(s, c, out);
    } else if (r->create_only) {
        not_allowed(out);
    } else if (get && c->name) {
        get_one(s, c, out);
    } else if (get) {
        store_list(s, c, out);
    } else if (!c->name) {
        not_allowed(out);
    } else if (!strcmp(c->method, "PUT") || !strcmp(c->method, "PATCH")) {
        store_update(s, c, out);
    } else if (!strcmp(c->method, "DELETE")) {
        store_delete_call(s, c, out);
    } else {
        not_allowed(out);
    }
}

static bool serve_other(const struct store_call *c, struct store_reply *out) {
    if (c->n_seg == 1 && !strcmp(c->seg[0], "version")) {
        store_plain(
            out, 200,
            "{\n  \"major\": \"1\",\n  \"minor\": \"36\",\n  \"gitVersion\": \"v1.36.3\",\n  \"gitCommit\": \"\",\n  "
            "\"platform\": \"linux/amd64\"\n}");
        return true;
    }
    if (c->n_seg == 1 && (!strcmp(c->seg[0], "readyz") || !strcmp(c->seg[0], "healthz") || !strcmp(c->seg[0], "livez"))) {
        store_plain(out, 200, "ok");
        return true;
    }
    return !strcmp(c->method, "GET") && store_discovery(c, out);
}

void store_request(struct store *s, const struct store_user *user, const char *method, const char *path_query,
                   const char *content_type, const char *accept, const char *body, size_t len, struct store_reply *out) {
    (void)accept; /* JSON is the only form */
    struct store_call c = {
        .method = method, .content_type = content_type, .body = body ? body : "", .len = body ? len : 0, .user = user};
    *out = (struct store_reply){0};
    if (!store_call_parse(&c, path_query)) {
        store_status(out, 400, "BadRequest", NULL, "the request's path cannot be read");
    } else if (!user) {
        store_status(out, 401, "Unauthorized", NULL, "Unauthorized");
    } else if (!serve_other(&c, out) && store_call_route(&c, out)) {
        int fault = store_fault_of(s, user);
        if (fault) {
            answer_fault(&c, fault, out);
        } else {
            serve_resource(s, &c, out);
        }
    }
    store_call_done(&c);
}
