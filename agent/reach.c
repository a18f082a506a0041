#include "agent/reach.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/base/text.h"

#define TEST_MS 5000
#define FAILED_SOONER 6

struct target {
    struct reach *owner;
    char *name, *server_name;
    char **ips;
    size_t n_ips, turn;
    uint16_t port;
    struct timer timer;
    struct io_question *question;
    bool known, dirty, ok;
    char stage[16], error[200];
    uint32_t rtt_us;
    int64_t at_ms;
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

static void ips_free(struct target *t) {
    for (size_t i = 0; i < t->n_ips; i++) {
        free(t->ips[i]);
    }
    free(t->ips);
    t->ips = NULL;
    t->n_ips = 0;
}

static void target_free(struct target *t) {
    timer_cancel(t->owner->env.sched, &t->timer);
    if (t->question) {
        t->owner->env.io->drop(t->owner->env.io->self, t->question);
    }
    ips_free(t);
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

/* A failure is looked at again sooner: it may hold an upgrade. */
static void again(struct target *t) {
    struct reach *r = t->owner;
    int64_t pause = t->known && !t->ok ? r->period_ms / FAILED_SOONER : r->period_ms;
    timer_set(r->env.sched, &t->timer, sched_now(r->env.sched) + pause, test, t);
}

/* The first test, at a moment that differs between nodes. */
static void first(struct target *t) {
    struct reach *r = t->owner;
    int64_t spread = (int64_t)(text_hash(r->env.seed, t->name, strlen(t->name)) % (r->period_ms / 10 + 1));
    timer_set(r->env.sched, &t->timer, sched_now(r->env.sched) + spread, test, t);
}

static void on_result(void *ctx, const struct io_reach *x) {
    struct target *t = ctx;
    struct reach *r = t->owner;
    t->question = NULL;
    t->known = t->dirty = true;
    t->ok = x->ok;
    t->rtt_us = x->rtt_us;
    t->at_ms = sched_now(r->env.sched);
    snprintf(t->stage, sizeof t->stage, "%s", x->stage ? x->stage : "");
    snprintf(t->error, sizeof t->error, "%s", x->ok || !x->error ? "" : x->error);
    again(t);
    r->env.news(r->env.ctx);
}

static void test(void *ctx) {
    struct target *t = ctx;
    struct agent_io *io = t->owner->env.io;
    if (t->n_ips == 0) {
        again(t);
        return;
    }
    struct io_target at = {
        .id = t->name, .address = t->ips[t->turn++ % t->n_ips], .xds_port = t->port, .server_name = t->server_name};
    t->question = io->reach(io->self, &at, TEST_MS, on_result, t);
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

static void target_update(struct target *t, const Meshgate__V1__Assignment__Revision *a) {
    mem_set(&t->server_name, a->server_name);
    t->port = (uint16_t)a->xds_port;
    ips_free(t);
    t->ips = mem_alloc(sizeof(char *) * (a->n_replica_ips + 1));
    for (size_t i = 0; i < a->n_replica_ips; i++) {
        t->ips[t->n_ips++] = mem_dup(a->replica_ips[i]);
    }
}

void reach_set(struct reach *r, Meshgate__V1__Assignment__Revision *const *revisions, size_t n, uint32_t period_ms) {
    bool sooner = period_ms < r->period_ms;
    r->period_ms = period_ms;
    struct target **list = mem_alloc(sizeof(struct target *) * (n + 1));
    for (size_t i = 0; i < n; i++) {
        struct target *t = find(r->targets, r->n, revisions[i]->name);
        list[i] = t ? t : target_new(r, revisions[i]->name);
        target_update(list[i], revisions[i]);
        if (t && sooner && !t->question) {
            (t->known ? again : first)(t);
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
        r->targets[i]->dirty = r->targets[i]->known;
    }
}

bool reach_has_news(const struct reach *r) {
    for (size_t i = 0; i < r->n; i++) {
        if (r->targets[i]->dirty) {
            return true;
        }
    }
    return false;
}

void reach_fill(struct reach *r, struct report *rep) {
    for (size_t i = 0; i < r->n; i++) {
        struct target *t = r->targets[i];
        if (!t->dirty) {
            continue;
        }
        Meshgate__V1__Reach *x = report_reach(rep);
        x->revision = t->name;
        x->ok = t->ok;
        x->stage = t->stage;
        x->error = t->error;
        x->rtt_us = t->rtt_us;
        x->age_ms = (uint32_t)(sched_now(r->env.sched) - t->at_ms);
        t->dirty = false;
    }
}
