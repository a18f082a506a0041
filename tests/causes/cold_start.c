/*
 * How long a new gate takes to the full picture: every proxy known to be well, which takes the word of every witness. All
 * agents lose their stream at once, come back in their own time and tell everything again. On virtual time, so that it is
 * counted in reading periods and not in what else the machine does; tests/bench/run has what it costs.
 *   mesh-cold-start [NODES]
 * Twenty proxies a node. Exit code 0: at most two periods.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../../core/decide.h"
#include "../../lib/base/log.h"
#include "stage.h"

#define PERIOD_MS 10000
#define LONGEST_MS (10 * PERIOD_MS)
#define STEP_MS 100

/* Pods that should be in the picture and are not known to be well; the whole mesh while the gate knows nothing. */
static uint32_t missing(struct stage *s, uint32_t pods) {
    struct gate *g = stage_gate(s);
    uint32_t well = 0;
    if (!g || !inventory_loaded(g->inventory)) {
        return pods;
    }
    gate_look(g);
    const struct snapshot *seen = join_snapshot(g->join);
    for (uint32_t i = 0; i < seen->n_proxies; i++) {
        well += seen->proxies[i].state == STATE_SETTLED;
    }
    return well < pods ? pods - well : seen->n_proxies - well;
}

/* Time until the picture is full; LONGEST_MS: it did not come about. */
static int64_t until_full(struct stage *s, uint32_t pods) {
    int64_t from = stage_now(s);
    while (missing(s, pods) > 0 && stage_now(s) - from < LONGEST_MS) {
        stage_pass(s, STEP_MS, STEP_MS, NULL, NULL);
    }
    return stage_now(s) - from;
}

int main(int argc, char **argv) {
    uint32_t nodes = argc > 1 ? (uint32_t)atoi(argv[1]) : 1000;
    struct stage_opts o = {.nodes = nodes,
                           .namespaces = nodes * 2 / 5,
                           .pods = nodes * 20,
                           .replicas = 2,
                           .seed = 3,
                           .idle_period_ms = PERIOD_MS};
    struct timespec from, to;
    log_setup("mesh-cold-start", LOG_ERROR);
    clock_gettime(CLOCK_MONOTONIC, &from);
    struct stage *s = stage_new(&o, NULL);
    int64_t begin = until_full(s, o.pods);
    stage_pass(s, 3 * PERIOD_MS, PERIOD_MS, NULL, NULL);
    stage_kill_gate(s);
    while (!stage_gate(s)) {
        stage_pass(s, STEP_MS, STEP_MS, NULL, NULL);
    }
    int64_t again = until_full(s, o.pods);
    uint32_t left = missing(s, o.pods);
    clock_gettime(CLOCK_MONOTONIC, &to);
    bool ok = again <= 2 * PERIOD_MS && left == 0;
    printf(
        "%s %u agents, %u proxies: full picture %.1f s after all agents began, %.1f s after the cold start of a new gate: "
        "%.2f reading periods; %u are missing (%.0f s)\n",
        ok ? "ok" : "FAILED", nodes, o.pods, (double)begin / 1000, (double)again / 1000, (double)again / PERIOD_MS, left,
        (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9);
    stage_free(s);
    return ok ? 0 : 1;
}
