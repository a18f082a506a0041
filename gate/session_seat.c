#include <stdlib.h>
#include <string.h>

#include "../lib/base/mem.h"
#include "session_set.h"

/* Time that an agent has to come back with a fresh token before its node counts as without agent. */
enum { RENEWAL_MS = 15000, UNAVAILABLE = 14 };

static void seat_drop(struct seat *seat) {
    struct sessions *s = seat->set;
    timer_cancel(s->sched, &seat->renewal);
    HASH_DELETE(hh, s->seats, seat);
    free(seat->node);
    free(seat);
    s->seats_version++;
    metric_set(s->count.agents, HASH_COUNT(s->seats));
}

static void seat_lost(struct seat *seat) {
    struct sessions *s = seat->set;
    evidence_node_lost(s->opts.evidence, seat->node, sched_now(s->sched));
    seat_drop(seat);
    session_assign_soon(s);
    s->opts.changed(s->opts.ctx);
}

static void on_renewal_over(void *ctx) {
    seat_lost(ctx);
}

void session_seat_take(struct session *x) {
    struct sessions *s = x->set;
    struct seat *seat;
    HASH_FIND_STR(s->seats, x->node, seat);
    if (seat == NULL) {
        seat = mem_alloc(sizeof *seat);
        seat->set = s;
        seat->node = mem_dup(x->node);
        HASH_ADD_KEYPTR(hh, s->seats, seat->node, strlen(seat->node), seat);
        s->seats_version++;
        metric_set(s->count.agents, HASH_COUNT(s->seats));
    }
    timer_cancel(s->sched, &seat->renewal);
    struct session *before = seat->session;
    seat->session = x;
    session_slots_join(x);
    if (before != NULL) {
        session_end(before, UNAVAILABLE, "a newer session of node %s has taken over", x->node);
    }
}

void session_seat_leave(struct session *x, bool renewal) {
    struct sessions *s = x->set;
    struct seat *seat = NULL;
    if (x->node != NULL) {
        HASH_FIND_STR(s->seats, x->node, seat);
    }
    if (seat == NULL || seat->session != x) {
        return;
    }
    session_slots_leave(s, seat->node);
    if (renewal) {
        seat->session = NULL;
        timer_set(s->sched, &seat->renewal, sched_now(s->sched) + RENEWAL_MS, on_renewal_over, seat);
    } else {
        seat_lost(seat);
    }
}

void session_seat_free_all(struct sessions *s) {
    struct seat *seat, *next;
    HASH_ITER(hh, s->seats, seat, next) {
        seat_drop(seat);
    }
}
