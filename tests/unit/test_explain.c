/* The explanation of a row names the witness whose word made its state: over hundreds of thousands of rows, mending what
 * that witness says changes the judgement, and the sentences speak of what is in the row. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "core/decide.h"
#include "gate/explain.h"
#include "gate/row_text.h"
#include "gate/witness.h"
#include "lib/base/json.h"

enum { NOW = 10000000, AGE = 45000 };
enum { ROWS = 100000 };
#define TEXT(s) ((char *)(uintptr_t)(s))

static struct wave_policy wave;
static struct policy policy;
static struct revision_row revisions[2];
static struct replica_row replicas[2];
static struct node_row node;
static struct namespace_row namespaces[2];
static struct workload_row workload;
static struct proxy_row row;
static struct snapshot seen;

static const char *revision_names[] = {"old", "canary"}, *node_names[] = {"node-03"}, *namespace_names[] = {"shop", "bank"};
static struct inv_replica replica_objects[2] = {{.name = TEXT("istiod-old-a")}, {.name = TEXT("istiod-canary-b")}};
static const struct inv_replica *replica_list[] = {&replica_objects[0], &replica_objects[1]};
static struct inv_pod pod;
static struct inv_workload web = {.key = TEXT("Deployment/shop/web"), .name = TEXT("web")};
static const struct inv_workload *workloads[] = {&web};
static const struct inv_pod *pods[] = {&pod};
static struct attach_fact attach;
static struct local_fact local;
static const struct attach_fact *attached[1];
static const struct local_fact *locals[1];
static const char *troubles[1];
static struct join_names names;

/* A proxy that is well on the new revision, as everybody says. */
static void all_is_well(void) {
    policy = (struct policy){.from = 0,
                             .to = 1,
                             .node_witness = true,
                             .coverage_permille = 1000,
                             .evidence_max_age_ms = AGE,
                             .dwell_start_ms = 60000,
                             .dwell_absent_ms = 30000,
                             .dwell_ack_ms = 20000,
                             .dwell_conflict_ms = 30000,
                             .waves = &wave,
                             .n_waves = 1};
    for (unsigned i = 0; i < 2; i++) {
        revisions[i] = (struct revision_row){.installed = true, .has_injector = true, .replicas = 1, .ready = 1};
        replicas[i] = (struct replica_row){.revision = i, .ready = true, .assigned = true, .answered_ms = NOW - 3000};
    }
    node = (struct node_row){.agent = true, .witness = true, .heard_ms = NOW - 5000, .reach_known = true, .reach_ok = true};
    namespaces[0] = (struct namespace_row){.wave = 0, .relabelled = true};
    namespaces[1] = (struct namespace_row){.wave = IDX_NONE};
    workload = (struct workload_row){.kind = KIND_DEPLOYMENT, .replicas = 1, .restarted = true, .settled = true};
    row = (struct proxy_row){.expected = 1,
                             .injected = 1,
                             .ready = true,
                             .asks = true,
                             .created_ms = NOW - 3600000,
                             .expected_since_ms = NOW - 3600000,
                             .attached = 1,
                             .replica = 1,
                             .attached_at_ms = NOW - 3000,
                             .sync = SYNC_SYNCED,
                             .sync_at_ms = NOW - 3000,
                             .node_at_ms = NOW - 5000,
                             .dials = 1,
                             .xds_up = true,
                             .version = VERSION_MATCHES};
    seen = (struct snapshot){.revisions = revisions,
                             .n_revisions = 2,
                             .replicas = replicas,
                             .n_replicas = 2,
                             .nodes = &node,
                             .n_nodes = 1,
                             .namespaces = namespaces,
                             .n_namespaces = 2,
                             .workloads = &workload,
                             .n_workloads = 1,
                             .proxies = &row,
                             .n_proxies = 1,
                             .inventory_fresh = true,
                             .progress = {.started = true}};
    pod =
        (struct inv_pod){.uid = TEXT("uid-1"), .namespace_ = TEXT("shop"), .name = TEXT("web-1"), .node = TEXT("node-03")};
    attach =
        (struct attach_fact){.id = TEXT("web-1.shop"), .cds_acked = TEXT("V/2"), .lds_acked = TEXT("V/2"), .copies = 1};
    local = (struct local_fact){.cds_version = TEXT("V/1"), .lds_version = TEXT("V/2"), .stats_ok = true};
    names = (struct join_names){.revisions = revision_names,
                                .nodes = node_names,
                                .namespaces = namespace_names,
                                .replicas = replica_list,
                                .workloads = workloads,
                                .pods = pods,
                                .attached = attached,
                                .local = locals,
                                .node_troubles = troubles};
}

static void judge(void) {
    attached[0] = row.attached < 2 ? &attach : NULL;
    locals[0] = row.node_at_ms != 0 ? &local : NULL;
    classify(&policy, &seen, NOW);
}

/* --- every reason has somebody --- */

static void no_reason_is_forgotten(void **state) {
    (void)state;
    for (unsigned r = 0; r < REASON_COUNT; r++) {
        if (!witness_knows((enum reason)r)) {
            fail_msg("gate/witness.c does not say whose word %s is", reason_name((enum reason)r));
        }
    }
}

/* --- rows --- */

static uint32_t random_state;

static uint32_t below(uint32_t n) {
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % n;
}

static bool one_in(uint32_t n) {
    return below(n) == 0;
}

static uint32_t any_revision(void) {
    static const uint32_t values[] = {0, 1, 1, 1, REV_NONE, REV_UNKNOWN};
    return values[below(6)];
}

static int64_t any_time(void) {
    static const int64_t ages[] = {0, 1000, 10000, 25000, 40000, 100000, 7200000};
    uint32_t i = below(7);
    return i == 0 ? 0 : NOW - ages[i];
}

static void spoil_intent(void) {
    row.expected = one_in(8) ? REV_CONFLICT : one_in(8) ? REV_FOREIGN : any_revision();
    row.injected = one_in(8) ? REV_FOREIGN : any_revision();
    row.asks = one_in(2);
    row.dangling = row.expected == REV_NONE && one_in(3);
    row.opted_out = one_in(10);
    row.deleting = one_in(20);
    row.finished = one_in(20);
    row.host_network = one_in(4);
    row.created_ms = any_time();
    workload.paused = one_in(3);
    workload.restarted = one_in(2);
}

static void spoil_pod(void) {
    static const enum reason reasons[] = {REASON_NONE, REASON_IMAGE_PULL, REASON_CRASH_LOOP, REASON_CONFIG_MISSING};
    row.ready = false;
    row.trouble = reasons[below(4)];
    row.node = one_in(10) ? IDX_NONE : 0;
}

static void spoil_control_plane(void) {
    row.attached = any_revision();
    row.replica = row.attached < 2 ? row.attached : IDX_NONE;
    row.attached_at_ms = any_time();
    row.absent_looks = row.attached == REV_NONE ? below(4) : 0;
    row.detached_since_ms = row.absent_looks ? any_time() : 0;
    row.sync = (enum sync_state)below(4);
    row.sync_at_ms = any_time();
    row.pending_since_ms = row.sync == SYNC_PENDING ? any_time() : 0;
    row.blocked = one_in(6);
    row.moved_at_ms = any_time();
    replicas[1].failing = one_in(4);
    revisions[1].ready = below(2);
}

static void spoil_node(void) {
    row.node_at_ms = any_time();
    row.dials = any_revision();
    row.dials_differ_since_ms = row.dials != row.attached ? any_time() : 0;
    row.xds_up = one_in(2);
    row.xds_down_since_ms = row.xds_up ? 0 : any_time();
    row.cut_since_ms = row.xds_up ? 0 : any_time();
    row.refused = one_in(4);
    row.version = (enum version_match)below(4);
    row.version_differs_since_ms = row.version == VERSION_DIFFERS ? any_time() : 0;
    row.cert_expired = one_in(6);
    row.no_envoy = one_in(8);
    node.agent = !one_in(4);
    node.witness = !one_in(4);
    node.disbelieved = one_in(6);
}

static void spoil(void) {
    all_is_well();
    row.ns = below(2);
    policy.node_witness = !one_in(4);
    if (one_in(3)) {
        spoil_intent();
    }
    if (one_in(3)) {
        spoil_pod();
    }
    if (one_in(2)) {
        spoil_control_plane();
    }
    if (one_in(2)) {
        spoil_node();
    }
}

/* What this witness says becomes what is said of a proxy that is well where it is. */
static void mend(enum witness w, bool pod_itself) {
    struct proxy_row was = row;
    uint32_t home = was.injected < 2 ? was.injected : 1;
    switch (w) {
    case WITNESS_INTENT:
        if (!pod_itself) {
            row.expected = row.injected = row.ns == 1 && row.attached < 2 ? row.attached : 1;
            row.opted_out = row.deleting = row.finished = row.dangling = false;
        }
        row.ready = true;
        row.trouble = REASON_NONE;
        row.node = 0;
        return;
    case WITNESS_CONTROL_PLANE:
        row.attached = row.replica = home;
        row.attached_at_ms = row.sync_at_ms = NOW - 3000;
        row.sync = SYNC_SYNCED;
        row.pending_since_ms = 0;
        row.blocked = false;
        replicas[home].failing = false;
        return;
    case WITNESS_NODE:
        row.node_at_ms = NOW - 5000;
        row.dials = row.attached;
        row.xds_up = true;
        row.cut_since_ms = row.xds_down_since_ms = row.dials_differ_since_ms = 0;
        row.refused = row.cert_expired = false;
        row.version = VERSION_MATCHES;
        node.agent = node.witness = true;
        node.disbelieved = false;
        return;
    case WITNESS_NONE:
    case WITNESS_ALL:
        return;
    }
}

static void tell_row(const char *what) {
    json_t *o = explain_proxy(&names, &policy, &seen, 0, NOW);
    char *text = js_dump(o);
    fail_msg("%s: %s", what, text);
}

static void names_the_witness(void) {
    const struct proxy_row was = row;
    enum witness decided = witness_decided(&policy, &seen, &row, NOW);
    json_t *o = explain_proxy(&names, &policy, &seen, 0, NOW);
    const char *rule = js_text(o, "rule", NULL);
    static const char *const says[] = {
        "not judged: ", "the API server's word decides: ", "the control plane's word decides: ",
        "the node's word decides: ", "nothing contradicts: "};
    const char *word = strstr(rule, says[decided]);
    assert_string_equal(js_text(o, "state", NULL), state_name(was.state));
    if (!word) {
        tell_row("the rule does not name who decided");
    }
    /* What decided is what that witness says, word by word. */
    static const char *const keys[] = {NULL, "intent", "control_plane", "node", NULL};
    if (keys[decided] && strcmp(word + strlen(says[decided]), js_text(o, "witnesses", keys[decided], "says", NULL)) != 0) {
        tell_row("the rule does not end with what that witness says");
    }
    json_decref(o);
    if (decided == WITNESS_NONE || decided == WITNESS_ALL) {
        return;
    }
    mend(decided, witness_pod_decided(&row));
    judge();
    if (row.state == was.state && row.reason == was.reason && witness_decided(&policy, &seen, &row, NOW) == decided) {
        row = was;
        tell_row("mending what that witness says changes nothing");
    }
}

static void rules_name_the_witness_that_decided(void **state) {
    (void)state;
    uint32_t by_reason[REASON_COUNT] = {0}, by_witness[5] = {0};
    random_state = 7;
    for (uint32_t i = 0; i < ROWS; i++) {
        spoil();
        judge();
        by_reason[row.reason]++;
        by_witness[witness_decided(&policy, &seen, &row, NOW)]++;
        names_the_witness();
    }
    unsigned reasons = 0;
    for (unsigned r = 0; r < REASON_COUNT; r++) {
        reasons += by_reason[r] > 0;
    }
    assert_true(reasons >= 30);
    for (unsigned w = 0; w < 5; w++) {
        assert_true(by_witness[w] > ROWS / 100);
    }
}

/* --- some rows in words --- */

static const char *rule_of(void) {
    static char text[1000];
    judge();
    json_t *o = explain_proxy(&names, &policy, &seen, 0, NOW);
    (void)snprintf(text, sizeof text, "%s: %s", state_name(row.state), js_text(o, "rule", NULL));
    json_decref(o);
    return text;
}

static void rules_in_words(void **state) {
    (void)state;
    all_is_well();
    assert_string_equal(rule_of(),
                        "Moved: nothing contradicts: expected on and injected by canary; istiod-canary-b of canary "
                        "lists it (read 3s ago), in sync; Envoy is connected to canary and runs the config version "
                        "that was acknowledged (seen 5s ago)");
    row.version = VERSION_DIFFERS;
    row.version_differs_since_ms = NOW - 60000;
    assert_string_equal(rule_of(),
                        "Conflict: expected on and injected by canary; istiod-canary-b of canary lists it (read 3s "
                        "ago), in sync; the node's word decides: Envoy runs CDS version V/1, but its istiod says "
                        "that V/2 was acknowledged (seen 5s ago)");
    all_is_well();
    row.sync = SYNC_ERROR;
    attach.error_type = TEXT("LDS");
    attach.error = TEXT("no such filter");
    assert_string_equal(rule_of(), "Nacking: expected on and injected by canary; the control plane's word decides: "
                                   "istiod-canary-b of canary lists it (read 3s ago), but it rejected LDS: no such filter");
    all_is_well();
    row.attached = REV_NONE;
    row.replica = IDX_NONE;
    row.absent_looks = 4;
    row.detached_since_ms = NOW - 61000;
    assert_string_equal(rule_of(),
                        "Detached: expected on and injected by canary; the control plane's word decides: no istiod "
                        "replica lists it in 4 complete looks, for 1m");
    all_is_well();
    row.ready = false;
    pod.trouble_text = TEXT("container app: CrashLoopBackOff");
    row.trouble = REASON_CRASH_LOOP;
    assert_string_equal(rule_of(),
                        "Syncing: istiod-canary-b of canary lists it (read 3s ago), in sync; Envoy is connected to "
                        "canary and runs the config version that was acknowledged (seen 5s ago); the API server's "
                        "word decides: expected on and injected by canary, and the pod is not ready: container app: "
                        "CrashLoopBackOff");
}

static void whatever_is_unknown_has_no_age(void **state) {
    (void)state;
    all_is_well();
    row.node_at_ms = 0;
    row.attached_at_ms = NOW + 1; /* from the future */
    seen.inventory_fresh = false;
    judge();
    json_t *o = explain_proxy(&names, &policy, &seen, 0, NOW);
    assert_true(json_is_null(js_at(o, "witnesses", "intent", "age_ms", NULL)));
    assert_true(json_is_null(js_at(o, "witnesses", "control_plane", "age_ms", NULL)));
    assert_true(json_is_null(js_at(o, "witnesses", "node", "age_ms", NULL)));
    assert_string_equal(js_text(o, "owner_kind", NULL), "Deployment");
    assert_string_equal(js_text(o, "whose", NULL), whose_name(reason_whose(row.reason)));
    json_decref(o);
}

static void a_row_is_found_by_its_names(void **state) {
    (void)state;
    all_is_well();
    assert_int_equal(explain_find(&names, &seen, "shop", "web-1"), 0);
    assert_int_equal(explain_find(&names, &seen, "bank", "web-1"), IDX_NONE);
    assert_int_equal(explain_find(&names, &seen, "shop", "web"), IDX_NONE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_reason_is_forgotten),
        cmocka_unit_test(rules_name_the_witness_that_decided),
        cmocka_unit_test(rules_in_words),
        cmocka_unit_test(whatever_is_unknown_has_no_age),
        cmocka_unit_test(a_row_is_found_by_its_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
