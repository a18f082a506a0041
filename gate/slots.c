#include "slots.h"

#include <stdlib.h>
#include <string.h>

#include "../lib/base/mem.h"
#include "../lib/base/sched.h"
#include "uthash.h"

#define SECOND_MS 1000
#define FAIR_TURN 4 /* each such slot goes to the longest wait */

/* What a node is to one revision. */
struct turn {
    int64_t result_ms; /* 0: none */
    int64_t given_ms;  /* slot under way since; 0: none */
    int64_t since_ms;  /* waits since: its coming, or its latest result or slot */
    bool ok;
};

struct line { /* of a revision */
    char *name;
    uint32_t replicas;
    int64_t last_ms; /* of the latest slot; INT64_MIN never */
    uint64_t given;
    size_t index; /* of its turns in each node */
    struct line *next;
};

struct node {
    char *name;
    bool wave;
    struct turn *turns;
    UT_hash_handle hh;
};

struct slots {
    struct node *nodes;
    struct line *lines;
    size_t n_lines;
};

struct slots *slots_new(void) {
    return mem_alloc(sizeof(struct slots));
}

static void node_free(struct slots *s, struct node *n) {
    HASH_DEL(s->nodes, n);
    free(n->name);
    free(n->turns);
    free(n);
}

static void line_free(struct line *l) {
    free(l->name);
    free(l);
}

void slots_free(struct slots *s) {
    if (s == NULL) {
        return;
    }
    struct node *n, *next;
    HASH_ITER(hh, s->nodes, n, next) {
        node_free(s, n);
    }
    while (s->lines != NULL) {
        struct line *l = s->lines;
        s->lines = l->next;
        line_free(l);
    }
    free(s);
}

/* --- who is there --- */

static struct line *line_of(const struct slots *s, const char *revision) {
    struct line *l = s->lines;
    while (l != NULL && strcmp(l->name, revision) != 0) {
        l = l->next;
    }
    return l;
}

static const struct slots_revision *listed(const struct slots_revision *list, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++) {
        if (strcmp(list[i].name, name) == 0) {
            return &list[i];
        }
    }
    return NULL;
}

/* A place for the turns of one more revision: the latest one's of those that have gone, or a new one. */
static void add_line(struct slots *s, const struct slots_revision *r) {
    struct line *l = mem_alloc(sizeof *l);
    l->name = mem_dup(r->name);
    l->last_ms = INT64_MIN;
    l->index = s->n_lines++;
    l->next = s->lines;
    s->lines = l;
    for (struct node *n = s->nodes; n != NULL; n = n->hh.next) {
        n->turns = mem_grow(n->turns, s->n_lines * sizeof *n->turns);
        n->turns[l->index] = (struct turn){.since_ms = 0};
    }
}

/* The last line's turns move into the place that is free now. */
static void drop_line(struct slots *s, struct line **at) {
    struct line *gone = *at;
    *at = gone->next;
    s->n_lines--;
    for (struct line *l = s->lines; l != NULL; l = l->next) {
        if (l->index == s->n_lines) {
            l->index = gone->index;
        }
    }
    for (struct node *n = s->nodes; n != NULL; n = n->hh.next) {
        n->turns[gone->index] = n->turns[s->n_lines];
    }
    line_free(gone);
}

void slots_revisions(struct slots *s, const struct slots_revision *list, size_t n) {
    for (struct line **at = &s->lines; *at != NULL;) {
        if (listed(list, n, (*at)->name) == NULL) {
            drop_line(s, at);
        } else {
            at = &(*at)->next;
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (line_of(s, list[i].name) == NULL) {
            add_line(s, &list[i]);
        }
        line_of(s, list[i].name)->replicas = list[i].replicas;
    }
}

void slots_join(struct slots *s, const char *node, int64_t now_ms) {
    struct node *n;
    HASH_FIND_STR(s->nodes, node, n);
    if (n == NULL) {
        n = mem_alloc(sizeof *n);
        n->name = mem_dup(node);
        HASH_ADD_KEYPTR(hh, s->nodes, n->name, strlen(n->name), n);
        n->turns = mem_alloc((s->n_lines + 1) * sizeof *n->turns);
        for (size_t i = 0; i < s->n_lines; i++) {
            n->turns[i].since_ms = now_ms;
        }
    }
    for (size_t i = 0; i < s->n_lines; i++) {
        n->turns[i].given_ms = 0;
    }
}

void slots_leave(struct slots *s, const char *node) {
    struct node *n;
    HASH_FIND_STR(s->nodes, node, n);
    if (n != NULL) {
        node_free(s, n);
    }
}

void slots_wave(struct slots *s, bool (*in_wave)(void *ctx, const char *node), void *ctx) {
    for (struct node *n = s->nodes; n != NULL; n = n->hh.next) {
        n->wave = in_wave != NULL && in_wave(ctx, n->name);
    }
}

void slots_result(struct slots *s, const char *node, const char *revision, bool ok, int64_t at_ms) {
    const struct line *l = line_of(s, revision);
    struct node *n;
    HASH_FIND_STR(s->nodes, node, n);
    if (l == NULL || n == NULL) {
        return;
    }
    struct turn *t = &n->turns[l->index];
    if (at_ms >= t->given_ms) {
        t->given_ms = 0;
    }
    if (t->result_ms == 0 || at_ms >= t->result_ms) {
        t->result_ms = at_ms > 0 ? at_ms : 1;
        t->since_ms = t->result_ms;
        t->ok = ok;
    }
}

/* --- whose turn it is --- */

static bool under_way(const struct turn *t, int64_t now_ms) {
    return t->given_ms != 0 && now_ms < t->given_ms + SLOTS_LOST_MS;
}

/* From when on it may have one. */
static int64_t due_ms(const struct node *n, const struct turn *t) {
    int64_t lost = t->given_ms != 0 ? t->given_ms + SLOTS_LOST_MS : 0, due = 0;
    if (t->result_ms != 0) {
        due = t->result_ms + (!t->ok ? SLOTS_FAILED_AGAIN_MS : n->wave ? SLOTS_WAVE_AGAIN_MS : SLOTS_AGAIN_MS);
    }
    return due > lost ? due : lost;
}

/* Less comes first. */
static int rank(const struct node *n, const struct turn *t) {
    bool good = t->result_ms != 0 && t->ok;
    return n->wave && !good ? 0 : t->result_ms == 0 ? 1 : n->wave ? 2 : 3;
}

static struct node *choose(const struct slots *s, const struct line *l, int64_t now_ms) {
    bool fair = l->given % FAIR_TURN == FAIR_TURN - 1;
    struct node *best = NULL;
    for (struct node *n = s->nodes; n != NULL; n = n->hh.next) {
        const struct turn *t = &n->turns[l->index];
        if (due_ms(n, t) > now_ms) {
            continue;
        }
        if (best != NULL) {
            const struct turn *b = &best->turns[l->index];
            int order = fair ? 0 : rank(n, t) - rank(best, b);
            if (order > 0 || (order == 0 && t->since_ms >= b->since_ms)) {
                continue;
            }
        }
        best = n;
    }
    return best;
}

static uint32_t outstanding(const struct slots *s, const struct line *l, int64_t now_ms) {
    uint32_t n = 0;
    for (const struct node *x = s->nodes; x != NULL; x = x->hh.next) {
        n += under_way(&x->turns[l->index], now_ms);
    }
    return n;
}

/* When the pace allows the next one; evenly, so that no second holds more than its share. */
static int64_t pace_ms(const struct line *l) {
    int64_t a_second = (int64_t)l->replicas * SLOTS_PER_SECOND;
    return l->last_ms == INT64_MIN ? 0 : l->last_ms + (SECOND_MS + a_second - 1) / a_second;
}

bool slots_next(struct slots *s, int64_t now_ms, const char **node, const char **revision) {
    for (struct line *l = s->lines; l != NULL; l = l->next) {
        if (l->replicas == 0 || now_ms < pace_ms(l) || outstanding(s, l, now_ms) >= l->replicas * SLOTS_OUTSTANDING) {
            continue;
        }
        struct node *n = choose(s, l, now_ms);
        if (n == NULL) {
            continue;
        }
        struct turn *t = &n->turns[l->index];
        t->given_ms = now_ms > 0 ? now_ms : 1;
        t->since_ms = t->given_ms;
        l->last_ms = now_ms;
        l->given++;
        *node = n->name;
        *revision = l->name;
        return true;
    }
    return false;
}

int64_t slots_wake(const struct slots *s, int64_t now_ms) {
    int64_t wake = 0;
    for (const struct line *l = s->lines; l != NULL; l = l->next) {
        int64_t due = 0, lost = 0;
        uint32_t open = 0;
        for (const struct node *n = s->nodes; n != NULL && l->replicas > 0; n = n->hh.next) {
            const struct turn *t = &n->turns[l->index];
            due = sched_sooner(due, due_ms(n, t) > 0 ? due_ms(n, t) : 1);
            if (under_way(t, now_ms)) {
                open++;
                lost = sched_sooner(lost, t->given_ms + SLOTS_LOST_MS);
            }
        }
        if (due == 0) {
            continue;
        }
        due = due > pace_ms(l) ? due : pace_ms(l);
        due = open >= l->replicas * SLOTS_OUTSTANDING && lost > due ? lost : due;
        wake = sched_sooner(wake, due > now_ms ? due : now_ms + 1);
    }
    return wake;
}
