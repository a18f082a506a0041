#include "evidence_play.h"

static Meshgate__V1__NamespaceAge age, *ages[1];
static Meshgate__V1__Reach reach, *reaches[1];

static void nothing_known(void **state) {
    (void)state;
    const char *error = "x";
    int64_t at = 5;
    assert_null(evidence_local(e, "p"));
    assert_null(evidence_attached(e, "r", "p"));
    assert_null(evidence_replica(e, "r"));
    assert_null(evidence_node(e, "n"));
    assert_int_equal(evidence_sync_ms(e, "r", "ns"), 0);
    assert_int_equal(evidence_reach(e, "n", "canary", &error, &at), -1);
    assert_null(error);
    assert_int_equal(at, 0);
    evidence_forget_pod(e, "p", "p.ns");
    evidence_forget_replica(e, "r");
    evidence_forget_node(e, "n");
}

static void ages_come_off_on_arrival(void **state) {
    (void)state;
    hello("n1", 1000);
    begin();
    struct Meshgate__V1__LocalProxy *p = with_local("pod-1");
    p->dials = text("10.96.0.1:15012");
    p->cert_expiry_s = 60;
    p->program = text("ztunnel");
    p->xds_failures = 3;
    p->csr_failures = 4;
    p->first_seen_ms = 4000;
    scan.complete = true;
    scan.age_ms = 2500;
    reach.revision = NULL;
    meshgate__v1__reach__init(&reach);
    reach.revision = text("canary");
    reach.stage = text("tls");
    reach.error = text("wrong name");
    reach.age_ms = 100;
    reaches[0] = &reach;
    report.reach = reaches;
    report.n_reach = 1;
    assert_int_equal(take("n1", 10000), 0);
    assert_int_equal(evidence_node(e, "n1")->scan_ms, 7500);
    const struct local_fact *f = evidence_local(e, "pod-1");
    assert_string_equal(f->dials, "10.96.0.1:15012");
    assert_int_equal(f->cert_expires_ms, 70000);
    assert_string_equal(f->program, "ztunnel");
    assert_int_equal(f->xds_failures, 3);
    assert_int_equal(f->csr_failures, 4);
    assert_int_equal(f->first_seen_ms, 6000);
    const char *error;
    int64_t at;
    assert_int_equal(evidence_reach(e, "n1", "canary", &error, &at), 0);
    assert_string_equal(error, "tls: wrong name");
    assert_int_equal(at, 9900);
    assert_null(evidence_reach_fact(e, "n1", "old"));
    assert_string_equal(evidence_reach_fact(e, "n1", "canary")->stage, "tls");
    assert_string_equal(evidence_reach_fact(e, "n1", "canary")->error, "wrong name");
    assert_int_equal(evidence_reach_fact(e, "n1", "canary")->stream_ms, 0);
    /* An age beyond the clock's beginning is the beginning, not "never" and not the future. */
    begin();
    p = with_local("pod-1");
    p->cert_expiry_s = -1000;
    scan.complete = true;
    scan.age_ms = UINT32_MAX;
    take("n1", 10000);
    assert_int_equal(evidence_node(e, "n1")->scan_ms, 1);
    assert_int_equal(evidence_local(e, "pod-1")->cert_expires_ms, 1);
}

static void incomplete_scan_makes_nothing_fresh(void **state) {
    (void)state;
    begin();
    with_local("pod-1");
    scan.complete = true;
    take("n1", 1000);
    begin();
    with_local("pod-1");
    scan.complete = false;
    take("n1", 9000);
    assert_int_equal(evidence_node(e, "n1")->scan_ms, 1000);
}

static void full_report_forgets_what_was_said_before(void **state) {
    (void)state;
    begin();
    with_local("pod-1");
    with_local("pod-2");
    scan.complete = true;
    take("n1", 1000);
    begin();
    with_local("pod-9");
    take("n2", 1000);
    begin();
    report.full = true;
    with_local("pod-2");
    take("n1", 2000);
    assert_null(evidence_local(e, "pod-1"));
    assert_non_null(evidence_local(e, "pod-2"));
    assert_non_null(evidence_local(e, "pod-9"));
}

static void gone_only_by_the_node_that_said_it(void **state) {
    (void)state;
    begin();
    with_local("pod-1");
    take("n1", 1000);
    begin();
    report.scan = &scan;
    scan.n_gone = 1;
    scan.gone = gone;
    gone[0] = text("pod-1");
    assert_int_equal(take("n2", 2000), 1);
    assert_non_null(evidence_local(e, "pod-1"));
    assert_int_equal(take("n1", 2000), 0);
    assert_null(evidence_local(e, "pod-1"));
    assert_int_equal(take("n1", 2000), 0);
}

static void liar(void **state) {
    (void)state;
    begin();
    with_local("pod-1");
    with_local("foreign-1");
    with_local("foreign-2");
    with_reading("not-mine", 1);
    with_proxy("web.shop", "web.shop-1");
    complete(0, 1);
    assert_int_equal(take("n1", 1000), 3);
    assert_non_null(evidence_local(e, "pod-1"));
    assert_null(evidence_local(e, "foreign-1"));
    assert_null(evidence_replica(e, "not-mine"));
}

static void deltas_on_a_replica(void **state) {
    (void)state;
    begin();
    with_reading("r1", 1);
    with_proxy("a.shop", "a.shop-1")->sync = MESHGATE__V1__SYNC__SYNC_IS_SYNCED;
    Meshgate__V1__ProxyOnReplica *p = with_proxy("b.shop", "b.shop-2");
    p->sync = MESHGATE__V1__SYNC__SYNC_IS_PENDING;
    p->pending_ms = 3000;
    complete(500, 1);
    reading.has_syncz = true;
    reading.syncz_age_ms = 400;
    take("n1", 10000);
    assert_int_equal(evidence_replica(e, "r1")->connections_ms, 9500);
    assert_int_equal(evidence_replica(e, "r1")->looks, 1);
    assert_string_equal(evidence_replica(e, "r1")->reader, "n1");
    assert_int_equal(evidence_sync_ms(e, "r1", "shop"), 9600);
    assert_int_equal(evidence_attached(e, "r1", "a.shop")->sync, SYNC_SYNCED);
    assert_int_equal(evidence_attached(e, "r1", "b.shop")->pending_since_ms, 7000);
    begin();
    with_reading("r1", 1);
    reading.n_gone = 1;
    gone[0] = text("b.shop");
    ages[0] = &age;
    meshgate__v1__namespace_age__init(&age);
    age.name = text("shop");
    age.syncz_age_ms = 10;
    reading.namespaces = ages;
    reading.n_namespaces = 1;
    complete(0, 2);
    take("n1", 20000);
    assert_non_null(evidence_attached(e, "r1", "a.shop"));
    assert_null(evidence_attached(e, "r1", "b.shop"));
    assert_int_equal(evidence_replica(e, "r1")->looks, 2);
    assert_int_equal(evidence_sync_ms(e, "r1", "shop"), 19990);
    assert_int_equal(evidence_sync_ms(e, "r1", "other"), 9600);
}

static void count_attached(void *ctx, const struct attach_fact *f) {
    (void)f;
    ++*(size_t *)ctx;
}

static void forgetting(void **state) {
    (void)state;
    hello("n1", 1);
    begin();
    with_local("pod-1");
    with_reading("r1", 1);
    with_proxy("a.shop", "a-1");
    with_proxy("b.shop", "b-1");
    complete(0, 1);
    take("n1", 1000);
    size_t n = 0;
    evidence_each_attached(e, "r1", count_attached, &n);
    assert_int_equal(n, 2);
    uint64_t version = evidence_version(e);
    evidence_forget_pod(e, "pod-1", "a.shop");
    assert_null(evidence_local(e, "pod-1"));
    assert_non_null(evidence_attached(e, "r1", "a.shop"));
    evidence_forget_replica(e, "r1");
    assert_null(evidence_attached(e, "r1", "a.shop"));
    assert_null(evidence_replica(e, "r1"));
    /* A node with an agent is not forgotten. */
    evidence_forget_node(e, "n1");
    assert_true(evidence_node(e, "n1")->connected);
    evidence_node_lost(e, "n1", 2000);
    assert_false(evidence_node(e, "n1")->connected);
    evidence_forget_node(e, "n1");
    assert_null(evidence_node(e, "n1"));
    assert_true(evidence_version(e) > version);
}

static void too_many_proxies(void **state) {
    (void)state;
    enum { EACH = 4, ROUNDS = 25001 };
    char id[EACH][32];
    uint32_t dropped = 0;
    for (int r = 0; r < ROUNDS; r++) {
        begin();
        with_reading("r1", 1);
        for (int i = 0; i < EACH; i++) {
            snprintf(id[i], sizeof id[i], "p%d.ns", r * EACH + i);
            with_proxy(id[i], "c");
        }
        dropped += take("n1", 1000);
    }
    assert_int_equal(dropped, EACH);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_known, setup, teardown),
        cmocka_unit_test_setup_teardown(ages_come_off_on_arrival, setup, teardown),
        cmocka_unit_test_setup_teardown(incomplete_scan_makes_nothing_fresh, setup, teardown),
        cmocka_unit_test_setup_teardown(full_report_forgets_what_was_said_before, setup, teardown),
        cmocka_unit_test_setup_teardown(gone_only_by_the_node_that_said_it, setup, teardown),
        cmocka_unit_test_setup_teardown(liar, setup, teardown),
        cmocka_unit_test_setup_teardown(deltas_on_a_replica, setup, teardown),
        cmocka_unit_test_setup_teardown(forgetting, setup, teardown),
        cmocka_unit_test_setup_teardown(too_many_proxies, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
