/* What readers tell of istiod replicas: epochs, inheritance, locked pushes, digests. */
#include "evidence_play.h"

/* The same reading told again is no second look, however long the network took. */
static void one_reading_is_one_look(void **state) {
    (void)state;
    begin();
    with_reading("r1", 1);
    complete(0, 1);
    take("n1", 10000);
    complete(2000, 1);
    take("n1", 12300);
    complete(2000, 2);
    take("n1", 12300);
    complete(5000, 1);
    take("n1", 25000);
    assert_int_equal(evidence_replica(e, "r1")->looks, 1);
    assert_int_equal(evidence_replica(e, "r1")->connections_ms, 10000);
    complete(0, 3);
    take("n1", 30000);
    assert_int_equal(evidence_replica(e, "r1")->looks, 2);
    assert_int_equal(evidence_replica(e, "r1")->connections_ms, 30000);
}

static void parts_count_when_the_last_is_there(void **state) {
    (void)state;
    begin();
    with_reading("r1", 1);
    with_proxy("a.shop", "a-1");
    complete(0, 1);
    take("n1", 1000);
    begin();
    with_reading("r1", 1);
    with_proxy("b.shop", "b-1");
    reading.more = true;
    complete(0, 2);
    take("n1", 11000);
    assert_int_equal(evidence_replica(e, "r1")->connections_ms, 1000);
    begin();
    with_reading("r1", 1);
    complete(20, 2);
    take("n1", 11020);
    assert_int_equal(evidence_replica(e, "r1")->connections_ms, 11000);
    assert_int_equal(evidence_replica(e, "r1")->looks, 2);
}

static void new_epoch_is_built_aside(void **state) {
    (void)state;
    begin();
    with_reading("r1", 1);
    with_proxy("a.shop", "a-1");
    with_proxy("b.shop", "b-1");
    complete(0, 5);
    take("n1", 1000);
    /* First part: the old facts stand, with their old time. */
    begin();
    with_reading("r1", 3);
    with_proxy("a.shop", "a-7");
    reading.more = true;
    take("n1", 20000);
    assert_string_equal(evidence_attached(e, "r1", "a.shop")->connection, "a-1");
    assert_non_null(evidence_attached(e, "r1", "b.shop"));
    assert_int_equal(evidence_replica(e, "r1")->connections_ms, 1000);
    /* A failure is no reading either. */
    begin();
    with_reading("r1", 3);
    reading.connections = MESHGATE__V1__READ_STATUS__READ_TIMEOUT;
    reading.error = text("no answer within 10s");
    take("n1", 21000);
    assert_non_null(evidence_attached(e, "r1", "b.shop"));
    assert_int_equal(evidence_replica(e, "r1")->connections, MESHGATE__V1__READ_STATUS__READ_TIMEOUT);
    assert_string_equal(evidence_replica(e, "r1")->error, "no answer within 10s");
    assert_int_equal(evidence_replica(e, "r1")->connections_ms, 1000);
    /* The last part: swap. */
    begin();
    with_reading("r1", 3);
    with_proxy("c.shop", "c-1");
    complete(100, 1);
    take("n1", 22000);
    assert_string_equal(evidence_attached(e, "r1", "a.shop")->connection, "a-7");
    assert_null(evidence_attached(e, "r1", "b.shop"));
    assert_non_null(evidence_attached(e, "r1", "c.shop"));
    assert_int_equal(evidence_replica(e, "r1")->connections_ms, 21900);
    assert_int_equal(evidence_replica(e, "r1")->looks, 2);
}

/* Another reader with the same epoch number, and the same agent after a reconnect, start over too. */
static void new_telling_of_the_same_epoch(void **state) {
    (void)state;
    hello("n1", 1);
    begin();
    with_reading("r1", 1);
    with_proxy("a.shop", "a-1");
    complete(0, 1);
    take("n1", 1000);
    begin();
    with_reading("r1", 1);
    with_proxy("b.shop", "b-1");
    complete(0, 1);
    take("n2", 2000);
    assert_null(evidence_attached(e, "r1", "a.shop"));
    assert_non_null(evidence_attached(e, "r1", "b.shop"));
    hello("n2", 3000);
    begin();
    with_reading("r1", 1);
    with_proxy("c.shop", "c-1");
    complete(0, 1);
    take("n2", 4000);
    assert_null(evidence_attached(e, "r1", "b.shop"));
    assert_non_null(evidence_attached(e, "r1", "c.shop"));
}

static void sync_is_inherited_by_the_same_stream_only(void **state) {
    (void)state;
    begin();
    with_reading("r1", 1);
    Meshgate__V1__ProxyOnReplica *p = with_proxy("a.shop", "a-1");
    p->sync = MESHGATE__V1__SYNC__SYNC_IS_ERROR;
    p->error = text("bad listener");
    p->cds_acked = text("v1");
    with_proxy("b.shop", "b-1")->sync = MESHGATE__V1__SYNC__SYNC_IS_SYNCED;
    complete(0, 1);
    reading.has_syncz = true;
    take("n1", 1000);
    begin();
    with_reading("r1", 3);
    with_proxy("a.shop", "a-1");
    with_proxy("b.shop", "b-2");
    complete(0, 1);
    take("n1", 5000);
    const struct attach_fact *a = evidence_attached(e, "r1", "a.shop");
    assert_int_equal(a->sync, SYNC_ERROR);
    assert_string_equal(a->error, "bad listener");
    assert_string_equal(a->cds_acked, "v1");
    assert_int_equal(evidence_attached(e, "r1", "b.shop")->sync, SYNC_UNKNOWN);
    /* And it is as old as it is. */
    assert_int_equal(evidence_sync_ms(e, "r1", "shop"), 1000);
    assert_int_equal(evidence_replica(e, "r1")->syncz_ms, 1000);
    assert_int_equal(evidence_replica(e, "r1")->connections_ms, 5000);
}

static void types_and_counts(void **state) {
    (void)state;
    begin();
    with_reading("r1", 1);
    Meshgate__V1__ProxyOnReplica *p = with_proxy("a.shop", "a-1");
    p->types = text("SPEN-------");
    p->sync = MESHGATE__V1__SYNC__SYNC_IS_ERROR;
    reading.streams = 7;
    reading.expired_nonces = 3;
    reading.status_only = true;
    complete(0, 1);
    take("n1", 1000);
    assert_string_equal(evidence_attached(e, "r1", "a.shop")->types, "SPEN-------");
    assert_true(evidence_replica(e, "r1")->streams == 7);
    assert_true(evidence_replica(e, "r1")->expired_nonces == 3);
    assert_true(evidence_replica(e, "r1")->status_only);
    /* A new telling inherits them with the stream until it has read for itself. */
    begin();
    with_reading("r1", 3);
    with_proxy("a.shop", "a-1");
    complete(0, 1);
    take("n1", 5000);
    assert_string_equal(evidence_attached(e, "r1", "a.shop")->types, "SPEN-------");
    assert_false(evidence_replica(e, "r1")->status_only);
}

static Meshgate__V1__Blocked blocked[2], *blocks[2] = {&blocked[0], &blocked[1]};

static void with_blocked(const char *ns, const char *who, uint32_t for_ms) {
    Meshgate__V1__Blocked *b = &blocked[reading.n_blocked++];
    meshgate__v1__blocked__init(b);
    b->namespace_ = text(ns);
    b->proxy = text(who);
    b->for_ms = for_ms;
    reading.blocked = blocks;
}

/* The list is whole each time; the named proxy is marked however often it is told anew. */
static void locked_pushes(void **state) {
    (void)state;
    size_t n;
    assert_null(evidence_blocked(e, "r1", &n));
    assert_int_equal(n, 0);
    begin();
    with_reading("r1", 1);
    with_proxy("a.shop", "a-1");
    with_proxy("b.shop", "b-1");
    with_blocked("shop", "a.shop", 4000);
    with_blocked("bank", "", 1000);
    complete(0, 1);
    take("n1", 10000);
    const struct blocked_fact *b = evidence_blocked(e, "r1", &n);
    assert_int_equal(n, 2);
    assert_string_equal(b[0].proxy, "a.shop");
    assert_int_equal(b[0].since_ms, 6000);
    assert_string_equal(b[1].namespace_, "bank");
    assert_true(evidence_attached(e, "r1", "a.shop")->blocked);
    assert_false(evidence_attached(e, "r1", "b.shop")->blocked);
    begin();
    with_reading("r1", 1);
    with_proxy("a.shop", "a-1");
    with_blocked("shop", "a.shop", 9000);
    complete(0, 2);
    take("n1", 15000);
    assert_true(evidence_attached(e, "r1", "a.shop")->blocked);
    begin();
    with_reading("r1", 1);
    complete(0, 3);
    take("n1", 25000);
    assert_null(evidence_blocked(e, "r1", &n));
    assert_false(evidence_attached(e, "r1", "a.shop")->blocked);
}

/* Two tellings in a row that know of nobody's synchronisation (it went round for ever once). */
static void nothing_to_inherit(void **state) {
    (void)state;
    for (uint32_t epoch = 1; epoch <= 5; epoch += 2) {
        begin();
        with_reading("r1", epoch);
        with_proxy("a.shop", "a-1");
        with_proxy("b.shop", "b-1");
        complete(0, 1);
        take("n1", 1000 * epoch);
    }
    assert_int_equal(evidence_attached(e, "r1", "b.shop")->sync, SYNC_UNKNOWN);
}

/* --- digests: `told` is the teller's account --- */

static struct wire_digest told;

static void tell_again(uint32_t epoch, uint64_t questions) {
    begin();
    with_reading("r1", epoch);
    complete(0, questions);
}

static void say_digest(int64_t now_ms) {
    reading.digest = told.sum;
    reading.entries = told.entries;
    take("n1", now_ms);
}

static void tell_proxy(const char *id, const char *connection, uint64_t before) {
    wire_digest_change(&told, before, wire_proxy_hash(with_proxy(id, connection)));
}

static uint64_t hash_of(const char *id, const char *connection) {
    begin();
    uint64_t h = wire_proxy_hash(with_proxy(id, connection));
    begin();
    return h;
}

static void begin_telling(uint32_t epoch) {
    told = (struct wire_digest){0};
    tell_again(epoch, 1);
    tell_proxy("a.shop", "a-1", 0);
    tell_proxy("b.shop", "b-1", 0);
    say_digest(1000);
}

static void digest_agrees(void **state) {
    (void)state;
    uint64_t a = hash_of("a.shop", "a-1"), a2 = hash_of("a.shop", "a-2"), b = hash_of("b.shop", "b-1");
    begin_telling(1);
    /* Changed, gone, back, in parts, over epochs that inherit. */
    tell_again(1, 2);
    tell_proxy("a.shop", "a-2", a);
    say_digest(11000);
    tell_again(1, 3);
    gone[0] = text("b.shop");
    reading.n_gone = 1;
    wire_digest_change(&told, b, 0);
    say_digest(21000);
    tell_again(1, 4);
    tell_proxy("b.shop", "b-1", 0);
    reading.more = true;
    take("n1", 31000);
    tell_again(1, 4);
    gone[0] = text("a.shop");
    reading.n_gone = 1;
    wire_digest_change(&told, a2, 0);
    say_digest(31001);
    assert_int_equal(differences, 0);
    assert_int_equal(told.entries, 1);
    for (uint32_t epoch = 3; epoch < 9; epoch += 2) {
        begin_telling(epoch);
    }
    assert_int_equal(differences, 0);
    /* One who says nothing of it is not held to it. */
    tell_again(7, 5);
    with_proxy("c.shop", "c-1");
    take("n1", 90000);
    assert_int_equal(differences, 0);
}

static void digest_finds_lost_doubled_changed(void **state) {
    (void)state;
    uint64_t a = hash_of("a.shop", "a-1");
    begin_telling(1);
    told.entries++; /* one that never came */
    told.sum ^= 99;
    tell_again(1, 2);
    say_digest(11000);
    assert_int_equal(differences, 1);
    begin_telling(3);
    wire_digest_change(&told, 0, a); /* counted twice by its teller */
    tell_again(3, 2);
    say_digest(21000);
    assert_int_equal(differences, 2);
    begin_telling(5);
    wire_digest_change(&told, a, hash_of("a.shop", "a-9")); /* its change was lost */
    tell_again(5, 2);
    say_digest(31000);
    assert_int_equal(differences, 3);
}

static void digest_of_local_proxies(void **state) {
    (void)state;
    struct wire_digest d = {0};
    begin();
    report.full = true;
    wire_digest_change(&d, 0, wire_local_hash(with_local("pod-1")));
    wire_digest_change(&d, 0, wire_local_hash(with_local("pod-2")));
    scan.digest = d.sum;
    scan.entries = d.entries;
    take("n1", 1000);
    assert_int_equal(differences, 0);
    /* The API server says that it is gone before its agent does: no difference. */
    evidence_forget_pod(e, "pod-2", "pod-2.shop");
    assert_null(evidence_local(e, "pod-2"));
    begin();
    report.scan = &scan;
    scan.digest = d.sum;
    scan.entries = d.entries;
    take("n1", 2000);
    assert_int_equal(differences, 0);
    begin();
    report.scan = &scan;
    scan.digest = d.sum ^ 5;
    scan.entries = d.entries;
    take("n1", 3000);
    assert_int_equal(differences, 1);
    /* What was not believed is no difference either: it is counted where it was dropped. */
    begin();
    with_local("foreign-1");
    scan.digest = d.sum ^ 5;
    scan.entries = 3;
    take("n1", 4000);
    assert_int_equal(differences, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_reading_is_one_look, setup, teardown),
        cmocka_unit_test_setup_teardown(parts_count_when_the_last_is_there, setup, teardown),
        cmocka_unit_test_setup_teardown(new_epoch_is_built_aside, setup, teardown),
        cmocka_unit_test_setup_teardown(new_telling_of_the_same_epoch, setup, teardown),
        cmocka_unit_test_setup_teardown(sync_is_inherited_by_the_same_stream_only, setup, teardown),
        cmocka_unit_test_setup_teardown(types_and_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(locked_pushes, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_to_inherit, setup, teardown),
        cmocka_unit_test_setup_teardown(digest_agrees, setup, teardown),
        cmocka_unit_test_setup_teardown(digest_finds_lost_doubled_changed, setup, teardown),
        cmocka_unit_test_setup_teardown(digest_of_local_proxies, setup, teardown),
    };
    return cmocka_run_group_tests_name("evidence_replica", tests, NULL, NULL);
}
