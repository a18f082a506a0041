/*
 * What istiod's injector does with a pod that the API server shows it: pkg/kube/inject/inject.go injectRequired, read at
 * 1.16 ... 1.31. In this order: hostNetwork and the four system namespaces are left alone; the label
 * sidecar.istio.io/inject, and only where it is absent the annotation of that name, says yes or no; otherwise
 * neverInjectSelector, alwaysInjectSelector and policy of the injector's ConfigMap decide.
 *
 * Up to 1.26 y, yes, true and on in any case mean yes and all other words no; since 1.27 only "true" and "false" mean
 * anything, and all other words are as good as none.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

/* Why istiod's injector leaves a pod alone that the API server has shown it. */
enum opt_out {
    OPT_OUT_NONE,
    OPT_OUT_HOST_NETWORK,
    OPT_OUT_SYSTEM_NAMESPACE,
    OPT_OUT_LABEL,
    OPT_OUT_ANNOTATION,
    OPT_OUT_NEVER_SELECTOR, /* neverInjectSelector of the injector's ConfigMap */
    OPT_OUT_POLICY_DISABLED,
};

enum injector_words { WORDS_UNKNOWN, WORDS_STRICT, WORDS_YAML };

/* A pod and its namespace. Labels and annotations are objects or NULL; annotations: at least those of Istio. */
struct injector_subject {
    const char *namespace_;
    const json_t *namespace_labels, *labels, *annotations;
    bool host_network;
};

/* How that version of istiod ("1.26.3", "1.30-distroless", NULL) reads the label. */
enum injector_words injector_words_of(const char *version);
/* config: the ConfigMap's key "config" as a tree; NULL: not known, then policy enabled and no selectors, which expects
 * rather too much than too little. *unsure: the answer depends on words that are WORDS_UNKNOWN; it is then the strict one.
 */
enum opt_out injector_policy(const json_t *config, enum injector_words words, const struct injector_subject *pod,
                             bool *unsure);
/* "label sidecar.istio.io/inject", ... for people; "" for OPT_OUT_NONE. */
const char *opt_out_text(enum opt_out o);
