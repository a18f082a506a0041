#include "json.h"

#include <stdarg.h>
#include <string.h>

static json_t *walk(const json_t *o, va_list ap) {
    const char *key;
    while (o && (key = va_arg(ap, const char *))) {
        o = json_object_get(o, key); /* NULL when o is no object */
    }
    return (json_t *)(uintptr_t)o;
}

json_t *js_at(const json_t *o, ...) {
    va_list ap;
    va_start(ap, o);
    json_t *v = walk(o, ap);
    va_end(ap);
    return v;
}

const char *js_str(const json_t *o, ...) {
    va_list ap;
    va_start(ap, o);
    const char *s = json_string_value(walk(o, ap));
    va_end(ap);
    return s;
}

const char *js_text(const json_t *o, ...) {
    va_list ap;
    va_start(ap, o);
    const char *s = json_string_value(walk(o, ap));
    va_end(ap);
    return s ? s : "";
}

int64_t js_int(const json_t *o, int64_t absent, ...) {
    va_list ap;
    va_start(ap, absent);
    const json_t *v = walk(o, ap);
    va_end(ap);
    return json_is_integer(v) ? (int64_t)json_integer_value(v) : absent;
}

bool js_bool(const json_t *o, int absent, ...) {
    va_list ap;
    va_start(ap, absent);
    const json_t *v = walk(o, ap);
    va_end(ap);
    return json_is_boolean(v) ? json_is_true(v) : absent != 0;
}

json_t *js_parse(const char *p, size_t n, size_t max, struct err *err) {
    if (n > max) {
        err_set(err, ERR_LIMIT, "JSON of %zu bytes, at most %zu are taken", n, max);
        return NULL;
    }
    if (!p) {
        p = "";
    }
    json_error_t e;
    /* jansson limits the depth to 2048 by itself. */
    json_t *v = json_loadb(p, n, JSON_REJECT_DUPLICATES, &e);
    if (!v) {
        err_set(err, ERR_PROTOCOL, "no JSON: %s (line %d, column %d)", e.text, e.line, e.column);
    }
    return v;
}

char *js_dump(const json_t *o) {
    char *s = json_dumps(o, JSON_COMPACT | JSON_ENCODE_ANY);
    check(s != NULL);
    return s;
}
