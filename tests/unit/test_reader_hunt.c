/* The search for locked pushes, with an istiod that is a table: who hangs, what each question costs in time. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/reader_hunt.h"
#include "cmocka_all.h"
#include "lib/base/mem.h"

#define V1 "2026-11-23T06:00:00Z/10a0a0a0a-0000-1111-2222-333344445555"
#define PERIOD_MS 10000
#define ANSWER_MS 4

struct mesh {
    struct replica *replica;
    struct hunt *hunt;
    const char *locked[3]; /* connections */
    bool silent;           /* istiod answers nothing at all */
    const char *slow;      /* a namespace that hangs although nobody in it does */
    int64_t now;
    unsigned asked, hung, namespaces, proxies;
};

static void connect_all(struct mesh *m, unsigned namespaces, unsigned each) {
    replica_begin(m->replica);
    for (unsigned i = 0; i < namespaces * each; i++) {
        char *id = mem_printf("web-%u.ns-%u", i / namespaces, i % namespaces), *c = mem_printf("%s-%u", id, i + 1);
        struct conn_seen seen = {.id = id, .connection = c, .connected_at_ms = 1000, .address = "10.0.0.1"};
        replica_conn(m->replica, &seen);
        free(id);
        free(c);
    }
    replica_commit_connections(m->replica);
}

static struct mesh mesh_new(unsigned namespaces, unsigned each) {
    struct mesh m = {.replica = replica_new(), .now = 100000};
    m.hunt = hunt_new(m.replica);
    connect_all(&m, namespaces, each);
    return m;
}

static void mesh_free(struct mesh *m) {
    hunt_free(m->hunt);
    replica_free(m->replica);
}

static bool in_namespace(const char *connection, const char *ns) {
    const char *dot = strchr(connection, '.');
    size_t n = strlen(ns);
    return dot && strncmp(dot + 1, ns, n) == 0 && dot[1 + n] == '-';
}

static bool hangs(struct mesh *m, const struct hunt_question *q) {
    bool hang = m->silent;
    const char *what = strchr(q->resource, '=');
    for (size_t i = 0; what && i < 3; i++) {
        const char *locked = m->locked[i];
        hang |= locked && (q->kind == HUNT_NAMESPACE ? in_namespace(locked, what + 1) : strcmp(locked, what + 1) == 0);
    }
    return hang || (m->slow && q->kind == HUNT_NAMESPACE && strcmp(what + 1, m->slow) == 0);
}

/* One round of questions; false: there were none. */
static bool round_of(struct mesh *m) {
    struct hunt_question q;
    unsigned before = m->asked;
    hunt_round(m->hunt);
    for (hunt_next(m->hunt, m->now, &q); q.kind != HUNT_NOTHING; hunt_next(m->hunt, m->now, &q)) {
        bool hang = hangs(m, &q);
        assert_null(strstr(q.resource, "push"));
        m->asked++;
        m->hung += hang;
        m->namespaces += q.kind == HUNT_NAMESPACE;
        m->proxies += q.kind == HUNT_PROXY;
        m->now += hang ? HUNT_QUESTION_MS : ANSWER_MS;
        hunt_result(m->hunt, hang ? HUNT_HUNG : HUNT_ANSWERED, m->now);
    }
    return m->asked > before;
}

struct told {
    char text[512];
    int64_t since;
};

static void tell(void *ctx, const char *ns, const char *proxy, int64_t since) {
    struct told *t = ctx;
    size_t n = strlen(t->text);
    snprintf(t->text + n, sizeof t->text - n, "%s/%s ", ns, proxy);
    t->since = since;
}

static struct told told(const struct mesh *m) {
    struct told t = {.since = 0};
    hunt_each(m->hunt, tell, &t);
    return t;
}

static void nothing_costs_nothing(void **state) {
    (void)state;
    struct mesh m = mesh_new(5, 2);
    assert_false(round_of(&m));
    assert_false(hunt_forbids_syncz(m.hunt, m.now));
    mesh_free(&m);
}

static void named_among_five_thousand(void **state) {
    (void)state;
    struct mesh m = mesh_new(500, 10);
    m.locked[0] = "web-7.ns-499-4000";
    int64_t began = m.now;
    hunt_search(m.hunt, m.now);
    round_of(&m);
    assert_string_equal(told(&m).text, "ns-499/web-7.ns-499 ");
    /* With the ten seconds in which the whole syncz hung. */
    assert_true(m.now - began + 10000 < 2 * PERIOD_MS);
    assert_int_equal(m.namespaces, 500);
    assert_in_range(m.proxies, 2, 11);
    assert_int_equal(m.hung, 3);
    assert_true(hunt_forbids_syncz(m.hunt, m.now));
    assert_true(hunt_is_blocked(m.hunt, "ns-499"));
    mesh_free(&m);
}

/* Known ones are asked again every half minute only, the others are read so that their evidence stays fresh. */
static void a_known_lock_is_left_alone(void **state) {
    (void)state;
    struct mesh m = mesh_new(100, 5);
    m.locked[0] = "web-2.ns-3-204";
    hunt_search(m.hunt, m.now);
    round_of(&m);
    unsigned hung = m.hung, asked = m.namespaces;
    for (int i = 0; i < 12; i++) {
        m.now += PERIOD_MS;
        round_of(&m);
    }
    assert_in_range(m.hung - hung, 3, 4);
    assert_in_range(m.namespaces - asked, 150, 280); /* 99 others a minute */
    assert_string_equal(told(&m).text, "ns-3/web-2.ns-3 ");
    mesh_free(&m);
}

static void heals_with_the_stream(void **state) {
    (void)state;
    struct mesh m = mesh_new(10, 5);
    m.locked[0] = "web-2.ns-3-24";
    hunt_search(m.hunt, m.now);
    round_of(&m);
    assert_string_equal(told(&m).text, "ns-3/web-2.ns-3 ");
    m.locked[0] = NULL;
    replica_begin(m.replica);
    struct conn_seen seen = {.id = "web-2.ns-3", .connection = "web-2.ns-3-777", .connected_at_ms = 5000, .address = ""};
    replica_conn(m.replica, &seen);
    replica_commit_connections(m.replica);
    m.now += 1000;
    round_of(&m);
    assert_string_equal(told(&m).text, "");
    assert_false(hunt_forbids_syncz(m.hunt, m.now));
    mesh_free(&m);
}

static void two_locks_in_two_namespaces(void **state) {
    (void)state;
    struct mesh m = mesh_new(50, 4);
    m.locked[0] = "web-1.ns-7-58";
    m.locked[1] = "web-3.ns-40-191";
    hunt_search(m.hunt, m.now);
    round_of(&m);
    m.now += PERIOD_MS;
    round_of(&m);
    struct told t = told(&m);
    assert_non_null(strstr(t.text, "ns-7/web-1.ns-7 "));
    assert_non_null(strstr(t.text, "ns-40/web-3.ns-40 "));
    mesh_free(&m);
}

/* An istiod that answers nobody accuses nobody. */
static void silence_of_the_whole_is_no_lock(void **state) {
    (void)state;
    struct mesh m = mesh_new(50, 4);
    m.silent = true;
    hunt_search(m.hunt, m.now);
    round_of(&m);
    assert_int_equal(m.hung, 2);
    assert_string_equal(told(&m).text, "");
    m.silent = false;
    m.now += PERIOD_MS;
    round_of(&m);
    assert_string_equal(told(&m).text, "");
    assert_int_equal(m.namespaces, 51);
    assert_true(hunt_forbids_syncz(m.hunt, m.now)); /* it was slow: not again at once */
    assert_false(hunt_forbids_syncz(m.hunt, m.now + 61000));
    mesh_free(&m);
}

/* A namespace that hangs although all in it answer is told of when it did so twice, without a name. */
static void slow_once_is_forgiven(void **state) {
    (void)state;
    struct mesh m = mesh_new(20, 4);
    m.slow = "ns-5";
    hunt_search(m.hunt, m.now);
    round_of(&m);
    assert_string_equal(told(&m).text, "");
    m.now += PERIOD_MS;
    round_of(&m);
    assert_string_equal(told(&m).text, "ns-5/ ");
    m.slow = NULL;
    m.now += 31000;
    round_of(&m);
    assert_string_equal(told(&m).text, "");
    mesh_free(&m);
}

static void found_by_another_question(void **state) {
    (void)state;
    struct mesh m = mesh_new(20, 4);
    m.locked[0] = "web-1.ns-5-26";
    hunt_namespace(m.hunt, "ns-5", HUNT_HUNG, m.now);
    hunt_namespace(m.hunt, "ns-6", HUNT_ANSWERED, m.now);
    struct hunt_question q;
    hunt_next(m.hunt, m.now, &q);
    assert_int_equal(q.kind, HUNT_CONTROL);
    assert_string_equal(q.resource, "connections");
    hunt_result(m.hunt, HUNT_ANSWERED, m.now);
    round_of(&m);
    assert_string_equal(told(&m).text, "ns-5/web-1.ns-5 ");
    mesh_free(&m);
}

/* Names are the clients' own: what could be read as more than a name is never put into a question. */
static void strange_names_are_not_asked(void **state) {
    (void)state;
    struct mesh m = mesh_new(1, 1);
    replica_begin(m.replica);
    static const char *const ids[] = {"a&push=true.ns-0", "b.x&push=true", "c?d.ns-0", "E.ns-0", "f%20g.ns-0", "nodot"};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        char *c = mem_printf("%s-9", ids[i]);
        struct conn_seen seen = {.id = ids[i], .connection = c, .connected_at_ms = 1, .address = ""};
        replica_conn(m.replica, &seen);
        free(c);
    }
    replica_commit_connections(m.replica);
    m.slow = "ns-0";
    hunt_search(m.hunt, m.now);
    round_of(&m);
    assert_int_equal(m.namespaces, 1);
    assert_int_equal(m.proxies, 0);
    mesh_free(&m);
}

/* On a busy istiod a question may be late: a proxy is named when it hung twice while others were answered. */
static void late_once_is_not_named(void **state) {
    (void)state;
    struct mesh m = mesh_new(2, 3);
    m.locked[0] = "web-1.ns-1-4";
    struct hunt_question q;
    bool late = false;
    hunt_search(m.hunt, m.now);
    for (hunt_next(m.hunt, m.now, &q); q.kind != HUNT_NOTHING; hunt_next(m.hunt, m.now, &q)) {
        bool first = !late && q.kind == HUNT_PROXY && strstr(q.resource, "web-2.ns-1-6");
        late |= first;
        m.now += 1000;
        hunt_result(m.hunt, first || hangs(&m, &q) ? HUNT_HUNG : HUNT_ANSWERED, m.now);
    }
    assert_true(late);
    assert_string_equal(told(&m).text, "ns-1/web-1.ns-1 ");
    mesh_free(&m);
}

/* --- a proxy that its neighbours leave behind --- */

static void reading(struct mesh *m, unsigned n, unsigned moved, int round) {
    replica_begin(m->replica);
    for (unsigned i = 0; i < n; i++) {
        char *id = mem_printf("web-%u.ns-0", i);
        char *sent = mem_printf("2026-11-23T06:00:%02dZ/%d" V1, i < moved ? round : 0, i < moved ? round : 0);
        struct sync_seen s = {.id = id, .proxy_type = "sidecar", .istio_version = "", .cluster = "", .has_types = true};
        s.types[0] = (struct type_seen){.type = XDS_CDS, .sent = sent, .acked = sent};
        s.n_types = 1;
        replica_sync(m->replica, &s);
        free(id);
        free(sent);
    }
    replica_commit_syncz(m->replica, NULL, m->now);
}

static void a_laggard_is_asked_and_named(void **state) {
    (void)state;
    for (int locked = 0; locked < 2; locked++) {
        struct mesh m = mesh_new(1, 5);
        m.locked[0] = locked ? "web-4.ns-0-5" : NULL;
        for (int i = 0; i < 7; i++) {
            reading(&m, 5, 4, i);
            assert_false(round_of(&m)); /* not before two readings and a minute */
            m.now += PERIOD_MS;
        }
        reading(&m, 5, 4, 8);
        assert_true(round_of(&m));
        assert_int_equal(m.proxies, locked ? 2 : 1);
        assert_string_equal(told(&m).text, locked ? "ns-0/web-4.ns-0 " : "");
        /* One that answers is not concerned by these pushes; it is not asked again while they go on. */
        m.now += PERIOD_MS;
        reading(&m, 5, 4, 9);
        unsigned proxies = m.proxies;
        round_of(&m);
        assert_int_equal(m.proxies, proxies);
        mesh_free(&m);
    }
}

static void a_quiet_mesh_has_no_laggards(void **state) {
    (void)state;
    struct mesh m = mesh_new(1, 5);
    for (int i = 0; i < 12; i++) {
        reading(&m, 5, i % 4 == 0 ? 1 : 0, i); /* one of five is sent something now and then */
        assert_false(round_of(&m));
        m.now += PERIOD_MS;
    }
    mesh_free(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_costs_nothing),        cmocka_unit_test(named_among_five_thousand),
        cmocka_unit_test(a_known_lock_is_left_alone),   cmocka_unit_test(heals_with_the_stream),
        cmocka_unit_test(two_locks_in_two_namespaces),  cmocka_unit_test(silence_of_the_whole_is_no_lock),
        cmocka_unit_test(slow_once_is_forgiven),        cmocka_unit_test(found_by_another_question),
        cmocka_unit_test(strange_names_are_not_asked),  cmocka_unit_test(late_once_is_not_named),
        cmocka_unit_test(a_laggard_is_asked_and_named), cmocka_unit_test(a_quiet_mesh_has_no_laggards),
    };
    return cmocka_run_group_tests_name("reader_hunt", tests, NULL, NULL);
}
