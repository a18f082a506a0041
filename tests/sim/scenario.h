/* The language of tests/scenarios/README.md: statements, and conditions over what the API server has. */
#pragma once

#include "../../lib/base/buf.h"
#include "store.h"

enum scenario_kind {
    SCN_UPGRADE,
    SCN_REFUSED,
    SCN_DO,
    SCN_ON,
    SCN_WAIT,
    SCN_EXPECT,
    SCN_EXPECT_WITHIN,
    SCN_EXPECT_FOR,
};

struct scenario_step {
    enum scenario_kind kind;
    int line;
    int64_t ms;
    char *condition, *action; /* of SCN_REFUSED: text that the refusal must contain, in condition */
    char *name;               /* of the upgrade */
    json_t *spec;
};

struct scenario {
    bool runs_virtual, runs_demo, runs_e2e;
    uint32_t nodes, namespaces, pods, replicas;
    struct scenario_step *steps;
    size_t n_steps;
};

/* false and *err (with the line's number) when it is not of the language. Conditions are checked for form only. */
bool scenario_parse(const char *text, struct scenario *out, struct err *err);
void scenario_done(struct scenario *s);

/* How the mesh was before the upgrade: labels of namespaces. Conditions compare with it. */
struct scenario_before;
struct scenario_before *scenario_before(struct store *s);
void scenario_before_free(struct scenario_before *b);

/* 1 true, 0 false, -1 not understood (*err). upgrade: name of the MeshUpgrade, NULL: none yet. why may be NULL; else what
 * was seen instead. */
int scenario_check(struct store *s, const struct scenario_before *b, const char *upgrade, const char *condition,
                   struct buf *why, struct err *err);
/* Does wave number w of the spec take this namespace (and no earlier one)? Percent: unknown, false. */
bool scenario_wave_takes(const struct scenario_before *b, const json_t *spec, size_t w, const char *ns);
