/* MutatingWebhookConfigurations and injector ConfigMaps as anybody may write them, and the labels of a pod and of its
 * namespace. The input is {"configurations":[...],"policy":{},"namespace":{labels},"pod":{labels},"annotations":{}}. */
#include <stdlib.h>
#include <string.h>

#include "lib/base/json.h"
#include "probes/injector.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool x) {
    if (!x) {
        abort();
    }
}

static void ask(const struct injectors *x, const json_t *in) {
    const char *revision = "?", *again = "?", *service = NULL, *space = NULL;
    const json_t *ns = json_object_get(in, "namespace"), *pod = json_object_get(in, "pod");
    enum injector_result r = injectors_for(x, "shop", ns, pod, &revision);
    expect((r == INJECTOR_ONE) == (revision != NULL));
    expect(injectors_for(x, "shop", ns, pod, &again) == r && again == revision);
    if (r == INJECTOR_ONE) {
        expect(*revision != '\0');
        expect(!injectors_service(x, revision, &service, &space) || (service != NULL && space != NULL));
    }
    struct injector_subject subject = {
        .namespace_ = "shop", .namespace_labels = ns, .labels = pod, .annotations = json_object_get(in, "annotations")};
    struct injector_verdict v;
    injectors_ask(x, &subject, &v);
    expect((v.result == INJECTOR_ONE) == (v.revision != NULL));
    expect((v.result == INJECTOR_UNKNOWN) <= (v.why[0] != '\0'));
    expect((v.result == INJECTOR_SEVERAL) <= (v.also != NULL));
    expect(v.opt_out == OPT_OUT_NONE || opt_out_text(v.opt_out)[0] != '\0');
    injector_opted_out("shop", pod, subject.annotations, false);
    injectors_resolve(x, js_text(ns, "istio.io/rev", NULL));
}

/* A configuration that is put twice counts once, and one that is removed not at all. */
static void put_all(struct injectors *x, const json_t *in) {
    const json_t *all = json_object_get(in, "configurations"), *c;
    size_t i;
    json_array_foreach(all, i, c) {
        injectors_put(x, c);
        ask(x, in);
        injectors_put(x, c);
    }
    ask(x, in);
    json_array_foreach(all, i, c) {
        injectors_remove(x, js_text(c, "metadata", "name", NULL));
    }
    const char *revision;
    expect(injectors_for(x, "shop", json_object_get(in, "namespace"), json_object_get(in, "pod"), &revision) ==
           INJECTOR_NONE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    json_t *in = json_loadb((const char *)data, size, 0, NULL);
    if (in != NULL) {
        struct injectors *x = injectors_new();
        injectors_put_policy(x, "istio-sidecar-injector-canary", "istio-system", "canary", json_object_get(in, "policy"));
        injectors_set_words(x, "canary", size % 2 ? WORDS_STRICT : WORDS_YAML);
        put_all(x, in);
        injectors_free(x);
        json_decref(in);
    }
    return 0;
}
