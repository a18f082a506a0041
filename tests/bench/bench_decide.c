/*
 * Time of classify() and decide() over a mesh in the middle of its upgrade: ten waves, the third moves, one proxy in a
 * thousand is in trouble. Prints one JSON line a size. Fails when either of them allocates, or when nothing is decided.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/decide.h"
#include "lib/base/mem.h"

#define WAVES 10
#define AT_WORK 2
#define PER_WORKLOAD 10
#define PER_NODE 20
#define PER_NAMESPACE 50
#define NOW 100000000
#define ROUNDS 50
#define REPLICAS 8

enum { OLD, NEW, REVISIONS };

/* Linked with --wrap: every allocation of ours passes here. */
void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

static uint64_t allocations;

void *__wrap_malloc(size_t n) {
    allocations++;
    return __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size) {
    allocations++;
    return __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n) {
    allocations++;
    return __real_realloc(p, n);
}

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void fill_control_planes(struct snapshot *s, struct revision_row *revisions, struct replica_row *replicas) {
    for (uint32_t i = 0; i < s->n_replicas; i++) {
        replicas[i] = (struct replica_row){
            .revision = i * REVISIONS / s->n_replicas, .ready = true, .assigned = true, .answered_ms = NOW - 4000};
    }
    for (uint32_t i = 0; i < REVISIONS; i++) {
        uint32_t each = s->n_replicas / REVISIONS;
        revisions[i] = (struct revision_row){.installed = true, .has_injector = true, .replicas = each, .ready = each};
    }
    s->revisions = revisions;
    s->replicas = replicas;
}

static void fill_tables(struct snapshot *s) {
    for (uint32_t i = 0; i < s->n_nodes; i++) {
        s->nodes[i] = (struct node_row){
            .agent = true, .witness = true, .heard_ms = NOW - 3000, .reach_known = true, .reach_ok = true};
    }
    for (uint32_t i = 0; i < s->n_namespaces; i++) {
        uint32_t wave = i % WAVES;
        bool labelled = wave <= AT_WORK;
        s->namespaces[i] = (struct namespace_row){.wave = wave, .relabelled = labelled, .relabelled_by_us = labelled};
    }
    for (uint32_t i = 0; i < s->n_workloads; i++) {
        uint32_t ns = i * PER_WORKLOAD / PER_NAMESPACE;
        s->workloads[i] = (struct workload_row){.ns = ns,
                                                .kind = KIND_DEPLOYMENT,
                                                .replicas = PER_WORKLOAD,
                                                .restarted = s->namespaces[ns].relabelled,
                                                .settled = s->namespaces[ns].wave != AT_WORK};
    }
}

/* Before the wave at work all have moved, in it every second one; one in a thousand does not acknowledge. */
static void fill_proxies(struct snapshot *s) {
    for (uint32_t i = 0; i < s->n_proxies; i++) {
        uint32_t workload = i / PER_WORKLOAD, ns = s->workloads[workload].ns, wave = s->namespaces[ns].wave;
        uint32_t expected = wave <= AT_WORK ? NEW : OLD;
        uint32_t now = wave < AT_WORK || (wave == AT_WORK && i % 2) ? NEW : OLD;
        s->proxies[i] = (struct proxy_row){.ns = ns,
                                           .workload = workload,
                                           .node = i % s->n_nodes,
                                           .expected = expected,
                                           .injected = now,
                                           .ready = true,
                                           .created_ms = NOW - 600000,
                                           .expected_since_ms = NOW - 700000,
                                           .attached = now,
                                           .replica = now * s->n_replicas / REVISIONS,
                                           .attached_at_ms = NOW - 4000,
                                           .sync = i % 1000 ? SYNC_SYNCED : SYNC_PENDING,
                                           .sync_at_ms = NOW - 4000,
                                           .pending_since_ms = i % 1000 ? 0 : NOW - 9000,
                                           .node_at_ms = NOW - 3000,
                                           .dials = now,
                                           .xds_up = true,
                                           .version = VERSION_MATCHES};
    }
}

static int by_size(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void snapshot_init(struct snapshot *s, uint32_t proxies, struct revision_row *revisions,
                          struct replica_row *replicas) {
    *s = (struct snapshot){.n_revisions = REVISIONS,
                           .n_replicas = REPLICAS,
                           .n_nodes = proxies / PER_NODE,
                           .n_namespaces = proxies / PER_NAMESPACE,
                           .n_workloads = proxies / PER_WORKLOAD,
                           .n_proxies = proxies,
                           .inventory_fresh = true,
                           .progress = {.wave = AT_WORK, .started = true}};
    s->nodes = mem_alloc(s->n_nodes * sizeof *s->nodes);
    s->namespaces = mem_alloc(s->n_namespaces * sizeof *s->namespaces);
    s->workloads = mem_alloc(s->n_workloads * sizeof *s->workloads);
    s->proxies = mem_alloc(s->n_proxies * sizeof *s->proxies);
    fill_control_planes(s, revisions, replicas);
    fill_tables(s);
    fill_proxies(s);
}

static void snapshot_done(struct snapshot *s) {
    free(s->nodes);
    free(s->namespaces);
    free(s->workloads);
    free(s->proxies);
}

/* Middle and worst of what was measured. */
static void sort(int64_t *ns, double *middle_ms, double *worst_ms) {
    qsort(ns, ROUNDS, sizeof *ns, by_size);
    *middle_ms = (double)ns[ROUNDS / 2] / 1e6;
    *worst_ms = (double)ns[ROUNDS - 1] / 1e6;
}

static int measure(uint32_t proxies) {
    static const struct wave_policy waves[WAVES];
    const struct policy policy = {.from = OLD,
                                  .to = NEW,
                                  .node_witness = true,
                                  .coverage_permille = 1000,
                                  .evidence_max_age_ms = 45000,
                                  .dwell_start_ms = 180000,
                                  .dwell_absent_ms = 60000,
                                  .dwell_ack_ms = 30000,
                                  .dwell_conflict_ms = 60000,
                                  .waves = waves,
                                  .n_waves = WAVES};
    static struct decision out;
    struct revision_row revisions[REVISIONS];
    struct replica_row replicas[REPLICAS];
    struct wave_tally tallies[WAVES];
    struct snapshot s;
    snapshot_init(&s, proxies, revisions, replicas);
    int64_t classified[ROUNDS], decided[ROUNDS];
    uint64_t before = allocations;
    for (int i = 0; i < ROUNDS; i++) {
        int64_t start = now_ns();
        classify(&policy, &s, NOW);
        int64_t between = now_ns();
        decide(&policy, &s, NOW, tallies, &out);
        classified[i] = between - start;
        decided[i] = now_ns() - between;
    }
    uint64_t allocated = allocations - before;
    double classify_ms, classify_worst, decide_ms, decide_worst;
    sort(classified, &classify_ms, &classify_worst);
    sort(decided, &decide_ms, &decide_worst);
    printf("{\"bench\":\"decide\",\"proxies\":%u,\"nodes\":%u,\"classify_ms\":%.2f,\"classify_worst_ms\":%.2f,"
           "\"decide_ms\":%.2f,\"decide_worst_ms\":%.2f,\"allocations\":%llu,\"phase\":\"%s\"}\n",
           proxies, s.n_nodes, classify_ms, classify_worst, decide_ms, decide_worst, (unsigned long long)allocated,
           phase_name(out.phase));
    snapshot_done(&s);
    bool moving = out.phase == PHASE_MOVING && tallies[AT_WORK].expected > 0 && tallies[AT_WORK].by_state[STATE_MOVED] > 0;
    return moving && allocated == 0 ? 0 : 1;
}

int main(void) {
    return measure(20000) | measure(100000);
}
