#include "injector_policy.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../lib/base/json.h"
#include "injector.h"

#define INJECT "sidecar.istio.io/inject"

enum wish { WISH_NONE, WISH_YES, WISH_NO };

enum injector_words injector_words_of(const char *version) {
    char *end;
    long major = version != NULL ? strtol(version, &end, 10) : 0;
    if (major < 1 || *end != '.') {
        return WORDS_UNKNOWN;
    }
    const char *digits = end + 1;
    long minor = strtol(digits, &end, 10);
    if (end == digits || (*end != '\0' && *end != '.' && *end != '-')) {
        return WORDS_UNKNOWN;
    }
    return major == 1 && minor <= 26 ? WORDS_YAML : WORDS_STRICT;
}

static enum wish wish(const char *value, enum injector_words words) {
    static const char *const yes[] = {"y", "yes", "true", "on"};
    if (value == NULL || value[0] == '\0') {
        return WISH_NONE;
    }
    if (words != WORDS_YAML) {
        return strcmp(value, "true") == 0 ? WISH_YES : strcmp(value, "false") == 0 ? WISH_NO : WISH_NONE;
    }
    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
        if (strcasecmp(value, yes[i]) == 0) {
            return WISH_YES;
        }
    }
    return WISH_NO;
}

static bool is_empty(const json_t *selector) {
    return json_object_size(json_object_get(selector, "matchLabels")) == 0 &&
           json_array_size(json_object_get(selector, "matchExpressions")) == 0;
}

/* istiod passes over an empty selector and one that it cannot read. */
static bool any_matches(const json_t *selectors, const json_t *labels) {
    for (size_t i = 0; i < json_array_size(selectors); i++) {
        const json_t *s = json_array_get(selectors, i);
        if (json_is_object(s) && !is_empty(s) && selector_matches(s, labels) == 1) {
            return true;
        }
    }
    return false;
}

static enum opt_out by_config(const json_t *config, const json_t *labels) {
    if (any_matches(json_object_get(config, "neverInjectSelector"), labels)) {
        return OPT_OUT_NEVER_SELECTOR;
    }
    bool enabled = strcmp(js_text(config, "policy", NULL), "enabled") == 0;
    return enabled || any_matches(json_object_get(config, "alwaysInjectSelector"), labels) ? OPT_OUT_NONE
                                                                                           : OPT_OUT_POLICY_DISABLED;
}

static enum opt_out outcome(const json_t *config, enum injector_words words, const struct injector_subject *pod) {
    const json_t *label = json_object_get(pod->labels, INJECT);
    const char *value = json_string_value(label != NULL ? label : json_object_get(pod->annotations, INJECT));
    const char *policy = js_text(config, "policy", NULL);
    enum wish w = wish(value, words);
    if (w == WISH_NO) {
        return label != NULL ? OPT_OUT_LABEL : OPT_OUT_ANNOTATION;
    }
    if (config == NULL) {
        return OPT_OUT_NONE;
    }
    if (strcmp(policy, "enabled") != 0 && strcmp(policy, "disabled") != 0) {
        return OPT_OUT_POLICY_DISABLED; /* an illegal policy injects nobody, whatever the pod says */
    }
    return w == WISH_YES ? OPT_OUT_NONE : by_config(config, pod->labels);
}

enum opt_out injector_policy(const json_t *config, enum injector_words words, const struct injector_subject *pod,
                             bool *unsure) {
    static const char *const system[] = {"kube-system", "kube-public", "kube-node-lease", "local-path-storage"};
    *unsure = false;
    if (pod->host_network) {
        return OPT_OUT_HOST_NETWORK;
    }
    for (size_t i = 0; i < sizeof(system) / sizeof(system[0]); i++) {
        if (strcmp(pod->namespace_, system[i]) == 0) {
            return OPT_OUT_SYSTEM_NAMESPACE;
        }
    }
    if (words != WORDS_UNKNOWN) {
        return outcome(config, words, pod);
    }
    enum opt_out strict = outcome(config, WORDS_STRICT, pod), yaml = outcome(config, WORDS_YAML, pod);
    *unsure = (strict == OPT_OUT_NONE) != (yaml == OPT_OUT_NONE);
    return strict;
}

const char *opt_out_text(enum opt_out o) {
    switch (o) {
    case OPT_OUT_NONE:
        return "";
    case OPT_OUT_HOST_NETWORK:
        return "hostNetwork";
    case OPT_OUT_SYSTEM_NAMESPACE:
        return "a system namespace";
    case OPT_OUT_LABEL:
        return "label " INJECT;
    case OPT_OUT_ANNOTATION:
        return "annotation " INJECT;
    case OPT_OUT_NEVER_SELECTOR:
        return "neverInjectSelector of the injector's ConfigMap";
    case OPT_OUT_POLICY_DISABLED:
        return "policy of the injector's ConfigMap";
    }
    return "";
}
