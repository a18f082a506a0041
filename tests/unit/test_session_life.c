/* Sessions that come, are renewed, replaced, lost; and what they are told. */
#include "session_peer.h"

static void newer_session_takes_over(void **state) {
    (void)state;
    struct peer a, b;
    join(&a, "n1");
    join(&b, "n1");
    turn();
    assert_true(a.ended);
    assert_int_equal(a.status, 14);
    assert_int_equal(sessions_count(sessions), 1);
    assert_true(evidence_node(evidence, "n1")->connected);
    say_report(&b, "pod-1", "istiod-uid");
    assert_int_equal(b.acked, 2);
    peer_done(&a);
    peer_done(&b);
}

static void sessions_are_renewed(void **state) {
    (void)state;
    struct peer a, b;
    join(&a, "n1");
    int64_t began = fake_kube_now(&kube);
    while (!a.ended) {
        fake_kube_run(&kube, 10000);
        if (!a.ended) {
            say_report(&a, NULL, "istiod-uid");
        }
    }
    int64_t lived = fake_kube_now(&kube) - began;
    assert_in_range(lived, 54 * 60000, 60 * 60000 + 10000);
    assert_int_equal(a.status, 14);
    assert_string_equal(a.text, "re-authenticate");
    /* For a moment the node still counts, and keeps what it reads. */
    assert_true(evidence_node(evidence, "n1")->connected);
    assert_string_equal(sessions_reader(sessions, "istiod-uid"), "n1");
    join(&b, "n1");
    fake_kube_run(&kube, 60000);
    assert_true(evidence_node(evidence, "n1")->connected);
    session_closed(b.session);
    b.session = NULL;
    assert_false(evidence_node(evidence, "n1")->connected);
    peer_done(&a);
    peer_done(&b);
}

static void renewal_that_never_comes(void **state) {
    (void)state;
    struct peer a;
    join(&a, "n1");
    while (!a.ended) {
        fake_kube_run(&kube, 60000);
    }
    fake_kube_run(&kube, 20000);
    assert_false(evidence_node(evidence, "n1")->connected);
    assert_null(sessions_reader(sessions, "istiod-uid"));
    peer_done(&a);
}

static void assignment_is_sent_when_it_changes(void **state) {
    (void)state;
    struct peer a;
    join(&a, "n1");
    size_t before = a.assignments;
    assert_true(a.idle);
    assert_int_equal(a.period_ms, 60000);
    static const char *const focus[] = {"app-2", "app-1"}, *const same[] = {"app-1", "app-2"};
    sessions_assign(sessions, focus, 2, false);
    assert_int_equal(a.assignments, before + 1);
    assert_int_equal(a.period_ms, 10000);
    sessions_assign(sessions, same, 2, false);
    assert_int_equal(a.assignments, before + 1);
    watch.inv.version++;
    sessions_assign(sessions, same, 2, false);
    assert_int_equal(a.assignments, before + 1);
    sessions_assign(sessions, same, 1, false);
    assert_int_equal(a.assignments, before + 2);
    HASH_DELETE(hh, watch.inv.replicas, &replica);
    watch.inv.version++;
    sessions_assign(sessions, same, 1, false);
    assert_int_equal(a.assignments, before + 3);
    assert_int_equal(a.reads, 0);
    peer_done(&a);
}

/* A reader that holds its session but brings nothing loses its replica to the standby within a period and the time that one
 * question of a healthy reader may take; and it is not asked again at once. */
static void silent_reader(void **state) {
    (void)state;
    struct peer a, b;
    join(&a, "n1");
    join(&b, "n2");
    sessions_assign(sessions, NULL, 0, false);
    struct peer *reader = a.reads ? &a : &b, *other = a.reads ? &b : &a;
    say_report(reader, NULL, "istiod-uid");
    fake_kube_run(&kube, 21000);
    say_report(reader, NULL, NULL);
    assert_int_equal(reader->reads, 1);
    fake_kube_run(&kube, 1200);
    assert_int_equal(reader->reads, 0);
    assert_int_equal(other->reads, 1);
    for (int i = 0; i < 20; i++) {
        say_report(other, NULL, "istiod-uid");
        fake_kube_run(&kube, 10000);
        assert_int_equal(other->reads, 1);
    }
    peer_done(&a);
    peer_done(&b);
}

/* What is held is not what was told: counted, and everything is asked for again, at growing distances. */
static void told_more_than_held(void **state) {
    (void)state;
    struct peer a;
    join(&a, "n1");
    say_digest(&a, "istiod-uid", 0, 0);
    assert_int_equal(a.resyncs, 0);
    say_digest(&a, "istiod-uid", 1234, 1);
    assert_int_equal(a.resyncs, 1);
    say_digest(&a, "istiod-uid", 1234, 1);
    assert_int_equal(a.resyncs, 1);
    fake_kube_run(&kube, 5001);
    say_digest(&a, "istiod-uid", 1234, 1);
    assert_int_equal(a.resyncs, 2);
    assert_true(metric_value(metric_get(metrics, METRIC_COUNTER, "meshgate_gate_digest_mismatches_total", "", NULL)) == 3);
    peer_done(&a);
}

static void deaf_agent(void **state) {
    (void)state;
    struct peer a;
    join(&a, "n1");
    a.deaf = true;
    say_report(&a, "pod-1", NULL);
    expect_end(&a, 14, "does not read");
    peer_done(&a);
}

static void many_reviews_at_once(void **state) {
    (void)state;
    enum { PEERS = 200 };
    struct peer *many = mem_alloc(PEERS * sizeof *many);
    for (int i = 0; i < PEERS; i++) {
        dial(&many[i]);
    }
    assert_int_equal(fake_kube_open(&kube), 64);
    /* A stream that goes while it waits or is reviewed leaves its place to another. */
    session_closed(many[0].session);
    session_closed(many[PEERS - 1].session);
    many[0].session = many[PEERS - 1].session = NULL;
    assert_int_equal(fake_kube_open(&kube), 64);
    char node[32];
    for (int i = 1; i < PEERS - 1; i++) {
        snprintf(node, sizeof node, "n%d", i);
        review(201, user_of("meshgate-agent", node));
        say_hello(&many[i], node);
    }
    assert_int_equal(sessions_count(sessions), PEERS - 2);
    for (int i = 0; i < PEERS; i++) {
        peer_done(&many[i]);
    }
    free(many);
}

static void stop_with_everything_open(void **state) {
    (void)state;
    struct peer a, b, c;
    join(&a, "n1");
    dial(&b);
    say_hello(&b, "n2");
    dial(&c);
    review(201, "{\"status\":{}}");
    sessions_free(sessions);
    sessions = NULL;
    a.session = b.session = c.session = NULL;
    peer_done(&a);
    peer_done(&b);
    peer_done(&c);
}

int main(void) {
    log_setup("test", LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(newer_session_takes_over, setup, teardown),
        cmocka_unit_test_setup_teardown(sessions_are_renewed, setup, teardown),
        cmocka_unit_test_setup_teardown(renewal_that_never_comes, setup, teardown),
        cmocka_unit_test_setup_teardown(assignment_is_sent_when_it_changes, setup, teardown),
        cmocka_unit_test_setup_teardown(silent_reader, setup, teardown),
        cmocka_unit_test_setup_teardown(told_more_than_held, setup, teardown),
        cmocka_unit_test_setup_teardown(deaf_agent, setup, teardown),
        cmocka_unit_test_setup_teardown(many_reviews_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(stop_with_everything_open, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
