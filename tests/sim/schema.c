#include "schema.h"

#include <regex.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/base/json.h"
#include "../../lib/base/mem.h"
#include "../../lib/base/text.h"

/* Scalars of the schema are strings: it was read from YAML. */
static int64_t limit_of(const json_t *schema, const char *key, int64_t absent) {
    int64_t v;
    const char *s = js_str(schema, key, NULL);
    return s && text_int(s, INT64_MIN, INT64_MAX, &v) ? v : absent;
}

static json_t *typed_default(const json_t *schema) {
    json_t *d = json_object_get(schema, "default");
    const char *type = js_text(schema, "type", NULL);
    if (!d || !json_is_string(d)) {
        return d ? json_deep_copy(d) : NULL;
    }
    int64_t n;
    if (!strcmp(type, "boolean")) {
        return json_boolean(!strcmp(json_string_value(d), "true"));
    }
    if (!strcmp(type, "integer") && text_int(json_string_value(d), INT64_MIN, INT64_MAX, &n)) {
        return json_integer(n);
    }
    return json_deep_copy(d);
}

void schema_default(const json_t *schema, json_t *value) {
    const char *key;
    json_t *sub, *item;
    size_t i;
    if (json_is_object(value)) {
        json_object_foreach(json_object_get(schema, "properties"), key, sub) {
            json_t *have = json_object_get(value, key);
            json_t *d = !have || json_is_null(have) ? typed_default(sub) : NULL;
            if (d) {
                json_object_set_new(value, key, d);
            }
            schema_default(sub, json_object_get(value, key));
        }
    }
    json_array_foreach(value, i, item) {
        schema_default(json_object_get(schema, "items"), item);
    }
}

void schema_prune(const json_t *schema, json_t *value) {
    const char *key;
    json_t *v;
    void *next;
    size_t i;
    json_t *properties = json_object_get(schema, "properties");
    if (json_is_object(value) && properties) {
        json_object_foreach_safe(value, next, key, v) {
            json_t *sub = json_object_get(properties, key);
            if (!sub) {
                json_object_del(value, key);
            } else {
                schema_prune(sub, v);
            }
        }
    }
    json_array_foreach(value, i, v) {
        schema_prune(json_object_get(schema, "items"), v);
    }
}

void schema_fault(json_t *causes, const char *reason, const char *field, const char *fmt, ...) {
    char text[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    json_array_append_new(causes, json_pack("{s:s,s:s,s:s}", "reason", reason, "message", text, "field", field));
}

static const char *type_of(const json_t *v) {
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return "object";
    case JSON_ARRAY:
        return "array";
    case JSON_STRING:
        return "string";
    case JSON_INTEGER:
        return "integer";
    case JSON_REAL:
        return "number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "boolean";
    case JSON_NULL:
        break;
    }
    return "null";
}

static void check_string(const json_t *schema, const json_t *value, const char *path, json_t *causes) {
    const char *s = json_string_value(value), *pattern = js_str(schema, "pattern", NULL);
    int64_t min = limit_of(schema, "minLength", 0), max = limit_of(schema, "maxLength", INT64_MAX);
    json_t *allowed = json_object_get(schema, "enum"), *a;
    size_t i;
    if ((int64_t)strlen(s) > max) {
        schema_fault(causes, "FieldValueTooLong", path, "Too long: may not be more than %lld bytes", (long long)max);
    }
    if ((int64_t)strlen(s) < min) {
        schema_fault(causes, "FieldValueInvalid", path,
                     "Invalid value: \"%s\": %s in body should be at least %lld chars long", s, path, (long long)min);
    }
    regex_t re;
    if (pattern && regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB) == 0) {
        if (regexec(&re, s, 0, NULL, 0)) {
            schema_fault(causes, "FieldValueInvalid", path, "Invalid value: \"%s\": %s in body should match '%s'", s, path,
                         pattern);
        }
        regfree(&re);
    }
    if (allowed) {
        char list[300] = "";
        json_array_foreach(allowed, i, a) {
            if (!strcmp(json_string_value(a), s)) {
                return;
            }
            size_t n = strlen(list);
            snprintf(list + n, sizeof list - n, "%s\"%s\"", n ? ", " : "", json_string_value(a));
        }
        schema_fault(causes, "FieldValueNotSupported", path, "Unsupported value: \"%s\": supported values: %s", s, list);
    }
}

static void check_number(const json_t *schema, const json_t *value, const char *path, json_t *causes) {
    int64_t v = json_integer_value(value);
    int64_t min = limit_of(schema, "minimum", INT64_MIN), max = limit_of(schema, "maximum", INT64_MAX);
    if (v < min) {
        schema_fault(causes, "FieldValueInvalid", path,
                     "Invalid value: %lld: %s in body should be greater than or equal to %lld", (long long)v, path,
                     (long long)min);
    }
    if (v > max) {
        schema_fault(causes, "FieldValueInvalid", path,
                     "Invalid value: %lld: %s in body should be less than or equal to %lld", (long long)v, path,
                     (long long)max);
    }
}

static void check_array(const json_t *schema, const json_t *value, const char *path, json_t *causes) {
    size_t i, k;
    json_t *item;
    int64_t n = (int64_t)json_array_size(value), min = limit_of(schema, "minItems", 0),
            max = limit_of(schema, "maxItems", INT64_MAX);
    if (n < min) {
        schema_fault(causes, "FieldValueInvalid", path, "Invalid value: %lld: %s in body should have at least %lld items",
                     (long long)n, path, (long long)min);
    }
    if (n > max) {
        schema_fault(causes, "FieldValueTooMany", path, "Too many: %lld: must have at most %lld items", (long long)n,
                     (long long)max);
        return;
    }
    bool set = !strcmp(js_text(schema, "x-kubernetes-list-type", NULL), "set");
    json_array_foreach(value, i, item) {
        char *sub = mem_printf("%s[%zu]", path, i);
        for (k = 0; set && k < i; k++) {
            if (json_equal(json_array_get(value, k), item)) {
                schema_fault(causes, "FieldValueDuplicate", sub, "Duplicate value: \"%s\"",
                             json_is_string(item) ? json_string_value(item) : "");
                break;
            }
        }
        schema_check(json_object_get(schema, "items"), item, sub, causes);
        free(sub);
    }
}

static void check_object(const json_t *schema, const json_t *value, const char *path, json_t *causes) {
    const char *key;
    json_t *v;
    size_t i;
    const char *dot = *path ? "." : "";
    json_t *required = json_object_get(schema, "required"), *others = json_object_get(schema, "additionalProperties");
    json_array_foreach(required, i, v) {
        if (!json_object_get(value, json_string_value(v))) {
            char *sub = mem_printf("%s%s%s", path, dot, json_string_value(v));
            schema_fault(causes, "FieldValueRequired", sub, "Required value");
            free(sub);
        }
    }
    int64_t max = limit_of(schema, "maxProperties", INT64_MAX);
    if ((int64_t)json_object_size(value) > max) {
        schema_fault(causes, "FieldValueTooMany", path, "Too many: %zu: must have at most %lld items",
                     json_object_size(value), (long long)max);
        return;
    }
    union {
        const json_t *c;
        json_t *m;
    } whole = {.c = value}; /* jansson's iteration takes no const */
    json_object_foreach(whole.m, key, v) {
        json_t *s = js_at(schema, "properties", key, NULL);
        char *sub = mem_printf("%s%s%s", path, dot, key);
        if (s || others) {
            schema_check(s ? s : others, v, sub, causes);
        }
        free(sub);
    }
}

void schema_check(const json_t *schema, const json_t *value, const char *path, json_t *causes) {
    const char *type = js_str(schema, "type", NULL), *have = type_of(value);
    if (!type) {
        return;
    }
    if (strcmp(type, have) && !(!strcmp(type, "number") && !strcmp(have, "integer"))) {
        schema_fault(causes, "FieldValueTypeInvalid", path, "Invalid value: \"%s\": %s in body must be of type %s: \"%s\"",
                     have, path, type, have);
    } else if (json_is_string(value)) {
        check_string(schema, value, path, causes);
    } else if (json_is_integer(value)) {
        check_number(schema, value, path, causes);
    } else if (json_is_array(value)) {
        check_array(schema, value, path, causes);
    } else if (json_is_object(value)) {
        check_object(schema, value, path, causes);
    }
}
