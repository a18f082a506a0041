/* Only what decides is kept of a configuration: its two labels, whom it calls, and the selectors of its pod webhooks. */
#include "injector.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/base/json.h"
#include "../lib/base/mem.h"

/* Bounds what somebody who may write webhook configurations can make us keep. */
#define MAX_HOOKS 32

struct hook {
    json_t *namespace_selector, *object_selector; /* NULL: everything */
    bool conditions;
};

struct configuration {
    struct configuration *next;
    char *name, *revision, *service, *service_namespace;
    bool tag;
    struct hook hooks[MAX_HOOKS];
    size_t n_hooks;
    bool too_many;
};

struct injectors {
    struct configuration *first; /* sorted by name: the order in which the API server calls them */
};

struct injectors *injectors_new(void) {
    return mem_alloc(sizeof(struct injectors));
}

static void configuration_free(struct configuration *c) {
    for (size_t i = 0; i < c->n_hooks; i++) {
        json_decref(c->hooks[i].namespace_selector);
        json_decref(c->hooks[i].object_selector);
    }
    free(c->name);
    free(c->revision);
    free(c->service);
    free(c->service_namespace);
    free(c);
}

void injectors_free(struct injectors *x) {
    if (x == NULL) {
        return;
    }
    while (x->first != NULL) {
        struct configuration *c = x->first;
        x->first = c->next;
        configuration_free(c);
    }
    free(x);
}

void injectors_remove(struct injectors *x, const char *name) {
    for (struct configuration **at = &x->first; *at != NULL; at = &(*at)->next) {
        if (strcmp((*at)->name, name) == 0) {
            struct configuration *c = *at;
            *at = c->next;
            configuration_free(c);
            return;
        }
    }
}

/* Is one of `words` in the list of strings? */
static bool lists(const json_t *list, const char *const *words) {
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *s = json_string_value(json_array_get(list, i));
        for (size_t k = 0; s != NULL && words[k] != NULL; k++) {
            if (strcmp(s, words[k]) == 0) {
                return true;
            }
        }
    }
    return false;
}

static bool acts_on_new_pods(const json_t *webhook) {
    static const char *const operations[] = {"CREATE", "*", NULL}, *const groups[] = {"", "*", NULL},
                             *const versions[] = {"v1", "*", NULL}, *const resources[] = {"pods", "*", "*/*", NULL};
    const json_t *rules = json_object_get(webhook, "rules");
    for (size_t i = 0; i < json_array_size(rules); i++) {
        const json_t *r = json_array_get(rules, i);
        if (lists(json_object_get(r, "operations"), operations) && lists(json_object_get(r, "apiGroups"), groups) &&
            lists(json_object_get(r, "apiVersions"), versions) && lists(json_object_get(r, "resources"), resources)) {
            const char *scope = js_text(r, "scope", NULL);
            return strcmp(scope, "Cluster") != 0;
        }
    }
    return false;
}

static bool is_istios(const json_t *webhook) {
    static const char suffix[] = "istio.io";
    const char *name = js_text(webhook, "name", NULL);
    size_t len = strlen(name), want = sizeof(suffix) - 1;
    return len >= want && strcmp(name + len - want, suffix) == 0;
}

static json_t *copy(const json_t *o) {
    return o == NULL || json_is_null(o) ? NULL : json_deep_copy(o);
}

static void add_hook(struct configuration *c, const json_t *webhook) {
    if (c->n_hooks == MAX_HOOKS) {
        c->too_many = true;
        return;
    }
    if (c->service == NULL) {
        mem_set(&c->service, js_str(webhook, "clientConfig", "service", "name", NULL));
        mem_set(&c->service_namespace, js_str(webhook, "clientConfig", "service", "namespace", NULL));
    }
    c->hooks[c->n_hooks++] = (struct hook){
        .namespace_selector = copy(json_object_get(webhook, "namespaceSelector")),
        .object_selector = copy(json_object_get(webhook, "objectSelector")),
        .conditions = json_array_size(json_object_get(webhook, "matchConditions")) > 0,
    };
}

static void insert(struct injectors *x, struct configuration *c) {
    struct configuration **at = &x->first;
    while (*at != NULL && strcmp((*at)->name, c->name) < 0) {
        at = &(*at)->next;
    }
    c->next = *at;
    *at = c;
}

bool injectors_put(struct injectors *x, const json_t *configuration) {
    const char *name = js_str(configuration, "metadata", "name", NULL);
    if (name == NULL) {
        return false;
    }
    injectors_remove(x, name);
    struct configuration *c = mem_alloc(sizeof(*c));
    c->name = mem_dup(name);
    const json_t *labels = js_at(configuration, "metadata", "labels", NULL);
    mem_set(&c->revision, json_string_value(json_object_get(labels, "istio.io/rev")));
    c->tag = json_object_get(labels, "istio.io/tag") != NULL;
    const json_t *webhooks = json_object_get(configuration, "webhooks");
    for (size_t i = 0; i < json_array_size(webhooks); i++) {
        const json_t *w = json_array_get(webhooks, i);
        if (is_istios(w) && acts_on_new_pods(w)) {
            add_hook(c, w);
        }
    }
    if (c->n_hooks == 0) {
        configuration_free(c);
        return false;
    }
    insert(x, c);
    return true;
}

static int configuration_matches(const struct configuration *c, const json_t *namespace_labels, const json_t *pod_labels) {
    int matched = c->too_many ? -1 : 0;
    for (size_t i = 0; i < c->n_hooks && matched >= 0; i++) {
        const struct hook *h = &c->hooks[i];
        int in = selector_matches(h->namespace_selector, namespace_labels);
        int on = selector_matches(h->object_selector, pod_labels);
        if (in == 0 || on == 0) {
            continue;
        }
        matched = in < 0 || on < 0 || h->conditions ? -1 : 1;
    }
    return matched;
}

static bool same_control_plane(const struct configuration *a, const struct configuration *b) {
    const char *in_a = a->service_namespace != NULL ? a->service_namespace : "";
    const char *in_b = b->service_namespace != NULL ? b->service_namespace : "";
    return strcmp(a->revision, b->revision) == 0 && strcmp(in_a, in_b) == 0;
}

/* The API server gives each namespace a label with its name; objects that never went through one may lack it. */
static json_t *with_name(const char *namespace_, const json_t *labels) {
    json_t *all = labels != NULL ? json_copy((json_t *)(uintptr_t)labels) : json_object();
    if (json_object_get(all, "kubernetes.io/metadata.name") == NULL && namespace_[0] != '\0') {
        json_object_set_new(all, "kubernetes.io/metadata.name", json_string(namespace_));
    }
    return all;
}

enum injector_result injectors_for(const struct injectors *x, const char *namespace_, const json_t *namespace_labels,
                                   const json_t *pod_labels, const char **revision) {
    json_t *labels = with_name(namespace_, namespace_labels);
    const struct configuration *found = NULL;
    enum injector_result result = INJECTOR_NONE;
    *revision = NULL;
    for (const struct configuration *c = x->first; c != NULL && result != INJECTOR_UNKNOWN; c = c->next) {
        int matched = configuration_matches(c, labels, pod_labels);
        if (matched < 0 || (matched > 0 && c->revision == NULL)) {
            result = INJECTOR_UNKNOWN;
        } else if (matched > 0 && found == NULL) {
            result = INJECTOR_ONE;
            found = c;
        } else if (matched > 0 && !same_control_plane(c, found)) {
            result = INJECTOR_SEVERAL;
        }
    }
    json_decref(labels);
    if (result == INJECTOR_ONE) {
        *revision = found->revision;
    }
    return result;
}

enum opt_out injector_opt_out(const char *namespace_, const json_t *pod_labels, const json_t *pod_annotations,
                              bool host_network) {
    static const char *const system[] = {"kube-system", "kube-public", "kube-node-lease", "local-path-storage"};
    if (host_network) {
        return OPT_OUT_HOST_NETWORK;
    }
    for (size_t i = 0; i < sizeof(system) / sizeof(system[0]); i++) {
        if (strcmp(namespace_, system[i]) == 0) {
            return OPT_OUT_SYSTEM_NAMESPACE;
        }
    }
    const json_t *label = json_object_get(pod_labels, "sidecar.istio.io/inject");
    const json_t *annotation = json_object_get(pod_annotations, "sidecar.istio.io/inject");
    const char *value = json_string_value(label != NULL ? label : annotation);
    if (value == NULL || strcmp(value, "false") != 0) {
        return OPT_OUT_NONE;
    }
    return label != NULL ? OPT_OUT_LABEL : OPT_OUT_ANNOTATION;
}

bool injector_opted_out(const char *namespace_, const json_t *pod_labels, const json_t *pod_annotations,
                        bool host_network) {
    return injector_opt_out(namespace_, pod_labels, pod_annotations, host_network) != OPT_OUT_NONE;
}

const char *injectors_resolve(const struct injectors *x, const char *revision_or_tag) {
    json_t *labels = json_pack("{s:s}", "istio.io/rev", revision_or_tag);
    const char *revision = NULL;
    if (labels != NULL) {
        injectors_for(x, "", labels, NULL, &revision);
    }
    json_decref(labels);
    return revision;
}

bool injectors_service(const struct injectors *x, const char *revision, const char **service, const char **namespace_) {
    const struct configuration *found = NULL;
    for (const struct configuration *c = x->first; c != NULL; c = c->next) {
        bool usable =
            c->revision != NULL && strcmp(c->revision, revision) == 0 && c->service != NULL && c->service_namespace != NULL;
        if (usable && (found == NULL || (found->tag && !c->tag))) {
            found = c;
        }
    }
    if (found == NULL) {
        return false;
    }
    *service = found->service;
    *namespace_ = found->service_namespace;
    return true;
}
