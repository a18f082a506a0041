/*
 * matchConditions of a webhook (CEL): the forms that people write to keep pods away from an injector, evaluated for the
 * CREATE of a pod. Istio's own charts and tags (1.16 ... 1.31) write none. Understood are
 *
 *   || && ! ( ), == !=, 'text' in MAP, TEXT in ['a', 'b'], has(PATH), .startsWith() .endsWith() .contains(), true, false
 *   object.metadata.labels / annotations, with ['key'] or .key; object.metadata.namespace, object.spec.hostNetwork,
 *   object.kind, object.apiVersion, request.namespace, request.operation, request.kind.* and request.resource.*
 *
 * with CEL's rules: a key that is not there is an error, and an error on one side of || or && yields to the other side
 * where that alone decides. Everything else is CONDITION_UNKNOWN, never a guess, and so is what cannot be known of a pod
 * afterwards: who created it, annotations of others, labels and annotations that the injector or the scheduler writes.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

enum condition_result {
    CONDITION_UNKNOWN, /* a form that is not evaluated, or a value that nobody can know now; *why says which */
    CONDITION_ERROR,   /* the API server cannot evaluate it for this pod: failurePolicy decides */
    CONDITION_FALSE,
    CONDITION_TRUE,
};

enum { CONDITION_WHY = 160, CONDITION_MAX = 4096 };

/* A pod as it is now. annotations: those with "istio.io/" in the key, the others are not known. */
struct condition_pod {
    const char *namespace_;
    const json_t *labels, *annotations; /* objects or NULL */
    bool host_network;
};

/* why (CONDITION_WHY bytes) is filled on CONDITION_UNKNOWN and CONDITION_ERROR. */
enum condition_result match_condition(const char *expression, const struct condition_pod *pod, char *why);
