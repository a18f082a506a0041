/*
 * One MeshUpgrade: spec text -> struct policy and wave membership, status text <-> struct progress.
 */
#pragma once

#include "../core/snapshot.h"
#include "inventory.h"

struct upgrade {
    char *name, *uid;
    int64_t generation;
    char *from_name, *to_name; /* as the spec says */
    char *from, *to;           /* resolved revisions, NULL: not installed */
    struct policy policy;      /* from/to as indexes are filled by join */
    struct wave_policy *waves;
    char **wave_names;
    json_t **wave_selects; /* spec.waves[i].namespaces */
    struct progress progress;
    int64_t started_wall_ms, completed_wall_ms;
    int64_t wave_started_wall_ms;
    bool fresh; /* no status was ever written */
};

#define MESHGATE_MARK_NAMESPACE "meshgate.io/moved-by" /* annotation of namespaces: which upgrade relabelled them */
#define UPGRADE_MARK_MAX 256

/* Read spec and status. false and *err: the spec cannot be followed (the API server's CEL rules should have refused it);
 * the text names the field. Soak times are turned to monotonic ones. Progress is taken from status as far as the waves
 * there bear the names that the spec gives them. *out needs upgrade_done() in both cases. */
bool upgrade_parse(const struct inv_upgrade *o, const struct inventory *inv, int64_t now_ms, int64_t wall_ms,
                   struct upgrade *out, struct err *err);
void upgrade_done(struct upgrade *u);
/* In place of one while none is at work: it has no name, no waves and wants nobody anywhere, so that everything is judged
 * where it is. evidence_max_age_ms: older evidence is none. To be ended with upgrade_done() too. */
void upgrade_none(struct upgrade *out, int64_t evidence_max_age_ms);
/* Is the namespace a matter of this upgrade: would its pods be injected by from or to, does its label name one of them, or
 * has it been moved by this upgrade? */
bool upgrade_concerns(const struct upgrade *u, const struct inventory *inv, const struct inv_namespace *ns);
/* Wave of such a namespace, IDX_NONE when no wave takes it: the first that takes it by name or selector; of what no wave
 * takes so, each percent wave its share by a stable hash of the upgrade's UID and the name; then the wave that takes the
 * rest. */
uint32_t upgrade_wave_of(const struct upgrade *u, const char *namespace_, const json_t *labels);
/* Mark on restarted pod templates and relabelled namespaces: "NAME/UID-prefix". */
void upgrade_mark(const struct upgrade *u, char *out, size_t cap);
/* Was it moved by this upgrade (its mark stands)? */
bool upgrade_moved(const struct upgrade *u, const struct inv_namespace *ns);
/* A completed status that speaks of this very spec: nothing is left to do. */
bool upgrade_completed(const struct inv_upgrade *o);
