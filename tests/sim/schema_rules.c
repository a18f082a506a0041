#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/base/err.h"
#include "../../lib/base/json.h"
#include "../../lib/base/mem.h"
#include "schema.h"

static bool revisions_differ(const json_t *self) {
    return strcmp(js_text(self, "from", "revision", NULL), js_text(self, "to", "revision", NULL)) != 0;
}

static size_t waves_called(const json_t *self, const char *name) {
    size_t i, n = 0;
    json_t *w;
    json_array_foreach(json_object_get(self, "waves"), i, w) {
        n += !strcmp(js_text(w, "name", NULL), name);
    }
    return n;
}

static bool wave_names_unique(const json_t *self) {
    size_t i;
    json_t *w;
    json_array_foreach(json_object_get(self, "waves"), i, w) {
        if (waves_called(self, js_text(w, "name", NULL)) != 1) {
            return false;
        }
    }
    return true;
}

static bool only_last_takes_rest(const json_t *self) {
    size_t i;
    json_t *w, *waves = json_object_get(self, "waves");
    const char *last = js_text(json_array_get(waves, json_array_size(waves) - 1), "name", NULL);
    json_array_foreach(waves, i, w) {
        json_t *ns = json_object_get(w, "namespaces");
        bool chosen = json_object_get(ns, "names") || json_object_get(ns, "selector") || json_object_get(ns, "percent");
        if (!chosen && strcmp(js_text(w, "name", NULL), last)) {
            return false;
        }
    }
    return true;
}

static bool approved_exist(const json_t *self) {
    size_t i;
    json_t *a;
    json_array_foreach(json_object_get(self, "approvedWaves"), i, a) {
        if (!waves_called(self, json_string_value(a))) {
            return false;
        }
    }
    return true;
}

static bool one_choice(const json_t *self) {
    return !!json_object_get(self, "names") + !!json_object_get(self, "selector") + !!json_object_get(self, "percent") <= 1;
}

static bool selector_says_something(const json_t *self) {
    return json_object_get(self, "matchLabels") || json_object_get(self, "matchExpressions");
}

static bool operator_fits(const json_t *self) {
    const char *op = js_text(self, "operator", NULL);
    bool values = json_array_size(json_object_get(self, "values")) > 0;
    return (!strcmp(op, "In") || !strcmp(op, "NotIn")) == values;
}

/* Blanks do not count. */
static const struct {
    const char *rule;
    bool (*holds)(const json_t *self);
} rules[] = {
    {"self.from.revision != self.to.revision", revisions_differ},
    {"self.waves.all(w, self.waves.exists_one(v, v.name == w.name))", wave_names_unique},
    {"self.waves.all(w, (has(w.namespaces) && (has(w.namespaces.names) || has(w.namespaces.selector) || "
     "has(w.namespaces.percent))) || w.name == self.waves[size(self.waves) - 1].name)",
     only_last_takes_rest},
    {"!has(self.approvedWaves) || self.approvedWaves.all(a, self.waves.exists(w, w.name == a))", approved_exist},
    {"[has(self.names), has(self.selector), has(self.percent)].filter(x, x).size() <= 1", one_choice},
    {"has(self.matchLabels) || has(self.matchExpressions)", selector_says_something},
    {"self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 : !has(self.values) || "
     "size(self.values) == 0",
     operator_fits},
};

static bool same_text(const char *a, const char *b) {
    for (;; a++, b++) {
        while (isspace((unsigned char)*a)) {
            a++;
        }
        while (isspace((unsigned char)*b)) {
            b++;
        }
        if (*a != *b) {
            return false;
        }
        if (!*a) {
            return true;
        }
    }
}

static bool (*rule_find(const char *text))(const json_t *self) {
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (same_text(rules[i].rule, text)) {
            return rules[i].holds;
        }
    }
    return NULL;
}

static void check_here(const json_t *schema, const json_t *value, const char *path, json_t *causes) {
    size_t i;
    json_t *rule;
    json_array_foreach(json_object_get(schema, "x-kubernetes-validations"), i, rule) {
        bool (*holds)(const json_t *) = rule_find(js_text(rule, "rule", NULL));
        check(holds);
        if (!holds(value)) {
            schema_fault(causes, "FieldValueInvalid", path, "Invalid value: %s", js_text(rule, "message", NULL));
        }
    }
}

void schema_check_rules(const json_t *schema, const json_t *value, const char *path, json_t *causes) {
    const char *key;
    json_t *sub, *item;
    size_t i;
    check_here(schema, value, path, causes);
    json_object_foreach(json_object_get(schema, "properties"), key, sub) {
        json_t *v = json_object_get(value, key);
        if (v) {
            char *p = mem_printf("%s%s%s", path, *path ? "." : "", key);
            schema_check_rules(sub, v, p, causes);
            free(p);
        }
    }
    json_array_foreach(value, i, item) {
        char *p = mem_printf("%s[%zu]", path, i);
        schema_check_rules(json_object_get(schema, "items"), item, p, causes);
        free(p);
    }
}

bool schema_rules_known(const json_t *schema, const char **unknown) {
    size_t i;
    json_t *rule, *sub;
    const char *key;
    json_array_foreach(json_object_get(schema, "x-kubernetes-validations"), i, rule) {
        if (!rule_find(js_text(rule, "rule", NULL))) {
            *unknown = js_text(rule, "rule", NULL);
            return false;
        }
    }
    json_object_foreach(json_object_get(schema, "properties"), key, sub) {
        if (!schema_rules_known(sub, unknown)) {
            return false;
        }
    }
    json_t *items = json_object_get(schema, "items");
    return !items || schema_rules_known(items, unknown);
}
