#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/base/text.h"
#include "store_impl.h"

#define MAX_BODY (3u * 1024 * 1024)

json_t *store_merge(const json_t *target, const json_t *patch) {
    if (!json_is_object(patch)) {
        return json_deep_copy(patch);
    }
    json_t *out = json_is_object(target) ? json_copy(store_mutable(target)) : json_object();
    const char *key;
    json_t *v;
    json_object_foreach(store_mutable(patch), key, v) {
        if (json_is_null(v)) {
            json_object_del(out, key);
        } else {
            json_object_set_new(out, key, store_merge(json_object_get(target, key), v));
        }
    }
    return out;
}

static json_t *read_body(const struct store_call *c, struct store_reply *out) {
    struct err err = {0};
    json_t *o = js_parse(c->body, c->len, MAX_BODY, &err);
    if (o && json_is_object(o)) {
        return o;
    }
    json_decref(o);
    store_status(out, 400, "BadRequest", NULL, "the object provided is unrecognized (must be of type %s): %s",
                 store_resources[c->res].kind, o ? "not an object" : err.text);
    return NULL;
}

static bool is_dry(const struct store_call *c) {
    const char *dry = store_call_param(c, "dryRun");
    return dry && !strcmp(dry, "All");
}

static bool has_array(const json_t *o) {
    const char *key;
    json_t *v;
    json_object_foreach(store_mutable(o), key, v) {
        if (json_is_array(v) || *key == '$' || (json_is_object(v) && has_array(v))) {
            return true;
        }
    }
    return false;
}

/* --- create --- */

static bool check_names(struct store *s, const struct store_call *c, json_t *o, struct store_reply *out) {
    const struct store_res *r = &store_resources[c->res];
    json_t *m = json_object_get(o, "metadata");
    const char *kind = js_str(o, "kind", NULL), *ns = js_str(o, "metadata", "namespace", NULL);
    if (kind && strcmp(kind, r->kind)) {
        store_status(out, 400, "BadRequest", NULL, "the kind in the data (%s) does not match the expected kind (%s)", kind,
                     r->kind);
        return false;
    }
    if (!json_is_object(m)) {
        m = json_object();
        json_object_set_new(o, "metadata", m);
    }
    if (r->namespaced && ns && strcmp(ns, c->ns)) {
        store_status(out, 400, "BadRequest", NULL,
                     "the namespace of the provided object does not match the namespace sent on the "
                     "request");
        return false;
    }
    if (r->namespaced) {
        json_object_set_new(m, "namespace", json_string(c->ns));
        size_t namespaces;
        check(store_resource_find("", "v1", "namespaces", &namespaces));
        if (!store_find(s, namespaces, NULL, c->ns)) {
            store_not_found(out, &store_resources[namespaces], c->ns);
            return false;
        }
    }
    if (!*js_text(m, "name", NULL) && *js_text(m, "generateName", NULL)) {
        char tail[6];
        store_random_name(s, tail);
        json_object_set_new(m, "name", json_sprintf("%s%s", js_text(m, "generateName", NULL), tail));
    }
    if (!*js_text(m, "name", NULL)) {
        store_status(out, 422, "Invalid", store_details(r, NULL),
                     "%s \"\" is invalid: metadata.name: Required value: name or generateName is required", r->kind);
        return false;
    }
    return true;
}

void store_create(struct store *s, const struct store_call *c, struct store_reply *out) {
    const struct store_res *r = &store_resources[c->res];
    if (r->namespaced && !c->ns) {
        store_status(out, 405, "MethodNotAllowed", json_object(),
                     "the server does not allow this method on the requested resource");
        return;
    }
    json_t *o = read_body(c, out);
    struct err err = {0};
    char q[128];
    store_qualified(r, q, sizeof q);
    if (!o || !check_names(s, c, o, out)) {
        json_decref(o);
        return;
    }
    const char *name = js_text(o, "metadata", "name", NULL);
    static const char *const server_owned[] = {"uid", "resourceVersion", "creationTimestamp", "generation",
                                               "managedFields"};
    for (size_t i = 0; i < sizeof server_owned / sizeof *server_owned; i++) {
        json_object_del(json_object_get(o, "metadata"), server_owned[i]);
    }
    if (r->status) {
        json_object_del(o, "status");
    }
    if (store_find(s, c->res, c->ns, name)) {
        store_status(out, 409, "AlreadyExists", store_details(r, name), "%s \"%s\" already exists", q, name);
    } else if (!store_validate(r, o, NULL, out)) {
        /* answered */
    } else if (!strcmp(r->plural, "pods") && s->on_admit && !s->on_admit(s->on_admit_ctx, o, &err)) {
        store_status(out, 500, "InternalError", json_pack("{s:[{s:s}]}", "causes", "message", err.text),
                     "Internal error occurred: %s", err.text);
    } else if (is_dry(c)) {
        store_answer(out, 201, o);
    } else {
        store_answer(out, 201, store_commit(s, c->res, o));
        return;
    }
    json_decref(o);
}

/* --- PUT and PATCH --- */

/* What the client sent as whole object, or the patch applied; new reference. */
static json_t *wanted(const struct store_call *c, const json_t *old, const json_t *sent, struct store_reply *out) {
    if (!strcmp(c->method, "PUT")) {
        json_t *o = json_copy(store_mutable(sent));
        json_t *m = json_copy(json_object_get(sent, "metadata"));
        json_object_set_new(o, "metadata", m ? m : json_object());
        return o;
    }
    const char *type = c->content_type ? c->content_type : "";
    bool merge = !strncmp(type, "application/merge-patch+json", 28);
    bool strategic = !strncmp(type, "application/strategic-merge-patch+json", 38) &&
                     strcmp(store_resources[c->res].group, "meshgate.io");
    if (merge || (strategic && !has_array(sent))) {
        return store_merge(old, sent);
    }
    if (strategic) {
        store_status(out, 415, "UnsupportedMediaType", json_object(),
                     "this server merges maps only: send lists as application/merge-patch+json");
    } else {
        store_status(out, 415, "UnsupportedMediaType", json_object(),
                     "the body of the request was in an unknown format - accepted media types include: "
                     "application/merge-patch+json, application/strategic-merge-patch+json");
    }
    return NULL;
}

/* Guards that the client put into metadata. */
static bool guarded(const struct store_call *c, const json_t *old, const json_t *sent, struct store_reply *out) {
    const struct store_res *r = &store_resources[c->res];
    const char *rv = js_str(sent, "metadata", "resourceVersion", NULL), *uid = js_str(sent, "metadata", "uid", NULL);
    const char *name = js_str(sent, "metadata", "name", NULL);
    if (name && strcmp(name, c->name)) {
        store_status(out, 400, "BadRequest", NULL, "the name of the object (%s) does not match the name on the URL (%s)",
                     name, c->name);
        return false;
    }
    if (uid && strcmp(uid, js_text(old, "metadata", "uid", NULL))) {
        char why[200];
        snprintf(why, sizeof why, "Precondition failed: UID in precondition: %s, UID in object meta: %s", uid,
                 js_text(old, "metadata", "uid", NULL));
        store_conflict(out, r, c->name, why);
        return false;
    }
    if (rv && *rv && strcmp(rv, js_text(old, "metadata", "resourceVersion", NULL))) {
        store_conflict(out, r, c->name, NULL);
        return false;
    }
    if (!strcmp(c->method, "PUT") && (!rv || !*rv) && !strcmp(r->group, "meshgate.io")) {
        store_status(out, 422, "Invalid", store_details(r, c->name),
                     "%s.%s \"%s\" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update",
                     r->plural, r->group, c->name);
        return false;
    }
    return true;
}

/* The part of `next` that this call may change, on top of old. Takes next. */
static json_t *confine(const struct store_call *c, const json_t *old, json_t *next) {
    const struct store_res *r = &store_resources[c->res];
    if (c->sub) {
        json_t *o = json_copy(store_mutable(old));
        json_t *status = json_object_get(next, "status");
        if (status) {
            json_object_set(o, "status", status);
        } else {
            json_object_del(o, "status");
        }
        json_decref(next);
        return o;
    }
    if (r->status) {
        json_t *status = json_object_get(old, "status");
        if (status) {
            json_object_set(next, "status", status);
        } else {
            json_object_del(next, "status");
        }
    }
    return next;
}

void store_update(struct store *s, const struct store_call *c, struct store_reply *out) {
    const struct store_res *r = &store_resources[c->res];
    struct store_obj *o = store_find(s, c->res, c->ns, c->name);
    if (!o) {
        store_not_found(out, r, c->name);
        return;
    }
    json_t *sent = read_body(c, out);
    json_t *next = sent ? wanted(c, o->o, sent, out) : NULL;
    if (next && guarded(c, o->o, sent, out)) {
        next = confine(c, o->o, next);
        if (!store_validate(r, next, o->o, out)) {
            /* answered */
        } else if (is_dry(c)) {
            store_answer(out, 200, next);
        } else {
            store_answer(out, 200, store_commit(s, c->res, next));
            next = NULL;
        }
    }
    json_decref(next);
    json_decref(sent);
}

/* --- DELETE --- */

static bool preconditions(const struct store_call *c, const json_t *old, struct store_reply *out) {
    if (!c->len) {
        return true;
    }
    json_t *options = read_body(c, out);
    if (!options) {
        return false;
    }
    const struct store_res *r = &store_resources[c->res];
    const char *uid = js_str(options, "preconditions", "uid", NULL);
    const char *rv = js_str(options, "preconditions", "resourceVersion", NULL);
    char why[240] = "";
    if (uid && strcmp(uid, js_text(old, "metadata", "uid", NULL))) {
        snprintf(why, sizeof why, "Precondition failed: UID in precondition: %s, UID in object meta: %s", uid,
                 js_text(old, "metadata", "uid", NULL));
    } else if (rv && strcmp(rv, js_text(old, "metadata", "resourceVersion", NULL))) {
        snprintf(why, sizeof why,
                 "Precondition failed: ResourceVersion in precondition: %s, ResourceVersion in object meta: %s", rv,
                 js_text(old, "metadata", "resourceVersion", NULL));
    }
    json_decref(options);
    if (*why) {
        store_conflict(out, r, c->name, why);
    }
    return !*why;
}

static void remove_contents(struct store *s, const char *ns) {
    for (size_t i = 0; i < store_resource_count(); i++) {
        struct store_obj *o, *next;
        size_t n = strlen(ns);
        if (!store_resources[i].namespaced) {
            continue;
        }
        HASH_ITER(hh, s->tables[i].head, o, next) {
            if (!strncmp(o->key, ns, n) && o->key[n] == '/') {
                store_remove(s, i, o);
            }
        }
    }
}

void store_delete_call(struct store *s, const struct store_call *c, struct store_reply *out) {
    const struct store_res *r = &store_resources[c->res];
    struct store_obj *o = store_find(s, c->res, c->ns, c->name);
    if (!o) {
        store_not_found(out, r, c->name);
        return;
    }
    if (!preconditions(c, o->o, out)) {
        return;
    }
    json_t *last = json_incref(o->o);
    if (!is_dry(c)) {
        store_remove(s, c->res, o);
        if (!strcmp(r->plural, "namespaces")) {
            remove_contents(s, c->name);
        }
    }
    if (!strcmp(r->plural, "pods") || !strcmp(r->plural, "namespaces")) {
        store_answer(out, 200, last);
    } else {
        json_t *d = store_details(r, c->name);
        json_object_set(d, "uid", js_at(last, "metadata", "uid", NULL));
        json_t *ok = json_pack("{s:s,s:s,s:{},s:s,s:o}", "kind", "Status", "apiVersion", "v1", "metadata", "status",
                               "Success", "details", d);
        store_answer(out, 200, ok);
        json_decref(ok);
    }
    json_decref(last);
}
