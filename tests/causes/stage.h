/*
 * The embedded mesh, the real gate and real agents on virtual time, as the scenarios have them, for tests that look at
 * every proxy's row instead of at the upgrade's status. Faults of the stage itself (an action that is refused) end the
 * test.
 */
#pragma once

#include "../../gate/gate_inside.h"
#include "../scenarios/parts.h"

struct stage_opts {
    uint32_t nodes, namespaces, pods, replicas;
    uint64_t seed;
    int64_t idle_period_ms; /* of reading while no upgrade is at work; 0: 60 s */
};

struct stage;

/* before: actions that are done before gate and agents start, NULL at the end; may be NULL. */
struct stage *stage_new(const struct stage_opts *o, const char *const *before);
void stage_free(struct stage *s);
/* An action of the scenario language. */
void stage_do(struct stage *s, const char *action);
/* Create a MeshUpgrade; spec is JSON. */
void stage_upgrade(struct stage *s, const char *name, const char *spec);
/* A Service changes every ms from now on: full pushes to everybody. 0: no more. */
void stage_pushes_every(struct stage *s, int64_t ms);
/* Let time pass; fn (may be NULL) is called every step_ms, with the mesh as it stands. */
void stage_pass(struct stage *s, int64_t ms, int64_t step_ms, void (*fn)(struct stage *s, void *ctx), void *ctx);
int64_t stage_now(const struct stage *s);
/* Kill the gate as SIGKILL does; a new one starts after a second. */
void stage_kill_gate(struct stage *s);
/* NULL while it is down. */
struct gate *stage_gate(struct stage *s);
const json_t *stage_object(struct stage *s, const char *resource, const char *ns, const char *name);
