/* The objects of the mesh as the API server of a cluster with two istiods has them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/base/text.h"
#include "world_impl.h"

static void put(struct world *w, const char *resource, json_t *o) {
    struct err err;
    if (!store_put(w->store, resource, o, &err)) {
        check_failed(err.text, __FILE__, __LINE__);
    }
}

json_t *world_time(struct world *w) {
    char text[40];
    text_rfc3339_format(sched_wall(w->sched) / 1000 * 1000, text, sizeof text);
    return json_string(text);
}

json_t *world_owner(const char *api, const char *kind, const char *name, const char *uid) {
    return json_pack("[{s:s,s:b,s:b,s:s,s:s,s:s}]", "apiVersion", api, "blockOwnerDeletion", 1, "controller", 1, "kind",
                     kind, "name", name, "uid", uid ? uid : "");
}

static void build_nodes(struct world *w) {
    w->nodes = mem_alloc(w->opts.nodes * sizeof *w->nodes);
    for (uint32_t i = 0; i < w->opts.nodes; i++) {
        struct sim_node *n = &w->nodes[i];
        n->name = mem_printf("node-%02u", i + 1);
        n->zone = mem_printf("z%u", i % 3 + 1);
        n->ip = mem_printf("10.10.%u.%u", i / 250, i % 250 + 1);
        put(w, "nodes",
            json_pack("{s:s,s:s,s:{s:s,s:{s:s,s:s}},s:{},s:{s:[{s:s,s:s}],s:[{s:s,s:s,s:s}],s:{s:s}}}", "apiVersion", "v1",
                      "kind", "Node", "metadata", "name", n->name, "labels", "kubernetes.io/hostname", n->name,
                      "topology.kubernetes.io/zone", n->zone, "spec", "status", "addresses", "type", "InternalIP",
                      "address", n->ip, "conditions", "type", "Ready", "status", "True", "reason", "KubeletReady",
                      "nodeInfo", "kubeletVersion", "v1.36.3"));
    }
}

static void put_namespace(struct world *w, const char *name, const char *key, const char *value) {
    json_t *o = json_pack("{s:s,s:s,s:{s:s,s:{s:s}},s:{s:[s]},s:{s:s}}", "apiVersion", "v1", "kind", "Namespace",
                          "metadata", "name", name, "labels", "kubernetes.io/metadata.name", name, "spec", "finalizers",
                          "kubernetes", "status", "phase", "Active");
    if (key) {
        json_object_set_new(js_at(o, "metadata", "labels", NULL), key, json_string(value));
    }
    put(w, "namespaces", o);
}

/* Labels that the istiod chart puts on what it makes. */
static json_t *chart_labels(const char *rev, const char *app, const char *tag) {
    char release[64];
    snprintf(release, sizeof release, "istiod-%s", rev);
    json_t *o = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "app", app, "app.kubernetes.io/instance",
                          release, "app.kubernetes.io/managed-by", "Helm", "app.kubernetes.io/name", "istiod",
                          "app.kubernetes.io/part-of", "istio", "app.kubernetes.io/version", "1.0.0", "helm.sh/chart",
                          "istiod-1.0.0", "install.operator.istio.io/owning-resource", "unknown", "istio.io/rev", rev,
                          "operator.istio.io/component", "Pilot", "release", release);
    if (tag) {
        json_object_set_new(o, "istio.io/tag", json_string(tag));
    }
    return o;
}

static const struct {
    const char *name;
    int port, target;
} ports[] = {{"grpc-xds", 15010, 15010},
             {"https-dns", 15012, 15012},
             {"https-webhook", 443, 15017},
             {"http-monitoring", 15014, 15014}};

static void put_service(struct world *w, const char *name, const char *rev, const char *tag, const char *ip) {
    json_t *list = json_array();
    for (size_t i = 0; i < sizeof ports / sizeof *ports; i++) {
        json_array_append_new(list, json_pack("{s:s,s:i,s:s,s:i}", "name", ports[i].name, "port", ports[i].port, "protocol",
                                              "TCP", "targetPort", ports[i].target));
    }
    json_t *labels = chart_labels(rev, "istiod", tag);
    json_object_set_new(labels, "istio", json_string("pilot"));
    put(w, "services",
        json_pack("{s:s,s:s,s:{s:s,s:s,s:o},s:{s:s,s:[s],s:s,s:[s],s:s,s:o,s:{s:s,s:s},s:s,s:s},s:{s:{}}}", "apiVersion",
                  "v1", "kind", "Service", "metadata", "name", name, "namespace", ISTIO_NS, "labels", labels, "spec",
                  "clusterIP", ip, "clusterIPs", ip, "internalTrafficPolicy", "Cluster", "ipFamilies", "IPv4",
                  "ipFamilyPolicy", "SingleStack", "ports", list, "selector", "app", "istiod", "istio.io/rev", rev,
                  "sessionAffinity", "None", "type", "ClusterIP", "status", "loadBalancer"));
}

static void put_slice(struct world *w, const char *service, int rev, const char *tag) {
    json_t *endpoints = json_array();
    for (uint32_t n = 0; n < w->opts.replicas; n++) {
        struct sim_istiod *i = &w->revs[rev].istiods[n];
        json_array_append_new(endpoints, json_pack("{s:[s],s:{s:b,s:b,s:b},s:s,s:{s:s,s:s,s:s,s:s},s:s}", "addresses",
                                                   i->ip, "conditions", "ready", i->ready, "serving", i->ready,
                                                   "terminating", 0, "nodeName", i->node, "targetRef", "kind", "Pod",
                                                   "name", i->name, "namespace", ISTIO_NS, "uid", i->uid, "zone", i->zone));
    }
    json_t *list = json_array();
    for (size_t i = 0; i < sizeof ports / sizeof *ports; i++) {
        json_array_append_new(
            list, json_pack("{s:s,s:i,s:s}", "name", ports[i].name, "port", ports[i].target, "protocol", "TCP"));
    }
    json_t *labels = chart_labels(w->revs[rev].name, "istiod", tag);
    json_object_set_new(labels, "istio", json_string("pilot"));
    json_object_set_new(labels, "endpointslice.kubernetes.io/managed-by", json_string("endpointslice-controller.k8s.io"));
    json_object_set_new(labels, "kubernetes.io/service-name", json_string(service));
    const json_t *owner = store_get(w->store, "services", ISTIO_NS, service);
    put(w, "endpointslices",
        json_pack("{s:s,s:s,s:s,s:{s:o,s:s,s:o,s:s,s:o},s:o,s:o}", "addressType", "IPv4", "apiVersion",
                  "discovery.k8s.io/v1", "kind", "EndpointSlice", "metadata", "name",
                  json_sprintf("%s-sim%d", service, rev), "namespace", ISTIO_NS, "labels", labels, "generateName", service,
                  "ownerReferences", world_owner("v1", "Service", service, js_str(owner, "metadata", "uid", NULL)),
                  "endpoints", endpoints, "ports", list));
}

void world_write_slices(struct world *w, int rev) {
    char service[64];
    snprintf(service, sizeof service, "istiod-%s", w->revs[rev].name);
    put_slice(w, service, rev, NULL);
    if (rev == OLD) {
        put_slice(w, "istiod-revision-tag-default", rev, "default");
    }
}

static json_t *expression(const char *key, const char *operator, const char * value) {
    json_t *o = json_pack("{s:s,s:s}", "key", key, "operator", operator);
    if (value) {
        json_object_set_new(o, "values", json_pack("[s]", value));
    }
    return o;
}

static json_t *webhook(const char *name, const char *rev, json_t *namespaces, json_t *objects) {
    return json_pack(
        "{s:s,s:[s],s:{s:s,s:{s:o,s:s,s:s,s:i}},s:s,s:s,s:{s:o},s:{s:o},s:s,s:[{s:[s],s:[s],s:[s],s:[s],s:s}],s:s,"
        "s:i}",
        "name", name, "admissionReviewVersions", "v1", "clientConfig", "caBundle", "", "service", "name",
        json_sprintf("istiod-%s", rev), "namespace", ISTIO_NS, "path", "/inject", "port", 443, "failurePolicy", "Fail",
        "matchPolicy", "Equivalent", "namespaceSelector", "matchExpressions", namespaces, "objectSelector",
        "matchExpressions", objects, "reinvocationPolicy", "Never", "rules", "apiGroups", "", "apiVersions", "v1",
        "operations", "CREATE", "resources", "pods", "scope", "*", "sideEffects", "None", "timeoutSeconds", 10);
}

/* value: the revision, or the tag that stands for it. */
static void put_webhooks(struct world *w, const char *name, const char *rev, const char *tag) {
    const char *value = tag ? tag : rev;
    const char *inject = "sidecar.istio.io/inject", *label = "istio.io/rev", *old = "istio-injection";
    json_t *hooks = json_array();
    json_array_append_new(hooks,
                          webhook("rev.namespace.sidecar-injector.istio.io", rev,
                                  json_pack("[o,o]", expression(label, "In", value), expression(old, "DoesNotExist", NULL)),
                                  json_pack("[o]", expression(inject, "NotIn", "false"))));
    json_array_append_new(
        hooks, webhook("rev.object.sidecar-injector.istio.io", rev,
                       json_pack("[o,o]", expression(label, "DoesNotExist", NULL), expression(old, "DoesNotExist", NULL)),
                       json_pack("[o,o]", expression(inject, "NotIn", "false"), expression(label, "In", value))));
    if (tag && strcmp(tag, "default") == 0) {
        json_array_append_new(hooks, webhook("namespace.sidecar-injector.istio.io", rev,
                                             json_pack("[o]", expression(old, "In", "enabled")),
                                             json_pack("[o]", expression(inject, "NotIn", "false"))));
        json_array_append_new(
            hooks,
            webhook("object.sidecar-injector.istio.io", rev,
                    json_pack("[o,o]", expression(old, "DoesNotExist", NULL), expression(label, "DoesNotExist", NULL)),
                    json_pack("[o,o]", expression(inject, "In", "true"), expression(label, "DoesNotExist", NULL))));
    }
    put(w, "mutatingwebhookconfigurations",
        json_pack("{s:s,s:s,s:{s:s,s:o},s:o}", "apiVersion", "admissionregistration.k8s.io/v1", "kind",
                  "MutatingWebhookConfiguration", "metadata", "name", name, "labels",
                  chart_labels(rev, "sidecar-injector", tag), "webhooks", hooks));
}

void world_put_tag(struct world *w, const char *tag, const char *rev) {
    char name[80];
    snprintf(name, sizeof name, "istio-revision-tag-%s", tag);
    put_webhooks(w, name, rev, tag);
}

void world_put_injector(struct world *w, const char *name, const char *rev, const char *ns, const char *condition) {
    json_t *hook = webhook("rev.namespace.sidecar-injector.istio.io", rev,
                           json_pack("[o]", expression("kubernetes.io/metadata.name", "In", ns)),
                           json_pack("[o]", expression("sidecar.istio.io/inject", "NotIn", "false")));
    if (condition) {
        json_object_set_new(hook, "matchConditions",
                            json_pack("[{s:s,s:s}]", "name", "condition", "expression", condition));
    }
    put(w, "mutatingwebhookconfigurations",
        json_pack("{s:s,s:s,s:{s:s,s:o},s:[o]}", "apiVersion", "admissionregistration.k8s.io/v1", "kind",
                  "MutatingWebhookConfiguration", "metadata", "name", name, "labels",
                  chart_labels(rev, "sidecar-injector", NULL), "webhooks", hook));
}

/* Of the injector's ConfigMap what decides; the templates are this program's own. */
static void put_injector_config(struct world *w, const char *rev) {
    static const char config[] =
        "# defaultTemplates defines the default template to use for pods that do not explicitly specify "
        "a template\ndefaultTemplates: [sidecar]\npolicy: enabled\nalwaysInjectSelector:\n  []\n"
        "neverInjectSelector:\n  []\ninjectedAnnotations:\n";
    put(w, "configmaps",
        json_pack("{s:s,s:s,s:{s:o,s:s,s:o},s:{s:s,s:s}}", "apiVersion", "v1", "kind", "ConfigMap", "metadata", "name",
                  json_sprintf("istio-sidecar-injector-%s", rev), "namespace", ISTIO_NS, "labels",
                  chart_labels(rev, "istiod", NULL), "data", "config", config, "values", "{}"));
}

static json_t *istiod_pod_labels(const char *rev) {
    json_t *labels = chart_labels(rev, "istiod", NULL);
    json_object_del(labels, "release");
    json_object_set_new(labels, "istio", json_string("istiod"));
    json_object_set_new(labels, "istio.io/dataplane-mode", json_string("none"));
    json_object_set_new(labels, "sidecar.istio.io/inject", json_string("false"));
    return labels;
}

static json_t *istiod_container(const struct sim_revision *r) {
    return json_pack("{s:s,s:o,s:[s,s,s,s,s]}", "name", "discovery", "image",
                     json_sprintf("registry.local/istio/pilot:%s", r->version), "args", "discovery",
                     "--monitoringAddr=:15014", "--domain", "cluster.local", "--keepaliveMaxServerConnectionAge=30m");
}

void world_write_istiod_pod(struct world *w, struct sim_istiod *i) {
    struct sim_revision *r = &w->revs[i->rev];
    const char *status = i->ready ? "True" : "False";
    json_t *labels = istiod_pod_labels(r->name);
    char set[80];
    snprintf(set, sizeof set, "%.*s", (int)(strrchr(i->name, '-') - i->name), i->name);
    json_object_set_new(labels, "pod-template-hash", json_string(strrchr(set, '-') + 1));
    const json_t *owner = store_get(w->store, "replicasets", ISTIO_NS, set);
    json_t *state = i->process ? json_pack("{s:{s:o}}", "running", "startedAt", world_time(w))
                               : json_pack("{s:{s:i,s:s}}", "terminated", "exitCode", 137, "reason", "Error");
    json_t *o = json_pack(
        "{s:s,s:s,s:{s:s,s:s,s:o,s:{s:s,s:s,s:s},s:o},s:{s:[o],s:s,s:o},s:{s:s,s:s,s:[{s:s}],s:s,s:[{s:s,s:s},{s:s,s:s}],s:"
        "[{s:s,"
        "s:b,s:i,s:o}]}}",
        "apiVersion", "v1", "kind", "Pod", "metadata", "name", i->name, "namespace", ISTIO_NS, "labels", labels,
        "annotations", "prometheus.io/port", "15014", "prometheus.io/scrape", "true", "sidecar.istio.io/inject", "false",
        "ownerReferences", world_owner("apps/v1", "ReplicaSet", set, js_str(owner, "metadata", "uid", NULL)), "spec",
        "containers", istiod_container(r), "nodeName", i->node, "serviceAccountName", json_sprintf("istiod-%s", r->name),
        "status", "phase", "Running", "podIP", i->ip, "podIPs", "ip", i->ip, "hostIP", "10.10.0.1", "conditions", "type",
        "Ready", "status", status, "type", "ContainersReady", "status", status, "containerStatuses", "name", "discovery",
        "ready", i->ready, "restartCount", i->starts ? (int)i->starts - 1 : 0, "state", state);
    put(w, "pods", o);
}

static void put_istiod_deployment(struct world *w, int rev, const char *hash) {
    struct sim_revision *r = &w->revs[rev];
    int n = (int)w->opts.replicas;
    char name[64];
    snprintf(name, sizeof name, "istiod-%s", r->name);
    json_t *template = json_pack("{s:{s:o,s:{s:s}},s:{s:[o],s:s}}", "metadata", "labels", istiod_pod_labels(r->name),
                                 "annotations", "sidecar.istio.io/inject", "false", "spec", "containers",
                                 istiod_container(r), "serviceAccountName", name);
    put(w, "deployments",
        json_pack("{s:s,s:s,s:{s:s,s:s,s:o,s:{s:s}},s:{s:i,s:{s:{s:s,s:s}},s:O},s:{s:i,s:i,s:i,s:i,s:i,s:[{s:s,s:s,s:s},{s:"
                  "s,s:s,s:s}]"
                  "}}",
                  "apiVersion", "apps/v1", "kind", "Deployment", "metadata", "name", name, "namespace", ISTIO_NS, "labels",
                  chart_labels(r->name, "istiod", NULL), "annotations", "deployment.kubernetes.io/revision", "1", "spec",
                  "replicas", n, "selector", "matchLabels", "app", "istiod", "istio.io/rev", r->name, "template", template,
                  "status", "observedGeneration", 1, "replicas", n, "updatedReplicas", n, "readyReplicas", n,
                  "availableReplicas", n, "conditions", "type", "Available", "status", "True", "reason",
                  "MinimumReplicasAvailable", "type", "Progressing", "status", "True", "reason", "NewReplicaSetAvailable"));
    const json_t *d = store_get(w->store, "deployments", ISTIO_NS, name);
    put(w, "replicasets",
        json_pack("{s:s,s:s,s:{s:o,s:s,s:{s:s,s:s,s:s},s:o},s:{s:i,s:o},s:{s:i,s:i,s:i}}", "apiVersion", "apps/v1", "kind",
                  "ReplicaSet", "metadata", "name", json_sprintf("%s-%s", name, hash), "namespace", ISTIO_NS, "labels",
                  "app", "istiod", "istio.io/rev", r->name, "pod-template-hash", hash, "ownerReferences",
                  world_owner("apps/v1", "Deployment", name, js_str(d, "metadata", "uid", NULL)), "spec", "replicas", n,
                  "template", template, "status", "replicas", n, "readyReplicas", n, "availableReplicas", n));
}

static void build_istiods(struct world *w, int rev) {
    struct sim_revision *r = &w->revs[rev];
    char hash[11], tail[6];
    world_text_id(w, 9, hash);
    put_istiod_deployment(w, rev, hash);
    r->istiods = mem_alloc(w->opts.replicas * sizeof *r->istiods);
    for (uint32_t n = 0; n < w->opts.replicas; n++) {
        struct sim_istiod *i = &r->istiods[n];
        struct sim_node *node = &w->nodes[(n + (uint32_t)rev * 7) % w->opts.nodes];
        world_text_id(w, 5, tail);
        *i = (struct sim_istiod){.w = w, .rev = rev, .n = n, .ready = true};
        i->ip = mem_printf("%s.%d.%u", w->istiod_net, rev, n + 1);
        i->name = mem_printf("istiod-%s-%s-%s", r->name, hash, tail);
        i->node = mem_dup(node->name);
        i->zone = mem_dup(node->zone);
        world_write_istiod_pod(w, i);
        i->uid = mem_dup(js_str(store_get(w->store, "pods", ISTIO_NS, i->name), "metadata", "uid", NULL));
    }
    char service[64];
    snprintf(service, sizeof service, "istiod-%s", r->name);
    put_service(w, service, r->name, NULL, r->service_ip);
}

json_t *world_template(const char *app) {
    return json_pack("{s:{s:{s:s}},s:{s:[{s:s,s:s,s:s,s:{}}],s:s,s:s,s:s,s:i,s:{},s:s}}", "metadata", "labels", "app", app,
                     "spec", "containers", "name", app, "image", "registry.local/app:1", "imagePullPolicy", "IfNotPresent",
                     "resources", "dnsPolicy", "ClusterFirst", "restartPolicy", "Always", "schedulerName",
                     "default-scheduler", "terminationGracePeriodSeconds", 30, "securityContext", "serviceAccountName",
                     "default");
}

json_t *world_affinity(struct world *w, uint32_t first, uint32_t n) {
    json_t *names = json_array();
    for (uint32_t i = 0; i < n && i < w->opts.nodes; i++) {
        json_array_append_new(names, json_string(w->nodes[(first + i) % w->opts.nodes].name));
    }
    return json_pack("{s:{s:{s:[{s:[{s:s,s:s,s:o}]}]}}}", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution",
                     "nodeSelectorTerms", "matchExpressions", "key", "kubernetes.io/hostname", "operator", "In", "values",
                     names);
}

void world_inject(json_t *pod, const char *revision, const char *version) {
    json_t *meta = js_at(pod, "metadata", NULL), *spec = js_at(pod, "spec", NULL);
    const char *app = js_text(pod, "metadata", "labels", "app", NULL);
    json_t *annotations = js_at(meta, "annotations", NULL), *labels = js_at(meta, "labels", NULL);
    if (!annotations) {
        annotations = json_object();
        json_object_set_new(meta, "annotations", annotations);
    }
    if (!labels) {
        labels = json_object();
        json_object_set_new(meta, "labels", labels);
    }
    const char *first = json_string_value(json_object_get(json_array_get(json_object_get(spec, "containers"), 0), "name"));
    json_t *status = json_pack("{s:[s,s],s:n,s:[s,s,s,s,s,s,s,s,s],s:n,s:s}", "initContainers", "istio-init", "istio-proxy",
                               "containers", "volumes", "workload-socket", "credential-socket", "workload-certs",
                               "istio-envoy", "istio-data", "istio-podinfo", "istio-token", "istiod-ca-cert",
                               "istio-ca-crl", "imagePullSecrets", "revision", revision);
    char *text = js_dump(status);
    json_decref(status);
    json_t *add =
        json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "istio.io/rev", revision, "kubectl.kubernetes.io/default-container",
                  first ? first : "", "kubectl.kubernetes.io/default-logs-container", first ? first : "",
                  "prometheus.io/path", "/stats/prometheus", "prometheus.io/port", "15020", "prometheus.io/scrape", "true",
                  "sidecar.istio.io/status", text);
    free(text);
    json_object_update_new(annotations, add);
    json_object_update_new(labels, json_pack("{s:s,s:s,s:s}", "security.istio.io/tlsMode", "istio",
                                             "service.istio.io/canonical-name", app, "service.istio.io/canonical-revision",
                                             "latest"));
    json_t *image = json_sprintf("registry.local/istio/proxyv2:%s", version);
    json_object_set_new(spec, "initContainers",
                        json_pack("[{s:s,s:O,s:[s]},{s:s,s:o,s:s,s:[s,s,s,s],s:[{s:i,s:s,s:s}],s:{s:{s:s,s:i,s:s},s:i}}]",
                                  "name", "istio-init", "image", image, "args", "istio-iptables", "name", "istio-proxy",
                                  "image", image, "restartPolicy", "Always", "args", "proxy", "sidecar", "--domain",
                                  "$(POD_NAMESPACE).svc.cluster.local", "ports", "containerPort", 15090, "name",
                                  "http-envoy-prom", "protocol", "TCP", "readinessProbe", "httpGet", "path",
                                  "/healthz/ready", "port", 15021, "scheme", "HTTP", "periodSeconds", 15));
}

static void put_workload(struct world *w, const char *resource, const char *kind, const char *ns, const char *name,
                         uint32_t replicas, json_t *template) {
    json_t *spec = json_pack("{s:{s:{s:s}},s:o}", "selector", "matchLabels", "app", name, "template", template);
    if (strcmp(kind, "DaemonSet") != 0) {
        json_object_set_new(spec, "replicas", json_integer(replicas));
    }
    if (strcmp(kind, "Deployment") == 0) {
        json_object_set_new(spec, "progressDeadlineSeconds", json_integer(600));
        json_object_set_new(spec, "strategy",
                            json_pack("{s:{s:s,s:s},s:s}", "rollingUpdate", "maxSurge", "25%", "maxUnavailable", "25%",
                                      "type", "RollingUpdate"));
    } else {
        json_object_set_new(spec, "updateStrategy", json_pack("{s:s}", "type", "RollingUpdate"));
    }
    put(w, resource,
        json_pack("{s:s,s:s,s:{s:s,s:s,s:{s:s}},s:o}", "apiVersion", "apps/v1", "kind", kind, "metadata", "name", name,
                  "namespace", ns, "labels", "app", name, "spec", spec));
}

static void build_apps(struct world *w) {
    for (uint32_t i = 0; i < w->opts.namespaces; i++) {
        char ns[32];
        snprintf(ns, sizeof ns, "app-%02u", i);
        put_namespace(w, ns, i % 2 ? "istio.io/rev" : "istio-injection", i % 2 ? "old" : "enabled");
        uint32_t pods = w->opts.pods / w->opts.namespaces + (i < w->opts.pods % w->opts.namespaces ? 1 : 0);
        uint32_t db = i % 5 == 0 ? pods / 2 : 0;
        put_workload(w, "deployments", "Deployment", ns, "web", pods - db, world_template("web"));
        if (db) {
            put_workload(w, "statefulsets", "StatefulSet", ns, "db", db, world_template("db"));
        }
        if (i % 8 == 0) {
            json_t *t = world_template("log");
            json_object_set_new(js_at(t, "spec", NULL), "affinity", world_affinity(w, i, 2));
            put_workload(w, "daemonsets", "DaemonSet", ns, "log", 0, t);
        }
    }
}

void world_build(struct world *w) {
    build_nodes(w);
    put_namespace(w, "default", NULL, NULL);
    put_namespace(w, "kube-system", NULL, NULL);
    put_namespace(w, ISTIO_NS, NULL, NULL);
    for (int rev = 0; rev < REVISIONS; rev++) {
        build_istiods(w, rev);
    }
    char ip[24];
    snprintf(ip, sizeof ip, "%s.0.9", w->service_net);
    put_service(w, "istiod-revision-tag-default", "old", "default", ip);
    for (int rev = 0; rev < REVISIONS; rev++) {
        world_write_slices(w, rev);
    }
    put_webhooks(w, "istio-sidecar-injector-old", "old", NULL);
    put_webhooks(w, "istio-sidecar-injector-canary", "canary", NULL);
    put_webhooks(w, "istio-revision-tag-default", "old", "default");
    for (int rev = 0; rev < REVISIONS; rev++) {
        put_injector_config(w, w->revs[rev].name);
    }
    world_istiods_start(w);
    build_apps(w);
    for (struct sim_workload *x = w->workloads; x; x = x->hh.next) {
        timer_cancel(w->sched, &x->sync);
        world_workload_sync(x);
    }
}
