#include "agent/reader_spaces.h"

#include <stdlib.h>
#include <string.h>

#include "agent/reader_hunt.h"
#include "lib/base/mem.h"

enum { RETRY_MS = 30 * 1000 };

struct spaces {
    struct replica *replica; /* borrowed */
    struct space *all;
};

/* Names are whatever a client said of itself; only what cannot be read as more than a name goes into a question. */
static bool plain(const char *s) {
    size_t n = strlen(s);
    return n > 0 && n < HUNT_TEXT - 64 && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789.-") == n;
}

struct spaces *spaces_new(struct replica *r) {
    struct spaces *s = mem_alloc(sizeof *s);
    s->replica = r;
    return s;
}

static void unname(struct space *x, size_t i) {
    free(x->named[i].id);
    free(x->named[i].connection);
    x->named[i] = x->named[--x->n_named];
}

static void space_fine(struct space *x) {
    while (x->n_named > 0) {
        unname(x, 0);
    }
    x->since_ms = x->hung_ms = 0;
    x->hangs = 0;
    x->suspect = false;
}

static void drop(struct spaces *s, struct space *x) {
    HASH_DEL(s->all, x);
    space_fine(x);
    free(x->name);
    free(x);
}

void spaces_free(struct spaces *s) {
    struct space *x, *next;
    HASH_ITER(hh, s->all, x, next) {
        drop(s, x);
    }
    free(s);
}

struct space *spaces_get(const struct spaces *s, const char *name) {
    struct space *x;
    HASH_FIND_STR(s->all, name, x);
    return x;
}

static void see(void *ctx, const struct replica_who *w) {
    struct spaces *s = ctx;
    struct space *x = spaces_get(s, w->namespace_);
    if (!x && plain(w->namespace_) && HASH_COUNT(s->all) < SPACES_MAX) {
        x = mem_alloc(sizeof *x);
        x->name = mem_dup(w->namespace_);
        HASH_ADD_KEYPTR(hh, s->all, x->name, strlen(x->name), x);
    }
    if (x) {
        x->here = true;
        x->lags |= w->lags;
        x->sent_ms = w->sent_ms > x->sent_ms ? w->sent_ms : x->sent_ms;
    }
}

/* With the stream its lock is gone. When nobody is named any more the namespace is worth a question. */
static void forget_ended(struct spaces *s, struct space *x) {
    size_t before = x->n_named;
    for (size_t i = x->n_named; i-- > 0;) {
        const char *now = replica_connection(s->replica, x->named[i].id);
        if (!now || strcmp(now, x->named[i].connection) != 0) {
            unname(x, i);
        }
    }
    if (before > x->n_named) {
        x->hung_ms = 0;
        x->hangs = 1;
    }
}

struct space *spaces_refresh(struct spaces *s, const char *keep) {
    struct space *x, *next;
    HASH_ITER(hh, s->all, x, next) {
        x->here = x->lags = x->rests = false;
    }
    replica_each(s->replica, see, s);
    HASH_ITER(hh, s->all, x, next) {
        if (x->here) {
            forget_ended(s, x);
        } else {
            drop(s, x);
        }
    }
    return keep ? spaces_get(s, keep) : NULL;
}

void spaces_clear(struct spaces *s) {
    struct space *x, *next;
    HASH_ITER(hh, s->all, x, next) {
        drop(s, x);
    }
}

bool spaces_blocked(const struct spaces *s) {
    for (const struct space *x = s->all; x; x = x->hh.next) {
        if (x->since_ms) {
            return true;
        }
    }
    return false;
}

bool spaces_has_laggards(const struct spaces *s) {
    return replica_has_laggards(s->replica);
}

struct space *spaces_suspect(const struct spaces *s) {
    struct space *x = s->all;
    while (x && !x->suspect) {
        x = x->hh.next;
    }
    return x;
}

static bool is_due(const struct space *x, int64_t before_ms, int64_t now_ms) {
    bool again = x->hung_ms == 0 || now_ms - x->hung_ms >= RETRY_MS;
    return x->since_ms ? again && !x->rests : x->read_ms < before_ms;
}

static bool sooner(const struct space *a, const struct space *b, bool oldest) {
    if (a->lags != b->lags) {
        return a->lags;
    }
    return oldest ? a->read_ms < b->read_ms : a->sent_ms > b->sent_ms;
}

struct space *spaces_due(const struct spaces *s, int64_t before_ms, bool oldest, int64_t now_ms) {
    struct space *best = NULL;
    for (struct space *x = s->all; x; x = x->hh.next) {
        if (is_due(x, before_ms, now_ms) && (!best || sooner(x, best, oldest))) {
            best = x;
        }
    }
    return best;
}

void space_answered(struct space *x, int64_t now_ms) {
    space_fine(x);
    x->read_ms = now_ms;
    x->told = false;
}

void space_hung(struct space *x, int64_t now_ms) {
    x->since_ms = x->since_ms ? x->since_ms : now_ms;
    x->hung_ms = now_ms;
    x->hangs++;
    x->suspect = false;
}

void spaces_name(struct spaces *s, const char *id, const char *connection, int64_t now_ms) {
    const char *dot = strrchr(id, '.');
    struct space *x = dot ? spaces_get(s, dot + 1) : NULL;
    if (!x || x->n_named == SPACE_NAMED) {
        return;
    }
    if (!x->since_ms) {
        x->since_ms = x->hung_ms = now_ms;
        x->hangs = 1;
    }
    x->named[x->n_named++] =
        (struct space_named){.id = mem_dup(id), .connection = mem_dup(connection), .since_ms = x->since_ms};
}

void spaces_spare(struct spaces *s, const char *id) {
    replica_spare(s->replica, id);
}

struct space *spaces_first(const struct spaces *s) {
    return s->all;
}

/* --- suspects --- */

struct loading {
    struct suspects *x;
    const struct spaces *spaces;
    const char *namespace_; /* NULL: laggards of all */
    size_t cap;
};

static void suspect(void *ctx, const struct replica_who *w) {
    struct loading *l = ctx;
    struct suspects *x = l->x;
    const struct space *in = spaces_get(l->spaces, w->namespace_);
    bool wanted = l->namespace_ ? strcmp(w->namespace_, l->namespace_) == 0 : w->lags && in && !in->since_ms;
    if (!wanted || !plain(w->connection)) {
        return;
    }
    if (x->n == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 16;
        x->all = mem_grow(x->all, sizeof *x->all * l->cap);
    }
    x->all[x->n++] = (struct suspect){
        .id = mem_dup(w->id), .connection = mem_dup(w->connection), .lags = w->lags, .sent_ms = w->sent_ms};
}

/* Whom its neighbours left behind first, then whom nothing was sent for longest. */
static int by_suspicion(const void *a, const void *b) {
    const struct suspect *x = a, *y = b;
    if (x->lags != y->lags) {
        return x->lags ? -1 : 1;
    }
    if (x->sent_ms != y->sent_ms) {
        return x->sent_ms < y->sent_ms ? -1 : 1;
    }
    return strcmp(x->id, y->id);
}

void suspects_load(struct suspects *x, const struct spaces *s, const struct space *of) {
    struct loading l = {.x = x, .spaces = s, .namespace_ = of ? of->name : NULL};
    replica_each(s->replica, suspect, &l);
    if (x->n > 1) {
        qsort(x->all, x->n, sizeof *x->all, by_suspicion);
    }
}

void suspects_clear(struct suspects *x) {
    for (size_t i = 0; i < x->n; i++) {
        free(x->all[i].id);
        free(x->all[i].connection);
    }
    free(x->all);
    *x = (struct suspects){0};
}
