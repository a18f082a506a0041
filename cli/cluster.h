/* The objects that this program reads and changes, through kubectl. */
#pragma once

#include "../lib/base/json.h"
#include "kubectl.h"

struct cluster {
    struct kubectl kubectl;
    const char *gate_namespace;
};

/* What a change does to an upgrade (its JSON, in place). */
enum change_result { CHANGE_BAD, CHANGE_NONE, CHANGE_MADE };
typedef enum change_result (*change_fn)(json_t *upgrade, const void *arg, struct err *err);

/* The MeshUpgrade of this name; without a name the only one there is. The caller decref()s. NULL and *err (code
 * ERR_INVALID: a name must be given; the text lists them). */
json_t *cluster_upgrade(struct cluster *c, const char *name, struct err *err);
/* An answer of the gate's read-only port, through the API server's service proxy: /api/v1/WHAT QUERY, as text. query begins
 * with '?' or is "". out needs buf_done() in both cases. */
bool cluster_ask(struct cluster *c, const char *what, const char *query, struct buf *out, struct err *err);
/* The same as JSON. key: what the answer must have, else it is an error. The caller decref()s. */
json_t *cluster_gate(struct cluster *c, const char *what, const char *query, const char *key, struct err *err);
/*
 * Read, change, write back with the resourceVersion that was read; when somebody else wrote in between, again from the
 * start, up to 5 times. *out: the upgrade as it is afterwards, the caller decref()s.
 */
enum change_result cluster_change(struct cluster *c, const char *name, change_fn change, const void *arg, json_t **out,
                                  struct err *err);
