/* The sessions' side of gate/slots: who is there, what was told, and the Slot messages. */
#include <stdlib.h>
#include <string.h>

#include "../lib/base/mem.h"
#include "../lib/wire/wire.h"
#include "session_set.h"

/* Pods move between nodes all the time; which nodes the wave is on is looked up this often. */
enum { WAVE_MS = 5000 };

static void on_slot(void *ctx);

static void soon(struct sessions *s) {
    int64_t at = slots_wake(s->slots, sched_now(s->sched));
    if (at == 0) {
        timer_cancel(s->sched, &s->slot);
    } else if (!timer_is_set(&s->slot) || s->slot.at_ms != at) {
        timer_set(s->sched, &s->slot, at, on_slot, s);
    }
}

static int by_text(const void *a, const void *b) {
    return strcmp(a, *(char *const *)b);
}

static bool in_wave(void *ctx, const char *node) {
    const struct sessions *s = ctx;
    struct seat *seat;
    HASH_FIND_STR(s->seats, node, seat);
    return seat != NULL && seat->wave;
}

static void look_up_wave(struct sessions *s, int64_t now_ms) {
    if (now_ms < s->wave_ms) {
        return;
    }
    s->wave_ms = now_ms + WAVE_MS;
    for (struct seat *seat = s->seats; seat != NULL; seat = seat->hh.next) {
        seat->wave = false;
    }
    const struct inv_pod *pods = s->n_focus > 0 ? inventory_of(s->opts.inventory)->pods : NULL;
    for (const struct inv_pod *p = pods; p != NULL; p = p->hh.next) {
        struct seat *seat = NULL;
        if (p->node != NULL && bsearch(p->namespace_, s->focus, s->n_focus, sizeof *s->focus, by_text) != NULL) {
            HASH_FIND_STR(s->seats, p->node, seat);
        }
        if (seat != NULL) {
            seat->wave = true;
        }
    }
    slots_wave(s->slots, in_wave, s);
}

static void give(struct sessions *s, const char *node, const char *revision) {
    struct seat *seat;
    HASH_FIND_STR(s->seats, node, seat);
    if (seat == NULL || seat->session == NULL) {
        return;
    }
    Meshgate__V1__Slot slot = MESHGATE__V1__SLOT__INIT;
    Meshgate__V1__GateMessage m = MESHGATE__V1__GATE_MESSAGE__INIT;
    slot.revision = (char *)(uintptr_t)revision;
    slot.valid_ms = SLOTS_VALID_MS;
    m.body_case = MESHGATE__V1__GATE_MESSAGE__BODY_SLOT;
    m.slot = &slot;
    struct buf b;
    buf_init(&b, WIRE_MAX_MESSAGE);
    wire_pack(&m.base, &b);
    session_send(seat->session, &b);
    buf_done(&b);
    metric_add(s->count.slots, 1);
}

static void on_slot(void *ctx) {
    struct sessions *s = ctx;
    int64_t now = sched_now(s->sched);
    const char *node, *revision;
    look_up_wave(s, now);
    while (slots_next(s->slots, now, &node, &revision)) {
        give(s, node, revision);
    }
    soon(s);
}

void session_slots_revisions(struct sessions *s) {
    const struct inventory *inv = inventory_of(s->opts.inventory);
    struct slots_revision *list = mem_alloc((HASH_COUNT(inv->revisions) + 1) * sizeof *list);
    size_t n = 0;
    for (const struct inv_revision *v = inv->revisions; v != NULL; v = v->hh.next) {
        list[n].name = v->name;
        for (const struct inv_replica *r = inv->replicas; r != NULL; r = r->hh.next) {
            list[n].replicas += r->ready && r->revision != NULL && strcmp(r->revision, v->name) == 0;
        }
        n++;
    }
    slots_revisions(s->slots, list, n);
    free(list);
    soon(s);
}

/* What is known of the node from an earlier session, or an earlier life of its agent, still counts. */
void session_slots_join(struct session *x) {
    struct sessions *s = x->set;
    slots_join(s->slots, x->node, sched_now(s->sched));
    for (const struct inv_revision *v = inventory_of(s->opts.inventory)->revisions; v != NULL; v = v->hh.next) {
        const struct reach_fact *f = evidence_reach_fact(s->opts.evidence, x->node, v->name);
        if (f != NULL && f->stream_ms != 0) {
            slots_result(s->slots, x->node, v->name, f->stream_ok, f->stream_ms);
        }
    }
    soon(s);
}

void session_slots_leave(struct sessions *s, const char *node) {
    slots_leave(s->slots, node);
    soon(s);
}

void session_slots_heard(struct session *x, const Meshgate__V1__Report *r) {
    struct sessions *s = x->set;
    int64_t now = sched_now(s->sched);
    bool any = false;
    for (size_t i = 0; i < r->n_reach; i++) {
        const Meshgate__V1__Reach *t = r->reach[i];
        if (strcmp(t->stage, "ads") == 0) {
            slots_result(s->slots, x->node, t->revision, t->ok, now - t->age_ms);
            any = true;
        }
    }
    if (any) {
        soon(s);
    }
}
