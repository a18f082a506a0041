#include "agent/local.h"

#include <stdlib.h>
#include <string.h>

#include "agent/local_pod.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/wire/digest.h"

/* Proxies asked at the same time. */
#define AT_ONCE 8
/* An entry of a report, about. */
#define ENTRY_BYTES 280

struct gone {
    char *uid;
    uint64_t told;
    struct gone *next;
};

struct local {
    struct local_env env;
    uint32_t period_ms;
    struct timer timer;
    struct local_pod *pods;
    struct gone *gone;
    uint32_t look;
    uint32_t open;             /* pods with a question under way */
    int64_t scan_ms;           /* begin of the look under way */
    int64_t complete_ms;       /* begin of the latest complete look; 0 never */
    struct wire_digest digest; /* of all that was told in this session */
    bool looking, news;
    char *trouble; /* why nothing can be seen, NULL: all is well */
    bool blind;    /* and it will stay so until somebody mends it */
};

struct local *local_new(const struct local_env *env) {
    struct local *l = mem_alloc(sizeof *l);
    l->env = *env;
    return l;
}

void local_free(struct local *l) {
    if (!l) {
        return;
    }
    timer_cancel(l->env.sched, &l->timer);
    struct local_pod *p, *next;
    HASH_ITER(hh, l->pods, p, next) {
        HASH_DEL(l->pods, p);
        local_pod_free(p);
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

static void on_answered(void *ctx) {
    struct local *l = ctx;
    l->open--;
    ask_some(l);
}

static void ask_some(struct local *l) {
    struct local_pod *p, *next;
    HASH_ITER(hh, l->pods, p, next) {
        if (l->open >= AT_ONCE) {
            return;
        }
        if (p->asked != l->look) {
            p->asked = l->look;
            l->open += local_pod_ask(p);
        }
    }
    if (l->looking && l->open == 0) {
        look_done(l);
    }
}

static void on_dial(void *ctx, const struct dial_seen *d) {
    struct local *l = ctx;
    struct local_pod *p;
    HASH_FIND_STR(l->pods, d->pod_uid, p);
    if (p) {
        local_pod_seen(p, d);
    } else {
        p = local_pod_new(&l->env, d, l->scan_ms);
        p->answered = on_answered;
        p->ctx = l;
        HASH_ADD_STR(l->pods, dial.pod_uid, p);
    }
    p->look = l->look;
}

static void forget_gone(struct local *l) {
    struct local_pod *p, *next;
    HASH_ITER(hh, l->pods, p, next) {
        if (p->look == l->look) {
            continue;
        }
        struct gone *g = mem_alloc(sizeof *g);
        g->uid = mem_dup(p->dial.pod_uid);
        g->told = p->told;
        g->next = l->gone;
        l->gone = g;
        HASH_DEL(l->pods, p);
        local_pod_free(p);
    }
}

/* Nothing can be seen, or all again. What only passes leaves the witness in office. */
static void set_trouble(struct local *l, const struct err *err) {
    bool blind = err && (err->code == ERR_DENIED || err->code == ERR_IO);
    if (err && (!l->trouble || strcmp(l->trouble, err->text) != 0)) {
        log_warn("local proxies cannot be seen", log_s("error", err->text));
    } else if (!err && l->trouble) {
        log_info("local proxies can be seen again");
    }
    mem_set(&l->trouble, err ? err->text : NULL);
    bool changed = blind != l->blind;
    l->blind = blind;
    if (changed && l->env.sight) {
        l->env.sight(l->env.ctx);
    }
}

static void scan(void *ctx) {
    struct local *l = ctx;
    struct err err = {0};
    l->scan_ms = sched_now(l->env.sched);
    l->look++;
    if (l->env.io->scan(l->env.io->self, on_dial, l, &err) < 0) {
        metric_add(l->env.scan_failures, 1);
        set_trouble(l, &err);
        timer_set(l->env.sched, &l->timer, l->scan_ms + l->period_ms, scan, l);
        return;
    }
    set_trouble(l, NULL);
    forget_gone(l);
    l->looking = true;
    ask_some(l);
}

static void on_peek(void *ctx, const struct dial_seen *d) {
    (void)ctx;
    (void)d;
}

const char *local_blind(struct local *l) {
    struct err err = {0};
    if (!l->look) {
        bool ok = l->env.io->scan(l->env.io->self, on_peek, l, &err) >= 0;
        set_trouble(l, ok ? NULL : &err);
    }
    return l->blind ? l->trouble : NULL;
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
    struct local_pod *p, *next;
    HASH_ITER(hh, l->pods, p, next) {
        p->dirty = true;
        p->told = 0;
    }
    for (struct gone *g = l->gone; g; g = g->next) {
        g->told = 0;
    }
    l->digest = (struct wire_digest){0};
    l->news = true;
}

bool local_has_news(const struct local *l) {
    return l->news;
}

static void tell(struct local *l, struct report *rep, struct local_pod *p) {
    Meshgate__V1__LocalProxy *x = report_local(rep);
    local_pod_fill(p, x);
    report_count(rep, ENTRY_BYTES);
    uint64_t now = wire_local_hash(x);
    wire_digest_change(&l->digest, p->told, now);
    p->told = now;
}

bool local_fill(struct local *l, struct report *rep) {
    int64_t now = sched_now(l->env.sched);
    rep->msg.scan = &rep->scan;
    while (l->gone && !report_full(rep)) {
        struct gone *g = l->gone;
        l->gone = g->next;
        wire_digest_change(&l->digest, g->told, 0);
        report_local_gone(rep, g->uid);
        free(g);
    }
    struct local_pod *p, *next;
    bool all = l->gone == NULL;
    HASH_ITER(hh, l->pods, p, next) {
        if (p->dirty && report_full(rep)) {
            all = false;
        } else if (p->dirty) {
            tell(l, rep, p);
        }
    }
    rep->scan.digest = l->digest.sum;
    rep->scan.entries = l->digest.entries;
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
