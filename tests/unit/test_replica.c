#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/replica.h"
#include "lib/base/mem.h"

#define V1 "2026-11-23T06:00:00Z/1"
#define V2 "2026-11-23T06:00:00Z/2"
#define UUID "0a0a0a0a-0000-1111-2222-333344445555"

static void conn(struct replica *r, const char *id, const char *connection, int64_t at) {
    struct conn_seen c = {.id = id, .connection = connection, .connected_at_ms = at, .address = "10.0.0.1"};
    replica_conn(r, &c);
}

static void sync_two(struct replica *r, const char *id, const char *cds_sent, const char *cds_acked,
                     const char *lds_error) {
    struct sync_seen s = {.id = id, .proxy_type = "sidecar", .istio_version = "1.30.3", .cluster = "K", .has_types = true};
    s.types[0] = (struct type_seen){.type = XDS_CDS, .sent = cds_sent, .acked = cds_acked};
    s.types[1] = (struct type_seen){.type = XDS_LDS, .sent = V1 UUID, .acked = V1 UUID, .error = lds_error};
    s.types[2] = (struct type_seen){.type = XDS_PCDS, .sent = "", .acked = ""};
    s.n_types = 3;
    replica_sync(r, &s);
}

struct told {
    struct report rep;
    Meshgate__V1__ReplicaReading *on;
    bool all;
};

static struct told tell(struct replica *r, int64_t now) {
    struct told t;
    report_init(&t.rep);
    t.on = report_replica(&t.rep);
    t.all = replica_fill(r, &t.rep, t.on, now);
    return t;
}

static Meshgate__V1__ProxyOnReplica *entry(struct told *t, const char *id) {
    for (size_t i = 0; i < t->on->n_changed; i++) {
        if (strcmp(t->on->changed[i]->id, id) == 0) {
            return t->on->changed[i];
        }
    }
    return NULL;
}

static void connections(struct replica *r, size_t n) {
    replica_begin(r);
    for (size_t i = 0; i < n; i++) {
        char *id = mem_printf("p-%zu.shop", i), *c = mem_printf("p-%zu.shop-%zu", i, i);
        conn(r, id, c, 1000);
        free(id);
        free(c);
    }
    replica_commit_connections(r);
}

static void test_only_changes_are_told(void **state) {
    (void)state;
    struct replica *r = replica_new();
    connections(r, 3);
    struct told t = tell(r, 100);
    assert_true(t.all);
    assert_int_equal(t.on->n_changed, 3);
    report_done(&t.rep);
    connections(r, 3);
    assert_false(replica_dirty(r));
    connections(r, 2);
    t = tell(r, 200);
    assert_int_equal(t.on->n_changed, 0);
    assert_int_equal(t.on->n_gone, 1);
    assert_string_equal(t.on->gone[0], "p-2.shop");
    report_done(&t.rep);
    replica_all_dirty(r);
    t = tell(r, 300);
    assert_int_equal(t.on->n_changed, 2);
    report_done(&t.rep);
    replica_free(r);
}

static void test_broken_reading_changes_nothing(void **state) {
    (void)state;
    struct replica *r = replica_new();
    connections(r, 3);
    replica_begin(r);
    conn(r, "p-0.shop", "p-0.shop-0", 1000);
    replica_drop(r);
    assert_int_equal(replica_count(r), 3);
    replica_free(r);
}

static void test_back_before_its_going_was_told(void **state) {
    (void)state;
    struct replica *r = replica_new();
    connections(r, 1);
    struct told t = tell(r, 1);
    report_done(&t.rep);
    connections(r, 0);
    connections(r, 1);
    t = tell(r, 2);
    assert_int_equal(t.on->n_gone, 0);
    assert_int_equal(t.on->n_changed, 1);
    report_done(&t.rep);
    replica_free(r);
}

static Meshgate__V1__Sync sync_after(struct replica *r, int64_t now, const char *sent, const char *acked, const char *error,
                                     uint32_t *pending) {
    replica_begin(r);
    sync_two(r, "p-0.shop", sent, acked, error);
    replica_commit_syncz(r, NULL, now);
    replica_all_dirty(r);
    struct told t = tell(r, now);
    Meshgate__V1__ProxyOnReplica *x = entry(&t, "p-0.shop");
    assert_non_null(x);
    *pending = x->pending_ms;
    Meshgate__V1__Sync s = x->sync;
    report_done(&t.rep);
    return s;
}

/* istiod-facts 3.2: an acked nonce that stands still while sent differs is a proxy that does not answer; one that moves is
 * a busy mesh. */
static void test_standing_ack_ages_moving_ack_does_not(void **state) {
    (void)state;
    struct replica *r = replica_new();
    connections(r, 1);
    uint32_t pending;
    assert_int_equal(sync_after(r, 1000, V1 UUID, V1 UUID, NULL, &pending), MESHGATE__V1__SYNC__SYNC_IS_SYNCED);
    assert_int_equal(sync_after(r, 2000, V2 UUID, V1 UUID, NULL, &pending), MESHGATE__V1__SYNC__SYNC_IS_PENDING);
    assert_int_equal(pending, 0);
    assert_int_equal(sync_after(r, 12000, "2026-11-23T06:00:09Z/3" UUID, V1 UUID, NULL, &pending),
                     MESHGATE__V1__SYNC__SYNC_IS_PENDING);
    assert_int_equal(pending, 10000);
    assert_int_equal(sync_after(r, 22000, "2026-11-23T06:00:19Z/4" UUID, V2 UUID, NULL, &pending),
                     MESHGATE__V1__SYNC__SYNC_IS_PENDING);
    assert_int_equal(pending, 0);
    assert_int_equal(sync_after(r, 23000, V2 UUID, V2 UUID, "listener rejected", &pending),
                     MESHGATE__V1__SYNC__SYNC_IS_ERROR);
    replica_free(r);
}

static void test_two_streams_of_one_id_prove_nothing(void **state) {
    (void)state;
    struct replica *r = replica_new();
    replica_begin(r);
    conn(r, "p-0.shop", "p-0.shop-1", 1000);
    conn(r, "p-0.shop", "p-0.shop-9", 5000);
    conn(r, "p-0.shop", "p-0.shop-4", 3000);
    replica_commit_connections(r);
    replica_begin(r);
    sync_two(r, "p-0.shop", V1 UUID, V1 UUID, NULL);
    sync_two(r, "p-0.shop", V2 UUID, V1 UUID, NULL);
    replica_commit_syncz(r, NULL, 60000);
    struct told t = tell(r, 60000);
    Meshgate__V1__ProxyOnReplica *x = entry(&t, "p-0.shop");
    assert_string_equal(x->connection, "p-0.shop-9");
    assert_int_equal(x->copies, 3);
    assert_int_equal(x->sync, MESHGATE__V1__SYNC__SYNC_IS_PENDING);
    assert_int_equal(x->pending_ms, 0);
    report_done(&t.rep);
    replica_free(r);
}

static void test_new_stream_starts_clean(void **state) {
    (void)state;
    struct replica *r = replica_new();
    connections(r, 1);
    uint32_t pending;
    sync_after(r, 1000, V2 UUID, V1 UUID, "no", &pending);
    replica_begin(r);
    conn(r, "p-0.shop", "p-0.shop-77", 9000);
    replica_commit_connections(r);
    struct told t = tell(r, 2000);
    assert_int_equal(entry(&t, "p-0.shop")->sync, MESHGATE__V1__SYNC__SYNC_NOT_READ);
    assert_string_equal(entry(&t, "p-0.shop")->error, "");
    report_done(&t.rep);
    replica_free(r);
}

/* A proxy that a namespace's answer leaves out loses its proof; those of other namespaces keep theirs. */
static void test_namespace_answer(void **state) {
    (void)state;
    struct replica *r = replica_new();
    replica_begin(r);
    conn(r, "a.shop", "a.shop-1", 1);
    conn(r, "b.shop", "b.shop-2", 1);
    conn(r, "c.bank", "c.bank-3", 1);
    replica_commit_connections(r);
    replica_begin(r);
    sync_two(r, "a.shop", V1 UUID, V1 UUID, NULL);
    sync_two(r, "b.shop", V1 UUID, V1 UUID, NULL);
    sync_two(r, "c.bank", V1 UUID, V1 UUID, NULL);
    replica_commit_syncz(r, NULL, 10);
    replica_begin(r);
    sync_two(r, "a.shop", V1 UUID, V1 UUID, NULL);
    replica_commit_syncz(r, "shop", 20);
    replica_all_dirty(r);
    struct told t = tell(r, 30);
    assert_int_equal(entry(&t, "a.shop")->sync, MESHGATE__V1__SYNC__SYNC_IS_SYNCED);
    assert_int_equal(entry(&t, "b.shop")->sync, MESHGATE__V1__SYNC__SYNC_NOT_READ);
    assert_int_equal(entry(&t, "c.bank")->sync, MESHGATE__V1__SYNC__SYNC_IS_SYNCED);
    assert_string_equal(entry(&t, "a.shop")->cds_acked, V1);
    report_done(&t.rep);
    replica_free(r);
}

static void test_large_picture_comes_in_parts(void **state) {
    (void)state;
    struct replica *r = replica_new();
    connections(r, 5000);
    size_t parts = 0, told = 0;
    bool all = false;
    while (!all) {
        struct told t = tell(r, 1);
        all = t.all;
        told += t.on->n_changed;
        assert_true(protobuf_c_message_get_packed_size(&t.rep.msg.base) < WIRE_MAX_MESSAGE);
        report_done(&t.rep);
        parts++;
    }
    assert_int_equal(told, 5000);
    assert_true(parts > 1);
    replica_free(r);
}

/* The gate ends the session of an agent whose texts are too long, and those that are cut inside a character. */
static void test_long_rejection_is_cut(void **state) {
    (void)state;
    char error[40001];
    for (size_t i = 0; i + 1 < sizeof error; i += 2) {
        memcpy(error + i, "\xc3\xa9", 2);
    }
    error[0] = 'x'; /* the cut falls inside a character */
    memmove(error + 1, error + 2, sizeof error - 3);
    error[sizeof error - 2] = '\0';
    struct replica *r = replica_new();
    replica_begin(r);
    sync_two(r, "p-0.shop", V1 UUID, V1 UUID, error);
    replica_commit_syncz(r, NULL, 5);
    struct told t = tell(r, 5);
    struct buf b;
    buf_init(&b, WIRE_MAX_MESSAGE);
    Meshgate__V1__AgentMessage m = MESHGATE__V1__AGENT_MESSAGE__INIT;
    m.seq = 1;
    m.body_case = MESHGATE__V1__AGENT_MESSAGE__BODY_REPORT;
    m.report = &t.rep.msg;
    t.on->replica = t.on->changed[0]->id;
    wire_pack(&m.base, &b);
    struct piece piece = {(const uint8_t *)b.p, b.len};
    struct err err = {0};
    Meshgate__V1__AgentMessage *taken = wire_agent_message(&piece, 1, &err);
    assert_non_null(taken);
    assert_in_range(strlen(taken->report->replicas[0]->changed[0]->error), 4000, 4096);
    wire_agent_free(taken);
    buf_done(&b);
    report_done(&t.rep);
    replica_free(r);
}

static void test_readers_are_left_out(void **state) {
    (void)state;
    struct replica *r = replica_new();
    replica_begin(r);
    struct sync_seen s = {.id = "node-1.istio-system", .proxy_type = "sidecar", .istio_version = "", .cluster = ""};
    replica_sync(r, &s);
    replica_commit_syncz(r, NULL, 5);
    assert_int_equal(replica_count(r), 0);
    replica_free(r);
}

static void sync_types(struct replica *r, const struct type_seen *types, size_t n) {
    struct sync_seen s = {.id = "p-0.shop", .proxy_type = "sidecar", .istio_version = "", .cluster = "", .has_types = true};
    memcpy(s.types, types, n * sizeof *types);
    s.n_types = n;
    replica_begin(r);
    replica_sync(r, &s);
    replica_commit_syncz(r, NULL, 1000);
}

static Meshgate__V1__Sync told_types(struct replica *r, char out[32]) {
    replica_all_dirty(r);
    struct told t = tell(r, 1000);
    Meshgate__V1__ProxyOnReplica *x = entry(&t, "p-0.shop");
    snprintf(out, 32, "%s", x->types);
    Meshgate__V1__Sync sync = x->sync;
    report_done(&t.rep);
    return sync;
}

#define SAME V1 UUID, .acked = V1 UUID
#define BEHIND V2 UUID, .acked = V1 UUID

static void test_types_letter_by_letter(void **state) {
    (void)state;
    struct replica *r = replica_new();
    char types[32];
    connections(r, 1);
    told_types(r, types);
    assert_string_equal(types, "");
    const struct type_seen all[] = {
        {.type = XDS_CDS, .sent = SAME},
        {.type = XDS_LDS, .sent = BEHIND},
        {.type = XDS_RDS, .sent = SAME, .error = "no such cluster"},
        {.type = XDS_NDS, .sent = "", .acked = ""},
        {.type = XDS_OTHER, .sent = SAME},
        {.type = XDS_OTHER, .sent = BEHIND},
        {.type = XDS_OTHER, .sent = SAME},
    };
    sync_types(r, all, sizeof all / sizeof *all);
    assert_int_equal(told_types(r, types), MESHGATE__V1__SYNC__SYNC_IS_ERROR);
    assert_string_equal(types, "SP-E--N---P");
    /* Nothing sent of a type of which there may be nothing is not behind; of clusters there is always something. */
    const struct type_seen quiet[] = {{.type = XDS_CDS, .sent = SAME}, {.type = XDS_ECDS, .sent = "", .acked = ""}};
    sync_types(r, quiet, 2);
    assert_int_equal(told_types(r, types), MESHGATE__V1__SYNC__SYNC_IS_SYNCED);
    assert_string_equal(types, "S---N------");
    const struct type_seen owed[] = {{.type = XDS_CDS, .sent = "", .acked = ""}, {.type = XDS_LDS, .sent = SAME}};
    sync_types(r, owed, 2);
    assert_int_equal(told_types(r, types), MESHGATE__V1__SYNC__SYNC_IS_PENDING);
    assert_string_equal(types, "NS---------");
    replica_free(r);
}

/* What an istiod's word is worth depends on its version. */
static void test_versions_of_istiod(void **state) {
    (void)state;
    const struct type_seen stale[] = {{.type = XDS_CDS, .sent = SAME}, {.type = XDS_RDS, .sent = BEHIND}};
    const struct type_seen fixed[] = {{.type = XDS_CDS, .sent = SAME}, {.type = XDS_LDS, .sent = "", .acked = ""}};
    static const struct {
        const char *version;
        bool fixed;
        Meshgate__V1__Sync want;
        const char *types;
    } rows[] = {
        {"1.22.2", false, MESHGATE__V1__SYNC__SYNC_IS_SYNCED, "S--P-------"},
        {"1.22.4", false, MESHGATE__V1__SYNC__SYNC_IS_PENDING, "S--P-------"},
        {"1.30.3", false, MESHGATE__V1__SYNC__SYNC_IS_PENDING, "S--P-------"},
        {"", false, MESHGATE__V1__SYNC__SYNC_IS_PENDING, "S--P-------"},
        {"1.21.1", true, MESHGATE__V1__SYNC__SYNC_IS_SYNCED, "S----------"},
        {"1.30.3", true, MESHGATE__V1__SYNC__SYNC_IS_PENDING, "SN---------"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char types[32];
        struct replica *r = replica_new();
        replica_drift(r, rows[i].version);
        connections(r, 1);
        sync_types(r, rows[i].fixed ? fixed : stale, 2);
        assert_int_equal(told_types(r, types), rows[i].want);
        assert_string_equal(types, rows[i].types);
        replica_free(r);
    }
}

/* The protobuf status alone says who is here, too. */
static void test_status_stands_for_connections(void **state) {
    (void)state;
    struct replica *r = replica_new();
    for (int round = 0; round < 2; round++) {
        replica_begin(r);
        sync_two(r, "a.shop", "=", "=", NULL);
        if (round == 0) {
            sync_two(r, "b.shop", "=", "=", NULL);
        }
        replica_commit_status(r, 1000 + round);
    }
    struct told t = tell(r, 2000);
    assert_int_equal(t.on->n_changed, 1);
    assert_int_equal(t.on->entries, 1);
    assert_string_equal(t.on->changed[0]->connection, "");
    assert_int_equal(t.on->changed[0]->copies, 1);
    report_done(&t.rep);
    replica_free(r);
}

/* Told, gone, back before its going was told, told again: the account is of what the gate holds. */
static void test_digest_over_gone_and_back(void **state) {
    (void)state;
    struct replica *r = replica_new();
    connections(r, 3);
    struct told t = tell(r, 1);
    assert_int_equal(t.on->entries, 3);
    uint64_t three = t.on->digest;
    report_done(&t.rep);
    connections(r, 2);
    connections(r, 3);
    t = tell(r, 2);
    assert_int_equal(t.on->entries, 3);
    assert_true(t.on->digest == three);
    report_done(&t.rep);
    connections(r, 0);
    t = tell(r, 3);
    assert_int_equal(t.on->entries, 0);
    assert_true(t.on->digest == 0);
    report_done(&t.rep);
    connections(r, 3);
    replica_all_dirty(r);
    t = tell(r, 4);
    assert_true(t.on->digest == three);
    report_done(&t.rep);
    replica_free(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_changes_are_told),
        cmocka_unit_test(test_broken_reading_changes_nothing),
        cmocka_unit_test(test_back_before_its_going_was_told),
        cmocka_unit_test(test_standing_ack_ages_moving_ack_does_not),
        cmocka_unit_test(test_two_streams_of_one_id_prove_nothing),
        cmocka_unit_test(test_new_stream_starts_clean),
        cmocka_unit_test(test_namespace_answer),
        cmocka_unit_test(test_large_picture_comes_in_parts),
        cmocka_unit_test(test_long_rejection_is_cut),
        cmocka_unit_test(test_readers_are_left_out),
        cmocka_unit_test(test_types_letter_by_letter),
        cmocka_unit_test(test_versions_of_istiod),
        cmocka_unit_test(test_status_stands_for_connections),
        cmocka_unit_test(test_digest_over_gone_and_back),
    };
    return cmocka_run_group_tests_name("replica", tests, NULL, NULL);
}
