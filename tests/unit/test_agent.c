/* The whole agent on virtual time: io and gate are played by the test. */
#include "agent_play.h"
#include "lib/wire/digest.h"

static void test_first_report_is_full_and_ready_after_ack(void **state) {
    (void)state;
    struct play *p = play_new();
    const char *why;
    run(p, 10);
    assert_int_equal(p->hellos, 1);
    assert_false(agent_ready(p->agent, &why));
    assign(p, true, true, 1000);
    live(p, 5000);
    assert_true(agent_ready(p->agent, &why));
    assert_int_equal(p->fulls, 1);
    assert_true(p->asked_connections >= 4);
    assert_int_equal(p->asked_syncz, 1);
    assert_true(p->asked_ns >= 3);
    Meshgate__V1__ReplicaReading *x = p->replica_report->report->replicas[0];
    assert_int_equal(x->connections, MESHGATE__V1__READ_STATUS__READ_OK);
    assert_true(x->has_connections);
    assert_int_equal(x->n_namespaces, 1);
    play_free(p);
}

static void test_standby_asks_nothing(void **state) {
    (void)state;
    struct play *p = play_new();
    run(p, 10);
    assign(p, false, true, 1000);
    live(p, 5000);
    assert_int_equal(p->asked_connections, 0);
    play_free(p);
}

/* Whole, namespace and proxy hang while all else answers: named in the very first round, and not asked again and again. */
static void test_locked_pushes_are_named(void **state) {
    (void)state;
    struct play *p = play_new();
    run(p, 10);
    p->syncz_hangs = true;
    assign(p, true, true, 10000);
    live(p, 20000);
    Meshgate__V1__ReplicaReading *x = p->replica_report->report->replicas[0];
    assert_int_equal(x->connections, MESHGATE__V1__READ_STATUS__READ_OK);
    assert_int_equal(x->syncz, MESHGATE__V1__READ_STATUS__READ_TIMEOUT);
    assert_non_null(strstr(x->error, "pushes are locked to web.shop"));
    assert_false(x->has_syncz);
    assert_int_equal(x->n_blocked, 1);
    assert_string_equal(x->blocked[0]->namespace_, "shop");
    assert_string_equal(x->blocked[0]->proxy, "web.shop");
    assert_int_equal(p->hung, 4); /* whole, namespace, twice the proxy */
    live(p, 60000);
    assert_in_range(p->hung, 5, 6);
    assert_int_equal(p->asked_proxy, 2);
    /* Its pod was restarted: a new stream, and the next round asks and is answered. */
    p->syncz_hangs = false;
    p->connections = "{\"totalClients\":1,\"clients\":[{\"connectionId\":\"web.shop-9\",\"connectedAt\":"
                     "\"2026-11-23T07:00:00Z\",\"address\":\"10.0.0.9:4001\"}]}";
    live(p, 21000);
    x = p->replica_report->report->replicas[0];
    assert_int_equal(x->n_blocked, 0);
    assert_int_equal(x->syncz, MESHGATE__V1__READ_STATUS__READ_OK);
    assert_true(x->has_syncz);
    play_free(p);
}

/* The dangerous protobuf question is asked only where all else is refused, and once a minute at most. */
static void test_refusal_leads_to_the_status_once_a_minute(void **state) {
    (void)state;
    struct play *p = play_new();
    run(p, 10);
    assign(p, true, true, 1000);
    live(p, 5000);
    assert_int_equal(p->asked_status, 0);
    p->refuses = true;
    live(p, 130000);
    assert_in_range(p->asked_status, 2, 3);
    assert_int_equal(p->replica_report->report->replicas[0]->syncz, MESHGATE__V1__READ_STATUS__READ_GARBLED);
    play_free(p);
}

#define COUNTS(rejects, streams)                                                                     \
    "pilot_total_xds_rejects{type=\"lds\"} " rejects "\npilot_xds{version=\"1.30.3\"} " streams "\n" \
    "pilot_xds_expired_nonce{type=\"cds\"} 5\n"

/* Idle: /metrics each period, connections when the counts move and each minute, the whole every ten minutes. */
static void test_idle_ladder(void **state) {
    (void)state;
    struct play *p = play_new();
    run(p, 10);
    p->metrics_text = COUNTS("0", "1");
    assign_as(p, true, false, 15000, true, 0);
    live(p, 599000);
    assert_in_range(p->asked_metrics, 39, 41);
    assert_in_range(p->asked_connections, 9, 11);
    assert_int_equal(p->asked_syncz, 1);
    assert_true(p->replica_report->report->replicas[0]->streams == 1);
    assert_true(p->replica_report->report->replicas[0]->expired_nonces == 5);
    live(p, 20000);
    assert_int_equal(p->asked_syncz, 2);
    unsigned before = p->asked_connections;
    p->metrics_text = COUNTS("0", "2");
    live(p, 16000);
    assert_int_equal(p->asked_connections, before + 1);
    p->metrics_text = COUNTS("1", "2");
    live(p, 16000);
    assert_int_equal(p->asked_syncz, 3);
    assign_as(p, true, false, 15000, true, 1);
    live(p, 1000);
    assert_int_equal(p->asked_syncz, 4);
    assign_as(p, true, false, 15000, true, 1);
    live(p, 1000);
    assert_int_equal(p->asked_syncz, 4);
    play_free(p);
}

/* Idle, and somebody has not acknowledged: he is looked at again, each minute until he has. */
static void test_second_look(void **state) {
    (void)state;
    struct play *p = play_new();
    run(p, 10);
    p->metrics_text = COUNTS("0", "1");
    p->behind = true;
    assign_as(p, true, false, 15000, true, 0);
    live(p, 30000);
    assert_int_equal(p->asked_syncz, 1);
    live(p, 60000);
    assert_int_equal(p->asked_syncz, 2);
    live(p, 300000);
    assert_in_range(p->asked_syncz, 6, 8);
    p->behind = false;
    live(p, 75000);
    unsigned last = p->asked_syncz;
    live(p, 400000);
    assert_int_equal(p->asked_syncz, last);
    play_free(p);
}

/* A pod that comes while nothing moves is read within two minutes, not at the next audit. */
static void test_new_stream_in_an_idle_mesh(void **state) {
    (void)state;
    struct play *p = play_new();
    run(p, 10);
    p->metrics_text = COUNTS("0", "1");
    p->connections = "{\"totalClients\":0}";
    assign_as(p, true, false, 15000, true, 0);
    live(p, 100000);
    assert_int_equal(p->asked_syncz, 1);
    p->metrics_text = COUNTS("0", "2");
    p->connections = one_connection;
    live(p, 70000);
    assert_int_equal(p->asked_syncz, 2);
    live(p, 200000);
    assert_int_equal(p->asked_syncz, 2);
    play_free(p);
}

/* What the agent says that the gate must hold is what a gate that took its reports holds. */
static void test_digest_of_what_was_told(void **state) {
    (void)state;
    struct play *p = play_new();
    run(p, 10);
    assign(p, true, false, 1000);
    live(p, 5000);
    ack(p, p->seq, true);
    live(p, 200);
    Meshgate__V1__ReplicaReading *x = p->replica_report->report->replicas[0];
    assert_int_equal(x->n_changed, 1);
    assert_int_equal(x->entries, 1);
    assert_true(x->digest == wire_proxy_hash(x->changed[0]));
    assert_string_equal(x->changed[0]->types, "S----------");
    const Meshgate__V1__NodeScan *scan = p->last->report->scan;
    assert_int_equal(scan->n_changed, 1);
    assert_int_equal(scan->entries, 1);
    assert_true(scan->digest == wire_local_hash(scan->changed[0]));
    p->connections = "{\"totalClients\":0}";
    live(p, 2000);
    x = p->replica_report->report->replicas[0];
    assert_int_equal(x->entries, 0);
    assert_true(x->digest == 0);
    play_free(p);
}

static void test_cut_answer_is_garbled_not_fewer_proxies(void **state) {
    (void)state;
    struct play *p = play_new();
    run(p, 10);
    assign(p, true, false, 1000);
    live(p, 2000);
    p->connections = "{\"totalClients\":1,\"clients\":[{\"connectionId\":\"web.sh";
    live(p, 3000);
    Meshgate__V1__ReplicaReading *x = p->replica_report->report->replicas[0];
    assert_int_equal(x->connections, MESHGATE__V1__READ_STATUS__READ_GARBLED);
    assert_int_equal(x->n_gone, 0);
    assert_true(x->connections_age_ms >= 2000);
    play_free(p);
}

/* What was in sync ages; half an answer neither renews nor takes anything away. */
static void test_cut_syncz_proves_nothing(void **state) {
    (void)state;
    struct play *p = play_new();
    run(p, 10);
    assign(p, true, true, 1000);
    live(p, 3000);
    Meshgate__V1__ReplicaReading *x = p->replica_report->report->replicas[0];
    assert_int_equal(x->syncz, MESHGATE__V1__READ_STATUS__READ_OK);
    assert_true(x->namespaces[0]->syncz_age_ms < 2000);
    p->syncz_cut = true;
    live(p, 5000);
    x = p->replica_report->report->replicas[0];
    assert_int_equal(x->connections, MESHGATE__V1__READ_STATUS__READ_OK);
    assert_int_equal(x->syncz, MESHGATE__V1__READ_STATUS__READ_GARBLED);
    assert_true(x->namespaces[0]->syncz_age_ms >= 4000);
    assert_int_equal(x->n_gone, 0);
    play_free(p);
}

static void test_lost_gate_is_survived(void **state) {
    (void)state;
    struct play *p = play_new();
    run(p, 10);
    assign(p, true, true, 1000);
    live(p, 2000);
    p->link_down = true;
    const struct link_events *e = agent_link_events(p->agent);
    e->closed(e->ctx, 14, "gone");
    unsigned before = p->opens;
    run(p, 60000);
    assert_true(p->opens > before + 3);
    assert_true(p->opens < before + 40); /* pauses grow */
    run(p, 120000);
    unsigned asked = p->asked_connections;
    run(p, 60000);
    assert_int_equal(p->asked_connections, asked); /* reads for nobody no longer */
    p->link_down = false;
    run(p, 20000);
    unsigned fulls = p->fulls;
    assign(p, true, true, 1000);
    live(p, 3000);
    assert_int_equal(p->fulls, fulls + 1);
    assert_true(p->asked_connections > asked);
    play_free(p);
}

static void test_resync_tells_everything_again(void **state) {
    (void)state;
    struct play *p = play_new();
    run(p, 10);
    assign(p, true, true, 1000);
    live(p, 3000);
    uint32_t epoch = p->replica_report->report->replicas[0]->epoch;
    unsigned fulls = p->fulls;
    ack(p, p->seq, true);
    live(p, 200);
    assert_int_equal(p->fulls, fulls + 1);
    assert_int_not_equal(p->replica_report->report->replicas[0]->epoch, epoch);
    assert_int_equal(p->replica_report->report->replicas[0]->n_changed, 1);
    assert_int_equal(p->last->report->scan->n_changed, 1);
    play_free(p);
}

static void test_blind_node_is_said(void **state) {
    (void)state;
    struct play *p = play_new();
    p->blind = true;
    run(p, 10);
    assign(p, false, false, 1000);
    live(p, 2000);
    const char *why;
    assert_false(agent_ready(p->agent, &why));
    assert_non_null(strstr(why, "hostPID"));
    assert_false(p->witness);
    assert_non_null(strstr(p->witness_why, "hostPID"));
    p->blind = false;
    live(p, 5000);
    assert_true(p->witness);
    assert_string_equal(p->witness_why, "");
    assign(p, false, false, 1000);
    live(p, 2000);
    assert_true(agent_ready(p->agent, &why));
    assert_int_equal(p->hellos, 3);
    play_free(p);
}

static Meshgate__V1__LocalProxy *told_again(struct play *p) {
    ack(p, p->seq, true);
    live(p, 200);
    return p->last->report->scan->changed[0];
}

/* Asked rarely, but a lifetime that runs out in between is told. */
static void test_certificate_runs_out_between_questions(void **state) {
    (void)state;
    struct play *p = play_new();
    p->cert = "istio_agent_cert_expiry_seconds{resource_name=\"default\"} 90\n";
    run(p, 10);
    assign(p, false, false, 1000);
    live(p, 60000);
    assert_int_equal(p->asked_cert, 1);
    assert_in_range(told_again(p)->cert_expiry_s, 20, 40);
    p->cert = "istio_agent_cert_expiry_seconds{resource_name=\"default\"} -5\n";
    live(p, 40000);
    assert_true(told_again(p)->cert_expiry_s < 0);
    p->cert = "istio_agent_cert_expiry_seconds{resource_name=\"default\"} 500\n";
    live(p, 3000);
    assert_true(told_again(p)->cert_expiry_s > 400);
    play_free(p);
}

/* Without a slot none, with one exactly one. */
static void test_streams_are_opened_by_slot(void **state) {
    (void)state;
    struct play *p = play_new();
    char canary[] = "canary", other[] = "other";
    run(p, 10);
    assign(p, false, false, 1000);
    live(p, 30000);
    assert_int_equal(p->streams, 0);
    Meshgate__V1__Slot s = MESHGATE__V1__SLOT__INIT;
    Meshgate__V1__GateMessage m = MESHGATE__V1__GATE_MESSAGE__INIT;
    m.body_case = MESHGATE__V1__GATE_MESSAGE__BODY_SLOT;
    m.slot = &s;
    s.revision = canary, s.valid_ms = 5000;
    to_agent(p, &m);
    live(p, 30000);
    assert_int_equal(p->streams, 1);
    s.revision = other;
    to_agent(p, &m);
    live(p, 1000);
    assert_int_equal(p->streams, 1);
    play_free(p);
}

static void test_gate_that_acknowledges_the_future(void **state) {
    (void)state;
    struct play *p = play_new();
    run(p, 10);
    assign(p, true, true, 1000);
    live(p, 1000);
    unsigned opens = p->opens;
    ack(p, 999999, false);
    run(p, 2000);
    assert_int_equal(p->opens, opens + 1);
    play_free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_report_is_full_and_ready_after_ack),
        cmocka_unit_test(test_standby_asks_nothing),
        cmocka_unit_test(test_locked_pushes_are_named),
        cmocka_unit_test(test_refusal_leads_to_the_status_once_a_minute),
        cmocka_unit_test(test_idle_ladder),
        cmocka_unit_test(test_second_look),
        cmocka_unit_test(test_new_stream_in_an_idle_mesh),
        cmocka_unit_test(test_digest_of_what_was_told),
        cmocka_unit_test(test_cut_answer_is_garbled_not_fewer_proxies),
        cmocka_unit_test(test_cut_syncz_proves_nothing),
        cmocka_unit_test(test_lost_gate_is_survived),
        cmocka_unit_test(test_resync_tells_everything_again),
        cmocka_unit_test(test_blind_node_is_said),
        cmocka_unit_test(test_certificate_runs_out_between_questions),
        cmocka_unit_test(test_streams_are_opened_by_slot),
        cmocka_unit_test(test_gate_that_acknowledges_the_future),
    };
    return cmocka_run_group_tests_name("agent", tests, NULL, NULL);
}
