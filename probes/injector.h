/*
 * Which revision would inject a pod, evaluated as the API server would: all webhooks of MutatingWebhookConfigurations whose
 * name ends in "istio.io" that act on CREATE of pods, namespaceSelector and objectSelector, never label equality alone
 * (protocol dossier 5.1, 5.2; istiod-facts 4).
 *
 * Several webhooks that match count by who they call: those of one revision in one Istio namespace are one injector,
 * because istiod takes its own earlier injection out of a pod before it injects again, so the outcome is the same once or
 * twice (a tag next to the revision that it points to). Different revisions, or equal names in different Istio namespaces,
 * are INJECTOR_SEVERAL: the last one called wins, and nobody meant that. matchPolicy, timeouts and failurePolicy play no
 * part. Istio's charts and tags (1.16 ... 1.31) write no matchConditions; what people write is evaluated where
 * match_condition.h knows the form. A deactivated injector (istio.io/deactivated=never-match in every selector) matches
 * nobody by itself.
 */
#pragma once

#include <jansson.h>

#include "../lib/base/err.h"
#include "injector_policy.h"

struct injectors;

enum injector_result {
    INJECTOR_UNKNOWN, /* a selector or matchConditions of a form that is not evaluated, or a webhook without a revision */
    INJECTOR_NONE,    /* no webhook matches */
    INJECTOR_ONE,
    INJECTOR_SEVERAL, /* webhooks of different control planes match: double injection */
};

struct injector_verdict {
    enum injector_result result;
    const char *revision;                /* INJECTOR_ONE: as injectors_for(); otherwise NULL */
    const char *configuration, *webhook; /* that decided: the first that matches, or that nobody can say; NULL none */
    const char *also;                    /* INJECTOR_SEVERAL: another configuration that matches */
    enum opt_out opt_out;                /* why the injector leaves it alone all the same */
    char why[288];                       /* INJECTOR_UNKNOWN: what is not known */
};

struct injectors *injectors_new(void);
void injectors_free(struct injectors *x);
/* Add or replace a configuration. false: it is none of Istio's (then it is forgotten if it was known). */
bool injectors_put(struct injectors *x, const json_t *configuration);
void injectors_remove(struct injectors *x, const char *name);

/* Add or replace what an injector's ConfigMap says (key "config" as a tree) for the istiod of that revision in that
 * namespace; true when something changed. By the ConfigMap's name. */
bool injectors_put_policy(struct injectors *x, const char *name, const char *namespace_, const char *revision,
                          const json_t *config);
bool injectors_remove_policy(struct injectors *x, const char *name);
/* How the istiods of a revision read the label sidecar.istio.io/inject (WORDS_UNKNOWN: forget it); true when that changed.
 */
bool injectors_set_words(struct injectors *x, const char *revision, enum injector_words words);

/* Which revision would inject this pod, who decides that, and whether the injector would leave it alone all the same. All
 * that *out points to is borrowed until the next put or remove. */
void injectors_ask(const struct injectors *x, const struct injector_subject *pod, struct injector_verdict *out);
/*
 * The revision for a pod with these labels (JSON objects or NULL) in a namespace with these labels.
 * On INJECTOR_ONE *revision is the configuration's label istio.io/rev (a tag's configuration carries the revision that it
 * points to), borrowed until the next put or remove; otherwise NULL. Opt-outs inside the injector are not looked at.
 */
enum injector_result injectors_for(const struct injectors *x, const char *namespace_, const json_t *namespace_labels,
                                   const json_t *pod_labels, const char **revision);
/* Opt-outs inside istiod's injector: hostNetwork, system namespaces, label or annotation sidecar.istio.io/inject=false. */
bool injector_opted_out(const char *namespace_, const json_t *pod_labels, const json_t *pod_annotations, bool host_network);
/* Revision that would inject into a namespace labelled istio.io/rev=NAME (revision or tag); NULL: nobody, or not one. */
const char *injectors_resolve(const struct injectors *x, const char *revision_or_tag);
/* Does the revision have an injector of its own or by a tag? Service name and namespace it calls (borrowed), or false. */
bool injectors_service(const struct injectors *x, const char *revision, const char **service, const char **namespace_);
/* LabelSelector (matchLabels, matchExpressions In NotIn Exists DoesNotExist): 1 matches, 0 not, -1 form unknown. */
int selector_matches(const json_t *selector, const json_t *labels);
