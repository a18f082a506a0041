/* What is told and holds nothing, and what holds although it was read a moment ago. */
#include "cmocka_all.h"
#include "core_mesh.h"

static void an_upgrade_in_place_is_told(void **state) {
    (void)state;
    struct mesh m;
    mesh_init(&m);
    mesh_decide(&m);
    enum phase phase = m.out.phase;
    assert_int_equal(m.out.by_reason[REASON_UPGRADED_IN_PLACE], 0);
    m.proxies[0].old_build = true;
    mesh_decide(&m);
    assert_int_equal(m.out.by_reason[REASON_UPGRADED_IN_PLACE], 1);
    assert_int_equal(m.out.phase, phase);
    assert_int_equal(m.revisions[OLD].old_builds, 1);
}

/* Evidence of a replica whose latest question failed is none, however young it is. */
static void a_failing_replica_holds(void **state) {
    (void)state;
    struct mesh m;
    mesh_init(&m);
    mesh_move(&m, 0);
    m.replicas[2].failing = true;
    mesh_decide(&m);
    assert_int_equal(m.out.phase, PHASE_HOLD);
    assert_int_equal(m.out.verdict, VERDICT_UNKNOWN);
    assert_int_equal(m.out.by_reason[REASON_REPLICA_SILENT], 1 + PER_NS);
    assert_int_equal(m.tallies[0].heard, 0);
}

/* Neither does coverage of less than all make up for it. */
static void silence_is_not_within_the_coverage(void **state) {
    (void)state;
    struct mesh m;
    mesh_init(&m);
    mesh_move(&m, 0);
    m.policy.coverage_permille = 500;
    m.proxies[1].replica = 3;
    m.replicas[2].failing = true;
    mesh_decide(&m);
    assert_int_equal(m.tallies[0].heard, 1);
    assert_int_equal(m.out.phase, PHASE_HOLD);
}

static void an_agent_that_lies_holds(void **state) {
    (void)state;
    struct mesh m;
    mesh_init(&m);
    mesh_move(&m, 0);
    m.nodes[1].disbelieved = true;
    mesh_decide(&m);
    assert_int_equal(m.out.phase, PHASE_HOLD);
    assert_int_equal(m.out.by_reason[REASON_NODE_DISBELIEVED], 2); /* the node and its proxy */
    struct hearing h = proxy_hearing(&m.policy, &m.seen, &m.proxies[1], m.now_ms);
    assert_true(h.control_plane && h.sync && !h.node && !h.all);
}

/* A contradiction about a proxy on the old revision is told; it is no reason to leave it there. */
static void trouble_on_the_old_revision_does_not_hold(void **state) {
    (void)state;
    struct mesh m;
    mesh_init(&m);
    m.proxies[0].version = VERSION_DIFFERS;
    mesh_decide(&m);
    assert_int_equal(m.proxies[0].state, STATE_CONFLICT);
    assert_int_equal(m.out.phase, PHASE_MOVING);
    assert_int_equal(m.out.by_reason[REASON_TROUBLE_BEFORE_MOVE], 1);
    assert_int_equal(m.out.by_reason[REASON_VERSION_DISAGREES], 0);
}

/* Proxies that no wave takes hold no upgrade. */
static void those_who_stay_do_not_matter(void **state) {
    (void)state;
    struct mesh m;
    mesh_init(&m);
    m.namespaces[1].wave = IDX_NONE;
    m.proxies[2].sync = SYNC_ERROR;
    m.proxies[3].node_at_ms = 0;
    mesh_decide(&m);
    assert_int_equal(m.out.phase, PHASE_MOVING);
    assert_int_equal(m.out.by_reason[REASON_NACK] + m.out.by_reason[REASON_NODE_NOT_SEEN], 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_upgrade_in_place_is_told),
        cmocka_unit_test(a_failing_replica_holds),
        cmocka_unit_test(silence_is_not_within_the_coverage),
        cmocka_unit_test(an_agent_that_lies_holds),
        cmocka_unit_test(trouble_on_the_old_revision_does_not_hold),
        cmocka_unit_test(those_who_stay_do_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
