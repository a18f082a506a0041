/* What is wrong with single pods: faults by the beginning of their names, of pods that are there and of those to come. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "world_impl.h"

static const struct {
    const char *name;
    size_t words; /* behind the prefix */
    bool shakes;  /* ends the stream that stands */
} kinds[FAULT_KINDS] = {
    [FAULT_WITHHOLD] = {"withhold", 0, false},
    [FAULT_SLOW] = {"slow", 2, false},
    [FAULT_CUT] = {"cut", 0, true},
    [FAULT_REFUSED] = {"refused", 0, true},
    [FAULT_MISDIRECTED] = {"misdirected", 1, true},
    [FAULT_FOREIGN_CA] = {"foreign-ca", 1, false},
    [FAULT_EXPIRED] = {"expired", 0, false},
    [FAULT_HIDDEN] = {"hidden", 0, false},
    [FAULT_MUTE] = {"mute", 0, false},
    [FAULT_STUCK] = {"stuck", 0, false},
    [FAULT_HALF] = {"half", 0, true},
    [FAULT_SICK] = {"sick", 1, false},
    [FAULT_NO_SIDECAR] = {"no-sidecar", 1, true},
};

static bool takes(const struct sim_fault *f, const struct sim_pod *p) {
    return strncmp(p->key, f->prefix, strlen(f->prefix)) == 0;
}

static void fault_free(struct sim_fault *f) {
    free(f->prefix);
    free(f->arg);
    free(f);
}

void world_faults_of(struct sim_pod *p) {
    memset(p->faults, 0, sizeof p->faults);
    for (const struct sim_fault *f = p->w->faults; f; f = f->next) {
        if (takes(f, p) && !p->faults[f->kind]) {
            p->faults[f->kind] = f;
        }
    }
}

/* The pods of a prefix have a fault more or less. Returns how many they are. */
static uint32_t renew(struct world *w, enum sim_fault_kind kind, const char *prefix) {
    uint32_t n = 0;
    for (struct sim_pod *p = w->pods; p; p = p->hh.next) {
        if (strncmp(p->key, prefix, strlen(prefix)) != 0) {
            continue;
        }
        n++;
        world_faults_of(p);
        world_note(w, kinds[kind].name, p->key);
        if (kinds[kind].shakes) {
            world_proxy_shaken(p);
        } else if (kind == FAULT_WITHHOLD && !p->faults[kind]) {
            world_proxy_answer_soon(p);
        } else if (kind == FAULT_SICK) {
            world_pod_sicken(p);
        }
    }
    return n;
}

static bool kind_of(const char *name, enum sim_fault_kind *out, struct err *err) {
    for (int k = 0; k < FAULT_KINDS; k++) {
        if (strcmp(kinds[k].name, name) == 0) {
            *out = (enum sim_fault_kind)k;
            return true;
        }
    }
    return err_set(err, ERR_INVALID, "there is no fault \"%s\"", name);
}

bool world_do_fault(struct world *w, struct words *a, struct err *err) {
    enum sim_fault_kind kind = FAULT_KINDS;
    if (!kind_of(a->at[1], &kind, err)) {
        return false;
    }
    if (a->n < 3 + kinds[kind].words) {
        return err_set(err, ERR_INVALID, "fault %s: too few words", a->at[1]);
    }
    struct sim_fault *f = mem_alloc(sizeof *f);
    *f = (struct sim_fault){.kind = kind, .prefix = mem_dup(a->at[2]), .next = w->faults, .rev = -1};
    if (kind == FAULT_SLOW) {
        f->from_ms = (uint32_t)atoi(a->at[3]);
        f->to_ms = (uint32_t)atoi(a->at[4]);
    } else if (kinds[kind].words == 1) {
        f->arg = mem_dup(a->at[3]);
        f->rev = world_revision(f->arg);
    }
    if ((kind == FAULT_MISDIRECTED || kind == FAULT_FOREIGN_CA) && f->rev < 0) {
        fault_free(f);
        return err_set(err, ERR_INVALID, "fault %s: there is no revision %s", a->at[1], a->at[3]);
    }
    w->faults = f;
    renew(w, kind, f->prefix);
    return true;
}

bool world_do_mend(struct world *w, struct words *a, struct err *err) {
    enum sim_fault_kind kind = FAULT_KINDS;
    if (!kind_of(a->at[1], &kind, err)) {
        return false;
    }
    for (struct sim_fault **at = &w->faults; *at; at = &(*at)->next) {
        struct sim_fault *f = *at;
        if (f->kind == kind && strcmp(f->prefix, a->at[2]) == 0) {
            *at = f->next;
            renew(w, kind, f->prefix);
            fault_free(f);
            return true;
        }
    }
    return err_set(err, ERR_NOT_FOUND, "%s: nothing like that is wrong with %s", a->at[0], a->at[2]);
}

/* ---- what the API server refuses ---- */

const char *world_refusal(const struct world *w, const char *ns) {
    struct sim_refusal *r = NULL;
    HASH_FIND_STR(w->refusals, ns, r);
    return r ? r->text : NULL;
}

static void refusal_free(struct world *w, struct sim_refusal *r) {
    HASH_DEL(w->refusals, r);
    free(r->ns);
    free(r->text);
    free(r);
}

/* "refuse NS TEXT": no pod is taken in NS from now on; without TEXT they are taken again. */
bool world_do_refuse(struct world *w, struct words *a, struct err *err) {
    struct sim_refusal *r = NULL;
    HASH_FIND_STR(w->refusals, a->at[1], r);
    if (a->n == 2 && !r) {
        return err_set(err, ERR_NOT_FOUND, "refuse: pods of %s are taken", a->at[1]);
    }
    if (r) {
        refusal_free(w, r);
    }
    if (a->n > 2) {
        r = mem_alloc(sizeof *r);
        r->ns = mem_dup(a->at[1]);
        r->text = mem_dup(a->rest[2]);
        HASH_ADD_KEYPTR(hh, w->refusals, r->ns, strlen(r->ns), r);
    }
    return true;
}

void world_faults_free(struct world *w) {
    while (w->faults) {
        struct sim_fault *f = w->faults;
        w->faults = f->next;
        fault_free(f);
    }
    while (w->refusals) {
        refusal_free(w, w->refusals);
    }
}
