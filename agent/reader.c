#include "agent/reader.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "agent/replica.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/text.h"
#include "probes/promtext.h"

/* More namespaces in focus than this are read cheaper by the whole syncz. */
#define FOCUS_MAX 8
#define AUDIT_MS (5 * 60 * 1000)

enum rung { RUNG_METRICS, RUNG_CONNECTIONS, RUNG_SYNCZ, RUNG_NAMESPACE, RUNG_REST };

struct focus {
    char *name;
    int64_t read_ms; /* latest complete syncz of this namespace alone */
    bool report;
};

struct reader {
    const struct reader_env *env;
    char *id, *name, *address, *server_name;
    uint16_t xds_port, http_port;
    uint32_t period_ms;
    struct focus *focus;
    size_t n_focus;

    struct replica *replica;
    uint32_t epoch;
    enum rung rung;
    size_t at; /* next focus namespace of this round */
    struct io_question *question;
    struct timer timer;
    int64_t round_ms, asked_ms;

    Meshgate__V1__ReadStatus connections, syncz;
    char *error;
    int64_t connections_ms, syncz_ms; /* when the latest complete one was asked; 0 never in this epoch */
    double rejects, rejects_at_syncz;
    bool has_rejects, want_syncz;
    uint64_t bytes, questions;
    bool news;
};

static void next_step(struct reader *r);

static struct io_target target(const struct reader *r) {
    return (struct io_target){.id = r->id,
                              .address = r->address,
                              .xds_port = r->xds_port,
                              .http_port = r->http_port,
                              .server_name = r->server_name};
}

static void on_timer(void *ctx) {
    struct reader *r = ctx;
    r->round_ms = sched_now(r->env->sched);
    r->rung = RUNG_METRICS;
    r->at = 0;
    next_step(r);
}

/* Rest until the next round; rounds keep their distance even when one took long. */
static void rest(struct reader *r) {
    int64_t now = sched_now(r->env->sched);
    int64_t at = r->round_ms + r->period_ms;
    timer_set(r->env->sched, &r->timer, at > now ? at : now + r->period_ms / 4 + 1, on_timer, r);
    r->rung = RUNG_REST;
    r->news = true;
    r->env->news(r->env->ctx);
}

static Meshgate__V1__ReadStatus status_of(enum io_status s) {
    switch (s) {
    case IO_OK:
        return MESHGATE__V1__READ_STATUS__READ_OK;
    case IO_TIMEOUT:
        return MESHGATE__V1__READ_STATUS__READ_TIMEOUT;
    case IO_UNREACHABLE:
        return MESHGATE__V1__READ_STATUS__READ_UNREACHABLE;
    case IO_DENIED:
        return MESHGATE__V1__READ_STATUS__READ_DENIED;
    case IO_REFUSED:
        return MESHGATE__V1__READ_STATUS__READ_REFUSED;
    case IO_GARBLED:
        return MESHGATE__V1__READ_STATUS__READ_GARBLED;
    case IO_BUSY:
        return MESHGATE__V1__READ_STATUS__READ_BUSY;
    }
    return MESHGATE__V1__READ_STATUS__READ_UNKNOWN;
}

static const char *status_name(enum io_status s) {
    static const char *const names[] = {"ok", "timeout", "unreachable", "denied", "refused", "garbled", "busy"};
    return (size_t)s < sizeof names / sizeof *names ? names[s] : "?";
}

static void set_status(struct reader *r, Meshgate__V1__ReadStatus *slot, enum io_status s, const char *error) {
    Meshgate__V1__ReadStatus now = status_of(s);
    bool first_ok = s == IO_OK && *slot == MESHGATE__V1__READ_STATUS__READ_UNKNOWN;
    if (*slot != now && !first_ok) {
        log_info("istiod replica answers differently", log_s("replica", r->name), log_s("status", status_name(s)),
                 log_s("error", error ? error : ""));
    }
    *slot = now;
    mem_set(&r->error, s == IO_OK ? NULL : error);
    if (s != IO_OK) {
        metric_add(r->env->failures, 1);
    }
}

struct rejects {
    double sum;
    bool seen;
};

static void on_sample(void *ctx, const struct prom_sample *s) {
    struct rejects *x = ctx;
    if (strcmp(s->name, "pilot_total_xds_rejects") == 0 && isfinite(s->value)) {
        x->sum += s->value;
    }
    x->seen = true;
}

static void count(struct reader *r, const struct io_answer *a) {
    r->question = NULL;
    r->bytes += a->bytes;
    r->questions++;
    metric_add(r->env->questions, 1);
    metric_add(r->env->bytes, (double)a->bytes);
}

/* Rung 0 decides nothing by itself: rejects that rose ask for the whole syncz. A silent /metrics is no reason to stop. */
static void on_metrics(void *ctx, const struct io_answer *a) {
    struct reader *r = ctx;
    count(r, a);
    if (a->status == IO_OK) {
        char *text = io_text(a);
        struct rejects x = {0};
        struct err err;
        if (prom_parse(text, a->bytes, on_sample, &x, &err) >= 0 && x.seen) {
            r->want_syncz |= r->has_rejects && x.sum > r->rejects_at_syncz;
            r->rejects = x.sum;
            r->has_rejects = true;
        }
        free(text);
    }
    r->rung = RUNG_CONNECTIONS;
    next_step(r);
}

static void on_connections(void *ctx, const struct io_answer *a) {
    struct reader *r = ctx;
    count(r, a);
    enum io_status status = a->status;
    struct err err = {0};
    if (status == IO_OK) {
        replica_begin(r->replica);
        if (istiod_connections(a->body, a->pieces, replica_conn, r->replica, &err) >= 0) {
            replica_commit_connections(r->replica);
            r->connections_ms = r->asked_ms;
        } else {
            replica_drop(r->replica);
            status = err.code == ERR_DENIED ? IO_REFUSED : IO_GARBLED;
        }
    }
    set_status(r, &r->connections, status, status == IO_OK ? NULL : err.text[0] ? err.text : a->error);
    if (status != IO_OK) {
        rest(r); /* dead or deaf: the rest would only cost time */
        return;
    }
    bool audit = !r->syncz_ms || r->asked_ms - r->syncz_ms >= AUDIT_MS;
    r->rung = audit || r->want_syncz || r->n_focus > FOCUS_MAX ? RUNG_SYNCZ : RUNG_NAMESPACE;
    next_step(r);
}

static bool take_syncz(struct reader *r, const struct io_answer *a, const char *namespace_) {
    struct err err = {0};
    enum io_status status = a->status;
    if (status == IO_OK) {
        replica_begin(r->replica);
        if (istiod_syncz(a->body, a->pieces, replica_sync, r->replica, &err) >= 0) {
            replica_commit_syncz(r->replica, namespace_, r->asked_ms);
        } else {
            replica_drop(r->replica);
            status = err.code == ERR_DENIED ? IO_REFUSED : IO_GARBLED;
        }
    }
    set_status(r, &r->syncz, status, status == IO_OK ? NULL : err.text[0] ? err.text : a->error);
    return status == IO_OK;
}

static void on_syncz(void *ctx, const struct io_answer *a) {
    struct reader *r = ctx;
    count(r, a);
    if (take_syncz(r, a, NULL)) {
        r->syncz_ms = r->asked_ms;
        r->rejects_at_syncz = r->rejects;
        r->want_syncz = false;
        rest(r);
        return;
    }
    /* Somebody may have locked one proxy: the namespaces on their own say which (istiod-facts 1). */
    r->rung = RUNG_NAMESPACE;
    next_step(r);
}

static void on_namespace(void *ctx, const struct io_answer *a) {
    struct reader *r = ctx;
    count(r, a);
    struct focus *f = &r->focus[r->at++];
    if (take_syncz(r, a, f->name)) {
        f->read_ms = r->asked_ms;
        f->report = true;
    }
    next_step(r);
}

static void next_step(struct reader *r) {
    struct agent_io *io = r->env->io;
    struct io_target t = target(r);
    int64_t limit = r->env->question_timeout_ms;
    r->asked_ms = sched_now(r->env->sched);
    switch (r->rung) {
    case RUNG_METRICS:
        r->question = io->get(io->self, r->address, r->http_port, "/metrics", limit, on_metrics, r);
        return;
    case RUNG_CONNECTIONS:
        r->question = io->ask(io->self, &t, "connections", limit, on_connections, r);
        return;
    case RUNG_SYNCZ:
        r->question = io->ask(io->self, &t, "syncz", limit, on_syncz, r);
        return;
    case RUNG_NAMESPACE:
        if (r->at < r->n_focus && r->n_focus <= FOCUS_MAX) {
            char *name = mem_printf("syncz?namespace=%s", r->focus[r->at].name);
            r->question = io->ask(io->self, &t, name, limit, on_namespace, r);
            free(name);
            return;
        }
        rest(r);
        return;
    case RUNG_REST:
        return;
    }
}

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
                f[i].report = r->focus[k].report;
            }
        }
    }
    focus_free(r);
    r->focus = f;
    r->n_focus = n;
}

struct reader *reader_new(const struct reader_env *env, const Meshgate__V1__Assignment__Replica *a,
                          const char *const *focus, size_t n_focus, uint32_t period_ms) {
    struct reader *r = mem_alloc(sizeof *r);
    r->env = env;
    r->id = mem_dup(a->id);
    r->name = mem_dup(a->name);
    r->address = mem_dup(a->address);
    r->server_name = mem_dup(a->server_name);
    r->xds_port = (uint16_t)a->xds_port;
    r->http_port = (uint16_t)a->http_port;
    r->period_ms = period_ms;
    r->replica = replica_new();
    r->epoch = (uint32_t)(text_hash(env->seed, a->id, strlen(a->id)) ^ (uint64_t)sched_wall(env->sched)) | 1;
    focus_set(r, focus, n_focus);
    /* All readers get their orders at the same moment; spread them over a quarter of the period. */
    int64_t spread = (int64_t)(text_hash(env->seed, a->name, strlen(a->name)) % (period_ms / 4 + 1));
    timer_set(env->sched, &r->timer, sched_now(env->sched) + spread, on_timer, r);
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

bool reader_update(struct reader *r, const Meshgate__V1__Assignment__Replica *a, const char *const *focus, size_t n_focus,
                   uint32_t period_ms) {
    if (strcmp(a->address, r->address) != 0 || strcmp(a->server_name, r->server_name) != 0 || a->xds_port != r->xds_port) {
        return false;
    }
    /* Begin a new round with the new orders instead of mending the one under way. */
    bool in_namespaces = r->rung == RUNG_NAMESPACE;
    if (in_namespaces) {
        stop(r);
        r->env->io->forget(r->env->io->self, r->id); /* its late answer must not be taken for another's */
    }
    focus_set(r, focus, n_focus);
    bool sooner = period_ms < r->period_ms;
    r->period_ms = period_ms;
    if (in_namespaces || (sooner && r->rung == RUNG_REST)) {
        timer_set(r->env->sched, &r->timer, sched_now(r->env->sched) + 1, on_timer, r);
        r->rung = RUNG_REST;
    }
    return true;
}

void reader_restart(struct reader *r) {
    r->epoch += 2; /* never 0 */
    replica_all_dirty(r->replica);
    r->news = true;
}

bool reader_has_news(const struct reader *r) {
    return r->news || replica_dirty(r->replica);
}

static void fill_ages(struct reader *r, struct report *rep, Meshgate__V1__ReplicaReading *x, int64_t now) {
    x->has_connections = r->connections_ms > 0;
    x->connections_age_ms = x->has_connections ? (uint32_t)(now - r->connections_ms) : 0;
    x->has_syncz = r->syncz_ms > 0;
    x->syncz_age_ms = x->has_syncz ? (uint32_t)(now - r->syncz_ms) : 0;
    for (size_t i = 0; i < r->n_focus; i++) {
        if (r->focus[i].read_ms) {
            report_namespace_age(rep, x, r->focus[i].name, (uint32_t)(now - r->focus[i].read_ms));
        }
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
    x->rejects = r->rejects;
    x->bytes_read = r->bytes;
    x->questions = r->questions;
    bool all = replica_fill(r->replica, rep, x, now);
    x->more = !all;
    if (all) {
        fill_ages(r, rep, x, now); /* a part is as old as the whole: ages only with the last one */
        r->news = false;
    }
    return all;
}
