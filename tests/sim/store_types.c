#include <string.h>

#include "store_impl.h"

const struct store_res store_resources[] = {
    /* group, version, plural, kind, short, namespaced, status, generation, create_only */
    {"", "v1", "namespaces", "Namespace", "ns", false, true, false, false},
    {"", "v1", "nodes", "Node", "no", false, true, false, false},
    {"", "v1", "pods", "Pod", "po", true, true, true, false},
    {"", "v1", "services", "Service", "svc", true, true, false, false},
    {"", "v1", "configmaps", "ConfigMap", "cm", true, false, false, false},
    {"", "v1", "secrets", "Secret", NULL, true, false, false, false},
    {"", "v1", "serviceaccounts", "ServiceAccount", "sa", true, false, false, false},
    {"", "v1", "events", "Event", "ev", true, false, false, false},
    {"", "v1", "resourcequotas", "ResourceQuota", "quota", true, true, false, false},
    {"apps", "v1", "deployments", "Deployment", "deploy", true, true, true, false},
    {"apps", "v1", "statefulsets", "StatefulSet", "sts", true, true, true, false},
    {"apps", "v1", "daemonsets", "DaemonSet", "ds", true, true, true, false},
    {"apps", "v1", "replicasets", "ReplicaSet", "rs", true, true, true, false},
    {"apps", "v1", "controllerrevisions", "ControllerRevision", NULL, true, false, false, false},
    {"batch", "v1", "jobs", "Job", NULL, true, true, true, false},
    {"batch", "v1", "cronjobs", "CronJob", "cj", true, true, true, false},
    {"policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", "pdb", true, true, true, false},
    {"discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", NULL, true, false, true, false},
    {"admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", NULL, false,
     false, true, false},
    {"admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", NULL, false,
     false, true, false},
    {"coordination.k8s.io", "v1", "leases", "Lease", NULL, true, false, false, false},
    {"apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", "crd", false, true, true,
     false},
    {"authentication.k8s.io", "v1", "tokenreviews", "TokenReview", NULL, false, false, false, true},
    {"meshgate.io", "v1alpha1", "meshupgrades", "MeshUpgrade", "mup", false, true, true, false},
};

size_t store_resource_count(void) {
    return sizeof store_resources / sizeof *store_resources;
}

bool store_resource_find(const char *group, const char *version, const char *plural, size_t *out) {
    for (size_t i = 0; i < store_resource_count(); i++) {
        const struct store_res *r = &store_resources[i];
        if (!strcmp(r->plural, plural) && (!group || !strcmp(r->group, group)) &&
            (!version || !strcmp(r->version, version))) {
            *out = i;
            return true;
        }
    }
    return false;
}

static void add_resource(json_t *list, const struct store_res *r) {
    json_t *verbs = r->create_only
                        ? json_pack("[s]", "create")
                        : json_pack("[s,s,s,s,s,s,s]", "create", "delete", "get", "list", "patch", "update", "watch");
    json_t *o = json_pack("{s:s,s:s,s:b,s:s,s:o}", "name", r->plural, "singularName", "", "namespaced", r->namespaced,
                          "kind", r->kind, "verbs", verbs);
    if (r->short_name) {
        json_object_set_new(o, "shortNames", json_pack("[s]", r->short_name));
    }
    json_array_append_new(list, o);
    if (r->status) {
        json_array_append_new(list, json_pack("{s:o,s:s,s:b,s:s,s:[s,s,s]}", "name", json_sprintf("%s/status", r->plural),
                                              "singularName", "", "namespaced", r->namespaced, "kind", r->kind, "verbs",
                                              "get", "patch", "update"));
    }
    if (!strcmp(r->plural, "pods")) {
        json_array_append_new(list, json_pack("{s:s,s:s,s:b,s:s,s:s,s:s,s:[s]}", "name", "pods/eviction", "singularName",
                                              "", "namespaced", 1, "group", "policy", "version", "v1", "kind", "Eviction",
                                              "verbs", "create"));
    }
}

static bool resource_list(const char *group, const char *version, struct store_reply *out) {
    json_t *list = json_array();
    for (size_t i = 0; i < store_resource_count(); i++) {
        if (!strcmp(store_resources[i].group, group) && !strcmp(store_resources[i].version, version)) {
            add_resource(list, &store_resources[i]);
        }
    }
    bool any = json_array_size(list) > 0;
    if (any) {
        json_t *gv = *group ? json_sprintf("%s/%s", group, version) : json_string(version);
        json_t *o = json_pack("{s:s,s:s,s:o,s:O}", "kind", "APIResourceList", "apiVersion", "v1", "groupVersion", gv,
                              "resources", list);
        store_answer(out, 200, o);
        json_decref(o);
    }
    json_decref(list);
    return any;
}

static json_t *group_object(const struct store_res *r) {
    json_t *v = json_pack("{s:o,s:s}", "groupVersion", json_sprintf("%s/%s", r->group, r->version), "version", r->version);
    return json_pack("{s:s,s:[O],s:o}", "name", r->group, "versions", v, "preferredVersion", v);
}

static void group_list(struct store_reply *out) {
    json_t *groups = json_array();
    const char *last = "";
    for (size_t i = 0; i < store_resource_count(); i++) {
        if (strcmp(store_resources[i].group, last)) {
            last = store_resources[i].group;
            json_array_append_new(groups, group_object(&store_resources[i]));
        }
    }
    json_t *o = json_pack("{s:s,s:s,s:o}", "kind", "APIGroupList", "apiVersion", "v1", "groups", groups);
    store_answer(out, 200, o);
    json_decref(o);
}

bool store_discovery(const struct store_call *c, struct store_reply *out) {
    if (c->n_seg == 1 && !strcmp(c->seg[0], "api")) {
        json_t *o = json_pack("{s:s,s:[s]}", "kind", "APIVersions", "versions", "v1");
        store_answer(out, 200, o);
        json_decref(o);
        return true;
    }
    if (c->n_seg == 2 && !strcmp(c->seg[0], "api")) {
        return resource_list("", c->seg[1], out);
    }
    if (c->n_seg == 1 && !strcmp(c->seg[0], "apis")) {
        group_list(out);
        return true;
    }
    if (c->n_seg == 2 && !strcmp(c->seg[0], "apis")) {
        for (size_t i = 0; i < store_resource_count(); i++) {
            if (!strcmp(store_resources[i].group, c->seg[1])) {
                json_t *o = group_object(&store_resources[i]);
                json_object_set_new(o, "kind", json_string("APIGroup"));
                json_object_set_new(o, "apiVersion", json_string("v1"));
                store_answer(out, 200, o);
                json_decref(o);
                return true;
            }
        }
        return false;
    }
    return c->n_seg == 3 && !strcmp(c->seg[0], "apis") && resource_list(c->seg[1], c->seg[2], out);
}
