/* Only what decides is kept of a configuration: its two labels, whom it calls, and the conditions of its pod webhooks. */
#include "injector.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/base/json.h"
#include "../lib/base/mem.h"
#include "match_condition.h"

/* Bounds what somebody who may write webhook configurations can make us keep. */
#define MAX_HOOKS 32
#define MAX_POLICIES 256

struct hook {
    char *name;
    json_t *namespace_selector, *object_selector; /* NULL: everything */
    json_t *conditions;                           /* array of {name, expression}, NULL none */
    bool ignore;                                  /* failurePolicy Ignore */
};

struct configuration {
    struct configuration *next;
    char *name, *revision, *service, *service_namespace;
    bool tag;
    struct hook hooks[MAX_HOOKS];
    size_t n_hooks;
    bool too_many;
};

/* What is known of an istiod's injector, by its ConfigMap (name, config) or by its version alone (name NULL). */
struct policy {
    char *name, *revision, *namespace_;
    json_t *config;
    enum injector_words words;
};

struct injectors {
    struct configuration *first; /* sorted by name: the order in which the API server calls them */
    struct policy policies[MAX_POLICIES];
    size_t n_policies;
};

struct injectors *injectors_new(void) {
    return mem_alloc(sizeof(struct injectors));
}

static void configuration_free(struct configuration *c) {
    for (size_t i = 0; i < c->n_hooks; i++) {
        json_decref(c->hooks[i].namespace_selector);
        json_decref(c->hooks[i].object_selector);
        json_decref(c->hooks[i].conditions);
        free(c->hooks[i].name);
    }
    free(c->name);
    free(c->revision);
    free(c->service);
    free(c->service_namespace);
    free(c);
}

static void policy_drop(struct injectors *x, size_t i) {
    struct policy *p = &x->policies[i];
    free(p->name);
    free(p->revision);
    free(p->namespace_);
    json_decref(p->config);
    *p = x->policies[--x->n_policies];
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
    while (x->n_policies > 0) {
        policy_drop(x, x->n_policies - 1);
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
        .conditions = copy(json_object_get(webhook, "matchConditions")),
        .name = mem_dup(js_text(webhook, "name", NULL)),
        .ignore = strcmp(js_text(webhook, "failurePolicy", NULL), "Ignore") == 0,
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

/* --- what matches --- */

/* The API server's rule: one false condition skips the webhook, whatever the others are; else an error falls to
 * failurePolicy. 1 matches, 0 not, -1 nobody can say. */
static int conditions_match(const struct hook *h, const struct injector_subject *pod, char *why, size_t cap) {
    const struct condition_pod seen = {pod->namespace_, pod->labels, pod->annotations, pod->host_network};
    bool unknown = false, error = false;
    for (size_t i = 0; i < json_array_size(h->conditions); i++) {
        const json_t *c = json_array_get(h->conditions, i);
        char detail[CONDITION_WHY];
        enum condition_result r = match_condition(js_text(c, "expression", NULL), &seen, detail);
        if (r == CONDITION_FALSE) {
            return 0;
        }
        if (r != CONDITION_TRUE && !unknown && !error) {
            snprintf(why, cap, "matchCondition %.63s: %s%s", js_text(c, "name", NULL), detail,
                     r == CONDITION_ERROR ? ", so that the pod is refused" : "");
        }
        unknown |= r == CONDITION_UNKNOWN;
        error |= r == CONDITION_ERROR;
    }
    if (error && h->ignore) {
        return 0;
    }
    return unknown || error ? -1 : 1;
}

static int hook_matches(const struct hook *h, const struct injector_subject *pod, char *why, size_t cap) {
    int in = selector_matches(h->namespace_selector, pod->namespace_labels);
    int on = selector_matches(h->object_selector, pod->labels);
    if (in == 0 || on == 0) {
        return 0;
    }
    if (in < 0 || on < 0) {
        snprintf(why, cap, "its %s has a form that is not evaluated", in < 0 ? "namespaceSelector" : "objectSelector");
        return -1;
    }
    return json_array_size(h->conditions) > 0 ? conditions_match(h, pod, why, cap) : 1;
}

/* *hook: the one that matched, or that nobody can say. */
static int configuration_matches(const struct configuration *c, const struct injector_subject *pod,
                                 const struct hook **hook, char *why, size_t cap) {
    int matched = 0;
    *hook = NULL;
    if (c->too_many) {
        snprintf(why, cap, "it has more than %d webhooks", MAX_HOOKS);
        return -1;
    }
    for (size_t i = 0; i < c->n_hooks && matched >= 0; i++) {
        int one = hook_matches(&c->hooks[i], pod, why, cap);
        if (one != 0 && (matched == 0 || one < 0)) {
            *hook = &c->hooks[i];
            matched = one;
        }
    }
    if (matched > 0 && c->revision == NULL) {
        snprintf(why, cap, "it has no label istio.io/rev");
        matched = -1;
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

/* --- policies --- */

static struct policy *policy_add(struct injectors *x, const char *name, const char *revision, const char *namespace_) {
    if (x->n_policies == MAX_POLICIES) {
        return NULL;
    }
    struct policy *p = &x->policies[x->n_policies++];
    *p = (struct policy){mem_dup(name), mem_dup(revision), mem_dup(namespace_), NULL, WORDS_UNKNOWN};
    return p;
}

bool injectors_put_policy(struct injectors *x, const char *name, const char *namespace_, const char *revision,
                          const json_t *config) {
    json_t *kept = json_object();
    static const char *const keys[] = {"policy", "neverInjectSelector", "alwaysInjectSelector"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        json_object_set_new(kept, keys[i], copy(json_object_get(config, keys[i])));
    }
    for (size_t i = 0; i < x->n_policies; i++) {
        const struct policy *p = &x->policies[i];
        if (p->name != NULL && strcmp(p->name, name) == 0) {
            bool same = strcmp(p->revision, revision) == 0 && json_equal(p->config, kept);
            if (same) {
                json_decref(kept);
                return false;
            }
            policy_drop(x, i);
            break;
        }
    }
    struct policy *p = policy_add(x, name, revision, namespace_);
    if (p == NULL) {
        json_decref(kept);
        return false;
    }
    p->config = kept;
    return true;
}

bool injectors_remove_policy(struct injectors *x, const char *name) {
    for (size_t i = 0; i < x->n_policies; i++) {
        if (x->policies[i].name != NULL && strcmp(x->policies[i].name, name) == 0) {
            policy_drop(x, i);
            return true;
        }
    }
    return false;
}

bool injectors_set_words(struct injectors *x, const char *revision, enum injector_words words) {
    struct policy *p = NULL;
    for (size_t i = 0; i < x->n_policies && p == NULL; i++) {
        if (x->policies[i].name == NULL && strcmp(x->policies[i].revision, revision) == 0) {
            p = &x->policies[i];
        }
    }
    if (p != NULL && words == WORDS_UNKNOWN) {
        policy_drop(x, (size_t)(p - x->policies));
        return true;
    }
    if (p == NULL && words != WORDS_UNKNOWN) {
        p = policy_add(x, NULL, revision, NULL);
    }
    if (p == NULL || p->words == words) {
        return false;
    }
    p->words = words;
    return true;
}

static void take_opt_out(const struct injectors *x, const struct configuration *c, const struct injector_subject *pod,
                         struct injector_verdict *out) {
    const json_t *config = NULL;
    enum injector_words words = WORDS_UNKNOWN;
    bool unsure;
    for (size_t i = 0; i < x->n_policies && c != NULL; i++) {
        const struct policy *p = &x->policies[i];
        bool of_it = strcmp(p->revision, c->revision) == 0;
        if (of_it && p->name == NULL) {
            words = p->words;
        } else if (of_it && (c->service_namespace == NULL || strcmp(p->namespace_, c->service_namespace) == 0)) {
            config = p->config;
        }
    }
    out->opt_out = injector_policy(config, words, pod, &unsure);
    if (unsure && out->result == INJECTOR_ONE) {
        out->result = INJECTOR_UNKNOWN;
        out->revision = NULL;
        snprintf(out->why, sizeof(out->why),
                 "sidecar.istio.io/inject has a value that means one thing up to Istio 1.26 and another since 1.27, and "
                 "the version of revision %.63s is not known",
                 c->revision);
    }
}

/* --- questions --- */

static void name_it(struct injector_verdict *out, const struct configuration *c, const struct hook *h) {
    out->configuration = c->name;
    out->webhook = h != NULL ? h->name : NULL;
}

/* Which configuration matches; *out without opt_out. */
static const struct configuration *match(const struct injectors *x, const struct injector_subject *pod,
                                         struct injector_verdict *out) {
    const struct configuration *found = NULL;
    const struct hook *h;
    *out = (struct injector_verdict){.result = INJECTOR_NONE};
    for (const struct configuration *c = x->first; c != NULL && out->result != INJECTOR_UNKNOWN; c = c->next) {
        int matched = configuration_matches(c, pod, &h, out->why, sizeof(out->why));
        if (matched < 0) {
            out->result = INJECTOR_UNKNOWN;
            name_it(out, c, h);
        } else if (matched > 0 && found == NULL) {
            out->result = INJECTOR_ONE;
            name_it(out, c, h);
            found = c;
        } else if (matched > 0 && !same_control_plane(c, found)) {
            out->result = INJECTOR_SEVERAL;
            out->also = c->name;
        }
    }
    if (out->result != INJECTOR_UNKNOWN) {
        out->why[0] = '\0'; /* of a webhook that was skipped after all */
    }
    found = out->result == INJECTOR_ONE ? found : NULL;
    out->revision = found != NULL ? found->revision : NULL;
    return found;
}

void injectors_ask(const struct injectors *x, const struct injector_subject *pod, struct injector_verdict *out) {
    struct injector_subject subject = *pod;
    json_t *labels = with_name(pod->namespace_, pod->namespace_labels);
    subject.namespace_labels = labels;
    take_opt_out(x, match(x, &subject, out), &subject, out);
    json_decref(labels);
}

enum injector_result injectors_for(const struct injectors *x, const char *namespace_, const json_t *namespace_labels,
                                   const json_t *pod_labels, const char **revision) {
    json_t *labels = with_name(namespace_, namespace_labels);
    const struct injector_subject pod = {namespace_, labels, pod_labels, NULL, false};
    struct injector_verdict v;
    match(x, &pod, &v);
    *revision = v.revision;
    json_decref(labels);
    return v.result;
}

bool injector_opted_out(const char *namespace_, const json_t *pod_labels, const json_t *pod_annotations,
                        bool host_network) {
    const struct injector_subject pod = {namespace_, NULL, pod_labels, pod_annotations, host_network};
    bool unsure;
    return injector_policy(NULL, WORDS_STRICT, &pod, &unsure) != OPT_OUT_NONE;
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

/* istioctl makes the webhooks of a replaced default injector match nobody. */
static bool is_active(const struct configuration *c) {
    for (size_t i = 0; i < c->n_hooks; i++) {
        if (js_at(c->hooks[i].namespace_selector, "matchLabels", "istio.io/deactivated", NULL) == NULL) {
            return true;
        }
    }
    return false;
}

bool injectors_service(const struct injectors *x, const char *revision, const char **service, const char **namespace_) {
    const struct configuration *found = NULL;
    for (const struct configuration *c = x->first; c != NULL; c = c->next) {
        bool usable = c->revision != NULL && strcmp(c->revision, revision) == 0 && c->service != NULL &&
                      c->service_namespace != NULL && is_active(c);
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
