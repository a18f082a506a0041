#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/base/text.h"
#include "store_impl.h"

#define BOOKMARK_MS 60000
#define DEFAULT_TIMEOUT_S 1800

struct store_watch {
    struct store *store;
    struct store_call call;
    struct store_select *select;
    void (*line)(void *ctx, const char *p, size_t n);
    void (*end)(void *ctx);
    void *ctx;
    struct timer bookmark, timeout, start;
    bool bookmarks, begun, expired, closed;
    uint64_t from; /* resourceVersion to go on after; 0: begin with what is there */
    struct store_watch *next;
};

static void send_object(struct store_watch *w, const char *type, const json_t *o) {
    json_t *e = json_pack("{s:s,s:O}", "type", type, "object", store_mutable(o));
    char *text = js_dump(e);
    char *line = mem_printf("%s\n", text);
    free(text);
    json_decref(e);
    w->line(w->ctx, line, strlen(line));
    free(line);
}

static void send_change(struct store_watch *w, const struct store_change *c) {
    bool now = c->event != STORE_DELETED && store_select_matches(w->select, c->now);
    bool before = c->before && store_select_matches(w->select, c->before);
    if (now) {
        send_object(w, before ? "MODIFIED" : "ADDED", c->now);
    } else if (before) {
        if (c->event == STORE_DELETED) {
            send_object(w, "DELETED", c->now);
            return;
        }
        /* It left the selector: the old object with the new version. */
        json_t *o = json_copy(c->before);
        json_t *m = json_copy(json_object_get(c->before, "metadata"));
        json_object_set(m, "resourceVersion", js_at(c->now, "metadata", "resourceVersion", NULL));
        json_object_set_new(o, "metadata", m);
        send_object(w, "DELETED", o);
        json_decref(o);
    }
}

/* Watches that were closed from inside a callback are freed when nobody walks over them any more. */
static void leave(struct store *s) {
    if (--s->emitting || !s->sweep) {
        return;
    }
    s->sweep = false;
    for (struct store_watch **p = &s->watches; *p;) {
        struct store_watch *w = *p;
        if (w->closed) {
            *p = w->next;
            free(w);
        } else {
            p = &w->next;
        }
    }
}

void store_watch_emit(struct store *s, const struct store_change *c) {
    s->emitting++;
    for (struct store_watch *w = s->watches; w; w = w->next) {
        if (!w->closed && !w->expired && w->begun && w->call.res == c->res) {
            send_change(w, c);
        }
    }
    leave(s);
}

static void send_bookmark(struct store_watch *w) {
    const struct store_res *r = &store_resources[w->call.res];
    json_t *gv = *r->group ? json_sprintf("%s/%s", r->group, r->version) : json_string(r->version);
    json_t *o = json_pack("{s:s,s:o,s:{s:o,s:n}}", "kind", r->kind, "apiVersion", gv, "metadata", "resourceVersion",
                          json_sprintf("%" PRIu64, w->store->rv), "creationTimestamp");
    send_object(w, "BOOKMARK", o);
    json_decref(o);
}

static void on_bookmark(void *ctx) {
    struct store_watch *w = ctx;
    timer_set(w->store->sched, &w->bookmark, sched_now(w->store->sched) + BOOKMARK_MS, on_bookmark, w);
    if (!w->expired) {
        send_bookmark(w);
    }
}

static void release(struct store_watch *w) {
    struct store *s = w->store;
    timer_cancel(s->sched, &w->bookmark);
    timer_cancel(s->sched, &w->timeout);
    timer_cancel(s->sched, &w->start);
    store_select_free(w->select);
    store_call_done(&w->call);
    w->select = NULL;
    w->closed = true;
    if (s->emitting) {
        s->sweep = true;
        return;
    }
    struct store_watch **p = &s->watches;
    while (*p != w) {
        p = &(*p)->next;
    }
    *p = w->next;
    free(w);
}

static void on_cut(void *ctx) {
    struct store_watch *w = ctx;
    void (*end)(void *) = w->end;
    void *user = w->ctx;
    release(w);
    end(user);
}

void store_cut_watches(struct store *s) {
    for (struct store_watch *w = s->watches; w; w = w->next) {
        if (!w->closed) {
            timer_set(s->sched, &w->timeout, sched_now(s->sched), on_cut, w);
        }
    }
}

void store_watch_close(struct store_watch *w) {
    release(w);
}

static void on_timeout(void *ctx) {
    struct store_watch *w = ctx;
    void (*end)(void *) = w->end;
    void *user = w->ctx;
    if (w->bookmarks && w->begun && !w->expired) {
        send_bookmark(w);
    }
    release(w);
    end(user);
}

static void send_expired(struct store_watch *w) {
    char text[96];
    struct store *s = w->store;
    snprintf(text, sizeof text, "too old resource version: %" PRIu64 " (%" PRIu64 ")", w->from, s->rv);
    json_t *o = store_status_object(410, "Expired", NULL, text);
    w->expired = true; /* nothing else comes on this stream; on_timeout ends it */
    send_object(w, "ERROR", o);
    json_decref(o);
}

/* What has happened between the given version and now; from a timer, so that the caller has its handle first. */
static void on_start(void *ctx) {
    struct store_watch *w = ctx;
    struct store *s = w->store;
    s->emitting++;
    if (!w->from) {
        store_sort(s, w->call.res);
        for (const struct store_obj *o = s->tables[w->call.res].head; o && !w->closed; o = o->hh.next) {
            if (store_select_matches(w->select, o->o)) {
                send_object(w, "ADDED", o->o);
            }
        }
    } else if (w->from < s->compacted) {
        send_expired(w);
        timer_set(s->sched, &w->timeout, sched_now(s->sched), on_timeout, w);
    } else {
        for (size_t i = store_changes_after(s, w->from); i < s->n_changes && !w->closed; i++) {
            if (s->changes[i].res == w->call.res) {
                send_change(w, &s->changes[i]);
            }
        }
    }
    w->begun = true;
    leave(s);
}

/* false: *out says why not. */
static bool read_options(struct store_watch *w, struct store_reply *out) {
    struct store *s = w->store;
    const char *rv = store_call_param(&w->call, "resourceVersion"), *timeout = store_call_param(&w->call, "timeoutSeconds");
    const char *bookmarks = store_call_param(&w->call, "allowWatchBookmarks");
    int64_t from = 0, seconds = DEFAULT_TIMEOUT_S;
    if (rv && *rv && !text_int(rv, 0, INT64_MAX, &from)) {
        store_status(out, 500, NULL, NULL,
                     "resourceVersion: Invalid value: \"%s\": strconv.ParseUint: parsing \"%s\": invalid "
                     "syntax",
                     rv, rv);
        return false;
    }
    if ((uint64_t)from > s->rv) {
        store_too_new(out, (uint64_t)from, s->rv);
        return false;
    }
    if (timeout && (!text_int(timeout, 0, 1000000, &seconds) || seconds == 0)) {
        seconds = DEFAULT_TIMEOUT_S;
    }
    w->from = (uint64_t)from;
    w->bookmarks = bookmarks && (!strcmp(bookmarks, "true") || !strcmp(bookmarks, "1"));
    timer_set(s->sched, &w->timeout, sched_now(s->sched) + seconds * 1000, on_timeout, w);
    return true;
}

static bool permitted(struct store *s, const struct store_user *user, struct store_reply *out) {
    int fault = store_fault_of(s, user);
    if (!user) {
        store_status(out, 401, "Unauthorized", NULL, "Unauthorized");
    } else if (fault) {
        out->status = fault;
        if (fault > 0) {
            store_status(out, fault, "InternalError", NULL, "the server is told to answer %d", fault);
        }
    } else {
        return true;
    }
    return false;
}

struct store_watch *store_watch(struct store *s, const struct store_user *user, const char *path_query,
                                void (*line)(void *ctx, const char *p, size_t n), void (*end)(void *ctx), void *ctx,
                                struct store_reply *out) {
    *out = (struct store_reply){0};
    if (!permitted(s, user, out)) {
        return NULL;
    }
    struct store_watch *w = mem_alloc(sizeof *w);
    w->store = s;
    w->line = line;
    w->end = end;
    w->ctx = ctx;
    w->call.method = "GET";
    w->call.user = user;
    if (!store_call_parse(&w->call, path_query)) {
        store_status(out, 400, "BadRequest", NULL, "the request's path cannot be read");
    } else if (store_call_route(&w->call, out) && (w->select = store_select_new(&w->call, out)) != NULL &&
               read_options(w, out)) {
        timer_set(s->sched, &w->start, sched_now(s->sched), on_start, w);
        if (w->bookmarks) {
            timer_set(s->sched, &w->bookmark, sched_now(s->sched) + BOOKMARK_MS, on_bookmark, w);
        }
        w->next = s->watches;
        s->watches = w;
        return w;
    }
    store_select_free(w->select);
    store_call_done(&w->call);
    free(w);
    return NULL;
}

void store_watch_done_all(struct store *s) {
    while (s->watches) {
        release(s->watches);
    }
}
