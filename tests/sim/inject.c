#include "inject.h"

#include <stdlib.h>
#include <string.h>

#include "../../lib/base/json.h"
#include "pki.h"
#include "world_impl.h"

#define MAX_REVIEW (8u * 1024 * 1024)

static void add_change(json_t *patch, const json_t *before, const json_t *after, const char *parent, const char *key,
                       const char *path) {
    json_t *was = parent ? js_at(before, parent, key, NULL) : json_object_get(before, key);
    json_t *is = parent ? js_at(after, parent, key, NULL) : json_object_get(after, key);
    if (is && (!was || !json_equal(was, is))) {
        json_array_append_new(patch, json_pack("{s:s,s:s,s:O}", "op", was ? "replace" : "add", "path", path, "value", is));
    }
}

static char *make_patch(const json_t *pod, const char *revision, const char *version) {
    json_t *after = json_deep_copy(pod), *patch = json_array();
    world_inject(after, revision, version);
    add_change(patch, pod, after, "metadata", "annotations", "/metadata/annotations");
    add_change(patch, pod, after, "metadata", "labels", "/metadata/labels");
    add_change(patch, pod, after, NULL, "spec", "/spec");
    char *text = js_dump(patch), *coded = pki_base64(text);
    json_decref(after);
    json_decref(patch);
    free(text);
    return coded;
}

char *inject_answer(const char *body, size_t len, const char *revision, const char *version) {
    struct err err = {0};
    json_t *review = js_parse(body, len, MAX_REVIEW, &err);
    json_t *pod = js_at(review, "request", "object", NULL);
    if (!json_is_object(js_at(pod, "metadata", NULL)) || !json_is_object(js_at(pod, "spec", NULL))) {
        json_decref(review);
        return NULL;
    }
    json_t *response = json_pack("{s:s,s:b}", "uid", js_text(review, "request", "uid", NULL), "allowed", 1);
    if (!injector_opted_out(js_text(review, "request", "namespace", NULL), js_at(pod, "metadata", "labels", NULL),
                            js_at(pod, "metadata", "annotations", NULL),
                            js_bool(pod, false, "spec", "hostNetwork", NULL))) {
        char *patch = make_patch(pod, revision, version);
        json_object_set_new(response, "patch", json_string(patch));
        json_object_set_new(response, "patchType", json_string("JSONPatch"));
        free(patch);
    }
    json_t *answer =
        json_pack("{s:s,s:s,s:o}", "apiVersion", "admission.k8s.io/v1", "kind", "AdmissionReview", "response", response);
    char *text = js_dump(answer);
    json_decref(answer);
    json_decref(review);
    return text;
}
