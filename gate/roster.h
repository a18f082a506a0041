/*
 * Who reads which istiod replica now, and what each agent is told about it (its Assignment). Inside of gate/session.
 */
#pragma once

#include "../lib/base/buf.h"
#include "assign.h"
#include "inventory.h"

struct roster;

struct roster_terms {
    const char *const *focus; /* namespaces that move or soak, in stable order */
    size_t n_focus;
    bool idle;
    int64_t period_ms;
};

struct roster *roster_new(void);
void roster_free(struct roster *r);
/*
 * Choose anew among these agents. A reader that has brought no word of its replica for patience_ms is passed over for a
 * while. Returns when to look again for such readers, 0: never.
 */
int64_t roster_update(struct roster *r, const struct inventory *inv, struct assign_agent *agents, size_t n,
                      int64_t patience_ms, int64_t now_ms);
/* The reader has brought word of a replica. */
void roster_heard(struct roster *r, const char *replica, int64_t now_ms);
/* The period has changed: every reader's time without a word begins now. */
void roster_pardon(struct roster *r, int64_t now_ms);
/* The whole syncz of a replica is due: its reader is told with the next Assignment. */
void roster_audit(struct roster *r, const char *replica);
/* NULL: nobody. */
const char *roster_reader(const struct roster *r, const char *replica);
const char *roster_standby(const struct roster *r, const char *replica);
/* Does this node read a replica, or stand by for one? */
bool roster_has_role(const struct roster *r, const char *node);
/* GateMessage with the Assignment of a node: the replicas that it reads or stands by for, and all revisions. Same roster,
 * same bytes; node NULL: what a node without a role gets. */
void roster_pack(const struct roster *r, const struct inventory *inv, const char *node, const struct roster_terms *t,
                 struct buf *out);
