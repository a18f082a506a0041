/* CEL as anybody may write it into a webhook. What can be said of an expression must be the contrary for its negation. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "probes/match_condition.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Of a pod with labels, annotations and nothing else that is special. */
static enum condition_result ask(const char *text) {
    static json_t *labels, *annotations;
    char why[CONDITION_WHY] = "";
    if (labels == NULL) {
        labels = json_pack("{s:s,s:s}", "app", "web", "istio.io/rev", "canary");
        annotations = json_pack("{s:s}", "sidecar.istio.io/inject", "true");
    }
    struct condition_pod pod = {.namespace_ = "shop", .labels = labels, .annotations = annotations};
    enum condition_result r = match_condition(text, &pod, why);
    if ((r == CONDITION_UNKNOWN || r == CONDITION_ERROR) && (why[0] == '\0' || memchr(why, '\0', sizeof why) == NULL)) {
        abort();
    }
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = malloc(size + 4);
    if (text == NULL || memchr(data, '\0', size) != NULL) {
        free(text);
        return 0;
    }
    text[0] = '!';
    text[1] = '(';
    memcpy(text + 2, data, size);
    text[size + 2] = '\0';
    enum condition_result plain = ask(text + 2);
    text[size + 2] = ')';
    text[size + 3] = '\0';
    if (plain == CONDITION_TRUE || plain == CONDITION_FALSE) {
        enum condition_result contrary = ask(text); /* may be too long or too deep now */
        if (contrary != CONDITION_UNKNOWN && contrary != (plain == CONDITION_TRUE ? CONDITION_FALSE : CONDITION_TRUE)) {
            abort();
        }
    }
    free(text);
    return 0;
}
