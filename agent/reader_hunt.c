#include "agent/reader_hunt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/reader_spaces.h"
#include "lib/base/mem.h"

/*
 * 500 namespaces and 5,000 proxies are within one round of search. Without a search, namespaces are read on their own at
 * the pace of SWEEP a round while the whole syncz hangs: each costs istiod a look at all its clients.
 */
enum {
    SEARCH_A_ROUND = 1000,
    SWEEP_A_ROUND = 64,
    PROXIES_A_ROUND = 5000,
    HANGS_A_ROUND = 6,
    HANGS_OF_PROXY = 2, /* one alone may be chance on a busy istiod, and a name is an accusation */
    SWEEP_MS = 60 * 1000,
    SLOW_MS = 60 * 1000, /* a whole syncz that hung although no namespace does */
};

enum step { SPACES, SPACE_CONTROL, PROXIES, PROXY_CONTROL, DONE };

struct hunt {
    struct spaces *spaces;
    enum step step;
    struct space *at; /* whose proxies are asked; NULL: laggards of all namespaces */
    struct suspects suspects;
    size_t spaces_left, proxies_left, hangs_left;
    bool searching;
    int64_t search_ms; /* namespaces read before it are to be asked */
    int64_t slow_until_ms;
};

struct hunt *hunt_new(struct replica *r) {
    struct hunt *h = mem_alloc(sizeof *h);
    h->spaces = spaces_new(r);
    h->step = DONE;
    return h;
}

void hunt_free(struct hunt *h) {
    if (h) {
        suspects_clear(&h->suspects);
        spaces_free(h->spaces);
        free(h);
    }
}

static void leave_proxies(struct hunt *h) {
    suspects_clear(&h->suspects);
    h->at = NULL;
    h->step = SPACES;
}

/* Namespaces as they are now; if that at hand is gone, so is the question about it. */
static void refresh(struct hunt *h) {
    struct space *at = spaces_refresh(h->spaces, h->at ? h->at->name : NULL);
    if (h->at && !at) {
        leave_proxies(h);
    }
    h->at = at;
}

void hunt_round(struct hunt *h) {
    h->spaces_left = h->searching ? SEARCH_A_ROUND : SWEEP_A_ROUND;
    h->proxies_left = PROXIES_A_ROUND;
    h->hangs_left = HANGS_A_ROUND;
    bool idle = !h->searching && !spaces_blocked(h->spaces) && !spaces_has_laggards(h->spaces);
    if (idle && h->step == DONE) {
        return; /* the usual case costs nothing */
    }
    refresh(h);
    if (h->step == PROXIES) {
        return; /* there are more of them than one round may ask */
    }
    leave_proxies(h);
    suspects_load(&h->suspects, h->spaces, NULL);
    h->step = h->suspects.n ? PROXIES : SPACES;
}

void hunt_search(struct hunt *h, int64_t now_ms) {
    h->searching = true;
    h->search_ms = now_ms;
    h->step = DONE;
    hunt_round(h);
}

/* All namespaces have been asked since the search began. */
static void search_over(struct hunt *h, int64_t now_ms) {
    h->searching = false;
    if (!spaces_blocked(h->spaces)) {
        h->slow_until_ms = now_ms + SLOW_MS;
    }
}

static struct space *space_due(struct hunt *h, int64_t now_ms) {
    if (h->spaces_left == 0 || h->hangs_left == 0) {
        return NULL;
    }
    if (h->searching) {
        struct space *s = spaces_due(h->spaces, h->search_ms, false, now_ms);
        if (!s) {
            search_over(h, now_ms);
        }
        return s;
    }
    return spaces_blocked(h->spaces) ? spaces_due(h->spaces, now_ms - SWEEP_MS, true, now_ms) : NULL;
}

static void ask_control(struct hunt_question *q) {
    q->kind = HUNT_CONTROL;
    snprintf(q->resource, sizeof q->resource, "connections");
}

static void ask_space(struct hunt *h, int64_t now_ms, struct hunt_question *q) {
    struct space *s = spaces_suspect(h->spaces);
    if (s) {
        h->at = s;
        h->step = SPACE_CONTROL;
        ask_control(q);
        return;
    }
    s = space_due(h, now_ms);
    if (!s) {
        h->step = DONE;
        return;
    }
    h->spaces_left--;
    h->at = s;
    q->kind = HUNT_NAMESPACE;
    q->namespace_ = s->name;
    snprintf(q->resource, sizeof q->resource, "syncz?namespace=%s", s->name);
}

/* The connection id, not the proxy's: istiod looks for a client that *contains* what it is given. */
static bool ask_proxy(struct hunt *h, struct hunt_question *q) {
    struct suspects *x = &h->suspects;
    if (x->next == x->n || h->proxies_left == 0 || h->hangs_left == 0) {
        return false;
    }
    h->proxies_left--;
    q->kind = HUNT_PROXY;
    snprintf(q->resource, sizeof q->resource, "adsz?proxyID=%s", x->all[x->next].connection);
    return true;
}

/* If everybody in it answers the namespace was only slow, perhaps: it is asked once more, in the next round. */
static void nobody_left(struct hunt *h) {
    if (h->at && h->at->n_named == 0 && h->at->hangs == 1) {
        h->at->hung_ms = 0;
        h->at->rests = true;
    }
    leave_proxies(h);
}

void hunt_next(struct hunt *h, int64_t now_ms, struct hunt_question *q) {
    *q = (struct hunt_question){.kind = HUNT_NOTHING};
    if (h->step == PROXIES && !ask_proxy(h, q)) {
        if (h->suspects.next < h->suspects.n) {
            return; /* goes on in the next round */
        }
        nobody_left(h);
    }
    if (h->step == SPACES) {
        ask_space(h, now_ms, q);
    } else if (h->step == SPACE_CONTROL || h->step == PROXY_CONTROL) {
        ask_control(q);
    }
}

static void on_space(struct hunt *h, enum hunt_result x, int64_t now_ms) {
    switch (x) {
    case HUNT_ANSWERED:
        space_answered(h->at, now_ms);
        break;
    case HUNT_HUNG:
        h->hangs_left--;
        h->step = SPACE_CONTROL;
        return;
    case HUNT_BROKE:
        h->step = DONE; /* no news; asked again in the next round */
        return;
    }
    h->at = NULL;
}

/* Whole and well, and yet it did not answer for this namespace: somebody in it is locked. Who, if that is not known? */
static void on_space_control(struct hunt *h, enum hunt_result x, int64_t now_ms) {
    h->at->suspect = false;
    if (x != HUNT_ANSWERED) {
        h->step = DONE; /* istiod as a whole is silent or slow: that accuses nobody */
        return;
    }
    space_hung(h->at, now_ms);
    if (h->at->n_named > 0) {
        leave_proxies(h);
        return;
    }
    suspects_clear(&h->suspects);
    suspects_load(&h->suspects, h->spaces, h->at);
    h->step = PROXIES;
}

static void on_proxy(struct hunt *h, enum hunt_result x) {
    struct suspect *s = &h->suspects.all[h->suspects.next];
    switch (x) {
    case HUNT_ANSWERED:
        if (!h->at) {
            spaces_spare(h->spaces, s->id);
        }
        h->suspects.next++;
        return;
    case HUNT_HUNG:
        h->hangs_left--;
        h->step = PROXY_CONTROL;
        return;
    case HUNT_BROKE:
        h->step = DONE;
        return;
    }
}

static void on_proxy_control(struct hunt *h, enum hunt_result x, int64_t now_ms) {
    struct suspect *s = &h->suspects.all[h->suspects.next];
    if (x != HUNT_ANSWERED) {
        h->step = DONE;
        return;
    }
    h->step = PROXIES;
    if (++s->hangs == HANGS_OF_PROXY) {
        spaces_name(h->spaces, s->id, s->connection, now_ms);
        h->suspects.next++;
    }
}

void hunt_result(struct hunt *h, enum hunt_result x, int64_t now_ms) {
    switch (h->step) {
    case SPACES:
        on_space(h, x, now_ms);
        return;
    case SPACE_CONTROL:
        on_space_control(h, x, now_ms);
        return;
    case PROXIES:
        on_proxy(h, x);
        return;
    case PROXY_CONTROL:
        on_proxy_control(h, x, now_ms);
        return;
    case DONE:
        return;
    }
}

void hunt_namespace(struct hunt *h, const char *namespace_, enum hunt_result x, int64_t now_ms) {
    struct space *s = spaces_get(h->spaces, namespace_);
    if (!s && x == HUNT_HUNG) {
        refresh(h);
        s = spaces_get(h->spaces, namespace_);
    }
    if (s && x == HUNT_ANSWERED) {
        space_answered(s, now_ms);
    } else if (s && x == HUNT_HUNG) {
        s->suspect = true;
        h->hangs_left -= h->hangs_left > 0;
        h->step = h->step == DONE ? SPACES : h->step;
    }
}

void hunt_clear(struct hunt *h) {
    h->searching = false;
    h->step = DONE;
    h->slow_until_ms = 0;
    h->at = NULL;
    suspects_clear(&h->suspects);
    spaces_clear(h->spaces);
}

bool hunt_forbids_syncz(const struct hunt *h, int64_t now_ms) {
    return h->searching || spaces_blocked(h->spaces) || now_ms < h->slow_until_ms;
}

bool hunt_is_blocked(const struct hunt *h, const char *namespace_) {
    const struct space *s = spaces_get(h->spaces, namespace_);
    return s && s->since_ms;
}

/* One hang may be chance; a namespace is told of while somebody in it is looked for, has been found, or it hung twice. */
static bool is_told(const struct hunt *h, const struct space *s) {
    bool looking = h->at == s && (h->step == PROXIES || h->step == PROXY_CONTROL);
    return s->since_ms && s->n_named == 0 && (looking || s->hangs > 1);
}

void hunt_each(const struct hunt *h, void (*fn)(void *ctx, const char *namespace_, const char *proxy, int64_t since_ms),
               void *ctx) {
    for (const struct space *s = spaces_first(h->spaces); s; s = s->hh.next) {
        for (size_t i = 0; i < s->n_named; i++) {
            fn(ctx, s->name, s->named[i].id, s->named[i].since_ms);
        }
        if (is_told(h, s)) {
            fn(ctx, s->name, "", s->since_ms);
        }
    }
}

void hunt_each_read(struct hunt *h, bool again, void (*fn)(void *ctx, char *namespace_, int64_t read_ms), void *ctx) {
    for (struct space *s = spaces_first(h->spaces); s; s = s->hh.next) {
        if (s->read_ms && (again || !s->told)) {
            s->told = true;
            fn(ctx, s->name, s->read_ms);
        }
    }
}
