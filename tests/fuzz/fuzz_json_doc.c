/* json_doc takes what jansson takes, jansson being the measure: except what is nested deeper, numbers too large
 * for C, and a NUL byte, which jansson passes over behind a number. */
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "probes/json_doc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same_strings(const struct json_doc *d, int node, const json_t *want) {
    const char *got = json_doc_str(d, node);
    if ((got != NULL) != json_is_string(want) || (got != NULL && strcmp(got, json_string_value(want)) != 0)) {
        abort();
    }
    if (json_is_array(want)) {
        int k = node + 1;
        for (size_t i = 0; i < json_array_size(want); i++, k = json_doc_end(d, k)) {
            same_strings(d, k, json_array_get(want, i));
        }
        if (k != json_doc_end(d, node)) {
            abort();
        }
    }
    for (int k = node + 1; json_is_object(want) && k < json_doc_end(d, node); k = json_doc_end(d, k + 1)) {
        if (json_object_get(want, json_doc_str(d, k)) == NULL) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = malloc(size + 3);
    if (text == NULL) {
        return 0;
    }
    text[0] = '['; /* a number that stands alone is for jansson only */
    memcpy(text + 1, data, size);
    text[size + 1] = ']';
    size += 2;
    json_error_t why;
    json_t *want = json_loadb(text, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
    bool nul = memchr(text, '\0', size) != NULL;
    bool too_large = want == NULL && json_error_code(&why) == json_error_numeric_overflow;
    struct json_doc *d = json_doc_new();
    struct err err = {0};
    bool ok = json_doc_parse(d, text, size, &err);
    bool too_deep = !ok && (strstr(err.text, "too deep") != NULL || err.code == ERR_LIMIT);
    if (nul ? ok : ok != (want != NULL) && !too_large && !too_deep) {
        abort();
    }
    if (ok && want != NULL) {
        same_strings(d, 0, want);
    }
    json_doc_free(d);
    json_decref(want);
    free(text);
    return 0;
}
