/* Who reads what: rendezvous hashing, and the roster above it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "gate/assign.h"
#include "gate/roster.h"
#include "lib/base/mem.h"
#include "lib/wire/wire.h"

enum { AGENTS = 100, REPLICAS = 400 };

static char names[AGENTS][32];
static struct assign_agent agents[AGENTS];

static int setup(void **state) {
    (void)state;
    for (int i = 0; i < AGENTS; i++) {
        snprintf(names[i], sizeof names[i], "node-%03d", i);
        agents[i] = (struct assign_agent){.node = names[i]};
    }
    return 0;
}

static const char *replica_name(int i) {
    static char text[32];
    snprintf(text, sizeof text, "istiod-%04d", i);
    return text;
}

static void nobody_and_one(void **state) {
    (void)state;
    struct assign_pick p = assign_choose("r", NULL, agents, 0);
    assert_true(p.reader == SIZE_MAX && p.standby == SIZE_MAX);
    p = assign_choose("r", NULL, agents, 1);
    assert_true(p.reader == 0 && p.standby == SIZE_MAX);
}

static void order_does_not_matter(void **state) {
    (void)state;
    struct assign_agent back[AGENTS];
    for (int i = 0; i < AGENTS; i++) {
        back[i] = agents[AGENTS - 1 - i];
    }
    for (int r = 0; r < REPLICAS; r++) {
        struct assign_pick a = assign_choose(replica_name(r), NULL, agents, AGENTS);
        struct assign_pick b = assign_choose(replica_name(r), NULL, back, AGENTS);
        assert_ptr_equal(agents[a.reader].node, back[b.reader].node);
        assert_ptr_equal(agents[a.standby].node, back[b.standby].node);
        assert_int_not_equal(a.reader, a.standby);
    }
}

/* An agent that leaves gives its replicas to their standbys and moves nothing else; the load is spread. */
static void leaving_moves_only_its_own(void **state) {
    (void)state;
    int load[AGENTS] = {0}, most = 0;
    for (int r = 0; r < REPLICAS; r++) {
        struct assign_pick full = assign_choose(replica_name(r), NULL, agents, AGENTS);
        struct assign_pick less = assign_choose(replica_name(r), NULL, agents, AGENTS - 1);
        if (full.reader == AGENTS - 1) {
            assert_int_equal(less.reader, full.standby);
        } else {
            assert_int_equal(less.reader, full.reader);
        }
        load[full.reader]++;
        most = load[full.reader] > most ? load[full.reader] : most;
    }
    /* Mean 4; a hash that ignores the last characters of names would put hundreds on one. */
    assert_in_range(most, 4, 16);
}

/* Whoever joins or leaves, at most his share moves: 1/N of the replicas and what chance adds (four standard deviations). */
static void moves_are_bounded(void **state) {
    (void)state;
    for (size_t n = 2; n <= AGENTS; n += 7) {
        for (int zoned = 0; zoned < 2; zoned++) {
            size_t moved = 0, home = 0;
            for (size_t i = 0; i < AGENTS; i++) {
                agents[i].zone = !zoned ? NULL : i % 3 == 0 ? "a" : "b";
            }
            for (int r = 0; r < REPLICAS; r++) {
                const char *zone = zoned ? "b" : NULL;
                struct assign_pick before = assign_choose(replica_name(r), zone, agents, n - 1);
                struct assign_pick after = assign_choose(replica_name(r), zone, agents, n);
                moved += before.reader != after.reader;
                assert_true(before.reader == after.reader || after.reader == n - 1); /* to the new one or not at all */
                home += zoned && n > 2 && strcmp(agents[after.reader].zone, "b") != 0;
            }
            size_t candidates = !zoned ? n : n - (n + 2) / 3; /* of the replicas' zone */
            double share = (double)REPLICAS / (double)(candidates ? candidates : 1);
            bool takes_all = zoned && candidates <= 1; /* the first one of the zone */
            if (!takes_all && (double)moved > share + 4 * sqrt(share)) {
                fail_msg("%zu agents, zoned %d: %zu of %d moved", n, zoned, moved, REPLICAS);
            }
            assert_int_equal(home, 0);
        }
    }
}

static void near_ones_first(void **state) {
    (void)state;
    for (int i = 0; i < AGENTS; i++) {
        agents[i].zone = i % 2 == 0 ? "a" : "b";
    }
    for (int r = 0; r < REPLICAS; r++) {
        struct assign_pick p = assign_choose(replica_name(r), "b", agents, AGENTS);
        assert_string_equal(agents[p.reader].zone, "b");
        assert_string_equal(agents[p.standby].zone, "b");
        p = assign_choose(replica_name(r), "elsewhere", agents, AGENTS);
        struct assign_pick any = assign_choose(replica_name(r), NULL, agents, AGENTS);
        assert_int_equal(p.reader, any.reader);
    }
}

static void shunned_ones_last(void **state) {
    (void)state;
    struct assign_pick before = assign_choose("r", NULL, agents, 3);
    agents[before.reader].shunned = true;
    struct assign_pick after = assign_choose("r", NULL, agents, 3);
    assert_int_equal(after.reader, before.standby);
    for (int i = 0; i < 3; i++) {
        agents[i].shunned = true;
    }
    assert_int_equal(assign_choose("r", NULL, agents, 3).reader, before.reader);
}

/* --- the roster --- */

struct mesh {
    struct inventory inv;
    struct inv_replica replicas[3];
    struct inv_revision revisions[2];
};

static void add_replica(struct mesh *m, int i, const char *uid, const char *revision, const char *address) {
    struct inv_replica *r = &m->replicas[i];
    *r = (struct inv_replica){
        .uid = mem_dup(uid), .name = mem_dup(uid), .address = mem_dup(address), .revision = mem_dup(revision)};
    r->xds_port = 15012;
    r->http_port = 15014;
    HASH_ADD_KEYPTR(hh, m->inv.replicas, r->uid, strlen(r->uid), r);
}

static void add_revision(struct mesh *m, int i, const char *name, const char *server, const char *ip) {
    struct inv_revision *v = &m->revisions[i];
    *v = (struct inv_revision){.name = mem_dup(name), .server_name = mem_dup(server), .service_ips = json_pack("[s]", ip)};
    HASH_ADD_KEYPTR(hh, m->inv.revisions, v->name, strlen(v->name), v);
}

static struct mesh *mesh_new(void) {
    struct mesh *m = mem_alloc(sizeof *m);
    add_replica(m, 0, "uid-a", "old", "10.0.0.1");
    add_replica(m, 1, "uid-b", "canary", "10.0.0.3");
    add_replica(m, 2, "uid-c", "canary", "10.0.0.2");
    add_revision(m, 0, "old", "istiod-old.istio-system.svc", "10.96.0.1");
    add_revision(m, 1, "canary", "istiod-canary.istio-system.svc", "10.96.0.2");
    return m;
}

static void mesh_free(struct mesh *m) {
    HASH_CLEAR(hh, m->inv.replicas);
    HASH_CLEAR(hh, m->inv.revisions);
    for (int i = 0; i < 3; i++) {
        free(m->replicas[i].uid);
        free(m->replicas[i].name);
        free(m->replicas[i].address);
        free(m->replicas[i].revision);
    }
    for (int i = 0; i < 2; i++) {
        free(m->revisions[i].name);
        free(m->revisions[i].server_name);
        json_decref(m->revisions[i].service_ips);
    }
    free(m);
}

static Meshgate__V1__GateMessage *packed(const struct roster *r, const struct mesh *m, const char *node,
                                         const struct roster_terms *t) {
    struct buf b;
    buf_init(&b, WIRE_MAX_MESSAGE);
    roster_pack(r, &m->inv, node, t, &b);
    struct piece piece = {(uint8_t *)b.p, b.len};
    struct err err = {0};
    Meshgate__V1__GateMessage *g = wire_gate_message(&piece, 1, &err);
    assert_string_equal(err.text, "");
    buf_done(&b);
    return g;
}

static void assignment_says_all(void **state) {
    (void)state;
    struct mesh *m = mesh_new();
    struct roster *r = roster_new();
    roster_update(r, &m->inv, agents, 2, 60000, 1000);
    static const char *const focus[] = {"app-01", "app-02"};
    struct roster_terms t = {.focus = focus, .n_focus = 2, .idle = false, .period_ms = 10000};
    size_t read = 0, standby = 0;
    for (int i = 0; i < 2; i++) {
        Meshgate__V1__GateMessage *g = packed(r, m, names[i], &t);
        const Meshgate__V1__Assignment *a = g->assignment;
        /* Two agents: each replica is read by one, the other stands by. */
        assert_int_equal(a->n_replicas, 3);
        for (size_t k = 0; k < 3; k++) {
            const Meshgate__V1__Assignment__Replica *x = a->replicas[k];
            read += x->read;
            standby += !x->read;
            assert_int_equal(x->read, strcmp(roster_reader(r, x->id), names[i]) == 0);
        }
        assert_string_equal(a->replicas[0]->id, "uid-a");
        assert_string_equal(a->replicas[0]->server_name, "istiod-old.istio-system.svc");
        assert_int_equal(a->replicas[0]->http_port, 15014);
        assert_int_equal(a->n_revisions, 2);
        assert_string_equal(a->revisions[0]->name, "canary");
        assert_string_equal(a->revisions[0]->service_ips[0], "10.96.0.2");
        assert_string_equal(a->revisions[0]->replica_ips[0], "10.0.0.2");
        assert_string_equal(a->revisions[0]->replica_ips[1], "10.0.0.3");
        assert_int_equal(a->period_ms, 10000);
        assert_int_equal(a->local_period_ms, 10000);
        assert_string_equal(a->focus[1], "app-02");
        assert_true(roster_has_role(r, names[i]));
        wire_gate_free(g);
    }
    assert_int_equal(read, 3);
    assert_int_equal(standby, 3);
    Meshgate__V1__GateMessage *g = packed(r, m, NULL, &t);
    assert_int_equal(g->assignment->n_replicas, 0);
    assert_int_equal(g->assignment->n_revisions, 2);
    wire_gate_free(g);
    assert_false(roster_has_role(r, "node-099"));
    roster_free(r);
    mesh_free(m);
}

static void silent_reader_is_passed_over(void **state) {
    (void)state;
    struct mesh *m = mesh_new();
    struct roster *r = roster_new();
    assert_int_equal(roster_update(r, &m->inv, agents, 3, 60000, 1000), 61000);
    char *first = mem_dup(roster_reader(r, "uid-a"));
    roster_heard(r, "uid-a", 30000);
    roster_heard(r, "uid-b", 90000);
    roster_heard(r, "uid-c", 90000);
    /* Word at 30 s holds until 90 s. */
    assert_int_equal(roster_update(r, &m->inv, agents, 3, 60000, 89999), 90000);
    assert_string_equal(roster_reader(r, "uid-a"), first);
    assert_int_equal(roster_update(r, &m->inv, agents, 3, 60000, 90000), 150000);
    assert_string_not_equal(roster_reader(r, "uid-a"), first);
    /* Forgiven after five minutes. */
    roster_heard(r, "uid-a", 391000);
    roster_update(r, &m->inv, agents, 3, 60000, 391000);
    assert_string_equal(roster_reader(r, "uid-a"), first);
    free(first);
    roster_free(r);
    mesh_free(m);
}

/* One that falls silent each time its turn comes again is left out for longer and longer; one that did well is forgiven. */
static void shunned_for_longer_each_time(void **state) {
    (void)state;
    enum { MINUTE = 60000 };
    struct mesh *m = mesh_new();
    struct roster *r = roster_new();
    int64_t now = 1000, turn[4] = {0};
    roster_update(r, &m->inv, agents, 2, 20000, now);
    char *first = mem_dup(roster_reader(r, "uid-a"));
    for (int i = 0; i < 4; i++) {
        now += 20000; /* nothing heard of it */
        roster_update(r, &m->inv, agents, 2, 20000, now);
        assert_string_not_equal(roster_reader(r, "uid-a"), first);
        int64_t from = now;
        while (strcmp(roster_reader(r, "uid-a"), first) != 0) {
            now += 10000;
            roster_heard(r, "uid-a", now); /* of the other one */
            roster_update(r, &m->inv, agents, 2, 20000, now);
        }
        turn[i] = now - from;
    }
    assert_in_range(turn[0], 5 * MINUTE - 10000, 5 * MINUTE + 10000);
    assert_in_range(turn[1], 10 * MINUTE - 10000, 10 * MINUTE + 10000);
    assert_in_range(turn[3], 40 * MINUTE - 10000, 40 * MINUTE + 10000);
    for (int i = 0; i < 6 * 50; i++) { /* 50 good minutes */
        now += 10000;
        roster_heard(r, "uid-a", now);
        roster_update(r, &m->inv, agents, 2, 20000, now);
        assert_string_equal(roster_reader(r, "uid-a"), first);
    }
    now += 20000;
    roster_update(r, &m->inv, agents, 2, 20000, now);
    assert_string_not_equal(roster_reader(r, "uid-a"), first);
    now += 5 * MINUTE;
    roster_heard(r, "uid-a", now);
    roster_update(r, &m->inv, agents, 2, 20000, now);
    assert_string_equal(roster_reader(r, "uid-a"), first);
    free(first);
    roster_free(r);
    mesh_free(m);
}

static void sole_agent_keeps_its_replicas(void **state) {
    (void)state;
    struct mesh *m = mesh_new();
    struct roster *r = roster_new();
    roster_update(r, &m->inv, agents, 1, 60000, 1000);
    roster_update(r, &m->inv, agents, 1, 60000, 200000);
    assert_string_equal(roster_reader(r, "uid-a"), names[0]);
    roster_update(r, &m->inv, agents, 0, 60000, 200001);
    assert_null(roster_reader(r, "uid-a"));
    roster_free(r);
    mesh_free(m);
}

static void replicas_that_are_gone(void **state) {
    (void)state;
    struct mesh *m = mesh_new();
    struct roster *r = roster_new();
    roster_update(r, &m->inv, agents, 2, 60000, 1000);
    HASH_DELETE(hh, m->inv.replicas, &m->replicas[0]);
    roster_update(r, &m->inv, agents, 2, 60000, 2000);
    assert_null(roster_reader(r, "uid-a"));
    assert_non_null(roster_reader(r, "uid-b"));
    roster_free(r);
    mesh_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(nobody_and_one, setup),
        cmocka_unit_test_setup(order_does_not_matter, setup),
        cmocka_unit_test_setup(leaving_moves_only_its_own, setup),
        cmocka_unit_test_setup(moves_are_bounded, setup),
        cmocka_unit_test_setup(near_ones_first, setup),
        cmocka_unit_test_setup(shunned_ones_last, setup),
        cmocka_unit_test_setup(assignment_says_all, setup),
        cmocka_unit_test_setup(silent_reader_is_passed_over, setup),
        cmocka_unit_test_setup(shunned_for_longer_each_time, setup),
        cmocka_unit_test_setup(sole_agent_keeps_its_replicas, setup),
        cmocka_unit_test_setup(replicas_that_are_gone, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
