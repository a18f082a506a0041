/*
 * Who injects a pod: matchConditions, policy, labels and annotations as anybody may write them. Input: a JSON object
 * {"configuration": MutatingWebhookConfiguration, "policy": {...}, "namespace": {labels}, "labels": {}, "annotations": {}};
 * what is no JSON is taken as one expression of a matchCondition.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/json.h"
#include "probes/injector.h"
#include "probes/match_condition.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void as_expression(const uint8_t *data, size_t size) {
    char *text = calloc(1, size + 1), why[CONDITION_WHY];
    if (text == NULL) {
        return;
    }
    memcpy(text, data, size);
    json_t *labels = json_pack("{s:s}", "app", "web"), *annotations = json_pack("{s:s}", "istio.io/x", "y");
    const struct condition_pod bare = {"shop", NULL, NULL, false}, full = {"shop", labels, annotations, true};
    match_condition(text, &bare, why);
    match_condition(text, &full, why);
    json_decref(labels);
    json_decref(annotations);
    free(text);
}

/* What holds whatever was written. */
static void check_verdict(const struct injector_verdict *v) {
    if ((v->revision != NULL) != (v->result == INJECTOR_ONE) || (v->also != NULL && v->result != INJECTOR_SEVERAL) ||
        (v->result == INJECTOR_UNKNOWN) != (v->why[0] != '\0')) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct injector_verdict v;
    json_t *o = js_parse((const char *)data, size, 1 << 20, NULL);
    if (o == NULL) {
        as_expression(data, size);
        return 0;
    }
    struct injectors *x = injectors_new();
    injectors_put(x, json_object_get(o, "configuration"));
    injectors_put_policy(x, "p", "istio-system", "old", json_object_get(o, "policy"));
    const struct injector_subject pod = {"shop", json_object_get(o, "namespace"), json_object_get(o, "labels"),
                                         json_object_get(o, "annotations"), false};
    injectors_ask(x, &pod, &v);
    check_verdict(&v);
    injectors_resolve(x, "old");
    injectors_free(x);
    json_decref(o);
    return 0;
}
