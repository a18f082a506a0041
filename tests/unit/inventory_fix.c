#include "inventory_fix.h"

#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "lib/base/json.h"
#include "lib/base/mem.h"
#include "lib/base/text.h"

static const char *const resource_names[INVENTORY_RESOURCES] = {
    [INVENTORY_NAMESPACES] = "namespaces",
    [INVENTORY_WEBHOOKS] = "webhooks",
    [INVENTORY_POLICIES] = "policies",
    [INVENTORY_SERVICES] = "services",
    [INVENTORY_SLICES] = "slices",
    [INVENTORY_NODES] = "nodes",
    [INVENTORY_REPLICASETS] = "replicasets",
    [INVENTORY_JOBS] = "jobs",
    [INVENTORY_DEPLOYMENTS] = "deployments",
    [INVENTORY_STATEFULSETS] = "statefulsets",
    [INVENTORY_DAEMONSETS] = "daemonsets",
    [INVENTORY_PODS] = "pods",
    [INVENTORY_UPGRADES] = "upgrades",
    [INVENTORY_GATEWAYS] = "gateways",
    [INVENTORY_VMS] = "workloadentries",
    [INVENTORY_VALIDATOR] = "validators",
};

static json_t *load(const char *name) {
    char *path = mem_printf("%s/%s", TEST_DATA, name), *text;
    size_t len;
    struct err err;
    if (!text_read_file(path, 4 << 20, &text, &len, &err)) {
        fail_msg("%s", err.text);
    }
    json_t *o = js_parse(text, len, 4 << 20, &err);
    assert_non_null(o);
    free(text);
    free(path);
    return o;
}

bool inventory_fix_put(struct fix *f, enum inventory_resource r, const char *text) {
    struct err err;
    json_t *o = js_parse(text, strlen(text), 1 << 20, &err);
    if (!o) {
        fail_msg("%s: %s", err.text, text);
    }
    bool changed = inventory_put(&f->t, r, o);
    json_decref(o);
    return changed;
}

void inventory_fix_list(struct fix *f, enum inventory_resource r, const json_t *list) {
    size_t i;
    const json_t *o;
    json_array_foreach(list, i, o) {
        inventory_put(&f->t, r, o);
    }
}

int inventory_fix_empty(void **state) {
    struct fix *f = mem_alloc(sizeof *f);
    f->clock = vclock_new(1790000000000);
    vclock_run_until(f->clock, 1000);
    inventory_init(&f->t, vclock_sched(f->clock), "istio-system");
    f->mesh = load("inventory/mesh.json");
    f->webhooks = load("injectors.json");
    *state = f;
    return 0;
}

void inventory_fix_fill(struct fix *f, bool forward) {
    for (int i = 0; i < INVENTORY_RESOURCES; i++) {
        int r = forward ? i : INVENTORY_RESOURCES - 1 - i;
        inventory_fix_list(f, (enum inventory_resource)r,
                           r == INVENTORY_WEBHOOKS ? f->webhooks : js_at(f->mesh, resource_names[r], NULL));
    }
}

int inventory_fix_full(void **state) {
    inventory_fix_empty(state);
    inventory_fix_fill(*state, true);
    return 0;
}

int inventory_fix_backward(void **state) {
    inventory_fix_empty(state);
    inventory_fix_fill(*state, false);
    return 0;
}

int inventory_fix_done(void **state) {
    struct fix *f = *state;
    inventory_done(&f->t);
    vclock_free(f->clock);
    json_decref(f->mesh);
    json_decref(f->webhooks);
    free(f);
    return 0;
}

const struct inv_pod *inventory_fix_pod(struct fix *f, const char *uid) {
    struct inv_pod *p;
    HASH_FIND_STR(f->t.inv.pods, uid, p);
    return p;
}

const struct inv_workload *inventory_fix_workload(struct fix *f, const char *key) {
    struct inv_workload *w;
    HASH_FIND_STR(f->t.inv.workloads, key, w);
    return w;
}
