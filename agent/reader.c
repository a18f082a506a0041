#include "agent/reader.h"

#include <stdlib.h>
#include <string.h>

#include "agent/reader_inside.h"
#include "lib/base/mem.h"
#include "lib/base/text.h"

static void focus_free(struct reader *r) {
    for (size_t i = 0; i < r->n_focus; i++) {
        free(r->focus[i].name);
    }
    free(r->focus);
}

/* New list of namespaces; reading times of those that stay are kept. Not during a round over the old list. */
static void focus_set(struct reader *r, const char *const *names, size_t n) {
    struct focus *f = mem_alloc(sizeof *f * (n + 1));
    for (size_t i = 0; i < n; i++) {
        f[i].name = mem_dup(names[i]);
        for (size_t k = 0; k < r->n_focus; k++) {
            if (strcmp(r->focus[k].name, names[i]) == 0) {
                f[i].read_ms = r->focus[k].read_ms;
            }
        }
    }
    focus_free(r);
    r->focus = f;
    r->n_focus = n;
}

struct reader *reader_new(const struct reader_env *env, const Meshgate__V1__Assignment__Replica *a,
                          const struct reader_orders *o) {
    struct reader *r = mem_alloc(sizeof *r);
    r->env = env;
    r->id = mem_dup(a->id);
    r->name = mem_dup(a->name);
    r->address = mem_dup(a->address);
    r->server_name = mem_dup(a->server_name);
    r->xds_port = (uint16_t)a->xds_port;
    r->http_port = (uint16_t)a->http_port;
    r->period_ms = o->period_ms;
    r->idle = o->idle;
    r->audit = a->audit;
    r->replica = replica_new();
    r->hunt = hunt_new(r->replica);
    r->rung = RUNG_REST;
    r->word_ms = sched_now(env->sched);
    r->epoch = (uint32_t)(text_hash(env->seed, a->id, strlen(a->id)) ^ (uint64_t)sched_wall(env->sched)) | 1;
    focus_set(r, o->focus, o->n_focus);
    /* All readers get their orders at the same moment; spread them over a quarter of the period. */
    int64_t spread = (int64_t)(text_hash(env->seed, a->name, strlen(a->name)) % (o->period_ms / 4 + 1));
    timer_set(env->sched, &r->timer, sched_now(env->sched) + spread, reader_round, r);
    return r;
}

static void stop(struct reader *r) {
    timer_cancel(r->env->sched, &r->timer);
    if (r->question) {
        r->env->io->drop(r->env->io->self, r->question);
        r->question = NULL;
    }
}

void reader_free(struct reader *r) {
    if (!r) {
        return;
    }
    stop(r);
    r->env->io->forget(r->env->io->self, r->id);
    hunt_free(r->hunt);
    replica_free(r->replica);
    focus_free(r);
    free(r->id);
    free(r->name);
    free(r->address);
    free(r->server_name);
    free(r->error);
    free(r);
}

const char *reader_id(const struct reader *r) {
    return r->id;
}

bool reader_update(struct reader *r, const Meshgate__V1__Assignment__Replica *a, const struct reader_orders *o) {
    if (strcmp(a->address, r->address) != 0 || strcmp(a->server_name, r->server_name) != 0 || a->xds_port != r->xds_port) {
        return false;
    }
    /* Begin a new round with the new orders instead of mending the one under way. */
    bool in_namespaces = r->rung == RUNG_NAMESPACE;
    if (in_namespaces) {
        stop(r);
        r->env->io->forget(r->env->io->self, r->id); /* its late answer must not be taken for another's */
    }
    focus_set(r, o->focus, o->n_focus);
    bool audit = a->audit > r->audit;
    bool sooner = o->period_ms < r->period_ms || audit || (r->idle && !o->idle);
    r->want_syncz |= audit;
    r->audit = a->audit;
    r->idle = o->idle;
    r->period_ms = o->period_ms;
    if (in_namespaces || (sooner && r->rung == RUNG_REST)) {
        timer_set(r->env->sched, &r->timer, sched_now(r->env->sched) + 1, reader_round, r);
        r->rung = RUNG_REST;
    }
    return true;
}

void reader_restart(struct reader *r) {
    r->epoch += 2; /* never 0 */
    replica_all_dirty(r->replica);
    r->retell = true;
    r->news = true;
}

bool reader_has_news(const struct reader *r) {
    return r->news || replica_dirty(r->replica);
}

struct filling {
    struct report *rep;
    Meshgate__V1__ReplicaReading *x;
    int64_t now;
};

static void fill_read(void *ctx, char *namespace_, int64_t read_ms) {
    struct filling *f = ctx;
    report_namespace_age(f->rep, f->x, namespace_, (uint32_t)(f->now - read_ms));
}

static void fill_blocked(void *ctx, const char *namespace_, const char *proxy, int64_t since_ms) {
    struct filling *f = ctx;
    report_blocked(f->rep, f->x, namespace_, proxy, (uint32_t)(f->now - since_ms));
}

static void fill_ages(struct reader *r, struct filling *f) {
    Meshgate__V1__ReplicaReading *x = f->x;
    x->has_connections = r->connections_ms > 0;
    x->connections_age_ms = x->has_connections ? (uint32_t)(f->now - r->connections_ms) : 0;
    x->has_syncz = r->syncz_ms > 0;
    x->syncz_age_ms = x->has_syncz ? (uint32_t)(f->now - r->syncz_ms) : 0;
    for (size_t i = 0; i < r->n_focus; i++) {
        if (r->focus[i].read_ms) {
            fill_read(f, r->focus[i].name, r->focus[i].read_ms);
        }
    }
    hunt_each_read(r->hunt, r->retell, fill_read, f);
    hunt_each(r->hunt, fill_blocked, f);
    r->retell = false;
}

/* While pushes are locked the whole syncz has no answer, whatever its parts say. */
static void fill_locked(struct report *rep, Meshgate__V1__ReplicaReading *x) {
    if (x->n_blocked > 0) {
        const Meshgate__V1__Blocked *b = x->blocked[0];
        bool named = b->proxy[0] != '\0';
        x->syncz = MESHGATE__V1__READ_STATUS__READ_TIMEOUT;
        x->error = report_keep(rep, mem_printf("no answer to syncz?namespace=%s%s%s", b->namespace_,
                                               named ? ": pushes are locked to " : "", b->proxy));
    }
}

/* Where the JSON calls are refused the list of who is in sync tells who hangs here as well. */
static void fill_status_only(struct reader *r, Meshgate__V1__ReplicaReading *x) {
    static char why[] = "istiod refuses the JSON debug calls (ENABLE_DEBUG_ON_HTTP=false?): read by protobuf syncz, once a "
                        "minute at most";
    if (r->status_only && x->connections == MESHGATE__V1__READ_STATUS__READ_REFUSED && r->connections_ms > 0) {
        x->connections = MESHGATE__V1__READ_STATUS__READ_OK;
        x->error = why;
    }
}

bool reader_fill(struct reader *r, struct report *rep) {
    static char empty[1] = "";
    int64_t now = sched_now(r->env->sched);
    Meshgate__V1__ReplicaReading *x = report_replica(rep);
    x->replica = r->id;
    x->epoch = r->epoch;
    x->connections = r->connections;
    x->syncz = r->syncz;
    x->error = r->error ? r->error : empty;
    x->rejects = r->now.rejects;
    x->streams = r->now.streams;
    x->expired_nonces = r->now.expired_nonces;
    x->status_only = r->status_only;
    x->bytes_read = r->bytes;
    x->questions = r->questions;
    bool all = replica_fill(r->replica, rep, x, now);
    x->more = !all;
    if (all) {
        /* A part is as old as the whole: ages only with the last one. */
        struct filling f = {.rep = rep, .x = x, .now = now};
        fill_ages(r, &f);
        fill_locked(rep, x);
        fill_status_only(r, x);
        r->news = false;
    }
    return all;
}
