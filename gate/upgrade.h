/*
 * One MeshUpgrade: spec text -> struct policy and wave membership, status text <-> struct progress.
 */
#pragma once

#include "../core/snapshot.h"
#include "inventory.h"

struct upgrade {
    char *name, *uid;
    int64_t generation;
    char *from_name, *to_name;    /* as the spec says */
    char *from, *to;              /* resolved revisions, NULL: not installed */
    struct policy policy;         /* from/to as indexes are filled by join */
    struct wave_policy *waves;
    char **wave_names;
    json_t **wave_selects;        /* spec.waves[i].namespaces */
    struct progress progress;
    int64_t started_wall_ms, completed_wall_ms;
    int64_t wave_started_wall_ms;
    bool fresh;                   /* no status was ever written */
};

/* Read spec and status. false and *err: the spec cannot be followed (the API server's CEL rules should have refused it);
 * the text names the field. Soak times are turned to monotonic ones. */
bool upgrade_parse(const struct inv_upgrade *o, const struct inventory *inv, int64_t now_ms, int64_t wall_ms, struct upgrade *out,
                   struct err *err);
void upgrade_done(struct upgrade *u);
/* Wave of a namespace, IDX_NONE when no wave selects it: the first wave whose names, selector or percent take it, among the
 * namespaces that belong to the upgrade (expected revision of the namespace is from or to, or already moved by it).
 * Percent: stable hash of upgrade UID and namespace name, of the namespaces that no earlier wave took by name or selector. */
uint32_t upgrade_wave_of(const struct upgrade *u, const char *namespace_, const json_t *labels);
/* Mark on restarted pod templates and relabelled namespaces: "NAME/UID-prefix". */
void upgrade_mark(const struct upgrade *u, char *out, size_t cap);
