/* Tables of the inventory filled from tests/data, for its tests. */
#pragma once

#include "gate/inventory_tables.h"
#include "lib/base/vclock.h"

struct fix {
    struct vclock *clock;
    struct inventory_tables t;
    json_t *mesh, *webhooks;
};

/* Set-up of a test: nothing in it; everything; everything put in the opposite order (the result must be the same). */
int inventory_fix_empty(void **state);
int inventory_fix_full(void **state);
int inventory_fix_backward(void **state);
int inventory_fix_done(void **state);
/* Put the objects of tests/data once more. */
void inventory_fix_fill(struct fix *f, bool forward);
void inventory_fix_list(struct fix *f, enum inventory_resource r, const json_t *list);
/* Put one object from its text. */
bool inventory_fix_put(struct fix *f, enum inventory_resource r, const char *text);
const struct inv_pod *inventory_fix_pod(struct fix *f, const char *uid);
const struct inv_workload *inventory_fix_workload(struct fix *f, const char *key);
