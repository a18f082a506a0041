/*
 * LIST -> next page ... -> WATCH -> closed: WATCH again from the last version
 *                                -> expired (410 in either shape) or not understood: LIST
 *                                -> failed: the same again after a back-off
 *
 * Every failure passes through lose(), which is the only place that decides what comes next and when.
 */
#include "reflector.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "../base/buf.h"
#include "../base/json.h"
#include "../base/mem.h"
#include "lines.h"
#include "reflector_parse.h"

enum {
    PAGE = 500,
    MAX_LINE = 4 << 20, /* webhook configurations with many certificates pass 1 MiB */
    LIST_TIMEOUT_MS = 60000,
    SILENCE_MS = 90000,
    WATCH_MIN_S = 300,
    WATCH_MAX_S = 600,
    BACKOFF_MIN_MS = 800,
    BACKOFF_MAX_MS = 30000,
    BACKOFF_QUIET_MS = 120000,
    SHORT_WATCH_MS = 1000,
};

/* An object as the user knows it. */
struct seen {
    UT_hash_handle hh;
    uint64_t list; /* number of the list that held it last */
    char *uid;
    size_t name_at; /* in key, which is NAMESPACE/NAME */
    char key[];
};

struct reflector {
    struct kube *k;
    char *path, *query;
    int page;
    bool metadata_only;
    const struct reflector_ops *ops;
    void *ctx;
    uint64_t random;

    struct kube_call *call;
    struct timer timer;
    struct seen *seen;
    struct lines lines;
    char *version; /* watch from here; NULL: list first */
    char *next;    /* continue token of a list under way */
    char *list_version;
    uint64_t list; /* number of the list under way or done last */
    uint64_t relists;
    bool synced, got_event;

    int64_t proof_ms; /* last sign that what we hold is true */
    int64_t lost_ms;  /* since when there is none; 0: the watch stands */
    int64_t watch_ms; /* when the watch was sent */
    int64_t failed_ms;
    uint32_t failures;
    struct err trouble;
    int64_t retry_after_ms;
};

static void start(void *ctx);

/* --- small things --- */

/* splitmix64 */
static uint64_t random_next(struct reflector *r) {
    uint64_t z = (r->random += 0x9e3779b97f4a7c15U);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

static int64_t now_ms(const struct reflector *r) {
    return sched_now(r->k->sched);
}

static void proven(struct reflector *r) {
    r->proof_ms = now_ms(r);
    r->lost_ms = 0;
}

/* --- the objects --- */

static void seen_drop(struct reflector *r, struct seen *s, bool tell) {
    HASH_DEL(r->seen, s);
    if (tell) {
        s->key[s->name_at - 1] = 0;
        r->ops->gone(r->ctx, s->key, s->key + s->name_at, s->uid);
    }
    free(s->uid);
    free(s);
}

static struct seen *seen_find(struct reflector *r, const json_t *object, char **key_out) {
    struct seen *s;
    char *key =
        mem_printf("%s/%s", js_text(object, "metadata", "namespace", NULL), js_text(object, "metadata", "name", NULL));
    HASH_FIND_STR(r->seen, key, s);
    *key_out = key;
    return s;
}

static void put(struct reflector *r, const json_t *object) {
    const char *uid = js_text(object, "metadata", "uid", NULL);
    char *key;
    struct seen *s = seen_find(r, object, &key);
    if (s && strcmp(s->uid, uid) != 0) {
        seen_drop(r, s, true); /* deleted and made again while we did not look */
        s = NULL;
    }
    if (!s) {
        s = mem_alloc(sizeof *s + strlen(key) + 1);
        strcpy(s->key, key);
        s->name_at = strlen(js_text(object, "metadata", "namespace", NULL)) + 1;
        s->uid = mem_dup(uid);
        HASH_ADD_STR(r->seen, key, s);
    }
    s->list = r->list;
    free(key);
    r->ops->upsert(r->ctx, object);
}

static void take_away(struct reflector *r, const json_t *object) {
    char *key;
    struct seen *s = seen_find(r, object, &key);
    if (s) {
        seen_drop(r, s, true);
    }
    free(key);
}

/* --- what comes next --- */

static void later(struct reflector *r, int64_t delay_ms) {
    timer_set(r->k->sched, &r->timer, now_ms(r) + delay_ms, start, r);
}

static int64_t backoff(struct reflector *r) {
    int64_t now = now_ms(r), limit = BACKOFF_MIN_MS;
    if (r->failed_ms && now - r->failed_ms >= BACKOFF_QUIET_MS) {
        r->failures = 0;
    }
    r->failed_ms = now;
    for (uint32_t i = 0; i < r->failures && limit < BACKOFF_MAX_MS; i++) {
        limit *= 2;
    }
    limit = limit < BACKOFF_MAX_MS ? limit : BACKOFF_MAX_MS;
    r->failures++;
    int64_t wait = 1 + (int64_t)(random_next(r) % (uint64_t)limit);
    int64_t asked = r->retry_after_ms < 2 * BACKOFF_MAX_MS ? r->retry_after_ms : 2 * BACKOFF_MAX_MS;
    r->retry_after_ms = 0;
    return wait > asked ? wait : asked;
}

/* The call is over or no longer wanted. relist: what we hold can't be continued from r->version. */
static void lose(struct reflector *r, bool relist, const struct err *why) {
    if (r->call) {
        kube_cancel(r->k, r->call);
        r->call = NULL;
    }
    r->trouble = *why;
    if (!r->lost_ms) {
        r->lost_ms = now_ms(r);
    }
    if (relist) {
        mem_set(&r->version, NULL);
        mem_set(&r->next, NULL);
    }
    later(r, backoff(r));
}

/* --- LIST --- */

static void list_finish(struct reflector *r) {
    struct seen *s, *tmp;
    HASH_ITER(hh, r->seen, s, tmp) {
        if (s->list != r->list) {
            seen_drop(r, s, true);
        }
    }
    mem_set(&r->version, r->list_version);
    proven(r);
    r->synced = true;
    r->ops->synced(r->ctx);
    later(r, 0);
}

static void list_done(void *ctx, const struct kube_response *resp) {
    struct reflector *r = ctx;
    struct list_page p;
    struct err err = resp->err;
    r->call = NULL;
    if (err.code != ERR_NONE) {
        r->retry_after_ms = resp->retry_after_ms;
        lose(r, resp->status == 410, &err);
        return;
    }
    if (!page_parse(resp->body, resp->len, &p, &err)) {
        err_wrap(&err, "GET %s", r->path);
        lose(r, true, &err);
        return;
    }
    if (!r->next) {
        mem_set(&r->list_version, p.version); /* of the first page: later ones show the same moment */
    }
    size_t i;
    const json_t *o;
    json_array_foreach(p.items, i, o) {
        put(r, o);
    }
    mem_set(&r->next, p.next);
    page_done(&p);
    if (r->next) {
        later(r, 0);
    } else {
        list_finish(r);
    }
}

static void list_send(struct reflector *r) {
    static const struct kube_handler handler = {NULL, list_done};
    struct buf b;
    buf_init(&b, 1 << 20);
    buf_printf(&b, "%s?limit=%d", r->path, r->page);
    if (r->query) {
        buf_printf(&b, "&%s", r->query);
    }
    if (r->next) {
        char *token = kube_escape(r->next);
        buf_printf(&b, "&continue=%s", token);
        free(token);
    } else {
        r->list++;
        r->relists += r->synced;
    }
    char *path = buf_take(&b);
    struct kube_request req = {.method = "GET", .path = path, .timeout_ms = LIST_TIMEOUT_MS};
    if (r->metadata_only) {
        req.accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
    }
    r->call = kube_send(r->k, &req, &handler, r);
    free(path);
}

/* --- WATCH --- */

/* false: the watch was ended from here. */
static bool watch_line(void *ctx, const char *line, size_t len) {
    struct reflector *r = ctx;
    struct watch_event e;
    struct err err;
    if (!event_parse(line, len, &e, &err)) {
        err_wrap(&err, "watch of %s", r->path);
        lose(r, true, &err);
        return false;
    }
    if (e.type == EVENT_ERROR) {
        char *text = js_dump(e.object);
        kube_status_error(e.status, text, strlen(text), "WATCH", r->path, &err);
        free(text);
        event_done(&e);
        lose(r, true, &err);
        return false;
    }
    r->got_event = true;
    mem_set(&r->version, e.version);
    if (e.type == EVENT_PUT) {
        put(r, e.object);
    } else if (e.type == EVENT_GONE) {
        take_away(r, e.object);
    }
    event_done(&e);
    return true;
}

static void watch_data(void *ctx, const char *p, size_t n) {
    struct reflector *r = ctx;
    proven(r);
    if (lines_feed(&r->lines, p, n, watch_line, r) == LINES_TOO_LONG) {
        struct err err;
        err_set(&err, ERR_LIMIT, "watch of %s: an event larger than %d MiB", r->path, MAX_LINE >> 20);
        lose(r, true, &err);
    }
}

static void watch_done(void *ctx, const struct kube_response *resp) {
    struct reflector *r = ctx;
    struct err err = resp->err;
    r->call = NULL;
    if (err.code != ERR_NONE) {
        r->retry_after_ms = resp->retry_after_ms;
        lose(r, resp->status == 410, &err);
        return;
    }
    if (!r->got_event && now_ms(r) - r->watch_ms < SHORT_WATCH_MS) {
        err_set(&err, ERR_UNAVAILABLE, "watch of %s: closed at once by the server", r->path);
        lose(r, false, &err);
        return;
    }
    proven(r);
    later(r, 0);
}

static void watch_send(struct reflector *r) {
    static const struct kube_handler handler = {watch_data, watch_done};
    unsigned seconds = WATCH_MIN_S + (unsigned)(random_next(r) % (WATCH_MAX_S - WATCH_MIN_S + 1));
    char *version = kube_escape(r->version);
    char *path = mem_printf("%s?%s%swatch=true&allowWatchBookmarks=true&timeoutSeconds=%u&resourceVersion=%s", r->path,
                            r->query ? r->query : "", r->query ? "&" : "", seconds, version);
    struct kube_request req = {.method = "GET", .path = path, .stream = true, .timeout_ms = SILENCE_MS};
    if (r->metadata_only) {
        req.accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
    }
    lines_reset(&r->lines);
    r->got_event = false;
    r->watch_ms = now_ms(r);
    r->call = kube_send(r->k, &req, &handler, r);
    free(version);
    free(path);
}

static void start(void *ctx) {
    struct reflector *r = ctx;
    if (r->version) {
        watch_send(r);
    } else {
        list_send(r);
    }
}

/* --- the face --- */

struct reflector *reflector_new(struct kube *k, const struct reflector_opts *opts, const struct reflector_ops *ops,
                                void *ctx, uint64_t seed) {
    struct reflector *r = mem_alloc(sizeof *r);
    r->k = k;
    r->path = mem_dup(opts->path);
    r->query = mem_dup(opts->query);
    r->page = opts->page > 0 ? opts->page : PAGE;
    r->metadata_only = opts->metadata_only;
    r->ops = ops;
    r->ctx = ctx;
    r->random = seed;
    r->lost_ms = now_ms(r);
    err_set(&r->trouble, ERR_UNAVAILABLE, "GET %s: the first list is not complete yet", r->path);
    lines_init(&r->lines, MAX_LINE);
    later(r, 0);
    return r;
}

void reflector_free(struct reflector *r) {
    if (!r) {
        return;
    }
    struct seen *s, *tmp;
    if (r->call) {
        kube_cancel(r->k, r->call);
    }
    timer_cancel(r->k->sched, &r->timer);
    HASH_ITER(hh, r->seen, s, tmp) {
        seen_drop(r, s, false);
    }
    lines_done(&r->lines);
    free(r->path);
    free(r->query);
    free(r->version);
    free(r->next);
    free(r->list_version);
    free(r);
}

bool reflector_fresh(const struct reflector *r, int64_t grace_ms) {
    int64_t now = now_ms(r);
    return r->synced && (!r->lost_ms || now - r->lost_ms < grace_ms) && now - r->proof_ms < SILENCE_MS + grace_ms;
}

const char *reflector_trouble(const struct reflector *r) {
    return r->synced && !r->lost_ms ? "" : r->trouble.text;
}

uint64_t reflector_relists(const struct reflector *r) {
    return r->relists;
}
