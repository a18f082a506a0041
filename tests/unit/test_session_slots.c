/* Slots on their way from gate/slots to agents, and what comes of them back. */
#include "session_peer.h"

#include "gate/slots.h"

static struct inv_revision old;

static int begin(void **state) {
    setup(state);
    static char name[] = "old", ns1[] = "app-1", ns2[] = "app-2";
    old = (struct inv_revision){.name = name};
    HASH_ADD_KEYPTR(hh, watch.inv.revisions, old.name, strlen(old.name), &old);
    replica.ready = true;
    pods[0].namespace_ = ns1;
    pods[1].namespace_ = ns2;
    return 0;
}

static int end(void **state) {
    teardown(state);
    HASH_CLEAR(hh, watch.inv.revisions);
    return 0;
}

/* stage "ads": how the stream of a slot went; another one: an ordinary test. */
static void say_reach(struct peer *x, bool ok, const char *stage) {
    Meshgate__V1__AgentMessage m = MESHGATE__V1__AGENT_MESSAGE__INIT;
    Meshgate__V1__Report r = MESHGATE__V1__REPORT__INIT;
    Meshgate__V1__Reach reach = MESHGATE__V1__REACH__INIT, *list[1] = {&reach};
    static char name[] = "old";
    reach.revision = name;
    reach.ok = ok;
    reach.stage = (char *)(uintptr_t)stage;
    reach.first_byte_us = ok ? 6000 : 0;
    r.reach = list;
    r.n_reach = 1;
    m.seq = ++x->seq;
    m.body_case = MESHGATE__V1__AGENT_MESSAGE__BODY_REPORT;
    m.report = &r;
    say_message(x, &m);
}

static void each_node_gets_one(void **state) {
    (void)state;
    struct peer a, b;
    join(&a, "n1");
    join(&b, "n2");
    fake_kube_run(&kube, 2000);
    assert_int_equal(a.slots, 1);
    assert_int_equal(b.slots, 1);
    say_reach(&a, true, "ads");
    say_reach(&b, true, "ready"); /* says nothing of the slot */
    fake_kube_run(&kube, SLOTS_LOST_MS + 2000);
    assert_int_equal(a.slots, 1);
    assert_int_equal(b.slots, 2);
    say_reach(&b, false, "ads");
    fake_kube_run(&kube, SLOTS_FAILED_AGAIN_MS + 2000);
    assert_int_equal(b.slots, 3);
    assert_int_equal(a.slots, 1);
    const struct reach_fact *f = evidence_reach_fact(evidence, "n1", "old");
    assert_true(f->stream_ok);
    assert_int_equal(f->first_byte_us, 6000);
    peer_done(&a);
    peer_done(&b);
}

/* A slot that went down with its session is given again; a result outlives it. */
static void sessions_end(void **state) {
    (void)state;
    struct peer a, b;
    join(&a, "n1");
    fake_kube_run(&kube, 1500);
    assert_int_equal(a.slots, 1);
    session_closed(a.session);
    a.session = NULL;
    join(&b, "n1");
    fake_kube_run(&kube, 1500);
    assert_int_equal(b.slots, 1);
    say_reach(&b, true, "ads");
    session_closed(b.session);
    b.session = NULL;
    peer_done(&a);
    join(&a, "n1");
    fake_kube_run(&kube, 60000);
    assert_int_equal(a.slots, 0);
    peer_done(&a);
    peer_done(&b);
}

static void wave_is_tested_more_often(void **state) {
    (void)state;
    struct peer a, b;
    static const char *const focus[] = {"app-2"};
    join(&a, "n1");
    join(&b, "n2");
    sessions_assign(sessions, focus, 1, false);
    fake_kube_run(&kube, 2000);
    say_reach(&a, true, "ads");
    say_reach(&b, true, "ads");
    fake_kube_run(&kube, SLOTS_WAVE_AGAIN_MS + 2000);
    assert_int_equal(a.slots, 1);
    assert_int_equal(b.slots, 2);
    peer_done(&a);
    peer_done(&b);
}

/* Nobody to dial, nothing to give. */
static void no_replica_ready(void **state) {
    (void)state;
    struct peer a;
    replica.ready = false;
    join(&a, "n1");
    fake_kube_run(&kube, 5000);
    assert_int_equal(a.slots, 0);
    replica.ready = true;
    watch.inv.version++;
    sessions_assign(sessions, NULL, 0, true);
    fake_kube_run(&kube, 1500);
    assert_int_equal(a.slots, 1);
    peer_done(&a);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, begin, end)

int main(void) {
    const struct CMUnitTest tests[] = {TEST(each_node_gets_one), TEST(sessions_end), TEST(wave_is_tested_more_often),
                                       TEST(no_replica_ready)};
    log_setup("test", LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
