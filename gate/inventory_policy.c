/* What the injectors' ConfigMaps say: policy, neverInjectSelector, alwaysInjectSelector. Their templates are passed over.
 */
#include <string.h>

#include "../lib/base/json.h"
#include "../lib/kube/yaml.h"
#include "inventory_tables.h"

static const char prefix[] = "istio-sidecar-injector";

bool inventory_policy_put(struct inventory_tables *t, const json_t *o) {
    const char *name = js_text(o, "metadata", "name", NULL), *text = js_str(o, "data", "config", NULL);
    const char *rest = name + sizeof prefix - 1;
    if (strncmp(name, prefix, sizeof prefix - 1) != 0 || (*rest != '\0' && *rest != '-') || !text) {
        return false;
    }
    struct err err;
    json_t *config = yaml_parse(text, strlen(text), &err);
    const char *revision = js_text(o, "metadata", "labels", "istio.io/rev", NULL);
    bool changed =
        json_is_object(config) && injectors_put_policy(t->inv.injectors, name, js_text(o, "metadata", "namespace", NULL),
                                                       *revision ? revision : "default", config);
    json_decref(config);
    return changed;
}
