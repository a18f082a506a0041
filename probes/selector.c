/* A Kubernetes LabelSelector. Requirements are a conjunction; one that is not understood makes the whole unknown. */
#include <stdint.h>
#include <string.h>

#include "injector.h"

static int matches_labels(const json_t *want, const json_t *labels) {
    if (!json_is_object(want)) {
        return -1;
    }
    json_t *o = (json_t *)(uintptr_t)want; /* jansson's iterators take no const */
    for (void *i = json_object_iter(o); i != NULL; i = json_object_iter_next(o, i)) {
        const char *value = json_string_value(json_object_iter_value(i));
        if (value == NULL) {
            return -1;
        }
        const char *have = json_string_value(json_object_get(labels, json_object_iter_key(i)));
        if (have == NULL || strcmp(have, value) != 0) {
            return 0;
        }
    }
    return 1;
}

/* 1 listed, 0 not, -1 no list of strings. An empty list is what the API server refuses for In and NotIn. */
static int is_listed(const json_t *values, const char *have) {
    size_t n = json_array_size(values);
    int listed = n > 0 ? 0 : -1;
    for (size_t i = 0; i < n; i++) {
        const char *v = json_string_value(json_array_get(values, i));
        if (v == NULL) {
            return -1;
        }
        listed = listed == 1 || (have != NULL && strcmp(v, have) == 0);
    }
    return listed;
}

static int matches_expression(const json_t *e, const json_t *labels) {
    const char *key = json_string_value(json_object_get(e, "key"));
    const char *op = json_string_value(json_object_get(e, "operator"));
    const json_t *values = json_object_get(e, "values");
    if (key == NULL || op == NULL) {
        return -1;
    }
    const char *have = json_string_value(json_object_get(labels, key));
    if (strcmp(op, "Exists") == 0 || strcmp(op, "DoesNotExist") == 0) {
        bool wanted = op[0] == 'E';
        return json_array_size(values) > 0 ? -1 : (have != NULL) == wanted;
    }
    int listed = is_listed(values, have);
    if (strcmp(op, "In") == 0) {
        return listed;
    }
    if (strcmp(op, "NotIn") == 0) {
        return listed < 0 ? -1 : !listed;
    }
    return -1;
}

int selector_matches(const json_t *selector, const json_t *labels) {
    if (selector == NULL || json_is_null(selector)) {
        return 1;
    }
    if (!json_is_object(selector)) {
        return -1;
    }
    const json_t *want = json_object_get(selector, "matchLabels");
    const json_t *expressions = json_object_get(selector, "matchExpressions");
    if (json_object_size(selector) != (want != NULL) + (size_t)(expressions != NULL)) {
        return -1;
    }
    int all = want != NULL && !json_is_null(want) ? matches_labels(want, labels) : 1;
    if (expressions != NULL && !json_is_null(expressions) && !json_is_array(expressions)) {
        return -1;
    }
    for (size_t i = 0; i < json_array_size(expressions) && all >= 0; i++) {
        int one = matches_expression(json_array_get(expressions, i), labels);
        all = one < 0 ? -1 : all && one;
    }
    return all;
}
