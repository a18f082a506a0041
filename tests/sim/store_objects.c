#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/base/text.h"
#include "store_impl.h"

/* Changes kept for watches that resume; older ones answer 410. */
#define HISTORY 20000

json_t *store_mutable(const json_t *o) {
    union {
        const json_t *c;
        json_t *m;
    } u = {.c = o};
    return u.m;
}

char *store_key(const char *ns, const char *name) {
    return mem_printf("%s/%s", ns ? ns : "", name);
}

struct store_obj *store_find(struct store *s, size_t res, const char *ns, const char *name) {
    char *key = store_key(store_resources[res].namespaced ? ns : NULL, name);
    struct store_obj *o = NULL;
    HASH_FIND_STR(s->tables[res].head, key, o);
    free(key);
    return o;
}

static int by_key(const struct store_obj *a, const struct store_obj *b) {
    return strcmp(a->key, b->key);
}

void store_sort(struct store *s, size_t res) {
    struct store_table *t = &s->tables[res];
    if (!t->sorted) {
        HASH_SORT(t->head, by_key);
        t->sorted = true;
    }
}

size_t store_changes_after(const struct store *s, uint64_t rv) {
    size_t lo = 0, hi = s->n_changes;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (s->changes[mid].rv > rv) {
            hi = mid;
        } else {
            lo = mid + 1;
        }
    }
    return lo;
}

static void forget_oldest(struct store *s, size_t n) {
    for (size_t i = 0; i < n; i++) {
        json_decref(s->changes[i].now);
        json_decref(s->changes[i].before);
    }
    if (!n) {
        return;
    }
    s->compacted = s->changes[n - 1].rv;
    s->n_changes -= n;
    memmove(s->changes, s->changes + n, s->n_changes * sizeof *s->changes);
}

void store_compact(struct store *s) {
    forget_oldest(s, s->n_changes);
    s->compacted = s->rv;
}

static const char *const event_names[] = {"ADDED", "MODIFIED", "DELETED"};

/* now and before are borrowed. */
static void record(struct store *s, size_t res, enum store_event event, json_t *now, json_t *before) {
    if (s->n_changes >= HISTORY) {
        forget_oldest(s, HISTORY / 4);
    }
    if (s->n_changes == s->cap_changes) {
        s->cap_changes = s->cap_changes ? s->cap_changes * 2 : 256;
        s->changes = mem_grow(s->changes, s->cap_changes * sizeof *s->changes);
    }
    struct store_change c = {
        .rv = s->rv, .res = res, .event = event, .now = json_incref(now), .before = json_incref(before)};
    s->changes[s->n_changes++] = c;
    json_incref(now);
    json_incref(before);
    store_watch_emit(s, &c);
    if (s->on_change) {
        s->on_change(s->on_change_ctx, store_resources[res].plural, event_names[event], now);
    }
    json_decref(now);
    json_decref(before);
}

static uint64_t next_random(struct store *s) {
    s->ids++;
    return text_hash(0x6d65736867617465u, &s->ids, sizeof s->ids);
}

void store_random_name(struct store *s, char out[6]) {
    static const char letters[] = "bcdfghjklmnpqrstvwxz2456789";
    uint64_t x = next_random(s) >> 7;
    for (int i = 0; i < 5; i++, x /= 27) {
        out[i] = letters[x % 27];
    }
    out[5] = 0;
}

/* A fresh copy: what was there may be shared with an older version of the object. */
static json_t *metadata_of(json_t *obj) {
    json_t *m = json_copy(json_object_get(obj, "metadata"));
    if (!json_is_object(m)) {
        m = json_object();
    }
    json_object_set_new(obj, "metadata", m);
    return m;
}

static bool spec_differs(const struct store_res *r, const json_t *a, const json_t *b) {
    const char *key;
    json_t *v;
    json_object_foreach(store_mutable(a), key, v) {
        if (strcmp(key, "metadata") && strcmp(key, "status") && !json_equal(v, json_object_get(b, key))) {
            return true;
        }
    }
    json_object_foreach(store_mutable(b), key, v) {
        if (strcmp(key, "metadata") && strcmp(key, "status") && !json_object_get(a, key)) {
            return true;
        }
    }
    /* The real server counts a Deployment's annotations too. */
    return !strcmp(r->plural, "deployments") &&
           !json_equal(js_at(a, "metadata", "annotations", NULL), js_at(b, "metadata", "annotations", NULL)) &&
           (js_at(a, "metadata", "annotations", NULL) || js_at(b, "metadata", "annotations", NULL));
}

static void fill_new(struct store *s, const struct store_res *r, json_t *m) {
    if (!json_object_get(m, "uid")) {
        uint64_t a = next_random(s), b = next_random(s);
        json_object_set_new(m, "uid",
                            json_sprintf("%08x-%04x-4%03x-8%03x-%012" PRIx64, (unsigned)(a >> 32),
                                         (unsigned)(a >> 16) & 0xffffu, (unsigned)a & 0xfffu, (unsigned)(b >> 52) & 0xfffu,
                                         b & 0xffffffffffffu));
    }
    if (!json_object_get(m, "creationTimestamp")) {
        char at[40];
        text_rfc3339_format(sched_wall(s->sched), at, sizeof at);
        json_object_set_new(m, "creationTimestamp", json_string(at));
    }
    if (r->generation) {
        json_object_set_new(m, "generation", json_integer(1));
    }
}

static void fill_old(const struct store_res *r, json_t *obj, json_t *m, const json_t *old) {
    static const char *const kept[] = {"uid", "creationTimestamp", "resourceVersion", "namespace", "name"};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        json_t *v = js_at(old, "metadata", kept[i], NULL);
        if (v) {
            json_object_set(m, kept[i], v);
        }
    }
    if (r->generation) {
        int64_t g = js_int(old, 1, "metadata", "generation", NULL);
        json_object_set_new(m, "generation", json_integer(g + (spec_differs(r, obj, old) ? 1 : 0)));
    }
}

const json_t *store_commit(struct store *s, size_t res, json_t *obj) {
    const struct store_res *r = &store_resources[res];
    json_t *m = metadata_of(obj);
    if (*r->group) {
        json_object_set_new(obj, "apiVersion", json_sprintf("%s/%s", r->group, r->version));
    } else {
        json_object_set_new(obj, "apiVersion", json_string(r->version));
    }
    json_object_set_new(obj, "kind", json_string(r->kind));
    struct store_obj *old =
        store_find(s, res, js_str(obj, "metadata", "namespace", NULL), js_text(obj, "metadata", "name", NULL));
    if (old) {
        fill_old(r, obj, m, old->o);
        if (json_equal(obj, old->o)) {
            json_decref(obj);
            return old->o;
        }
    } else {
        fill_new(s, r, m);
    }
    s->rv++;
    json_object_set_new(m, "resourceVersion", json_sprintf("%" PRIu64, s->rv));
    json_t *before = old ? old->o : NULL;
    if (old) {
        old->o = obj;
    } else {
        old = mem_alloc(sizeof *old);
        old->key = store_key(js_str(obj, "metadata", "namespace", NULL), js_text(obj, "metadata", "name", NULL));
        old->o = obj;
        HASH_ADD_KEYPTR(hh, s->tables[res].head, old->key, strlen(old->key), old);
        s->tables[res].sorted = false;
    }
    json_incref(obj); /* a listener may replace it meanwhile */
    record(s, res, before ? STORE_MODIFIED : STORE_ADDED, obj, before);
    json_decref(before);
    /* Borrowed from history when a listener has replaced it: alive until it is compacted. */
    json_decref(obj);
    return obj;
}

void store_remove(struct store *s, size_t res, struct store_obj *o) {
    json_t *before = o->o;
    HASH_DEL(s->tables[res].head, o);
    free(o->key);
    free(o);
    s->rv++;
    json_t *last = json_copy(before);
    json_t *m = json_copy(json_object_get(before, "metadata"));
    json_object_set_new(m, "resourceVersion", json_sprintf("%" PRIu64, s->rv));
    json_object_set_new(last, "metadata", m);
    record(s, res, STORE_DELETED, last, before);
    json_decref(last);
    json_decref(before);
}

/* --- the face for the mesh's own controllers --- */

const json_t *store_get(struct store *s, const char *resource, const char *namespace_, const char *name) {
    size_t res;
    check(store_resource_find(NULL, NULL, resource, &res));
    struct store_obj *o = store_find(s, res, namespace_, name);
    return o ? o->o : NULL;
}

bool store_put(struct store *s, const char *resource, json_t *obj, struct err *err) {
    size_t res;
    check(store_resource_find(NULL, NULL, resource, &res));
    const struct store_res *r = &store_resources[res];
    const char *name = js_str(obj, "metadata", "name", NULL), *ns = js_str(obj, "metadata", "namespace", NULL);
    if (!name || !*name || (r->namespaced && (!ns || !*ns))) {
        json_decref(obj);
        return err_set(err, ERR_INVALID, "%s: metadata.name%s is missing", r->kind,
                       r->namespaced ? " or metadata.namespace" : "");
    }
    struct store_obj *old = store_find(s, res, ns, name);
    struct store_reply refusal = {0};
    if (!store_validate(r, obj, old ? old->o : NULL, &refusal)) {
        err_set(err, ERR_INVALID, "%s", refusal.body);
        free(refusal.body);
        json_decref(obj);
        return false;
    }
    store_commit(s, res, obj);
    return true;
}

bool store_patch(struct store *s, const char *resource, const char *namespace_, const char *name, const json_t *patch,
                 bool status, struct err *err) {
    size_t res;
    check(store_resource_find(NULL, NULL, resource, &res));
    struct store_obj *o = store_find(s, res, namespace_, name);
    if (!o) {
        return err_set(err, ERR_NOT_FOUND, "%s \"%s\" not found", resource, name);
    }
    json_t *merged;
    if (status) {
        merged = json_copy(o->o);
        json_t *part = store_merge(json_object_get(o->o, "status"), json_object_get(patch, "status"));
        json_object_set_new(merged, "status", part);
        json_object_set_new(merged, "metadata", json_copy(json_object_get(o->o, "metadata")));
    } else {
        merged = store_merge(o->o, patch);
    }
    store_commit(s, res, merged);
    return true;
}

bool store_delete(struct store *s, const char *resource, const char *namespace_, const char *name) {
    size_t res;
    check(store_resource_find(NULL, NULL, resource, &res));
    struct store_obj *o = store_find(s, res, namespace_, name);
    if (o) {
        store_remove(s, res, o);
    }
    return o != NULL;
}

void store_each(struct store *s, const char *resource, const char *namespace_, void (*fn)(void *ctx, const json_t *obj),
                void *ctx) {
    size_t res;
    check(store_resource_find(NULL, NULL, resource, &res));
    size_t n = namespace_ ? strlen(namespace_) : 0;
    store_sort(s, res);
    for (const struct store_obj *o = s->tables[res].head; o; o = o->hh.next) {
        if (!namespace_ || (!strncmp(o->key, namespace_, n) && o->key[n] == '/')) {
            fn(ctx, o->o);
        }
    }
}
