/*
 * Properties of the decision, against an oracle that is written down apart from it:
 *  - no action while a replica is silent, the inventory is stale, the upgrade is held or paused;
 *  - no wave passes unless each proxy that counts is there, seen from all witnesses, with fresh evidence;
 *  - the same bytes in give the same bytes out, and nothing is allocated;
 *  - from every state an upgrade gets to its end once all is mended (no dead state).
 */
#include <stdlib.h>

#include "cmocka_all.h"
#include "core_mesh.h"

static unsigned long allocations;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void __real_free(void *p);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void __wrap_free(void *p);

void *__wrap_malloc(size_t n) {
    allocations++;
    return __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size) {
    allocations++;
    return __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n) {
    allocations++;
    return __real_realloc(p, n);
}

void __wrap_free(void *p) {
    __real_free(p);
}

static bool is_fresh(const struct mesh *m, int64_t t) {
    return t > 0 && t <= m->now_ms && m->now_ms - t <= m->policy.evidence_max_age_ms;
}

/* Positive proof that the proxy has arrived. `watched`: its sync must have been read. */
static bool arrived(const struct mesh *m, const struct proxy_row *p, bool watched) {
    if (p->expected != NEW || p->injected != NEW || !p->ready || !is_fresh(m, p->attached_at_ms)) {
        return false;
    }
    bool node = is_fresh(m, p->node_at_ms) && p->dials == NEW && p->xds_up && !p->cert_expired;
    if (p->attached == REV_NONE) {
        return node && p->absent_looks < 2 && is_fresh(m, p->moved_at_ms);
    }
    bool acked = p->sync == SYNC_SYNCED || (p->sync == SYNC_PENDING && m->now_ms - p->pending_since_ms < 30000) ||
                 (p->sync == SYNC_PENDING && p->pending_since_ms == 0);
    bool version = p->version == VERSION_MATCHES ||
                   (p->version == VERSION_DIFFERS && p->version_differs_since_ms > m->now_ms - 60000 &&
                    p->version_differs_since_ms <= m->now_ms && p->version_differs_since_ms != 0);
    if (!is_fresh(m, p->sync_at_ms) && !watched) {
        acked = true;
        version |= p->version == VERSION_UNKNOWN;
    }
    if (p->sync == SYNC_UNKNOWN && !watched) {
        acked = true;
        version |= p->version == VERSION_UNKNOWN;
    }
    return p->attached == NEW && acked && version && node;
}

static bool control_planes_heard(const struct mesh *m) {
    for (size_t i = 0; i < 4; i++) {
        if (!m->replicas[i].assigned || !is_fresh(m, m->replicas[i].answered_ms)) {
            return false;
        }
    }
    return m->seen.inventory_fresh;
}

static void check_pass(const struct mesh *m) {
    uint32_t wave = m->seen.progress.wave;
    assert_true(control_planes_heard(m));
    for (size_t i = 0; i < NAMESPACES; i++) {
        if (m->namespaces[i].wave == wave && !m->namespaces[i].terminating) {
            assert_true(m->namespaces[i].relabelled);
        }
    }
    for (size_t i = 0; i < PROXIES; i++) {
        const struct proxy_row *p = &m->proxies[i];
        const struct node_row *node = &m->nodes[p->node < 2 ? p->node : 0];
        if (p->deleting || p->finished || p->opted_out || m->namespaces[p->ns].wave > wave) {
            continue;
        }
        assert_true((node->witness || !node->agent) && is_fresh(m, node->heard_ms));
        if (m->namespaces[p->ns].wave == wave) {
            assert_true(arrived(m, p, true));
            int64_t soaked = m->seen.progress.soak_started_ms + m->waves[wave].soak_ms;
            assert_true(p->attached_at_ms >= soaked && p->sync_at_ms >= soaked && p->node_at_ms >= soaked);
        } else {
            assert_int_equal(p->injected, NEW);
            assert_true(p->state == STATE_SYNCING || arrived(m, p, false));
        }
    }
}

static void check_actions(const struct mesh *m) {
    const struct decision *d = &m->out;
    assert_true(control_planes_heard(m));
    assert_false(d->next.held || m->policy.paused);
    assert_true(d->next.started);
    assert_int_equal(d->verdict, VERDICT_WAIT);
    for (uint32_t i = 0; i < d->n_actions; i++) {
        uint32_t o = d->actions[i].object;
        if (d->actions[i].kind == ACTION_RELABEL) {
            assert_int_equal(m->namespaces[o].wave, d->next.wave);
            assert_false(m->namespaces[o].relabelled || m->namespaces[o].relabelled_by_us);
            continue;
        }
        assert_int_equal(d->actions[i].kind, ACTION_RESTART);
        const struct workload_row *w = &m->workloads[o];
        assert_int_equal(m->namespaces[w->ns].wave, d->next.wave);
        assert_true(m->namespaces[w->ns].relabelled);
        assert_false(w->restarted || w->paused || w->on_delete);
        bool needed = false;
        for (size_t k = 0; k < PROXIES; k++) {
            needed |= m->proxies[k].workload == o && m->proxies[k].injected != NEW;
        }
        assert_true(needed);
    }
}

/* Decide, and hold the outcome against the oracle. */
static void decide_checked(struct mesh *m) {
    static struct mesh again;
    unsigned long before = allocations;
    mesh_copy(&again, m);
    mesh_decide(m);
    mesh_decide(&again);
    assert_int_equal(allocations, before);
    assert_memory_equal(&m->out, &again.out, sizeof m->out);
    assert_memory_equal(m->tallies, again.tallies, sizeof m->tallies);
    const struct decision *d = &m->out;
    uint32_t wave = m->seen.progress.wave;
    assert_true(d->next.wave == wave || d->next.wave == wave + 1);
    assert_true((d->verdict == VERDICT_PASS) == (d->next.wave > wave || wave == NAMESPACES));
    assert_true((d->phase == PHASE_COMPLETED) == (d->next.wave == NAMESPACES));
    if (d->next.wave > wave) {
        check_pass(m);
    }
    if (d->n_actions > 0) {
        check_actions(m);
    }
    assert_true(d->wake_at_ms == 0 || d->wake_at_ms >= m->now_ms);
}

static const uint32_t REVS[] = {OLD, NEW, THIRD, REV_NONE, REV_UNKNOWN, REV_CONFLICT, REV_FOREIGN, 12345};
static const int64_t AGES[] = {0, 45001, -1, 1000};

static int64_t time_of(const struct mesh *m, unsigned pick) {
    int64_t age = AGES[pick & 3];
    return age == 0 ? 0 : m->now_ms - age;
}

/* One proxy gets every combination of what its witnesses can say; the others have arrived, the soak is over. */
static void every_combination_of_one_proxy(void **state) {
    (void)state;
    static struct mesh m;
    unsigned passes = 0, all = 0;
    for (unsigned k = 0; k < 8u * 4 * 5 * 4 * 4 * 4 * 4 * 2 * 3 * 2 * 2; k++) {
        unsigned c = k;
        mesh_init(&m);
        mesh_move(&m, 0);
        m.seen.progress = (struct progress){.started = true, .soak_started_ms = START_MS - 61000};
        struct proxy_row *p = &m.proxies[0];
        p->expected = REVS[c % 8], c /= 8;
        p->injected = REVS[c % 4], c /= 4;
        p->attached = REVS[c % 5], c /= 5;
        p->sync = (enum sync_state)(c % 4), c /= 4;
        p->attached_at_ms = time_of(&m, c % 4), c /= 4;
        p->sync_at_ms = time_of(&m, c % 4), c /= 4;
        p->node_at_ms = time_of(&m, c % 4), c /= 4;
        p->dials = REVS[c % 2], c /= 2;
        p->version = (enum version_match)(c % 3), c /= 3;
        p->xds_up = c % 2, c /= 2;
        p->ready = c % 2;
        decide_checked(&m);
        passes += m.out.next.wave == 1;
        all++;
    }
    /* expected, injected, attached, dials = new; synced or pending; all read lately; matching; up; ready. */
    assert_int_equal(all, 983040);
    assert_int_equal(passes, 2);
}

static unsigned long long seed_;

static uint32_t pick(uint32_t n) {
    seed_ = seed_ * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(seed_ >> 33) % n;
}

static void shake_proxy(struct mesh *m, struct proxy_row *p) {
    switch (pick(16)) {
    case 0:
        p->expected = REVS[pick(8)];
        break;
    case 1:
        p->injected = REVS[pick(5)];
        break;
    case 2:
        p->attached = REVS[pick(5)];
        p->absent_looks = pick(4);
        p->detached_since_ms = m->now_ms - pick(120000);
        break;
    case 3:
        p->sync = (enum sync_state)pick(4);
        p->pending_since_ms = pick(2) ? 0 : m->now_ms - pick(60000);
        break;
    case 4:
        p->attached_at_ms = m->now_ms - (int64_t)pick(90000) + 10;
        break;
    case 5:
        p->sync_at_ms = m->now_ms - (int64_t)pick(90000) + 10;
        break;
    case 6:
        p->node_at_ms = pick(3) ? m->now_ms - (int64_t)pick(90000) + 10 : 0;
        break;
    case 7:
        p->dials = REVS[pick(5)];
        p->dials_differ_since_ms = m->now_ms - pick(120000);
        break;
    case 8:
        p->xds_up = pick(2);
        p->xds_down_since_ms = m->now_ms - pick(120000);
        break;
    case 9:
        p->version = (enum version_match)pick(3);
        p->version_differs_since_ms = m->now_ms - pick(120000);
        break;
    case 10:
        p->ready = pick(2);
        break;
    case 11:
        p->deleting = pick(2);
        break;
    case 12:
        p->finished = pick(8) == 0;
        break;
    case 13:
        p->created_ms = m->now_ms - pick(400000);
        break;
    case 14:
        p->moved_at_ms = m->now_ms - pick(90000);
        break;
    default:
        p->workload = pick(4) ? p->ns : IDX_NONE;
        break;
    }
}

static void shake(struct mesh *m) {
    struct workload_row *w = &m->workloads[pick(NAMESPACES)];
    struct namespace_row *ns = &m->namespaces[pick(NAMESPACES)];
    struct replica_row *r = &m->replicas[pick(4)];
    struct node_row *n = &m->nodes[pick(2)];
    switch (pick(12)) {
    case 0:
        ns->relabelled = pick(2);
        ns->leftover = !ns->relabelled && pick(2);
        break;
    case 1:
        ns->relabelled_by_us = pick(2);
        break;
    case 2:
        w->paused = pick(4) == 0;
        w->on_delete = pick(4) == 0;
        break;
    case 3:
        w->settled = pick(2);
        w->failed_create = pick(8) == 0;
        w->overdue = pick(8) == 0;
        break;
    case 4:
        w->kind = (enum workload_kind)pick(KIND_OTHER + 1);
        break;
    case 5:
        r->answered_ms = m->now_ms - (int64_t)pick(90000) + 10;
        break;
    case 6:
        r->assigned = pick(4) != 0;
        r->push_blocked = pick(16) == 0;
        break;
    case 7:
        n->agent = pick(4) != 0;
        n->heard_ms = m->now_ms - (int64_t)pick(90000) + 10;
        break;
    case 8:
        n->reach_ok = pick(4) != 0;
        n->reach_known = pick(4) != 0;
        break;
    case 9:
        m->seen.inventory_fresh = pick(8) != 0;
        break;
    case 10:
        m->policy.paused = pick(8) == 0;
        m->policy.resume_hold = pick(4);
        break;
    default:
        m->revisions[NEW].ready = pick(4);
        break;
    }
}

/* What the cluster makes of an action, sooner or later. */
static void carry_out(struct mesh *m, const struct action *a) {
    if (a->kind == ACTION_RELABEL) {
        mesh_relabel(m, a->object);
        return;
    }
    struct workload_row *w = &m->workloads[a->object];
    w->restarted = w->settled = true;
    for (size_t i = 0; i < PROXIES; i++) {
        if (m->proxies[i].workload == a->object) {
            mesh_settle(m, &m->proxies[i], NEW);
        }
    }
}

static void step(struct mesh *m) {
    decide_checked(m);
    m->seen.progress = m->out.next;
    for (uint32_t i = 0; i < m->out.n_actions; i++) {
        if (pick(2)) {
            carry_out(m, &m->out.actions[i]);
        }
    }
}

/* Everything mended, all pauses lifted: from here it must come to its end. */
static void mend(struct mesh *m) {
    struct progress progress = m->seen.progress;
    struct wave_policy waves[NAMESPACES];
    struct namespace_row namespaces[NAMESPACES];
    int64_t now = m->now_ms;
    memcpy(waves, m->waves, sizeof waves);
    memcpy(namespaces, m->namespaces, sizeof namespaces);
    mesh_init(m);
    m->now_ms = now;
    m->seen.progress = progress;
    m->policy.resume_hold = progress.hold_id;
    for (uint32_t i = 0; i < NAMESPACES; i++) {
        m->waves[i] = waves[i];
        m->waves[i].approved = true;
        if (i < progress.wave || namespaces[i].relabelled || namespaces[i].relabelled_by_us) {
            mesh_move(m, i);
        }
    }
    for (size_t i = 0; i < PROXIES; i++) {
        m->proxies[i].created_ms = m->proxies[i].expected_since_ms = now - 3600000;
    }
    mesh_fresh(m);
}

static void reaches_the_end(struct mesh *m) {
    for (unsigned i = 0; i < 100 && m->seen.progress.wave < NAMESPACES; i++) {
        m->now_ms += 20000;
        mesh_fresh(m);
        step(m);
        m->policy.resume_hold = m->seen.progress.hold_id;
    }
    assert_int_equal(m->seen.progress.wave, NAMESPACES);
}

static void random_walks(void **state) {
    (void)state;
    static struct mesh m;
    unsigned ends = 0, passes = 0, moves = 0, holds = 0;
    seed_ = 20261123;
    mesh_init(&m);
    for (unsigned i = 0; i < 200000; i++) {
        m.now_ms += pick(8000);
        switch (pick(5)) {
        case 0:
            shake(&m);
            break;
        case 1:
            shake_proxy(&m, &m.proxies[pick(PROXIES)]);
            break;
        default:
            mesh_fresh(&m);
            break;
        }
        if (pick(24) == 0) {
            mend(&m);
        }
        uint32_t wave = m.seen.progress.wave;
        step(&m);
        passes += m.seen.progress.wave > wave;
        moves += m.out.n_actions > 0;
        holds += m.out.phase == PHASE_HOLD || m.out.phase == PHASE_PAUSED;
        if (m.seen.progress.wave == NAMESPACES || pick(400) == 0) {
            mend(&m);
            reaches_the_end(&m);
            ends++;
            mesh_init(&m);
            m.waves[pick(NAMESPACES)].manual = pick(2);
            m.waves[pick(NAMESPACES)].approved = pick(2);
        }
    }
    assert_true(ends > 500 && passes > 100 && moves > 1000 && holds > 10000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_combination_of_one_proxy),
        cmocka_unit_test(random_walks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
