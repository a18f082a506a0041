/* MeshUpgrades as deploy/crd/meshupgrades.yaml says: the very file is compiled in. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/kube/yaml.h"
#include "crd.h"
#include "schema.h"
#include "store_impl.h"

const json_t *store_crd_schema(void) {
    static json_t *crd;
    struct err err = {0};
    if (!crd) {
        crd = yaml_parse((const char *)crd_text, sizeof crd_text, &err);
        check(crd);
    }
    const json_t *version = json_array_get(js_at(crd, "spec", "versions", NULL), 0);
    const json_t *schema = js_at(version, "schema", "openAPIV3Schema", NULL);
    check(schema);
    return schema;
}

static void refuse(const struct store_res *r, const char *name, json_t *causes, struct store_reply *out) {
    struct buf b;
    buf_init(&b, 8192);
    size_t i;
    json_t *c;
    bool many = json_array_size(causes) > 1;
    buf_printf(&b, "%s.%s \"%s\" is invalid: %s", r->kind, r->group, name, many ? "[" : "");
    json_array_foreach(causes, i, c) {
        const char *field = js_text(c, "field", NULL);
        buf_printf(&b, "%s%s: %s", i ? ", " : "", *field ? field : "<nil>", js_text(c, "message", NULL));
    }
    buf_str(&b, many ? "]" : "");
    json_t *details = json_pack("{s:s,s:s,s:s,s:O}", "name", name, "group", r->group, "kind", r->kind, "causes", causes);
    json_t *o = store_status_object(422, "Invalid", details, b.p);
    store_answer(out, 422, o);
    json_decref(o);
    buf_done(&b);
}

/* Values below the top level may be shared with the stored object: work on copies. */
static void own_parts(json_t *obj) {
    static const char *const parts[] = {"spec", "status"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        json_t *v = json_object_get(obj, parts[i]);
        if (v) {
            json_object_set_new(obj, parts[i], json_deep_copy(v));
        }
    }
}

bool store_validate(const struct store_res *r, json_t *obj, const json_t *old, struct store_reply *out) {
    (void)old;
    if (strcmp(r->plural, "meshupgrades")) {
        return true;
    }
    const json_t *schema = store_crd_schema();
    json_t *causes = json_array();
    own_parts(obj);
    schema_prune(schema, obj);
    schema_default(schema, obj);
    schema_check(schema, obj, "", causes);
    if (!json_array_size(causes)) {
        schema_check_rules(schema, obj, "", causes);
    }
    bool fine = !json_array_size(causes);
    if (!fine) {
        refuse(r, js_text(obj, "metadata", "name", NULL), causes, out);
    }
    json_decref(causes);
    return fine;
}
