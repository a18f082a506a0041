#include "agent/local.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "probes/proxy_stats.h"
#include "uthash.h"

/* Proxies asked at the same time. */
#define AT_ONCE 8
#define ASK_MS 3000
/* pilot-agent's own metrics come merged with the application's: asked rarely, for the certificate alone. */
#define CERT_MS (5 * 60 * 1000)

struct pod {
    char *uid;
    struct local *owner;
    char ip[46], dials[56];
    uint32_t connections;
    int64_t first_seen_ms;
    struct proxy_seen seen; /* of the latest look */
    bool stats_ok, ready;
    struct io_question *stats, *health, *cert;
    int64_t cert_asked_ms;
    int64_t cert_expires_ms; /* on our clock; 0 not said */
    bool cert_expired;
    uint32_t look;  /* scan that had it last */
    uint32_t asked; /* scan in which it was asked */
    bool dirty;
    UT_hash_handle hh;
};

struct gone {
    char *uid;
    struct gone *next;
};

struct local {
    struct local_env env;
    uint32_t period_ms;
    struct timer timer;
    struct pod *pods;
    struct gone *gone;
    uint32_t look;
    uint32_t open;       /* pods with a question under way */
    int64_t scan_ms;     /* begin of the look under way */
    int64_t complete_ms; /* begin of the latest complete look; 0 never */
    bool looking, news;
    char *trouble;
};

struct local *local_new(const struct local_env *env) {
    struct local *l = mem_alloc(sizeof *l);
    l->env = *env;
    return l;
}

static void pod_drop_questions(struct pod *p) {
    struct agent_io *io = p->owner->env.io;
    if (p->stats) {
        io->drop(io->self, p->stats);
        p->stats = NULL;
    }
    if (p->health) {
        io->drop(io->self, p->health);
        p->health = NULL;
    }
    if (p->cert) {
        io->drop(io->self, p->cert);
        p->cert = NULL;
    }
}

static void pod_free(struct pod *p) {
    pod_drop_questions(p);
    free(p->uid);
    free(p);
}

void local_free(struct local *l) {
    if (!l) {
        return;
    }
    timer_cancel(l->env.sched, &l->timer);
    struct pod *p, *next;
    HASH_ITER(hh, l->pods, p, next) {
        HASH_DEL(l->pods, p);
        pod_free(p);
    }
    while (l->gone) {
        struct gone *g = l->gone;
        l->gone = g->next;
        free(g->uid);
        free(g);
    }
    free(l->trouble);
    free(l);
}

static void scan(void *ctx);

static void look_done(struct local *l) {
    l->looking = false;
    l->complete_ms = l->scan_ms;
    l->news = true;
    metric_set(l->env.proxies, HASH_COUNT(l->pods));
    if (l->period_ms) {
        int64_t now = sched_now(l->env.sched), at = l->scan_ms + l->period_ms;
        timer_set(l->env.sched, &l->timer, at > now ? at : now + l->period_ms / 4 + 1, scan, l);
    }
    l->env.news(l->env.ctx);
}

static void ask_some(struct local *l);

static void pod_answered(struct pod *p) {
    struct local *l = p->owner;
    if (p->stats || p->health || p->cert) {
        return;
    }
    l->open--;
    ask_some(l);
}

static bool same_stats(const struct proxy_seen *a, const struct proxy_seen *b) {
    return strcmp(a->cds_version, b->cds_version) == 0 && strcmp(a->lds_version, b->lds_version) == 0 &&
           a->xds_connections == b->xds_connections && a->cds_rejected == b->cds_rejected &&
           a->lds_rejected == b->lds_rejected && strcmp(a->build, b->build) == 0;
}

static void on_stats(void *ctx, const struct io_answer *a) {
    struct pod *p = ctx;
    p->stats = NULL;
    struct proxy_seen seen = {.cert_expiry_s = NAN};
    bool ok = a->status == IO_OK;
    if (ok) {
        char *text = io_text(a);
        struct err err;
        ok = proxy_stats_read(text, a->bytes, &seen, &err);
        free(text);
    }
    p->dirty |= ok != p->stats_ok || (ok && !same_stats(&seen, &p->seen));
    p->stats_ok = ok;
    p->seen = seen;
    pod_answered(p);
}

static void on_cert(void *ctx, const struct io_answer *a) {
    struct pod *p = ctx;
    p->cert = NULL;
    struct proxy_seen seen = {.cert_expiry_s = NAN};
    if (a->status == IO_OK) {
        char *text = io_text(a);
        struct err err;
        if (proxy_stats_read(text, a->bytes, &seen, &err) && !isnan(seen.cert_expiry_s)) {
            p->dirty |= p->cert_expires_ms == 0;
            double left_s = fmax(-1e6, fmin(seen.cert_expiry_s, 1e9));
            p->cert_expires_ms = sched_now(p->owner->env.sched) + (int64_t)(left_s * 1000);
        }
        free(text);
    }
    pod_answered(p);
}

static void on_health(void *ctx, const struct io_answer *a) {
    struct pod *p = ctx;
    p->health = NULL;
    bool ready = a->status == IO_OK;
    p->dirty |= ready != p->ready;
    p->ready = ready;
    pod_answered(p);
}

static void ask(struct local *l, struct pod *p) {
    struct agent_io *io = l->env.io;
    p->asked = l->look;
    if (!p->ip[0]) {
        p->dirty |= p->stats_ok;
        p->stats_ok = p->ready = false;
        return;
    }
    int64_t now = sched_now(l->env.sched);
    bool expired = p->cert_expires_ms && now >= p->cert_expires_ms;
    p->dirty |= expired != p->cert_expired;
    p->cert_expired = expired;
    l->open++;
    /* One that has run out is asked for each time: it may have been renewed. */
    if (!p->cert_asked_ms || expired || now - p->cert_asked_ms >= CERT_MS) {
        p->cert_asked_ms = now;
        p->cert = io->get(io->self, p->ip, l->env.agent_port, "/stats/prometheus", ASK_MS, on_cert, p);
    }
    p->stats = io->get(io->self, p->ip, l->env.stats_port, proxy_stats_path, ASK_MS, on_stats, p);
    p->health = io->get(io->self, p->ip, l->env.health_port, "/healthz/ready", ASK_MS, on_health, p);
}

static void ask_some(struct local *l) {
    struct pod *p, *next;
    HASH_ITER(hh, l->pods, p, next) {
        if (l->open >= AT_ONCE) {
            return;
        }
        if (p->asked != l->look) {
            ask(l, p);
        }
    }
    if (l->looking && l->open == 0) {
        look_done(l);
    }
}

static void on_dial(void *ctx, const struct dial_seen *d) {
    struct local *l = ctx;
    struct pod *p;
    HASH_FIND_STR(l->pods, d->pod_uid, p);
    if (!p) {
        p = mem_alloc(sizeof *p);
        p->uid = mem_dup(d->pod_uid);
        p->owner = l;
        p->first_seen_ms = l->scan_ms;
        p->dirty = true;
        HASH_ADD_KEYPTR(hh, l->pods, p->uid, strlen(p->uid), p);
    }
    p->look = l->look;
    bool moved = d->pod_ip[0] && strcmp(p->ip, d->pod_ip) != 0;
    p->dirty |= moved || strcmp(p->dials, d->remote) != 0 || p->connections != d->connections;
    if (moved) {
        memcpy(p->ip, d->pod_ip, sizeof p->ip);
    }
    memcpy(p->dials, d->remote, sizeof p->dials);
    p->connections = d->connections;
}

static void forget_gone(struct local *l) {
    struct pod *p, *next;
    HASH_ITER(hh, l->pods, p, next) {
        if (p->look == l->look) {
            continue;
        }
        struct gone *g = mem_alloc(sizeof *g);
        g->uid = mem_dup(p->uid);
        g->next = l->gone;
        l->gone = g;
        HASH_DEL(l->pods, p);
        pod_free(p);
    }
}

static void scan(void *ctx) {
    struct local *l = ctx;
    struct err err = {0};
    l->scan_ms = sched_now(l->env.sched);
    l->look++;
    if (l->env.io->scan(l->env.io->self, on_dial, l, &err) < 0) {
        metric_add(l->env.scan_failures, 1);
        if (!l->trouble || strcmp(l->trouble, err.text) != 0) {
            log_warn("local proxies cannot be seen", log_s("error", err.text));
        }
        mem_set(&l->trouble, err.text);
        timer_set(l->env.sched, &l->timer, l->scan_ms + l->period_ms, scan, l);
        return;
    }
    mem_set(&l->trouble, NULL);
    forget_gone(l);
    l->looking = true;
    ask_some(l);
}

void local_period(struct local *l, uint32_t period_ms) {
    bool sooner = period_ms && (!l->period_ms || period_ms < l->period_ms);
    l->period_ms = period_ms;
    if (!period_ms) {
        timer_cancel(l->env.sched, &l->timer);
    } else if (sooner && !l->looking) {
        timer_set(l->env.sched, &l->timer, sched_now(l->env.sched) + 1, scan, l);
    }
}

void local_all_dirty(struct local *l) {
    struct pod *p, *next;
    HASH_ITER(hh, l->pods, p, next) {
        p->dirty = true;
    }
    l->news = true;
}

bool local_has_news(const struct local *l) {
    return l->news;
}

static void fill_pod(struct report *rep, struct pod *p, int64_t now) {
    Meshgate__V1__LocalProxy *x = report_local(rep);
    x->pod_uid = p->uid;
    x->pod_ip = p->ip;
    x->dials = p->dials;
    x->connections = p->connections;
    x->stats_ok = p->stats_ok;
    x->ready = p->ready;
    x->first_seen_ms = (uint32_t)(now - p->first_seen_ms);
    if (p->stats_ok) {
        x->cds_version = p->seen.cds_version;
        x->lds_version = p->seen.lds_version;
        x->xds_connections = p->seen.xds_connections;
        x->cds_rejected = p->seen.cds_rejected;
        x->lds_rejected = p->seen.lds_rejected;
        x->build = p->seen.build;
    }
    if (p->cert_expires_ms) {
        int64_t left_ms = p->cert_expires_ms - now;
        x->cert_expiry_s = left_ms <= 0 ? -1 : left_ms / 1000 + 1;
    }
    report_count(rep, 256);
    p->dirty = false;
}

bool local_fill(struct local *l, struct report *rep) {
    int64_t now = sched_now(l->env.sched);
    rep->msg.scan = &rep->scan;
    while (l->gone && !report_full(rep)) {
        struct gone *g = l->gone;
        l->gone = g->next;
        report_local_gone(rep, g->uid);
        free(g);
    }
    struct pod *p, *next;
    bool all = l->gone == NULL;
    HASH_ITER(hh, l->pods, p, next) {
        if (p->dirty && report_full(rep)) {
            all = false;
        } else if (p->dirty) {
            fill_pod(rep, p, now);
        }
    }
    rep->scan.complete = all && l->complete_ms > 0;
    rep->scan.age_ms = l->complete_ms ? (uint32_t)(now - l->complete_ms) : 0;
    if (all) {
        l->news = false;
    }
    return all;
}

const char *local_trouble(const struct local *l) {
    return l->trouble ? l->trouble : "";
}
