/* Rows: a mesh, what is changed in it, and what is decided. The last tests are small stories. */
#include <stdio.h>
#include <stdlib.h>

#include "cmocka_all.h"
#include "core/rules.h"
#include "core_mesh.h"

struct row {
    char name[96];
    enum phase phase;
    enum verdict verdict;
    enum reason reason; /* must be among the findings */
    uint32_t n_actions;
    struct mesh m;
};

#define MAX_ROWS 128
static struct row rows[MAX_ROWS];
static size_t n_rows;

static struct row *row_new(const char *name, enum phase phase, enum verdict verdict, enum reason reason, uint32_t actions) {
    struct row *r = &rows[n_rows++];
    if (n_rows > MAX_ROWS) {
        abort();
    }
    snprintf(r->name, sizeof r->name, "%s", name);
    r->phase = phase;
    r->verdict = verdict;
    r->reason = reason;
    r->n_actions = actions;
    mesh_init(&r->m);
    return r;
}

/* Begins with everything on old, wave 0 to be begun: two Deployment pods in namespace 0. */
#define ROW(name_, phase_, verdict_, reason_, actions_, ...)                                               \
    do {                                                                                                   \
        struct row *row_ = row_new(name_, PHASE_##phase_, VERDICT_##verdict_, REASON_##reason_, actions_); \
        struct mesh *m = &row_->m;                                                                         \
        struct policy *policy = &m->policy;                                                                \
        struct progress *progress = &m->seen.progress;                                                     \
        struct proxy_row *p = m->proxies;                                                                  \
        struct workload_row *w = m->workloads;                                                             \
        struct namespace_row *ns = m->namespaces;                                                          \
        int64_t now = m->now_ms;                                                                           \
        (void)policy, (void)progress, (void)p, (void)w, (void)ns, (void)now;                               \
        __VA_ARGS__;                                                                                       \
    } while (0)

static void upgrade_rows(void) {
    ROW("begins", MOVING, WAIT, RELABEL_PENDING, 1, );
    ROW("no waves", HOLD, UNKNOWN, NO_WAVES, 0, policy->n_waves = 0);
    ROW("progress beyond the waves", HOLD, UNKNOWN, NO_WAVES, 0, progress->wave = 3);
    ROW("completed stays completed", COMPLETED, PASS, NONE, 0, progress->wave = 2, m->seen.inventory_fresh = false);
    ROW("inventory stale", HOLD, UNKNOWN, INVENTORY_STALE, 0, m->seen.inventory_fresh = false);
    ROW("a proxy of no namespace", HOLD, UNKNOWN, INVENTORY_STALE, 0, p[3].ns = 77);
    ROW("a namespace of no wave of ours", HOLD, UNKNOWN, INVENTORY_STALE, 0, ns[1].wave = 5);
    ROW("old not installed", HOLD, UNKNOWN, FROM_NOT_INSTALLED, 0, policy->from = REV_FOREIGN);
    ROW("old without address", HOLD, UNKNOWN, FROM_NOT_INSTALLED, 0, m->revisions[OLD].installed = false);
    ROW("new not installed", HOLD, UNKNOWN, TO_NOT_INSTALLED, 0, policy->to = REV_FOREIGN);
    ROW("new is old", HOLD, UNKNOWN, SAME_REVISION, 0, policy->to = OLD);
    ROW("no injector", HOLD, UNKNOWN, NO_INJECTOR, 0, m->revisions[NEW].has_injector = false);
    ROW("no ready replica", HOLD, UNKNOWN, NO_READY_REPLICA, 0, m->revisions[NEW].ready = 0);
    ROW("replica unread", HOLD, UNKNOWN, REPLICA_UNREAD, 0, m->replicas[1].assigned = false);
    ROW("replica never answered", HOLD, UNKNOWN, REPLICA_UNREAD, 0, m->replicas[2].answered_ms = 0);
    ROW("replica without a row", HOLD, UNKNOWN, REPLICA_UNREAD, 0, m->revisions[OLD].replicas = 3);
    ROW("old replica silent", HOLD, UNKNOWN, REPLICA_SILENT, 0, m->replicas[0].answered_ms = now - 45001);
    ROW("new replica silent", HOLD, UNKNOWN, REPLICA_SILENT, 0, m->replicas[3].answered_ms = now - 45001);
    ROW("replica answers from the future", HOLD, UNKNOWN, REPLICA_SILENT, 0, m->replicas[3].answered_ms = now + 1);
    ROW("a third revision's replica does not matter", MOVING, WAIT, RELABEL_PENDING, 1, m->replicas[3].revision = THIRD,
        m->revisions[NEW].replicas = 1, m->replicas[3].answered_ms = 0);
    ROW("push blocked", PAUSED, FAIL, PUSH_BLOCKED, 0, m->replicas[0].push_blocked = true);
    ROW("paused by request", PAUSED, WAIT, PAUSED_BY_REQUEST, 0, policy->paused = true);
    ROW("paused and in doubt", PAUSED, UNKNOWN, REPLICA_SILENT, 0, policy->paused = true, m->replicas[3].answered_ms = 1);
    ROW("held", PAUSED, FAIL, PAUSED_BY_SIGNAL, 0, progress->held = true, progress->hold_id = 2);
    ROW("held, another number resumed", PAUSED, FAIL, PAUSED_BY_SIGNAL, 0, progress->held = true, progress->hold_id = 2,
        policy->resume_hold = 1);
    ROW("held, a later number resumed", PAUSED, FAIL, PAUSED_BY_SIGNAL, 0, progress->held = true, progress->hold_id = 2,
        policy->resume_hold = 3);
    ROW("held without a number is not lifted by none", PAUSED, FAIL, PAUSED_BY_SIGNAL, 0, progress->held = true);
    ROW("resumed", MOVING, WAIT, RELABEL_PENDING, 1, progress->held = true, progress->hold_id = 2, policy->resume_hold = 2);
    ROW("awaits approval", AWAITING_APPROVAL, WAIT, AWAITING_APPROVAL, 0, m->waves[0].manual = true);
    ROW("approved", MOVING, WAIT, RELABEL_PENDING, 1, m->waves[0].manual = m->waves[0].approved = true);
    ROW("approval is not asked again", MOVING, WAIT, RELABEL_PENDING, 1, m->waves[0].manual = progress->started = true);
    ROW("awaiting does not need the wave's nodes", AWAITING_APPROVAL, WAIT, AWAITING_APPROVAL, 0, m->waves[0].manual = true,
        m->nodes[0].heard_ms = 0);
}

static void node_rows(void) {
    ROW("node without agent", HOLD, UNKNOWN, NODE_NO_AGENT, 0, m->nodes[0].agent = false, m->nodes[0].heard_ms = 0);
    ROW("node whose agent is gone", HOLD, UNKNOWN, NODE_SILENT, 0, m->nodes[0].agent = false,
        m->nodes[0].heard_ms = now - 45001);
    ROW("node whose agent comes again", MOVING, WAIT, RELABEL_PENDING, 1, m->nodes[0].agent = false);
    ROW("node with an agent that never scanned", HOLD, UNKNOWN, NODE_SILENT, 0, m->nodes[0].heard_ms = 0);
    ROW("node silent", HOLD, UNKNOWN, NODE_SILENT, 0, m->nodes[0].heard_ms = now - 45001);
    ROW("node from the future", HOLD, UNKNOWN, NODE_SILENT, 0, m->nodes[0].heard_ms = now + 1);
    ROW("node without witness", HOLD, UNKNOWN, NODE_NO_WITNESS, 0, m->nodes[0].witness = false);
    ROW("node without witness, optional", MOVING, WAIT, RELABEL_PENDING, 1,
        m->nodes[0].witness = policy->node_witness = false);
    ROW("node with a witness silent, optional", HOLD, UNKNOWN, NODE_SILENT, 0, m->nodes[0].heard_ms = 1,
        policy->node_witness = false);
    ROW("node of a later wave may be dark", MOVING, WAIT, RELABEL_PENDING, 1, m->nodes[1].heard_ms = 0, p[1].node = 0,
        p[2].node = p[3].node = 1);
    ROW("node of an earlier wave may not", HOLD, UNKNOWN, NODE_SILENT, 0, mesh_move(m, 0), progress->wave = 1,
        m->nodes[0].heard_ms = 1, p[2].node = p[3].node = 1);
    ROW("unreachable", MOVING, WAIT, NODE_UNREACHABLE_XDS, 0, m->nodes[1].reach_ok = false);
    ROW("not tested", MOVING, WAIT, NODE_REACH_UNTESTED, 0, m->nodes[1].reach_known = false);
    ROW("unreachable, nothing of the wave on it", MOVING, WAIT, RELABEL_PENDING, 1, m->nodes[1].reach_ok = false,
        p[1].node = 0);
}

#define RELABELLED mesh_relabel(m, 0), progress->started = true

static void namespace_rows(void) {
    ROW("half-done by hand is done by us", MOVING, WAIT, RELABEL_PENDING, 1, ns[0].leftover = true);
    ROW("leftover set back", MOVING, WAIT, LEFTOVER_LABEL, 0, progress->started = true,
        ns[0].relabelled_by_us = ns[0].leftover = true);
    ROW("label lost", MOVING, WAIT, NS_RELABEL_LOST, 0, progress->started = true, ns[0].relabelled_by_us = true);
    ROW("terminating", MOVING, WAIT, NS_TERMINATING, 0, ns[0].terminating = true, ns[1].wave = 0, ns[1].relabelled = true,
        mesh_settle(m, &p[2], NEW), mesh_settle(m, &p[3], NEW));
    ROW("empty wave passes", MOVING, PASS, EMPTY_WAVE, 0, ns[0].wave = 1, m->waves[0].manual = true);
    ROW("empty wave does not pass in doubt", HOLD, UNKNOWN, INVENTORY_STALE, 0, ns[0].wave = 1,
        m->seen.inventory_fresh = false);
    ROW("empty last wave completes", COMPLETED, PASS, EMPTY_WAVE, 0, progress->wave = 1, ns[1].wave = 0, mesh_move(m, 0),
        mesh_move(m, 1));
    ROW("two at a time", MOVING, WAIT, RELABEL_PENDING, 2, ns[1].wave = 0);
    ROW("one at a time", MOVING, WAIT, RELABEL_PENDING, 1, ns[1].wave = 0, policy->max_namespaces = 1);
    ROW("one at a time, one in flight", MOVING, WAIT, RELABEL_PENDING, 0, ns[1].wave = 0, policy->max_namespaces = 1,
        mesh_move(m, 0), p[0].ready = false, progress->started = true);
    ROW("one at a time, one still rolling", MOVING, WAIT, RELABEL_PENDING, 0, ns[1].wave = 0, policy->max_namespaces = 1,
        mesh_move(m, 0), w[0].settled = false, progress->started = true);
    ROW("one at a time, one has arrived", MOVING, WAIT, RELABEL_PENDING, 1, ns[1].wave = 0, policy->max_namespaces = 1,
        mesh_move(m, 0), progress->started = true);
}

static void workload_rows(void) {
    ROW("restart", MOVING, WAIT, RESTART_DUE, 1, RELABELLED);
    ROW("no restart before the API servers agree", MOVING, WAIT, RESTART_DUE, 0, RELABELLED,
        p[0].expected_since_ms = now - 999);
    ROW("no restart twice", MOVING, WAIT, RESTARTING, 0, RELABELLED, w[0].restarted = true, w[0].settled = false);
    ROW("no restart twice, even in vain", MOVING, WAIT, RESTART_WITHOUT_EFFECT, 0, RELABELLED, w[0].restarted = true);
    ROW("no restart of what is there", SOAKING, WAIT, SOAKING, 0, RELABELLED, mesh_settle(m, &p[0], NEW),
        mesh_settle(m, &p[1], NEW));
    ROW("no restart of what is not relabelled", MOVING, WAIT, RELABEL_PENDING, 1, p[0].expected = p[1].expected = NEW);
    ROW("no restart with an unreachable node", MOVING, WAIT, NODE_UNREACHABLE_XDS, 0, RELABELLED,
        m->nodes[1].reach_ok = false);
    ROW("bare pod", MOVING, WAIT, BARE_POD, 0, RELABELLED, p[0].workload = p[1].workload = IDX_NONE);
    ROW("job", MOVING, WAIT, JOB, 0, RELABELLED, w[0].kind = KIND_JOB);
    ROW("replicaset", MOVING, WAIT, REPLICASET, 0, RELABELLED, w[0].kind = KIND_REPLICASET);
    ROW("other owner", MOVING, WAIT, OTHER_OWNER, 0, RELABELLED, w[0].kind = KIND_OTHER);
    ROW("paused deployment", MOVING, WAIT, WORKLOAD_PAUSED, 0, RELABELLED, w[0].paused = true);
    ROW("on delete", MOVING, WAIT, ON_DELETE, 0, RELABELLED, w[0].kind = KIND_DAEMONSET, w[0].on_delete = true);
    ROW("pod label wins", MOVING, WAIT, POD_LABEL_WINS, 0, RELABELLED, p[0].expected = OLD);
    ROW("two injectors", MOVING, WAIT, TWO_INJECTORS, 0, RELABELLED, p[0].expected = REV_CONFLICT);
    ROW("would lose its sidecar", MOVING, WAIT, NO_INJECTOR_MATCHES, 0, RELABELLED, p[0].expected = REV_NONE);
    ROW("no sidecar", MOVING, WAIT, RESTART_DUE, 1, RELABELLED, p[0].injected = p[1].injected = REV_NONE);
    ROW("still rolling", MOVING, WAIT, RESTARTING, 0, mesh_move(m, 0), w[0].settled = false);
    ROW("failed create", MOVING, WAIT, FAILED_CREATE, 0, mesh_move(m, 0), w[0].failed_create = true);
    ROW("overdue", MOVING, WAIT, ROLLOUT_OVERDUE, 0, mesh_move(m, 0), w[0].overdue = true);
    ROW("pods cannot come back", MOVING, WAIT, FAILED_CREATE, 0, mesh_move(m, 0), w[0].restarted = false,
        w[0].failed_create = p[0].finished = p[1].finished = true);
    ROW("opted out and unsettled is no concern", SOAKING, WAIT, SOAKING, 0, mesh_move(m, 0),
        w[0].restarted = w[0].settled = false, p[0].opted_out = p[1].opted_out = true);
}

static void proxy_rows(void) {
    ROW("moved", SOAKING, WAIT, SOAKING, 0, mesh_move(m, 0));
    ROW("moved but one not ready", MOVING, WAIT, NOT_READY, 0, mesh_move(m, 0), p[1].ready = false);
    ROW("moved but one unseen", HOLD, UNKNOWN, CP_STALE, 0, mesh_move(m, 0), p[1].attached_at_ms = 0);
    ROW("moved but one old pod lives on", MOVING, WAIT, RESTARTING, 0, mesh_move(m, 0), mesh_settle(m, &p[1], OLD),
        p[1].expected = NEW, w[0].settled = false);
    ROW("nack", PAUSED, FAIL, NACK, 0, mesh_move(m, 0), p[0].sync = SYNC_ERROR);
    ROW("nack on old", MOVING, WAIT, TROUBLE_BEFORE_MOVE, 1, p[0].sync = SYNC_ERROR);
    ROW("nack in a later wave", MOVING, WAIT, TROUBLE_BEFORE_MOVE, 1, mesh_settle(m, &p[3], NEW), p[3].sync = SYNC_ERROR,
        ns[1].relabelled = true);
    ROW("nack in an earlier wave", PAUSED, FAIL, NACK, 0, mesh_move(m, 0), progress->wave = 1, p[0].sync = SYNC_ERROR);
    ROW("nack before the wave has begun", PAUSED, FAIL, NACK, 0, mesh_settle(m, &p[0], NEW), p[0].sync = SYNC_ERROR,
        m->waves[0].manual = true);
    ROW("nack, tolerated", SOAKING, WAIT, BAD_TOLERATED, 0, mesh_move(m, 0), p[0].sync = SYNC_ERROR, policy->max_bad = 1);
    ROW("one more than tolerated", PAUSED, FAIL, NACK, 0, mesh_move(m, 0), p[0].sync = p[1].sync = SYNC_ERROR,
        policy->max_bad = 1);
    ROW("no stream", PAUSED, FAIL, NO_STREAM, 0, mesh_move(m, 0), p[0].attached = REV_NONE, p[0].absent_looks = 4,
        p[0].detached_since_ms = now - 60000);
    ROW("misplaced", PAUSED, FAIL, WRONG_CONTROL_PLANE, 0, mesh_move(m, 0), p[0].attached = OLD);
    ROW("old one attached to new", PAUSED, FAIL, WRONG_CONTROL_PLANE, 0, p[0].attached = NEW);
    ROW("unheard, tolerated", SOAKING, WAIT, UNHEARD_TOLERATED, 0, mesh_move(m, 0), p[0].node_at_ms = 0,
        policy->coverage_permille = 500);
    ROW("unheard beyond coverage", HOLD, UNKNOWN, NODE_NOT_SEEN, 0, mesh_move(m, 0), p[0].node_at_ms = 0,
        policy->coverage_permille = 501);
    ROW("unheard on old is not tolerated", HOLD, UNKNOWN, CP_STALE, 0, mesh_move(m, 0), mesh_settle(m, &p[0], OLD),
        p[0].attached_at_ms = 0, policy->coverage_permille = 0);
    ROW("doubt in an earlier wave", HOLD, UNKNOWN, NODE_STALE, 0, mesh_move(m, 0), progress->wave = 1, p[0].node_at_ms = 1);
    ROW("starting in an earlier wave", MOVING, WAIT, RELABEL_PENDING, 1, mesh_move(m, 0), progress->wave = 1,
        p[0].ready = false);
    ROW("fell back in an earlier wave", SOAKING, WAIT, FELL_BACK, 0, mesh_move(m, 0), mesh_move(m, 1), progress->wave = 1,
        progress->started = true, progress->soak_started_ms = now - 60000, mesh_settle(m, &p[0], OLD), p[0].expected = NEW);
    ROW("label lost in an earlier wave", SOAKING, WAIT, NS_RELABEL_LOST, 0, mesh_move(m, 0), mesh_move(m, 1),
        progress->wave = 1, progress->started = true, progress->soak_started_ms = now - 60000, ns[0].relabelled = false,
        p[0].expected = p[1].expected = OLD);
}

static void run_row(void **state) {
    struct row *r = *state;
    mesh_decide(&r->m);
    const struct decision *d = &r->m.out;
    assert_string_equal(phase_name(d->phase), phase_name(r->phase));
    assert_string_equal(verdict_name(d->verdict), verdict_name(r->verdict));
    if (r->reason != REASON_NONE && d->by_reason[r->reason] == 0) {
        fail_msg("reason %s is not there, the first is %s", reason_name(r->reason),
                 d->n_findings > 0 ? reason_name(d->findings[0].reason) : "none");
    }
    assert_int_equal(d->n_actions, r->n_actions);
}

static void soak_begins(struct mesh *m) {
    mesh_init(m);
    mesh_move(m, 0);
    m->seen.progress.started = true;
    mesh_decide(m);
    assert_int_equal(m->out.phase, PHASE_SOAKING);
    assert_int_equal(m->out.next.soak_started_ms, START_MS);
    m->seen.progress = m->out.next;
}

static void later(struct mesh *m, int64_t ms) {
    m->now_ms += ms;
    mesh_fresh(m);
}

static void a_soak_ends_at_its_time(void **state) {
    (void)state;
    struct mesh m;
    soak_begins(&m);
    assert_int_equal(m.out.wake_at_ms, START_MS + 45001);
    later(&m, 59999);
    mesh_decide(&m);
    assert_int_equal(m.out.phase, PHASE_SOAKING);
    assert_int_equal(m.out.wake_at_ms, START_MS + 60000);
    later(&m, 1);
    mesh_decide(&m);
    assert_int_equal(m.out.verdict, VERDICT_PASS);
    assert_int_equal(m.out.next.wave, 1);
    assert_false(m.out.next.started);
    assert_int_equal(m.out.next.soak_started_ms, 0);
    assert_int_equal(m.out.wake_at_ms, m.now_ms);
}

/* Evidence from before the end of the soak is fresh enough for everything but ending it. */
static void a_soak_ends_with_a_look_at_everybody(void **state) {
    (void)state;
    struct mesh m;
    soak_begins(&m);
    later(&m, 60001);
    for (unsigned who = 0; who < 6; who++) {
        mesh_fresh(&m);
        int64_t *look[] = {&m.replicas[0].answered_ms, &m.replicas[3].answered_ms, &m.proxies[0].attached_at_ms,
                           &m.proxies[0].sync_at_ms,   &m.proxies[0].node_at_ms,   NULL};
        if (look[who]) {
            *look[who] = START_MS + 59999;
        }
        mesh_decide(&m);
        assert_int_equal(m.out.next.wave, look[who] ? 0 : 1);
        assert_int_equal(m.out.by_reason[REASON_PROOF_DUE], look[who] ? 1 : 0);
    }
    mesh_fresh(&m);
    m.policy.node_witness = false;
    m.proxies[0].node_at_ms = START_MS + 59999;
    mesh_decide(&m);
    assert_int_equal(m.out.next.wave, 1);
}

static void a_soak_does_not_end_in_doubt(void **state) {
    (void)state;
    struct mesh m;
    soak_begins(&m);
    later(&m, 60000);
    m.proxies[0].node_at_ms = 0;
    mesh_decide(&m);
    assert_int_equal(m.out.phase, PHASE_HOLD);
    assert_int_equal(m.out.next.wave, 0);
    assert_int_equal(m.out.next.soak_started_ms, START_MS);
    m.seen.progress = m.out.next;
    later(&m, 1000);
    mesh_decide(&m);
    assert_int_equal(m.out.next.wave, 1);
}

static void a_soak_does_not_end_while_waiting(void **state) {
    (void)state;
    struct mesh m;
    soak_begins(&m);
    later(&m, 60000);
    m.proxies[0].ready = false;
    mesh_decide(&m);
    assert_int_equal(m.out.phase, PHASE_SOAKING);
    assert_int_equal(m.out.next.wave, 0);
}

static void a_soak_begins_anew_when_there_is_more_to_move(void **state) {
    (void)state;
    struct mesh m;
    soak_begins(&m);
    later(&m, 60000);
    m.namespaces[1].wave = 0;
    mesh_decide(&m);
    assert_int_equal(m.out.phase, PHASE_MOVING);
    assert_int_equal(m.out.n_actions, 1);
    assert_int_equal(m.out.next.soak_started_ms, 0);
}

static void a_bad_signal_ends_the_soak_and_needs_its_number(void **state) {
    (void)state;
    struct mesh m;
    soak_begins(&m);
    later(&m, 30000);
    m.proxies[0].sync = SYNC_ERROR;
    mesh_decide(&m);
    assert_int_equal(m.out.phase, PHASE_PAUSED);
    assert_true(m.out.next.held);
    assert_int_equal(m.out.next.hold_id, 1);
    assert_int_equal(m.out.next.hold_reason, REASON_NACK);
    assert_int_equal(m.out.next.soak_started_ms, 0);

    m.seen.progress = m.out.next;
    m.proxies[0].sync = SYNC_SYNCED;
    later(&m, 1000);
    mesh_decide(&m);
    assert_int_equal(m.out.phase, PHASE_PAUSED);

    m.policy.resume_hold = 1;
    m.proxies[0].sync = SYNC_ERROR;
    mesh_decide(&m);
    assert_int_equal(m.out.phase, PHASE_PAUSED);
    assert_int_equal(m.out.next.hold_id, 2);

    m.seen.progress = m.out.next;
    m.proxies[0].sync = SYNC_SYNCED;
    m.policy.resume_hold = 2;
    mesh_decide(&m);
    assert_int_equal(m.out.phase, PHASE_SOAKING);
    assert_int_equal(m.out.next.soak_started_ms, m.now_ms);
}

static void a_soak_from_the_future_begins_now(void **state) {
    (void)state;
    struct mesh m;
    soak_begins(&m);
    m.seen.progress.soak_started_ms = m.now_ms + 1000000;
    mesh_decide(&m);
    assert_int_equal(m.out.next.soak_started_ms, m.now_ms);
}

static void the_last_wave_completes(void **state) {
    (void)state;
    struct mesh m;
    mesh_init(&m);
    mesh_move(&m, 0);
    mesh_move(&m, 1);
    m.seen.progress = (struct progress){.wave = 1, .started = true, .soak_started_ms = START_MS - 60000};
    mesh_decide(&m);
    assert_int_equal(m.out.phase, PHASE_COMPLETED);
    assert_int_equal(m.out.verdict, VERDICT_PASS);
    assert_int_equal(m.out.next.wave, 2);
    m.seen.progress = m.out.next;
    mesh_decide(&m);
    assert_int_equal(m.out.phase, PHASE_COMPLETED);
    assert_int_equal(m.out.wake_at_ms, 0);
}

static void decide_without_classify_holds(void **state) {
    (void)state;
    struct mesh m;
    mesh_init(&m);
    mesh_move(&m, 0);
    decide(&m.policy, &m.seen, m.now_ms, m.tallies, &m.out);
    assert_int_equal(m.out.phase, PHASE_HOLD);
    assert_int_equal(m.out.n_actions, 0);
}

static void zeroed_input_holds(void **state) {
    (void)state;
    struct policy policy = {0};
    struct snapshot seen = {0};
    struct decision out;
    classify(&policy, &seen, 1);
    decide(&policy, &seen, 1, NULL, &out);
    assert_int_equal(out.phase, PHASE_HOLD);
    assert_int_equal(out.verdict, VERDICT_UNKNOWN);
    struct wave_policy wave = {0};
    struct wave_tally tally;
    policy.waves = &wave;
    policy.n_waves = 1;
    decide(&policy, &seen, 1, &tally, &out);
    assert_int_equal(out.phase, PHASE_HOLD);
    assert_int_equal(out.next.wave, 0);
}

static void many_findings_are_counted_and_cut(void **state) {
    (void)state;
    struct decision out = {0};
    for (uint32_t i = 0; i < 1000; i++) {
        for (unsigned r = 1; r < REASON_COUNT; r++) {
            findings_add(&out, (enum reason)r, ABOUT_PROXY, i);
        }
    }
    assert_int_equal(out.n_findings_total, 1000 * (REASON_COUNT - 1));
    assert_int_equal(out.by_reason[REASON_NACK], 1000);
    assert_int_equal(out.n_findings, DECISION_MAX_FINDINGS);
}

static void the_tally_counts(void **state) {
    (void)state;
    struct mesh m;
    mesh_init(&m);
    mesh_move(&m, 0);
    m.proxies[1].node_at_ms = 0;
    m.proxies[2].sync = SYNC_ERROR;
    mesh_decide(&m);
    assert_int_equal(m.tallies[0].namespaces, 1);
    assert_int_equal(m.tallies[0].relabelled, 1);
    assert_int_equal(m.tallies[0].expected, 2);
    assert_int_equal(m.tallies[0].heard, 1);
    assert_int_equal(m.tallies[0].by_state[STATE_MOVED], 1);
    assert_int_equal(m.tallies[0].by_state[STATE_UNKNOWN], 1);
    assert_int_equal(m.tallies[1].by_state[STATE_NACKING], 1);
    assert_int_equal(m.tallies[1].bad, 0);
}

static void wakes_when_a_dwell_ends(void **state) {
    (void)state;
    struct mesh m;
    mesh_init(&m);
    mesh_relabel(&m, 0);
    m.proxies[0].expected_since_ms = m.now_ms - 400;
    mesh_decide(&m);
    assert_int_equal(m.out.wake_at_ms, m.now_ms + 600);
    mesh_move(&m, 0);
    m.proxies[0].sync = SYNC_PENDING;
    m.proxies[0].pending_since_ms = m.now_ms - 20000;
    mesh_decide(&m);
    assert_int_equal(m.out.wake_at_ms, m.now_ms + 10000);
}

#define TEST(f) ((struct CMUnitTest){.name = #f, .test_func = f})

int main(void) {
    static struct CMUnitTest tests[MAX_ROWS + 16];
    upgrade_rows();
    node_rows();
    namespace_rows();
    workload_rows();
    proxy_rows();
    size_t n = 0;
    for (; n < n_rows; n++) {
        tests[n] = (struct CMUnitTest){.name = rows[n].name, .test_func = run_row, .initial_state = &rows[n]};
    }
    tests[n++] = TEST(a_soak_ends_at_its_time);
    tests[n++] = TEST(a_soak_ends_with_a_look_at_everybody);
    tests[n++] = TEST(a_soak_does_not_end_in_doubt);
    tests[n++] = TEST(a_soak_does_not_end_while_waiting);
    tests[n++] = TEST(a_soak_begins_anew_when_there_is_more_to_move);
    tests[n++] = TEST(a_bad_signal_ends_the_soak_and_needs_its_number);
    tests[n++] = TEST(a_soak_from_the_future_begins_now);
    tests[n++] = TEST(the_last_wave_completes);
    tests[n++] = TEST(decide_without_classify_holds);
    tests[n++] = TEST(zeroed_input_holds);
    tests[n++] = TEST(many_findings_are_counted_and_cut);
    tests[n++] = TEST(the_tally_counts);
    tests[n++] = TEST(wakes_when_a_dwell_ends);
    return _cmocka_run_group_tests("decide", tests, n, NULL, NULL);
}
