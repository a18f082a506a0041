/*
 * What the gate says of pods: objects as the API server has them go in on stdin, {"namespaces": [...], "webhooks": [...],
 * "pods": [...], ...} (all lists: `inputs`), and one JSON line a pod comes out: {"namespace", "pod", "type", "owner",
 * "intent": "one|none|several|unknown", "revision", "opt_out", "injected", "configuration", "webhook", "why"}. The very
 * tables and probes of the gate answer, so that an oracle can hold them against a real cluster.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../gate/inventory_tables.h"
#include "../../lib/base/json.h"
#include "../../lib/base/mem.h"
#include "../../lib/base/vclock.h"

enum { INPUT_LIMIT = 256 << 20 };

static const struct {
    const char *name;
    enum inventory_resource resource;
} inputs[] = {
    {"namespaces", INVENTORY_NAMESPACES},   {"webhooks", INVENTORY_WEBHOOKS}, {"configmaps", INVENTORY_POLICIES},
    {"services", INVENTORY_SERVICES},       {"slices", INVENTORY_SLICES},     {"gateways", INVENTORY_GATEWAYS},
    {"validators", INVENTORY_VALIDATOR},    {"pods", INVENTORY_PODS},         {"deployments", INVENTORY_DEPLOYMENTS},
    {"replicasets", INVENTORY_REPLICASETS},
};

static char *read_all(size_t *len) {
    struct buf b;
    char piece[65536];
    size_t n;
    buf_init(&b, INPUT_LIMIT);
    while ((n = fread(piece, 1, sizeof piece, stdin)) > 0) {
        buf_add(&b, piece, n);
    }
    if (b.over || ferror(stdin)) {
        buf_done(&b);
        return NULL;
    }
    *len = b.len;
    return buf_take(&b);
}

static const char *result_name(enum injector_result r) {
    switch (r) {
    case INJECTOR_UNKNOWN:
        break;
    case INJECTOR_NONE:
        return "none";
    case INJECTOR_ONE:
        return "one";
    case INJECTOR_SEVERAL:
        return "several";
    }
    return "unknown";
}

static const char *type_name(enum pod_type type) {
    switch (type) {
    case POD_SIDECAR:
        break;
    case POD_GATEWAY:
        return "gateway";
    case POD_WAYPOINT:
        return "waypoint";
    case POD_ZTUNNEL:
        return "ztunnel";
    }
    return "sidecar";
}

static void tell(const struct inventory_tables *t, const struct inv_pod *p) {
    struct injector_verdict v;
    enum workload_kind kind;
    const char *owner;
    inventory_intent_of(t, p, &v);
    inventory_owner_of(t, p, &kind, &owner);
    char *whose = mem_printf("%s/%s", inventory_kind_name(kind), owner);
    json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s?, s:s, s:s?, s:s?, s:s?, s:s}", "namespace", p->namespace_, "pod",
                          p->name, "type", type_name(p->type), "owner", whose, "intent", result_name(p->expected_kind),
                          "revision", p->expected, "opt_out", opt_out_text(p->opt_out), "injected", p->injected,
                          "configuration", v.configuration, "webhook", v.webhook, "why", v.why);
    char *line = js_dump(o);
    puts(line);
    free(line);
    free(whose);
    json_decref(o);
}

int main(void) {
    struct inventory_tables t;
    struct err err;
    size_t len = 0;
    char *text = read_all(&len);
    json_t *all = text ? js_parse(text, len, INPUT_LIMIT, &err) : NULL;
    if (!all) {
        fprintf(stderr, "intent-ask: %s\n", text ? err.text : "stdin cannot be read, or is too large");
        free(text);
        return 2;
    }
    struct vclock *clock = vclock_new(1);
    inventory_init(&t, vclock_sched(clock), "istio-system");
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
        size_t k;
        const json_t *o;
        json_array_foreach(js_at(all, inputs[i].name, NULL), k, o) {
            inventory_put(&t, inputs[i].resource, o);
        }
    }
    for (const struct inv_pod *p = t.inv.pods; p; p = p->hh.next) {
        tell(&t, p);
    }
    inventory_done(&t);
    vclock_free(clock);
    json_decref(all);
    free(text);
    return 0;
}
