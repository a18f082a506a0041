#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "gate/evidence.h"
#include "lib/base/mem.h"
#include "lib/wire/digest.h"

static struct evidence *e;

static bool local_allowed(void *ctx, const char *pod_uid, const char *node) {
    (void)ctx;
    (void)node;
    return strncmp(pod_uid, "foreign", 7) != 0;
}

static bool may_read(void *ctx, const char *replica, const char *node) {
    (void)ctx;
    (void)node;
    return strcmp(replica, "not-mine") != 0;
}

static size_t differences;

static void differs(void *ctx, const char *replica) {
    (void)ctx;
    (void)replica;
    differences++;
}

static const struct evidence_rules rules = {.local_allowed = local_allowed, .may_read = may_read, .differs = differs};

/* A report under construction; texts are constants. */
static Meshgate__V1__Report report;
static Meshgate__V1__NodeScan scan;
static Meshgate__V1__LocalProxy local[4], *locals[4];
static Meshgate__V1__ReplicaReading reading, *readings[1];
static Meshgate__V1__ProxyOnReplica proxy[4], *proxies[4];
static Meshgate__V1__NamespaceAge age, *ages[1];
static Meshgate__V1__Reach reach, *reaches[1];
static char *gone[4];

static char *text(const char *s) {
    return (char *)(uintptr_t)s;
}

static int setup(void **state) {
    (void)state;
    e = evidence_new();
    differences = 0;
    return 0;
}

static int teardown(void **state) {
    (void)state;
    evidence_free(e);
    return 0;
}

static void begin(void) {
    meshgate__v1__report__init(&report);
    meshgate__v1__node_scan__init(&scan);
    meshgate__v1__replica_reading__init(&reading);
    scan.changed = locals;
    readings[0] = &reading;
    reading.changed = proxies;
    reading.gone = gone;
}

static void with_reading(const char *replica, uint32_t epoch) {
    report.n_replicas = 1;
    report.replicas = readings;
    reading.replica = text(replica);
    reading.epoch = epoch;
    reading.connections = MESHGATE__V1__READ_STATUS__READ_OK;
}

static void complete(uint32_t age_ms, uint64_t questions) {
    reading.has_connections = true;
    reading.connections_age_ms = age_ms;
    reading.questions = questions;
}

static Meshgate__V1__ProxyOnReplica *with_proxy(const char *id, const char *connection) {
    size_t i = reading.n_changed++;
    proxies[i] = &proxy[i];
    meshgate__v1__proxy_on_replica__init(&proxy[i]);
    proxy[i].id = text(id);
    proxy[i].connection = text(connection);
    return &proxy[i];
}

static Meshgate__V1__LocalProxy *with_local(const char *uid) {
    report.scan = &scan;
    size_t i = scan.n_changed++;
    locals[i] = &local[i];
    meshgate__v1__local_proxy__init(&local[i]);
    local[i].pod_uid = text(uid);
    return &local[i];
}

static uint32_t take(const char *node, int64_t now_ms) {
    return evidence_take(e, node, &report, &rules, now_ms);
}

static void hello(const char *node, int64_t now_ms) {
    Meshgate__V1__Hello h = MESHGATE__V1__HELLO__INIT;
    h.version = text("1.0");
    h.node = text(node);
    h.node_witness = true;
    evidence_hello(e, node, &h, now_ms);
}

static void with_reach(bool ok, const char *stage, uint32_t first_byte_us, uint32_t age_ms) {
    meshgate__v1__reach__init(&reach);
    reach.revision = text("canary");
    reach.ok = ok;
    reach.stage = text(stage);
    reach.error = text(ok ? "" : "why");
    reach.first_byte_us = first_byte_us;
    reach.age_ms = age_ms;
    reach.cert_expiry_s = first_byte_us == 0 ? 60 : 0;
    reaches[0] = &reach;
    report.reach = reaches;
    report.n_reach = 1;
}

/* What a real stream told stays while ordinary tests go on; the latest word decides. */
static void reach_keeps_its_stream(void **state) {
    (void)state;
    hello("n1", 1000);
    begin();
    with_reach(true, "ads", 6000, 100);
    take("n1", 10000);
    begin();
    with_reach(true, "ready", 0, 0);
    take("n1", 20000);
    const struct reach_fact *f = evidence_reach_fact(e, "n1", "canary");
    assert_true(f->ok && f->stream_ok);
    assert_string_equal(f->stage, "ready");
    assert_null(f->error);
    assert_int_equal(f->stream_ms, 9900);
    assert_int_equal(f->at_ms, 20000);
    assert_int_equal(f->first_byte_us, 6000);
    assert_int_equal(f->cert_expires_ms, 80000);
    begin();
    with_reach(false, "ads", 0, 0);
    take("n1", 30000);
    const char *error;
    int64_t at;
    assert_int_equal(evidence_reach(e, "n1", "canary", &error, &at), 0);
    assert_string_equal(error, "ads: why");
    assert_false(f->stream_ok);
    assert_int_equal(f->first_byte_us, 6000);
}

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
        cmocka_unit_test_setup_teardown(reach_keeps_its_stream, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_known, setup, teardown),
        cmocka_unit_test_setup_teardown(ages_come_off_on_arrival, setup, teardown),
        cmocka_unit_test_setup_teardown(incomplete_scan_makes_nothing_fresh, setup, teardown),
        cmocka_unit_test_setup_teardown(full_report_forgets_what_was_said_before, setup, teardown),
        cmocka_unit_test_setup_teardown(gone_only_by_the_node_that_said_it, setup, teardown),
        cmocka_unit_test_setup_teardown(liar, setup, teardown),
        cmocka_unit_test_setup_teardown(deltas_on_a_replica, setup, teardown),
        cmocka_unit_test_setup_teardown(one_reading_is_one_look, setup, teardown),
        cmocka_unit_test_setup_teardown(parts_count_when_the_last_is_there, setup, teardown),
        cmocka_unit_test_setup_teardown(new_epoch_is_built_aside, setup, teardown),
        cmocka_unit_test_setup_teardown(new_telling_of_the_same_epoch, setup, teardown),
        cmocka_unit_test_setup_teardown(sync_is_inherited_by_the_same_stream_only, setup, teardown),
        cmocka_unit_test_setup_teardown(types_and_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_to_inherit, setup, teardown),
        cmocka_unit_test_setup_teardown(locked_pushes, setup, teardown),
        cmocka_unit_test_setup_teardown(digest_agrees, setup, teardown),
        cmocka_unit_test_setup_teardown(digest_finds_lost_doubled_changed, setup, teardown),
        cmocka_unit_test_setup_teardown(digest_of_local_proxies, setup, teardown),
        cmocka_unit_test_setup_teardown(forgetting, setup, teardown),
        cmocka_unit_test_setup_teardown(too_many_proxies, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
