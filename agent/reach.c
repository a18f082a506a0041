#include "agent/reach.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/text.h"

#define TEST_MS 5000
#define STREAM_MS 10000
#define FAILED_SOONER 6
/* istiod's readiness, on the pod's address only: the Service does not lead there. */
#define READY_PORT 8080

struct place {
    char *ip;
    bool pod; /* of a replica; false: the Service */
};

/* How a test ended. */
struct outcome {
    bool known, dirty, ok;
    char stage[16], error[240];
    uint32_t rtt_us, first_byte_us;
    int64_t at_ms, cert_expires_ms; /* 0: not known */
};

struct target {
    struct reach *owner;
    char *name, *server_name;
    struct place *places;
    size_t n_places, turn;
    uint16_t port;
    struct timer timer;
    struct io_question *plain_asked, *stream_asked;
    struct outcome plain, stream;
};

struct reach {
    struct reach_env env;
    struct target **targets;
    size_t n;
    uint32_t period_ms;
};

struct reach *reach_new(const struct reach_env *env) {
    struct reach *r = mem_alloc(sizeof *r);
    r->env = *env;
    return r;
}

static void places_free(struct target *t) {
    for (size_t i = 0; i < t->n_places; i++) {
        free(t->places[i].ip);
    }
    free(t->places);
    t->places = NULL;
    t->n_places = 0;
}

static void target_free(struct target *t) {
    struct agent_io *io = t->owner->env.io;
    timer_cancel(t->owner->env.sched, &t->timer);
    if (t->plain_asked) {
        io->drop(io->self, t->plain_asked);
    }
    if (t->stream_asked) {
        io->drop(io->self, t->stream_asked);
    }
    places_free(t);
    free(t->name);
    free(t->server_name);
    free(t);
}

void reach_free(struct reach *r) {
    if (!r) {
        return;
    }
    for (size_t i = 0; i < r->n; i++) {
        target_free(r->targets[i]);
    }
    free(r->targets);
    free(r);
}

static void test(void *ctx);
static void on_stream(void *ctx, const struct io_reach *x);

/* A failure is looked at again sooner: it may hold an upgrade. */
static void again(struct target *t) {
    struct reach *r = t->owner;
    int64_t pause = t->plain.known && !t->plain.ok ? r->period_ms / FAILED_SOONER : r->period_ms;
    timer_set(r->env.sched, &t->timer, sched_now(r->env.sched) + pause, test, t);
}

/* The first test, at a moment that differs between nodes. */
static void first(struct target *t) {
    struct reach *r = t->owner;
    int64_t spread = (int64_t)(text_hash(r->env.seed, t->name, strlen(t->name)) % (r->period_ms / 10 + 1));
    timer_set(r->env.sched, &t->timer, sched_now(r->env.sched) + spread, test, t);
}

static void take(struct target *t, struct outcome *o, const struct io_reach *x) {
    int64_t now = sched_now(t->owner->env.sched);
    bool was_ok = !o->known || o->ok;
    if (x->ok != was_ok && x->ok) {
        log_info("revision is reached again", log_s("revision", t->name), log_s("stage", x->stage));
    } else if (x->ok != was_ok) {
        log_warn("revision cannot be reached", log_s("revision", t->name), log_s("stage", x->stage ? x->stage : ""),
                 log_s("error", x->error ? x->error : ""));
    }
    *o = (struct outcome){.known = true, .dirty = true, .ok = x->ok, .at_ms = now};
    o->rtt_us = x->rtt_us;
    o->first_byte_us = x->first_byte_us;
    o->cert_expires_ms = x->cert_expiry_s ? now + x->cert_expiry_s * 1000 : 0;
    snprintf(o->stage, sizeof o->stage, "%s", x->stage ? x->stage : "");
    snprintf(o->error, sizeof o->error, "%s", x->ok || !x->error ? "" : x->error);
}

static void on_plain(void *ctx, const struct io_reach *x) {
    struct target *t = ctx;
    struct reach *r = t->owner;
    bool mended = t->plain.known && !t->plain.ok && x->ok;
    t->plain_asked = NULL;
    take(t, &t->plain, x);
    if (mended && t->stream.known && !t->stream.ok) {
        t->stream.known = false;
    }
    t->turn += x->ok; /* one that failed is looked at again */
    again(t);
    r->env.news(r->env.ctx);
}

static struct io_question *begin(struct target *t, const struct place *at, bool stream) {
    struct agent_io *io = t->owner->env.io;
    struct io_target to = {.id = t->name,
                           .address = at->ip,
                           .xds_port = t->port,
                           .http_port = at->pod ? READY_PORT : 0,
                           .server_name = t->server_name};
    return stream ? io->stream(io->self, &to, STREAM_MS, on_stream, t) : io->reach(io->self, &to, TEST_MS, on_plain, t);
}

static void test(void *ctx) {
    struct target *t = ctx;
    if (t->plain_asked) {
        return;
    }
    if (t->n_places == 0) {
        again(t);
        return;
    }
    t->plain_asked = begin(t, &t->places[t->turn % t->n_places], false);
}

/* Where a proxy dials: the Service, which comes first. */
static void on_stream(void *ctx, const struct io_reach *x) {
    struct target *t = ctx;
    struct reach *r = t->owner;
    t->stream_asked = NULL;
    if (x->busy) {
        log_debug("istiod admits no more streams now; a later slot will tell", log_s("revision", t->name));
        return;
    }
    take(t, &t->stream, x);
    if (!x->ok) { /* says at once whether the way there is at fault, and what it is */
        t->turn = 0;
        timer_set(r->env.sched, &t->timer, sched_now(r->env.sched) + 1, test, t);
    }
    r->env.news(r->env.ctx);
}

void reach_slot(struct reach *r, const char *revision) {
    for (size_t i = 0; i < r->n; i++) {
        struct target *t = r->targets[i];
        if (strcmp(t->name, revision) == 0 && !t->stream_asked && t->n_places > 0) {
            t->stream_asked = begin(t, &t->places[0], true);
        }
    }
}

static struct target *find(struct target **list, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++) {
        if (list[i] && strcmp(list[i]->name, name) == 0) {
            struct target *t = list[i];
            list[i] = NULL;
            return t;
        }
    }
    return NULL;
}

static struct target *target_new(struct reach *r, const char *name) {
    struct target *t = mem_alloc(sizeof *t);
    t->owner = r;
    t->name = mem_dup(name);
    first(t);
    return t;
}

static void add_places(struct target *t, char *const *ips, size_t n, bool pod) {
    for (size_t i = 0; i < n; i++) {
        t->places[t->n_places++] = (struct place){.ip = mem_dup(ips[i]), .pod = pod};
    }
}

static bool same_places(const struct target *t, const Meshgate__V1__Assignment__Revision *a) {
    bool same = t->n_places == a->n_service_ips + a->n_replica_ips;
    for (size_t i = 0; i < t->n_places && same; i++) {
        bool pod = i >= a->n_service_ips;
        same = strcmp(t->places[i].ip, pod ? a->replica_ips[i - a->n_service_ips] : a->service_ips[i]) == 0;
    }
    return same;
}

static void target_update(struct target *t, const Meshgate__V1__Assignment__Revision *a) {
    mem_set(&t->server_name, a->server_name);
    t->port = (uint16_t)a->xds_port;
    if (same_places(t, a)) {
        return;
    }
    if (t->plain.known && !t->plain.ok && !t->plain_asked) {
        first(t); /* what failed may be what has gone */
    }
    places_free(t);
    t->places = mem_alloc(sizeof *t->places * (a->n_service_ips + a->n_replica_ips + 1));
    add_places(t, a->service_ips, a->n_service_ips, false);
    add_places(t, a->replica_ips, a->n_replica_ips, true);
}

void reach_set(struct reach *r, Meshgate__V1__Assignment__Revision *const *revisions, size_t n, uint32_t period_ms) {
    bool sooner = period_ms < r->period_ms;
    r->period_ms = period_ms;
    struct target **list = mem_alloc(sizeof(struct target *) * (n + 1));
    for (size_t i = 0; i < n; i++) {
        struct target *t = find(r->targets, r->n, revisions[i]->name);
        list[i] = t ? t : target_new(r, revisions[i]->name);
        target_update(list[i], revisions[i]);
        if (t && sooner && !t->plain_asked) {
            (t->plain.known ? again : first)(t);
        }
    }
    for (size_t i = 0; i < r->n; i++) {
        if (r->targets[i]) {
            target_free(r->targets[i]);
        }
    }
    free(r->targets);
    r->targets = list;
    r->n = n;
}

void reach_all_dirty(struct reach *r) {
    for (size_t i = 0; i < r->n; i++) {
        struct target *t = r->targets[i];
        t->plain.dirty = t->plain.known;
        t->stream.dirty = t->stream.known;
    }
}

bool reach_has_news(const struct reach *r) {
    for (size_t i = 0; i < r->n; i++) {
        if (r->targets[i]->plain.dirty || r->targets[i]->stream.dirty) {
            return true;
        }
    }
    return false;
}

static void put(struct report *rep, struct target *t, const struct outcome *o, int64_t now) {
    Meshgate__V1__Reach *x = report_reach(rep);
    x->revision = t->name;
    x->ok = o->ok;
    x->stage = (char *)(uintptr_t)o->stage;
    x->error = (char *)(uintptr_t)o->error;
    x->rtt_us = o->rtt_us;
    x->first_byte_us = o->first_byte_us;
    x->age_ms = (uint32_t)(now - o->at_ms);
    int64_t left_ms = o->cert_expires_ms - now;
    if (o->cert_expires_ms) {
        x->cert_expiry_s = left_ms > 0 ? left_ms / 1000 + 1 : left_ms / 1000 - 1;
    }
}

/* The plain result stands for all of it unless only the stream has failed. */
static void fill(struct target *t, struct report *rep, int64_t now) {
    bool stream_failed = t->stream.known && !t->stream.ok;
    if (t->stream.dirty) {
        put(rep, t, &t->stream, now);
    }
    if (t->plain.known && !(t->plain.ok && stream_failed)) {
        put(rep, t, &t->plain, now);
    } else if (t->plain.dirty && stream_failed && !t->stream.dirty) {
        put(rep, t, &t->stream, now);
    }
    t->plain.dirty = t->stream.dirty = false;
}

void reach_fill(struct reach *r, struct report *rep) {
    int64_t now = sched_now(r->env.sched);
    for (size_t i = 0; i < r->n; i++) {
        struct target *t = r->targets[i];
        if (t->plain.dirty || t->stream.dirty) {
            fill(t, rep, now);
        }
    }
}
