/* The pre-flight calls nothing good that was not heard, and names what is bad. */
#include <stdio.h>
#include <string.h>

#include "cmocka_all.h"
#include "gate/check.h"
#include "gate/coverage.h"
#include "gate_mesh.h"
#include "lib/base/json.h"

#define READ_OK MESHGATE__V1__READ_STATUS__READ_OK
#define READ_TIMEOUT MESHGATE__V1__READ_STATUS__READ_TIMEOUT

static json_t *look(struct gate_mesh *f) {
    const struct snapshot *seen = gate_mesh_join(f);
    json_t *covered = coverage(f->join, &f->upgrade, "here", sched_now(f->sched));
    const struct check_input in = {.inv = f->inv,
                                   .evidence = f->evidence,
                                   .names = join_names(f->join),
                                   .seen = seen,
                                   .coverage = covered,
                                   .agent_daemon = "look at the agents",
                                   .now_ms = sched_now(f->sched),
                                   .max_age_ms = f->upgrade.policy.evidence_max_age_ms};
    json_t *v = check_view(&in);
    json_decref(covered);
    return v;
}

/* The n-th check of this name in a section, NULL: there are less. */
static const json_t *find(const json_t *v, const char *section, const char *name, unsigned n) {
    size_t s, i;
    const json_t *x, *c;
    json_array_foreach(js_at(v, "sections", NULL), s, x) {
        json_array_foreach(js_at(x, "checks", NULL), i, c) {
            bool it = strcmp(js_text(x, "name", NULL), section) == 0 && strcmp(js_text(c, "name", NULL), name) == 0;
            if (it && n-- == 0) {
                return c;
            }
        }
    }
    return NULL;
}

/* text NULL: there is no such check */
static void assert_check(const json_t *v, const char *section, const char *name, const char *result, const char *text) {
    const json_t *c;
    unsigned n = 0;
    char all[4096] = "";
    while ((c = find(v, section, name, n++)) != NULL) {
        if (strcmp(js_text(c, "result", NULL), result) == 0 && strstr(js_text(c, "text", NULL), text ? text : "")) {
            assert_true(text != NULL);
            bool good = strcmp(result, "ok") == 0;
            assert_true(good == (js_text(c, "hint", NULL)[0] == '\0'));
            return;
        }
        strncat(all, js_text(c, "text", NULL), sizeof all - strlen(all) - 1);
    }
    if (text) {
        fail_msg("%s: no check %s is %s with \"%s\", but: %s", section, name, result, text, all);
    }
}

static unsigned count(const json_t *v, const char *result) {
    unsigned n = 0;
    size_t s, i;
    const json_t *x, *c;
    json_array_foreach(js_at(v, "sections", NULL), s, x) {
        json_array_foreach(js_at(x, "checks", NULL), i, c) {
            n += strcmp(js_text(c, "result", NULL), result) == 0;
        }
    }
    return n;
}

static void nothing_heard_is_nothing_known(void **state) {
    struct gate_mesh *f = *state;
    f->unread = true;
    json_t *v = look(f);
    assert_check(v, "kubernetes", "objects", "ok", "all watches of the API server are in sync");
    assert_check(v, "control planes", "replicas", "ok", "canary: 1 of 1 replicas ready");
    assert_check(v, "control planes", "unread", "unknown", "no agent reads: istiod-");
    assert_check(v, "control planes", "readings", "ok", NULL);
    assert_check(v, "control planes", "pushes", "ok", NULL);
    assert_check(v, "agents", "no agent", "unknown", "node-01");
    assert_check(v, "agents", "reach", "unknown", "have not tried lately to reach canary: node-");
    assert_check(v, "agents", "reach", "ok", NULL);
    assert_check(v, "proxies", "CpStale", "unknown", "no fresh word of its control plane");
    assert_check(v, "coverage", "heard", "unknown", "has fresh word of 0 of ");
    assert_check(v, "coverage", "control_plane", "unknown", " of 0 of ");
    assert_check(v, "coverage", "node", "unknown", " of 0 of ");
    json_decref(v);
}

static void a_mesh_that_is_well(void **state) {
    struct gate_mesh *f = *state;
    gate_mesh_hear(f);
    json_t *v = look(f);
    assert_check(v, "control planes", "readings", "ok", "every replica is read and answers");
    assert_check(v, "control planes", "pushes", "ok", "no proxy is locked against pushes");
    assert_check(v, "agents", "nodes", "ok", "2 of 2 nodes with pods have an agent");
    assert_check(v, "agents", "reach", "ok", "every node reaches canary");
    assert_check(v, "agents", "reach", "unknown",
                 "have not tried lately to reach old"); /* these agents only test the canary */
    assert_check(v, "injection", "tags", "ok", "default -> old");
    assert_check(v, "injection", "labels", "ok", "2 namespaces ask for injection");
    assert_check(v, "coverage", "sync", "ok", "acknowledged of all ");
    assert_check(v, "coverage", "heard", "ok", "has fresh word of all ");
    assert_int_equal(count(v, "fail"), 0);
    assert_check(v, "control planes", "trust", "unknown", "of the mesh's root at: old");
    assert_int_equal(count(v, "unknown"), 2);
    json_decref(v);
}

static void silence_makes_it_unknown_again(void **state) {
    struct gate_mesh *f = *state;
    gate_mesh_hear(f);
    gate_mesh_join(f);
    gate_mesh_pass(f, 46000);
    gate_mesh_read(f, "old", READ_OK);
    json_t *v = look(f);
    assert_check(v, "control planes", "silent", "unknown", "does not answer: istiod-canary");
    assert_check(v, "agents", "silent", "unknown", "the agent has gone silent on: node-0");
    assert_check(v, "control planes", "readings", "ok", NULL);
    json_decref(v);
}

static void a_locked_proxy_is_a_failure(void **state) {
    struct gate_mesh *f = *state;
    gate_mesh_hear(f);
    gate_mesh_join(f);
    for (int i = 0; i < 8; i++) {
        gate_mesh_pass(f, 10000);
        gate_mesh_hear(f);
        gate_mesh_read(f, "old", READ_TIMEOUT);
        gate_mesh_join(f);
    }
    json_t *v = look(f);
    assert_check(v, "control planes", "pushes", "fail", "a proxy's pushes are locked on: istiod-old");
    json_decref(v);
}

static bool always(void *ctx, const char *a, const char *b) {
    (void)ctx;
    (void)a;
    (void)b;
    return true;
}

static void a_locked_proxy_is_named(void **state) {
    struct gate_mesh *f = *state;
    static const struct evidence_rules rules = {.local_allowed = always, .may_read = always};
    gate_mesh_hear(f);
    gate_mesh_join(f);
    Meshgate__V1__Report report = MESHGATE__V1__REPORT__INIT;
    Meshgate__V1__ReplicaReading reading = MESHGATE__V1__REPLICA_READING__INIT, *readings[] = {&reading};
    Meshgate__V1__Blocked blocked = MESHGATE__V1__BLOCKED__INIT, *list[] = {&blocked};
    report.replicas = readings;
    report.n_replicas = 1;
    reading.replica = f->inv->replicas->uid;
    reading.epoch = 1;
    reading.connections = READ_OK;
    reading.has_connections = true;
    reading.questions = 100;
    reading.blocked = list;
    reading.n_blocked = 1;
    blocked.namespace_ = (char *)(uintptr_t) "app-00";
    blocked.proxy = (char *)(uintptr_t) "web-1.app-00";
    evidence_take(f->evidence, "node-01", &report, &rules, sched_now(f->sched));
    json_t *v = look(f);
    assert_check(v, "control planes", "pushes", "fail", "(proxy web-1.app-00)");
    json_decref(v);
    blocked.proxy = (char *)(uintptr_t) "";
    evidence_take(f->evidence, "node-01", &report, &rules, sched_now(f->sched));
    v = look(f);
    assert_check(v, "control planes", "pushes", "fail", "(namespace app-00)");
    json_decref(v);
}

static void labels_are_looked_at(void **state) {
    struct gate_mesh *f = *state;
    gate_mesh_hear(f);
    gate_mesh_patch(f, "app-00", "{\"labels\":{\"istio.io/rev\":\"canary\"}}");
    gate_mesh_patch(f, "app-01", "{\"labels\":{\"istio.io/rev\":\"nosuch\"}}");
    json_t *v = look(f);
    assert_check(v, "injection", "labels", "warn", "app-00 (istio-injection=enabled, istio.io/rev=canary)");
    assert_check(v, "injection", "labels", "fail", "app-01 (istio.io/rev=nosuch)");
    assert_check(v, "injection", "labels", "ok", NULL);
    assert_check(v, "proxies", "NotInstalled", "warn", "app-01/web-");
    json_decref(v);
}

static void proxies_in_trouble_are_counted_by_reason(void **state) {
    struct gate_mesh *f = *state;
    gate_mesh_hear(f);
    gate_mesh_join(f);
    const struct proxy_row *p = gate_mesh_proxy(f, "app-01", "web");
    f->rejecting = join_names(f->join)->pods[p - join_snapshot(f->join)->proxies]->name;
    gate_mesh_pass(f, 10000);
    gate_mesh_hear(f);
    json_t *v = look(f);
    char text[300];
    (void)snprintf(text, sizeof text, "Nack: 1 proxy: rejects its configuration (app-01/%s)", f->rejecting);
    assert_check(v, "proxies", "Nack", "fail", text);
    json_decref(v);
}

static void many_names_are_cut_short(void **state) {
    struct gate_mesh *f = *state;
    json_t *v = look(f);
    const json_t *c = find(v, "proxies", "CpStale", 0);
    unsigned n = join_snapshot(f->join)->n_proxies;
    char more[40];
    (void)snprintf(more, sizeof more, " and %u more)", n - 3);
    assert_true(n > 3);
    assert_non_null(strstr(js_text(c, "text", NULL), more));
    json_decref(v);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, gate_mesh_setup, gate_mesh_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(nothing_heard_is_nothing_known),
        TEST(a_mesh_that_is_well),
        TEST(silence_makes_it_unknown_again),
        TEST(a_locked_proxy_is_a_failure),
        TEST(a_locked_proxy_is_named),
        TEST(labels_are_looked_at),
        TEST(proxies_in_trouble_are_counted_by_reason),
        TEST(many_names_are_cut_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
