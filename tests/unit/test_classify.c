/* Rows: a proxy of the wave at work that is MOVED in every respect, one thing changed, what it is then. */
#include <stdio.h>
#include <stdlib.h>

#include "cmocka_all.h"
#include "core_mesh.h"

struct row {
    char name[96];
    enum proxy_state state;
    enum reason reason;
    struct mesh m;
};

#define MAX_ROWS 192
static struct row rows[MAX_ROWS];
static size_t n_rows;

static struct row *row_new(const char *name, enum proxy_state state, enum reason reason) {
    struct row *r = &rows[n_rows++];
    if (n_rows > MAX_ROWS) {
        abort();
    }
    snprintf(r->name, sizeof r->name, "%s", name);
    r->state = state;
    r->reason = reason;
    mesh_init(&r->m);
    mesh_move(&r->m, 0);
    return r;
}

/* Inside: m the mesh, p its first proxy, w its owner, ns its namespace, policy, now. */
#define ROW(name_, state_, reason_, ...)                                     \
    do {                                                                     \
        struct row *row_ = row_new(name_, STATE_##state_, REASON_##reason_); \
        struct mesh *m = &row_->m;                                           \
        struct proxy_row *p = &m->proxies[0];                                \
        struct workload_row *w = &m->workloads[0];                           \
        struct namespace_row *ns = &m->namespaces[0];                        \
        struct policy *policy = &m->policy;                                  \
        int64_t now = m->now_ms;                                             \
        (void)p, (void)w, (void)ns, (void)policy, (void)now;                 \
        __VA_ARGS__;                                                         \
    } while (0)

static void intent_rows(void) {
    ROW("all witnesses agree", MOVED, NONE, );
    ROW("not begun", NOT_STARTED, WAVE_NOT_BEGUN, mesh_init(m));
    ROW("finished counts for nothing", UNKNOWN, NONE, p->finished = true);
    ROW("opted out counts for nothing", UNKNOWN, NONE, p->opted_out = true);
    ROW("deleting counts for nothing", UNKNOWN, NONE, p->deleting = true);
    ROW("two injectors", CONFLICT, TWO_INJECTORS, p->expected = REV_CONFLICT);
    ROW("selector not evaluated", UNKNOWN, EXPECTED_UNKNOWN, p->expected = REV_UNKNOWN);
    ROW("expected is no row", UNKNOWN, EXPECTED_UNKNOWN, p->expected = 17);
    ROW("no injector matches", UNINJECTED, NO_INJECTOR_MATCHES, p->expected = REV_NONE);
    ROW("expected is not installed", UNINJECTED, NOT_INSTALLED, p->expected = REV_FOREIGN);
    ROW("label names nothing", UNINJECTED, NOT_INSTALLED, p->expected = REV_NONE, p->dangling = true);
    ROW("hostNetwork is told, not counted", UNINJECTED, HOST_NETWORK, p->opted_out = p->asks = p->host_network = true,
        p->injected = REV_NONE);
    ROW("opted out of what it is asked for", UNINJECTED, OPTED_OUT, p->opted_out = p->asks = true, p->injected = REV_NONE);
    ROW("no sidecar", UNINJECTED, NO_SIDECAR, p->injected = REV_NONE);
    ROW("no sidecar, expected on old", UNINJECTED, NO_SIDECAR, mesh_init(m), p->injected = REV_NONE);
    ROW("injected by who knows", UNKNOWN, EXPECTED_UNKNOWN, p->injected = REV_UNKNOWN);
    ROW("injected by what is gone", RESTART_PENDING, RESTART_WITHOUT_EFFECT, p->injected = REV_FOREIGN);
    ROW("leftover label, pod moved already", CONFLICT, LEFTOVER_LABEL, p->expected = OLD, ns->relabelled = false,
        ns->leftover = true);
    ROW("label lost, pod moved already", CONFLICT, NS_RELABEL_LOST, p->expected = OLD, ns->relabelled = false);
    ROW("pod label wins", NOT_STARTED, POD_LABEL_WINS, mesh_settle(m, p, OLD));
    ROW("pod label selects a third", NOT_STARTED, POD_LABEL_WINS, mesh_settle(m, p, THIRD));
    ROW("leftover label, pod old", NOT_STARTED, LEFTOVER_LABEL, mesh_settle(m, p, OLD), ns->relabelled = false,
        ns->leftover = true);
}

static void restart_rows(void) {
#define PENDING mesh_settle(m, p, OLD), p->expected = NEW, w->restarted = false
    ROW("restart due", RESTART_PENDING, RESTART_DUE, PENDING);
    ROW("restart pending needs no evidence", RESTART_PENDING, RESTART_DUE, PENDING, p->attached_at_ms = 0,
        p->node_at_ms = 0);
    ROW("statefulset", RESTART_PENDING, RESTART_DUE, PENDING, w->kind = KIND_STATEFULSET);
    ROW("daemonset", RESTART_PENDING, RESTART_DUE, PENDING, w->kind = KIND_DAEMONSET);
    ROW("bare pod", RESTART_PENDING, BARE_POD, PENDING, p->workload = IDX_NONE);
    ROW("bare pod by kind", RESTART_PENDING, BARE_POD, PENDING, w->kind = KIND_BARE_POD);
    ROW("job", RESTART_PENDING, JOB, PENDING, w->kind = KIND_JOB);
    ROW("cronjob", RESTART_PENDING, JOB, PENDING, w->kind = KIND_CRONJOB);
    ROW("gateway", RESTART_PENDING, GATEWAY, PENDING, w->kind = KIND_GATEWAY);
    ROW("replicaset", RESTART_PENDING, REPLICASET, PENDING, w->kind = KIND_REPLICASET);
    ROW("rollout", RESTART_PENDING, ROLLOUT, PENDING, w->kind = KIND_ROLLOUT);
    ROW("owner of an unknown kind", RESTART_PENDING, OTHER_OWNER, PENDING, w->kind = KIND_UNKNOWN);
    ROW("other owner", RESTART_PENDING, OTHER_OWNER, PENDING, w->kind = KIND_OTHER);
    ROW("paused", RESTART_PENDING, WORKLOAD_PAUSED, PENDING, w->paused = true);
    ROW("paused after the restart", RESTART_PENDING, WORKLOAD_PAUSED, PENDING, w->paused = w->restarted = true);
    ROW("on delete", RESTART_PENDING, ON_DELETE, PENDING, w->on_delete = true);
    ROW("failed create", RESTART_PENDING, FAILED_CREATE, PENDING, w->failed_create = true);
    ROW("overdue", RESTART_PENDING, ROLLOUT_OVERDUE, PENDING, w->overdue = true);
    ROW("restarting", RESTART_PENDING, RESTARTING, PENDING, w->restarted = true, w->settled = false);
    ROW("restart without effect", RESTART_PENDING, RESTART_WITHOUT_EFFECT, PENDING, w->restarted = true);
}

#define AGED (now - 45001)

static void control_plane_rows(void) {
#define YOUNG p->created_ms = now - 1000
    ROW("attachment just fresh enough", MOVED, NONE, p->attached_at_ms = now - 45000);
    ROW("attachment too old", UNKNOWN, CP_STALE, p->attached_at_ms = AGED);
    ROW("attachment never read", UNKNOWN, CP_STALE, p->attached_at_ms = 0);
    ROW("attachment from the future", UNKNOWN, CP_STALE, p->attached_at_ms = now + 1);
    ROW("attachment not known", UNKNOWN, CP_STALE, p->attached = REV_UNKNOWN);
    ROW("attached to no row", UNKNOWN, CP_STALE, p->attached = 99);
    ROW("young and attachment too old", UNKNOWN, CP_STALE, YOUNG, p->attached_at_ms = AGED);
    ROW("misplaced", MISPLACED, WRONG_CONTROL_PLANE, p->attached = OLD);
    ROW("misplaced at once, young or not", MISPLACED, WRONG_CONTROL_PLANE, YOUNG, p->attached = OLD);
    ROW("old one attached to the new", MISPLACED, WRONG_CONTROL_PLANE, mesh_init(m), p->attached = NEW);
    ROW("nack", NACKING, NACK, p->sync = SYNC_ERROR);
    ROW("nack needs no node", NACKING, NACK, p->sync = SYNC_ERROR, p->node_at_ms = 0);
    ROW("nack of a young one", NACKING, NACK, YOUNG, p->sync = SYNC_ERROR);
    ROW("nack on old", NACKING, NACK, mesh_init(m), p->sync = SYNC_ERROR);
    ROW("pending, within", MOVED, NONE, p->sync = SYNC_PENDING, p->pending_since_ms = now - 29999);
    ROW("pending, acks go on", MOVED, NONE, p->sync = SYNC_PENDING);
    ROW("pending, beyond", STALE, ACK_OVERDUE, p->sync = SYNC_PENDING, p->pending_since_ms = now - 30000);
    ROW("pending since the future", UNKNOWN, CP_STALE, p->sync = SYNC_PENDING, p->pending_since_ms = now + 1);
    ROW("pending, young", SYNCING, STARTING, YOUNG, p->sync = SYNC_PENDING, p->pending_since_ms = now - 10);
    ROW("young and synced", MOVED, NONE, YOUNG);
    ROW("sync not read", UNKNOWN, CP_STALE, p->sync = SYNC_UNKNOWN);
    ROW("sync not read, young", SYNCING, STARTING, YOUNG, p->sync = SYNC_UNKNOWN);
    ROW("sync too old", UNKNOWN, CP_STALE, p->sync_at_ms = AGED);
    ROW("old error is no news", UNKNOWN, CP_STALE, p->sync_at_ms = AGED, p->sync = SYNC_ERROR);
    ROW("sync from the future", UNKNOWN, CP_STALE, p->sync_at_ms = now + 1);
    ROW("sync too old, wave done", MOVED, NONE, m->seen.progress.wave = 1, p->sync_at_ms = AGED,
        p->version = VERSION_UNKNOWN);
    ROW("sync never read, wave to come", MOVED, NONE, ns->wave = 1, p->sync_at_ms = 0, p->version = VERSION_UNKNOWN);
    ROW("young, sync too old, wave done", MOVED, NONE, YOUNG, m->seen.progress.wave = 1, p->sync_at_ms = AGED,
        p->version = VERSION_UNKNOWN);
    ROW("nack, wave done", NACKING, NACK, m->seen.progress.wave = 1, p->sync = SYNC_ERROR);
    ROW("node silent, wave done", UNKNOWN, NODE_STALE, m->seen.progress.wave = 1, p->node_at_ms = AGED);
    ROW("not ready", SYNCING, NOT_READY, p->ready = false);
}

static void absence_rows(void) {
#define ABSENT(looks, ms) p->attached = REV_NONE, p->absent_looks = looks, p->detached_since_ms = now - (ms), p->node = 0
    ROW("absent, young", SYNCING, STARTING, YOUNG, ABSENT(5, 100000));
    ROW("absent, one look", SYNCING, RECONNECTING, ABSENT(1, 100000));
    ROW("absent, two looks, within", SYNCING, RECONNECTING, ABSENT(2, 59999));
    ROW("absent, two looks, beyond", DETACHED, NO_STREAM, ABSENT(2, 60000));
    ROW("absent, beginning not known", DETACHED, NO_STREAM, ABSENT(2, 0), p->detached_since_ms = 0);
    ROW("absent and the node does not see it", UNKNOWN, NODE_NOT_SEEN, ABSENT(9, 600000), p->node_at_ms = 0);
    ROW("absent, optional node", DETACHED, NO_STREAM, ABSENT(9, 600000), p->node_at_ms = 0, policy->node_witness = false);
    ROW("absent, not bound to a node", SYNCING, NOT_READY, ABSENT(9, 600000), p->node = IDX_NONE);
    ROW("absence too old", UNKNOWN, CP_STALE, ABSENT(9, 600000), p->attached_at_ms = AGED);
    ROW("absent on old", DETACHED, NO_STREAM, mesh_init(m), ABSENT(2, 60000));
    ROW("absent on old, just now", SYNCING, RECONNECTING, mesh_init(m), ABSENT(2, 100));
#define RECYCLED(looks) ABSENT(looks, 100), p->moved_at_ms = now - 10000
    ROW("one look missed it, moved before", MOVED, NONE, RECYCLED(1));
    ROW("one look missed it, not moved before", SYNCING, RECONNECTING, RECYCLED(1), p->moved_at_ms = 0);
    ROW("one look missed it, moved too long ago", SYNCING, RECONNECTING, RECYCLED(1), p->moved_at_ms = AGED);
    ROW("one look missed it, moved in the future", SYNCING, RECONNECTING, RECYCLED(1), p->moved_at_ms = now + 1);
    ROW("one look missed it, Envoy not connected", SYNCING, RECONNECTING, RECYCLED(1), p->xds_up = false);
    ROW("one look missed it, dials old", SYNCING, RECONNECTING, RECYCLED(1), p->dials = OLD);
    ROW("one look missed it, node silent", SYNCING, RECONNECTING, RECYCLED(1), p->node_at_ms = AGED);
    ROW("one look missed it, not ready", SYNCING, RECONNECTING, RECYCLED(1), p->ready = false);
    ROW("two looks missed it, moved before", SYNCING, RECONNECTING, RECYCLED(2));
}

static void node_rows(void) {
    ROW("node never saw it", UNKNOWN, NODE_NOT_SEEN, p->node_at_ms = 0);
    ROW("node never saw it, young", SYNCING, STARTING, YOUNG, p->node_at_ms = 0);
    ROW("node too old", UNKNOWN, NODE_STALE, p->node_at_ms = AGED);
    ROW("node from the future", UNKNOWN, NODE_STALE, p->node_at_ms = now + 1);
    ROW("node not demanded", MOVED, NONE, p->node_at_ms = 0, policy->node_witness = false);
    ROW("certificate expired", CONFLICT, CERT_EXPIRED, p->cert_expired = true);
    ROW("dials old, within", SYNCING, STARTING, p->dials = OLD, p->dials_differ_since_ms = now - 59999);
    ROW("dials old, beyond", CONFLICT, DIAL_DISAGREES, p->dials = OLD, p->dials_differ_since_ms = now - 60000);
    ROW("dials old, since when?", CONFLICT, DIAL_DISAGREES, p->dials = OLD);
    ROW("dials nobody", CONFLICT, DIAL_DISAGREES, p->dials = REV_NONE);
    ROW("dials who knows", CONFLICT, DIAL_DISAGREES, p->dials = REV_UNKNOWN);
    ROW("dials who knows, not demanded", MOVED, NONE, p->dials = REV_UNKNOWN, policy->node_witness = false);
    ROW("dials old, not demanded", CONFLICT, DIAL_DISAGREES, p->dials = OLD, policy->node_witness = false);
    ROW("no xds, within", SYNCING, RECONNECTING, p->xds_up = false, p->xds_down_since_ms = now - 59999);
    ROW("no xds, beyond", CONFLICT, NODE_LOST_XDS, p->xds_up = false, p->xds_down_since_ms = p->cut_since_ms = now - 60000);
    ROW("no xds, since the future", CONFLICT, NODE_LOST_XDS, p->xds_up = false, p->xds_down_since_ms = now + 1,
        p->cut_since_ms = now - 1000);
    ROW("no word of its Envoy, beyond", UNKNOWN, VERSION_UNSEEN, p->xds_up = false, p->xds_down_since_ms = now - 60000);
    ROW("no xds, and behind", CONFLICT, NODE_LOST_XDS, p->xds_up = false, p->sync = SYNC_PENDING,
        p->pending_since_ms = now - 60000, p->xds_down_since_ms = p->cut_since_ms = now - 60000);
    ROW("no word of its Envoy, and behind", STALE, ACK_OVERDUE, p->xds_up = false, p->sync = SYNC_PENDING,
        p->pending_since_ms = now - 60000, p->xds_down_since_ms = now - 60000);
    ROW("version differs, within", MOVED, NONE, p->version = VERSION_DIFFERS, p->version_differs_since_ms = now - 59999);
    ROW("version differs, beyond", CONFLICT, VERSION_DISAGREES, p->version = VERSION_DIFFERS,
        p->version_differs_since_ms = now - 60000);
    ROW("version differs, since when?", CONFLICT, VERSION_DISAGREES, p->version = VERSION_DIFFERS);
    ROW("version not said", UNKNOWN, VERSION_UNSEEN, p->version = VERSION_UNKNOWN);
    ROW("version not said, young", SYNCING, STARTING, YOUNG, p->version = VERSION_UNKNOWN);
    ROW("version not said, not demanded", MOVED, NONE, p->version = VERSION_UNKNOWN, policy->node_witness = false);
    ROW("old one needs no node", NOT_STARTED, WAVE_NOT_BEGUN, mesh_init(m), p->node_at_ms = 0);
    ROW("old one needs no sync", NOT_STARTED, WAVE_NOT_BEGUN, mesh_init(m), p->sync_at_ms = 0);
    ROW("old one needs to be attached", UNKNOWN, CP_STALE, mesh_init(m), p->attached_at_ms = AGED);
}

/* Without an upgrade, or in a namespace that none takes. */
static void settled_rows(void) {
#define NO_WAVE mesh_init(m), ns->wave = IDX_NONE
    ROW("nobody's wave", SETTLED, NONE, NO_WAVE);
    ROW("no upgrade", SETTLED, NONE, mesh_init(m), m->policy.n_waves = 0, m->policy.to = REV_FOREIGN);
    ROW("settled needs the node", UNKNOWN, NODE_NOT_SEEN, NO_WAVE, p->node_at_ms = 0);
    ROW("settled, no agent", UNKNOWN, NODE_NO_AGENT, NO_WAVE, p->node_at_ms = 0, m->nodes[0].agent = false,
        m->nodes[0].heard_ms = 0);
    ROW("settled, agent without witness", UNKNOWN, NODE_NO_WITNESS, NO_WAVE, p->node_at_ms = 0,
        m->nodes[0].witness = false);
    ROW("settled, agent that lies", UNKNOWN, NODE_DISBELIEVED, NO_WAVE, m->nodes[0].disbelieved = true);
    ROW("settled, node not demanded", SETTLED, NONE, NO_WAVE, p->node_at_ms = 0, policy->node_witness = false);
    ROW("settled needs no sync", SETTLED, NONE, NO_WAVE, p->sync_at_ms = 0, p->version = VERSION_UNKNOWN);
    ROW("settled with a note", SETTLED, OLD_BUILD, NO_WAVE, p->note = REASON_OLD_BUILD);
    ROW("settled, not ready", SYNCING, NOT_READY, NO_WAVE, p->ready = false);
    ROW("settled, crashing", SYNCING, CRASH_LOOP, NO_WAVE, p->ready = false, p->trouble = REASON_CRASH_LOOP);
    ROW("relabelled by hand", RESTART_PENDING, RESTART_NEEDED, NO_WAVE, p->expected = NEW);
    ROW("relabelled by hand, bare", RESTART_PENDING, BARE_POD, NO_WAVE, p->expected = NEW, p->workload = IDX_NONE);
    ROW("its revision is gone", RESTART_PENDING, REVISION_GONE, NO_WAVE, p->injected = REV_FOREIGN);
    ROW("injected by hand", SETTLED, NO_LONGER_INJECTED, NO_WAVE, p->expected = REV_NONE,
        p->note = REASON_NO_LONGER_INJECTED);
    ROW("asks, and nobody injects", UNINJECTED, NO_INJECTOR_MATCHES, NO_WAVE, p->expected = REV_NONE, p->asks = true);
    ROW("misplaced", MISPLACED, WRONG_CONTROL_PLANE, NO_WAVE, p->attached = NEW);
    ROW("ztunnel has no Envoy", SETTLED, NONE, NO_WAVE, p->no_envoy = true, p->xds_up = false);
}

static void trouble_rows(void) {
    ROW("replica fails now", UNKNOWN, REPLICA_SILENT, m->replicas[p->replica].failing = true);
    ROW("another replica fails", MOVED, NONE, m->replicas[2].failing = true, p->replica = 3);
    ROW("cut off, istiod fails", SYNCING, CONTROL_PLANE_LOST, m->replicas[p->replica].failing = true,
        p->cut_since_ms = now - 1000);
    ROW("cut off, no word of istiod", SYNCING, CONTROL_PLANE_LOST, p->attached_at_ms = AGED, p->cut_since_ms = now - 1000);
    ROW("cut off for long, istiod silent", DETACHED, CONTROL_PLANE_DOWN, p->attached_at_ms = AGED,
        p->cut_since_ms = now - 60000, m->replicas[2].failing = m->replicas[3].failing = true);
    ROW("cut off for long, another replica answers", DETACHED, NO_STREAM, p->attached_at_ms = AGED,
        p->cut_since_ms = now - 60000);
    ROW("listed once, young, cut off for long", DETACHED, CONTROL_PLANE_DOWN, p->attached_at_ms = AGED, YOUNG,
        p->cut_since_ms = now - 60000, m->replicas[2].failing = m->replicas[3].failing = true);
    ROW("cut off says a silent node", UNKNOWN, CP_STALE, p->attached_at_ms = AGED, p->cut_since_ms = now - 60000,
        p->node_at_ms = AGED);
    ROW("refused, young", DETACHED, CREDENTIALS_REFUSED, ABSENT(1, 100), YOUNG, p->refused = true, p->cut_since_ms = now);
    ROW("turned away by nobody", DETACHED, CONTROL_PLANE_DOWN, ABSENT(9, 600000), p->refused = true,
        p->cut_since_ms = now - 90000, m->revisions[NEW].ready = 0);
    ROW("refused once, connected now", SYNCING, STARTING, ABSENT(1, 100), YOUNG, p->refused = true);
    ROW("nobody is left to attach to", DETACHED, CONTROL_PLANE_DOWN, ABSENT(9, 600000), m->revisions[NEW].ready = 0);
    ROW("absent because it crashes", DETACHED, CRASH_LOOP, ABSENT(9, 600000), p->trouble = REASON_CRASH_LOOP);
    ROW("young, image missing", SYNCING, IMAGE_PULL, ABSENT(9, 600000), YOUNG, p->trouble = REASON_IMAGE_PULL);
    ROW("locked by its istiod", STALE, PROXY_PUSH_BLOCKED, p->blocked = true);
    ROW("acknowledges too late, but accepts", MOVED, NONE, p->sync = SYNC_PENDING, p->pending_since_ms = now - 90000,
        p->version = VERSION_AHEAD, p->accepted_ms = now - 29000);
    ROW("acknowledges one type too late, goes on to accept", MOVED, NONE, p->sync = SYNC_PENDING,
        p->pending_since_ms = now - 90000, p->version = VERSION_DIFFERS, p->version_differs_since_ms = now - 5000,
        p->accepted_ms = now - 5000);
    ROW("ahead, and stands still there", STALE, ACK_OVERDUE, p->sync = SYNC_PENDING, p->pending_since_ms = now - 90000,
        p->version = VERSION_AHEAD, p->accepted_ms = now - 30000);
    ROW("accepted before its node fell silent", STALE, ACK_OVERDUE, p->sync = SYNC_PENDING,
        p->pending_since_ms = now - 90000, p->version = VERSION_AHEAD, p->accepted_ms = now - 5000, p->node_at_ms = AGED);
    ROW("ahead of istiod's word", MOVED, NONE, p->version = VERSION_AHEAD);
    ROW("old one whose certificate ran out", CONFLICT, CERT_EXPIRED, mesh_init(m), p->cert_expired = true);
}

static void run_row(void **state) {
    struct row *r = *state;
    classify(&r->m.policy, &r->m.seen, r->m.now_ms);
    const struct proxy_row *p = &r->m.proxies[0];
    assert_string_equal(state_name(p->state), state_name(r->state));
    assert_string_equal(reason_name(p->reason), reason_name(r->reason));
}

static void sums(void **state) {
    (void)state;
    struct mesh m;
    mesh_init(&m);
    mesh_relabel(&m, 0);
    m.proxies[1].expected = OLD;
    m.proxies[2].deleting = true;
    m.nodes[1].reach_ok = false;
    classify(&m.policy, &m.seen, m.now_ms);
    assert_int_equal(m.namespaces[0].expected, 2);
    assert_int_equal(m.namespaces[0].moved, 0);
    assert_true(m.namespaces[0].unreachable);
    assert_false(m.namespaces[0].untested);
    assert_int_equal(m.namespaces[1].expected, 1);
    assert_int_equal(m.workloads[0].astray, 1);
    assert_int_equal(m.workloads[0].cause, REASON_RESTART_DUE);
    assert_int_equal(m.workloads[0].due_at_ms, m.now_ms - 4000);
    assert_int_equal(m.workloads[1].rows, 1);
    assert_int_equal(m.nodes[0].first_wave, 0);
    assert_int_equal(m.nodes[0].unmoved, 1);
}

/* A final state has no reason, or a note; every other state of a row that counts has one. */
static void reasons_belong_to_states(void **state) {
    (void)state;
    for (size_t i = 0; i < n_rows; i++) {
        const struct proxy_row *p = &rows[i].m.proxies[0];
        if (proxy_counts(p)) {
            bool well = p->state == STATE_MOVED || p->state == STATE_SETTLED;
            assert_true(well ? p->reason == REASON_NONE || reason_severity(p->reason) == SEV_NOTE
                             : p->reason != REASON_NONE);
        }
    }
}

int main(void) {
    intent_rows();
    restart_rows();
    control_plane_rows();
    absence_rows();
    node_rows();
    settled_rows();
    trouble_rows();
    struct CMUnitTest tests[MAX_ROWS + 2];
    for (size_t i = 0; i < n_rows; i++) {
        tests[i] = (struct CMUnitTest){.name = rows[i].name, .test_func = run_row, .initial_state = &rows[i]};
    }
    tests[n_rows] = (struct CMUnitTest){.name = "sums", .test_func = sums};
    tests[n_rows + 1] = (struct CMUnitTest){.name = "reasons belong to states", .test_func = reasons_belong_to_states};
    return _cmocka_run_group_tests("classify", tests, n_rows + 2, NULL, NULL);
}
