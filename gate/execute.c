/*
 * A slot per object says what became of our latest write to it:
 *
 *   FREE -> FLYING -> SETTLING   it succeeded, conflicted or found nothing: wait until the inventory shows another version
 *                  -> BACKOFF    it failed: wait, then it may be decided again
 *
 * Nothing is repeated from here: what is still wanted when the wait is over is asked for again by the next decision, which
 * may also have paused in between.
 */
#include "execute.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "../lib/base/json.h"
#include "../lib/base/log.h"
#include "../lib/base/mem.h"
#include "../lib/base/text.h"

enum {
    BACKOFF_MIN_MS = 500,
    BACKOFF_MAX_MS = 30000,
    EVENT_MERGE_MS = 300000,
    EVENT_TEXT_MAX = 1000,
    EVENTS_MAX = 4096, /* within that time; the rest is left out */
};

enum slot_state { SLOT_FREE, SLOT_FLYING, SLOT_SETTLING, SLOT_BACKOFF };

struct slot {
    struct execute *x;
    char *key;
    enum slot_state state;
    char *version; /* guard of the latest write */
    struct kube_call *call;
    struct timer timer;
    uint32_t failures; /* in a row */
    char *trouble;
    void (*done)(void *ctx, bool ok);
    void *ctx;
    UT_hash_handle hh;
};

/* A refusal of execute_status that is told on the next turn. */
struct refusal {
    struct execute *x;
    struct timer timer;
    void (*done)(void *ctx, bool ok);
    void *ctx;
    struct refusal *prev, *next;
};

struct event {
    struct execute *x;
    char *key;
    int64_t sent_ms;
    struct kube_call *call; /* NULL: answered */
    UT_hash_handle hh;
};

struct execute {
    struct kube *k;
    char *manager;
    uint64_t random;
    struct slot *slots;
    struct refusal *refusals;
    struct event *events;
    uint64_t writes, failures;
    void (*retry)(void *ctx);
    void *retry_ctx;
};

static uint64_t random_next(struct execute *x) {
    uint64_t z = (x->random += 0x9e3779b97f4a7c15U);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

/* --- slots --- */

static struct slot *slot_of(struct execute *x, const char *key) {
    struct slot *s;
    HASH_FIND_STR(x->slots, key, s);
    if (!s) {
        s = mem_alloc(sizeof *s);
        s->x = x;
        s->key = mem_dup(key);
        HASH_ADD_KEYPTR(hh, x->slots, s->key, strlen(s->key), s);
    }
    return s;
}

static bool slot_ready(const struct slot *s, const char *version) {
    switch (s->state) {
    case SLOT_FREE:
        return true;
    case SLOT_SETTLING:
        return strcmp(s->version, version) != 0;
    case SLOT_FLYING:
    case SLOT_BACKOFF:
        break;
    }
    return false;
}

static void on_backoff_over(void *ctx) {
    struct slot *s = ctx;
    struct execute *x = s->x;
    s->state = SLOT_FREE;
    if (x->retry) {
        x->retry(x->retry_ctx);
    }
}

static void back_off(struct slot *s, int64_t at_least_ms) {
    int64_t limit = BACKOFF_MIN_MS;
    for (uint32_t i = 0; i < s->failures && limit < BACKOFF_MAX_MS; i++) {
        limit *= 2;
    }
    limit = limit < BACKOFF_MAX_MS ? limit : BACKOFF_MAX_MS;
    int64_t wait = limit / 2 + (int64_t)(random_next(s->x) % (uint64_t)(limit / 2 + 1));
    wait = wait > at_least_ms ? wait : at_least_ms;
    s->failures++;
    s->state = SLOT_BACKOFF;
    timer_set(s->x->k->sched, &s->timer, sched_now(s->x->k->sched) + wait, on_backoff_over, s);
}

/* Did the write change anything? Then the object has another version now. */
static bool moved_on(const struct slot *s, const struct kube_response *r) {
    json_t *o = js_parse(r->body, r->len, 16 << 20, NULL);
    bool same = !strcmp(js_text(o, "metadata", "resourceVersion", NULL), s->version);
    json_decref(o);
    return !same;
}

static void slot_succeeded(struct slot *s, const struct kube_response *r) {
    s->x->writes++;
    s->failures = 0;
    mem_set(&s->trouble, NULL);
    s->state = SLOT_SETTLING;
    if (!moved_on(s, r)) {
        back_off(s, BACKOFF_MAX_MS); /* the inventory will not tell of it */
    }
    log_info("written", log_s("object", s->key));
}

static void slot_failed(struct slot *s, const struct kube_response *r) {
    s->x->failures++;
    if (r->err.code == ERR_CONFLICT) {
        s->state = SLOT_SETTLING;
        log_info("write conflicts, waiting for the newer object", log_s("object", s->key));
        return;
    }
    mem_set(&s->trouble, r->err.text);
    log_warn("write failed", log_s("object", s->key), log_s("error", r->err.text));
    if (r->err.code == ERR_NOT_FOUND) {
        s->state = SLOT_SETTLING;
    } else {
        int64_t asked = r->retry_after_ms < 2 * BACKOFF_MAX_MS ? r->retry_after_ms : 2 * BACKOFF_MAX_MS;
        back_off(s, asked);
    }
}

static void on_written(void *ctx, const struct kube_response *r) {
    struct slot *s = ctx;
    void (*done)(void *, bool) = s->done;
    void *done_ctx = s->ctx;
    bool ok = r->err.code == ERR_NONE;
    s->call = NULL;
    s->done = NULL;
    if (ok) {
        slot_succeeded(s, r);
    } else {
        slot_failed(s, r);
    }
    if (done) {
        done(done_ctx, ok);
    }
}

/* Takes body. */
static void slot_send(struct slot *s, const char *version, const char *path, json_t *body) {
    static const struct kube_handler handler = {NULL, on_written};
    char *text = js_dump(body), *manager = kube_escape(s->x->manager);
    char *full = mem_printf("%s?fieldManager=%s", path, manager);
    struct kube_request req = {
        .method = "PATCH", .path = full, .body = text, .content_type = "application/merge-patch+json"};
    s->state = SLOT_FLYING;
    mem_set(&s->version, version);
    s->call = kube_send(s->x->k, &req, &handler, s);
    free(full);
    free(manager);
    free(text);
    json_decref(body);
}

/* --- what is written --- */

static json_t *label_or_null(const json_t *labels, const char *key) {
    const char *v = js_str(labels, key, NULL);
    return v ? json_string(v) : json_null();
}

void execute_relabel(struct execute *x, const struct inv_namespace *ns, const struct upgrade *u) {
    char *key = mem_printf("ns/%s", ns->name), mark[256];
    struct slot *s = slot_of(x, key);
    free(key);
    if (!u->to || !slot_ready(s, ns->resource_version)) {
        return;
    }
    upgrade_mark(u, mark, sizeof mark);
    json_t *annotations = json_pack("{s:s}", MESHGATE_MARK_NAMESPACE, mark);
    bool moved_before = !strcmp(js_text(ns->annotations, MESHGATE_MARK_NAMESPACE, NULL), mark) &&
                        js_str(ns->annotations, MESHGATE_PREVIOUS, NULL);
    if (!moved_before) { /* else they would be those that somebody set in between */
        json_t *previous = json_pack("{s:o, s:o}", "istio-injection", label_or_null(ns->labels, "istio-injection"),
                                     "istio.io/rev", label_or_null(ns->labels, "istio.io/rev"));
        char *text = js_dump(previous);
        json_object_set_new(annotations, MESHGATE_PREVIOUS, json_string(text));
        free(text);
        json_decref(previous);
    }
    json_t *body = json_pack("{s:{s:s, s:{s:s, s:n}, s:o}}", "metadata", "resourceVersion", ns->resource_version, "labels",
                             "istio.io/rev", u->to, "istio-injection", "annotations", annotations);
    char *escaped = kube_escape(ns->name), *path = mem_printf("/api/v1/namespaces/%s", escaped);
    slot_send(s, ns->resource_version, path, body);
    free(path);
    free(escaped);
}

/* Collection of the kinds that can be restarted, NULL for the others. */
static const char *collection(enum workload_kind kind) {
    switch (kind) {
    case KIND_DEPLOYMENT:
        return "deployments";
    case KIND_STATEFULSET:
        return "statefulsets";
    case KIND_DAEMONSET:
        return "daemonsets";
    case KIND_UNKNOWN:
    case KIND_REPLICASET:
    case KIND_JOB:
    case KIND_CRONJOB:
    case KIND_ROLLOUT:
    case KIND_GATEWAY:
    case KIND_BARE_POD:
    case KIND_OTHER:
        break;
    }
    return NULL;
}

void execute_restart(struct execute *x, const struct inv_workload *w, const struct upgrade *u) {
    const char *plural = collection(w->kind);
    struct slot *s = slot_of(x, w->key);
    char mark[256], now[40];
    upgrade_mark(u, mark, sizeof mark);
    bool done = w->restart_mark && !strcmp(w->restart_mark, mark);
    if (!plural || done || !slot_ready(s, w->resource_version)) {
        return;
    }
    text_rfc3339_format(sched_wall(x->k->sched), now, sizeof now);
    json_t *body = json_pack("{s:{s:s}, s:{s:{s:{s:{s:s, s:s}}}}}", "metadata", "resourceVersion", w->resource_version,
                             "spec", "template", "metadata", "annotations", "kubectl.kubernetes.io/restartedAt", now,
                             MESHGATE_MARK_TEMPLATE, mark);
    char *ns = kube_escape(w->namespace_), *name = kube_escape(w->name);
    char *path = mem_printf("/apis/apps/v1/namespaces/%s/%s/%s", ns, plural, name);
    slot_send(s, w->resource_version, path, body);
    free(path);
    free(name);
    free(ns);
}

/* A merge patch keeps what it does not name: name what the old value has and the new one has not. */
static void null_missing(const json_t *old, json_t *wanted) {
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)old, key, v) {
        json_t *w = json_object_get(wanted, key);
        if (!w) {
            json_object_set_new(wanted, key, json_null());
        } else if (json_is_object(v) && json_is_object(w)) {
            null_missing(v, w);
        }
    }
}

static void on_refused(void *ctx) {
    struct refusal *r = ctx;
    DL_DELETE(r->x->refusals, r);
    r->done(r->ctx, false);
    free(r);
}

static void refuse(struct execute *x, void (*done)(void *ctx, bool ok), void *ctx) {
    struct refusal *r = mem_alloc(sizeof *r);
    *r = (struct refusal){.x = x, .done = done, .ctx = ctx};
    DL_APPEND(x->refusals, r);
    timer_set(x->k->sched, &r->timer, sched_now(x->k->sched), on_refused, r);
}

void execute_status(struct execute *x, const struct inv_upgrade *o, json_t *status, void (*done)(void *ctx, bool ok),
                    void *ctx) {
    char *key = mem_printf("MeshUpgrade/%s", o->name);
    struct slot *s = slot_of(x, key);
    free(key);
    if (!slot_ready(s, o->resource_version)) {
        json_decref(status);
        if (done) {
            refuse(x, done, ctx);
        }
        return;
    }
    json_t *whole = json_deep_copy(status);
    json_decref(status);
    null_missing(o->status, whole);
    s->done = done;
    s->ctx = ctx;
    char *name = kube_escape(o->name), *path = mem_printf("/apis/meshgate.io/v1alpha1/meshupgrades/%s/status", name);
    slot_send(s, o->resource_version, path,
              json_pack("{s:{s:s}, s:o}", "metadata", "resourceVersion", o->resource_version, "status", whole));
    free(path);
    free(name);
}

/* --- Events --- */

static void event_free(struct event *e) {
    HASH_DEL(e->x->events, e);
    free(e->key);
    free(e);
}

static void on_event_sent(void *ctx, const struct kube_response *r) {
    struct event *e = ctx;
    e->call = NULL;
    if (r->err.code != ERR_NONE) {
        log_warn("event not recorded", log_s("error", r->err.text));
        e->x->failures++;
        event_free(e); /* the next equal one tries again */
    }
}

static void events_forget_old(struct execute *x, int64_t now) {
    struct event *e, *next;
    HASH_ITER(hh, x->events, e, next) {
        if (!e->call && now - e->sent_ms >= EVENT_MERGE_MS) {
            event_free(e);
        }
    }
}

static json_t *event_body(struct execute *x, const struct inv_upgrade *o, const char *type, const char *reason,
                          const char *text) {
    char name[256], now[40], message[EVENT_TEXT_MAX + 1];
    snprintf(name, sizeof name, "%.200s.%016llx", o->name, (unsigned long long)random_next(x));
    size_t len = strnlen(text, EVENT_TEXT_MAX);
    while (text[len] && len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80) {
        len--; /* not in the middle of a character */
    }
    snprintf(message, sizeof message, "%.*s", (int)len, text);
    text_rfc3339_format(sched_wall(x->k->sched), now, sizeof now);
    return json_pack("{s:s, s:s, s:{s:s, s:s}, s:{s:s, s:s, s:s, s:s}, s:s, s:s, s:s, s:{s:s}, s:s, s:s, s:i, s:s, s:s}",
                     "apiVersion", "v1", "kind", "Event", "metadata", "name", name, "namespace", "default",
                     "involvedObject", "apiVersion", "meshgate.io/v1alpha1", "kind", "MeshUpgrade", "name", o->name, "uid",
                     o->uid, "type", type, "reason", reason, "message", message, "source", "component", "meshgate",
                     "firstTimestamp", now, "lastTimestamp", now, "count", 1, "reportingComponent", "meshgate.io/gate",
                     "reportingInstance", x->manager);
}

void execute_event(struct execute *x, const struct inv_upgrade *o, const char *type, const char *reason, const char *text) {
    static const struct kube_handler handler = {NULL, on_event_sent};
    int64_t now = sched_now(x->k->sched);
    char *key = mem_printf("%s %s %s %s", o->uid, type, reason, text);
    struct event *e;
    events_forget_old(x, now);
    HASH_FIND_STR(x->events, key, e);
    json_t *body = e || HASH_COUNT(x->events) >= EVENTS_MAX ? NULL : event_body(x, o, type, reason, text);
    if (!body) { /* merged, too many, or text that is no UTF-8 */
        free(key);
        return;
    }
    e = mem_alloc(sizeof *e);
    e->x = x;
    e->key = key;
    e->sent_ms = now;
    HASH_ADD_KEYPTR(hh, x->events, e->key, strlen(e->key), e);
    char *dump = js_dump(body);
    struct kube_request req = {.method = "POST", .path = "/api/v1/namespaces/default/events", .body = dump};
    e->call = kube_send(x->k, &req, &handler, e);
    free(dump);
    json_decref(body);
}

/* --- the whole --- */

struct execute *execute_new(struct kube *k, const char *field_manager, uint64_t seed) {
    struct execute *x = mem_alloc(sizeof *x);
    x->k = k;
    x->manager = mem_dup(field_manager);
    x->random = seed;
    return x;
}

void execute_on_retry(struct execute *x, void (*fn)(void *ctx), void *ctx) {
    x->retry = fn;
    x->retry_ctx = ctx;
}

static void slot_free(struct slot *s) {
    if (s->call) {
        kube_cancel(s->x->k, s->call);
    }
    timer_cancel(s->x->k->sched, &s->timer);
    HASH_DEL(s->x->slots, s);
    free(s->key);
    free(s->version);
    free(s->trouble);
    free(s);
}

void execute_free(struct execute *x) {
    if (!x) {
        return;
    }
    while (x->slots) {
        slot_free(x->slots);
    }
    while (x->events) {
        if (x->events->call) {
            kube_cancel(x->k, x->events->call);
        }
        event_free(x->events);
    }
    struct refusal *r, *next;
    DL_FOREACH_SAFE(x->refusals, r, next) {
        timer_cancel(x->k->sched, &r->timer);
        free(r);
    }
    free(x->manager);
    free(x);
}

uint64_t execute_writes(const struct execute *x) {
    return x->writes;
}

uint64_t execute_failures(const struct execute *x) {
    return x->failures;
}

const char *execute_trouble(const struct execute *x, const char *key) {
    struct slot *s;
    HASH_FIND_STR(x->slots, key, s);
    return s ? s->trouble : NULL;
}
