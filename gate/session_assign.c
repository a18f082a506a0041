#include <stdlib.h>
#include <string.h>

#include "../lib/base/mem.h"
#include "../lib/wire/wire.h"
#include "session_set.h"

enum {
    SOON_MS = 100, /* agents that come and go together cost one choice */
    /* A healthy reader says a word each period, and in a longer round after each question: so it is silent for a period and
     * one question at most, whose deadline is 10 s (agent --question-timeout), and what the network takes. */
    QUESTION_MS = 10000,
    NETWORK_MS = 2000,
};

static int64_t period_of(const struct sessions *s) {
    return s->idle ? s->opts.gate->idle_period_ms : s->opts.gate->reading_period_ms;
}

static struct roster_terms terms_of(const struct sessions *s) {
    return (struct roster_terms){
        .focus = (const char *const *)s->focus, .n_focus = s->n_focus, .idle = s->idle, .period_ms = period_of(s)};
}

static void tell(struct session *x, const struct buf *bytes) {
    if (bytes->len == x->assignment.len && memcmp(bytes->p, x->assignment.p, bytes->len) == 0) {
        return;
    }
    buf_reset(&x->assignment);
    buf_add(&x->assignment, bytes->p, bytes->len);
    session_send(x, bytes);
}

static void tell_own(struct session *x, struct buf *scratch) {
    struct sessions *s = x->set;
    struct roster_terms t = terms_of(s);
    roster_pack(s->roster, inventory_of(s->opts.inventory), x->node, &t, scratch);
    tell(x, scratch);
}

void session_assign_tell(struct session *x) {
    struct buf scratch;
    buf_init(&scratch, WIRE_MAX_MESSAGE);
    tell_own(x, &scratch);
    buf_done(&scratch);
}

static void tell_all(struct sessions *s) {
    struct buf common, own;
    buf_init(&common, WIRE_MAX_MESSAGE);
    buf_init(&own, WIRE_MAX_MESSAGE);
    struct roster_terms t = terms_of(s);
    roster_pack(s->roster, inventory_of(s->opts.inventory), NULL, &t, &common);
    struct seat *seat, *next;
    HASH_ITER(hh, s->seats, seat, next) {
        struct session *x = seat->session;
        if (x == NULL) {
            continue;
        }
        if (roster_has_role(s->roster, seat->node)) {
            tell_own(x, &own);
        } else {
            tell(x, &common);
        }
    }
    buf_done(&common);
    buf_done(&own);
}

static void on_assign(void *ctx);

static void choose(struct sessions *s) {
    int64_t now = sched_now(s->sched);
    struct assign_agent *agents = mem_alloc((HASH_COUNT(s->seats) + 1) * sizeof *agents);
    size_t n = 0;
    for (const struct seat *seat = s->seats; seat != NULL; seat = seat->hh.next) {
        agents[n++] = (struct assign_agent){.node = seat->node, .zone = inventory_zone(s->opts.inventory, seat->node)};
    }
    const struct inventory *inv = inventory_of(s->opts.inventory);
    int64_t patience = period_of(s) + QUESTION_MS + NETWORK_MS;
    s->look_again_ms = roster_update(s->roster, inv, agents, n, patience, now);
    free(agents);
    s->done_seats = s->seats_version;
    s->done_inventory = inv->version;
    session_slots_revisions(s);
    if (s->look_again_ms != 0) {
        timer_set(s->sched, &s->assign, s->look_again_ms, on_assign, s);
    } else {
        timer_cancel(s->sched, &s->assign);
    }
}

static void on_assign(void *ctx) {
    struct sessions *s = ctx;
    choose(s);
    tell_all(s);
    s->opts.changed(s->opts.ctx);
}

void session_assign_soon(struct sessions *s) {
    int64_t at = sched_now(s->sched) + SOON_MS;
    if (!timer_is_set(&s->assign) || s->assign.at_ms > at) {
        timer_set(s->sched, &s->assign, at, on_assign, s);
    }
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void free_focus(char **focus, size_t n) {
    for (size_t i = 0; i < n; i++) {
        free(focus[i]);
    }
    free(focus);
}

/* true when it differs from what it was. */
static bool set_focus(struct sessions *s, const char *const *focus, size_t n) {
    char **sorted = mem_alloc((n + 1) * sizeof *sorted);
    for (size_t i = 0; i < n; i++) {
        sorted[i] = mem_dup(focus[i]);
    }
    qsort(sorted, n, sizeof *sorted, by_text);
    bool changed = n != s->n_focus;
    for (size_t i = 0; i < n && !changed; i++) {
        changed = strcmp(sorted[i], s->focus[i]) != 0;
    }
    free_focus(s->focus, s->n_focus);
    s->wave_ms = changed ? 0 : s->wave_ms;
    s->focus = sorted;
    s->n_focus = n;
    return changed;
}

void sessions_assign(struct sessions *s, const char *const *focus, size_t n_focus, bool idle) {
    bool changed = set_focus(s, focus, n_focus);
    bool period = idle != s->idle;
    s->idle = idle;
    if (period) {
        roster_pardon(s->roster, sched_now(s->sched));
    }
    const struct inventory *inv = inventory_of(s->opts.inventory);
    if (period || s->done_seats != s->seats_version || s->done_inventory != inv->version) {
        choose(s);
        changed = true;
    }
    if (changed) {
        tell_all(s);
    }
}

void sessions_audit(struct sessions *s, const char *replica) {
    roster_audit(s->roster, replica);
    session_assign_soon(s);
}

void session_assign_done(struct sessions *s) {
    timer_cancel(s->sched, &s->assign);
    free_focus(s->focus, s->n_focus);
    roster_free(s->roster);
}

const char *sessions_reader(const struct sessions *s, const char *replica) {
    return roster_reader(s->roster, replica);
}

const char *sessions_standby(const struct sessions *s, const char *replica) {
    return roster_standby(s->roster, replica);
}
