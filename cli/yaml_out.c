#include "yaml_out.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

#include "../lib/base/err.h"

enum { NUMBER_MAX = 64, LONG_LINE = 120 };

static int take(void *data, unsigned char *p, size_t n) {
    return buf_add(data, p, n);
}

static void emit(yaml_emitter_t *e, yaml_event_t *event) {
    (void)yaml_emitter_emit(e, event); /* fails when the buffer is over, which its owner sees */
}

/* Would be read as a number, a time, a truth value or nothing. */
static bool is_ambiguous(const char *s) {
    static const char *const words[] = {"true", "false", "yes", "no", "on", "off", "y", "n", "null", "~", ""};
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        if (strcasecmp(s, words[i]) == 0) {
            return true;
        }
    }
    return isdigit((unsigned char)s[0]) || strchr("+-.=<", s[0]) != NULL;
}

static void put_scalar(yaml_emitter_t *e, const char *s, bool text) {
    yaml_event_t event;
    yaml_scalar_style_t style = !text || !is_ambiguous(s) ? YAML_PLAIN_SCALAR_STYLE : YAML_DOUBLE_QUOTED_SCALAR_STYLE;
    style = text && strchr(s, '\n') ? YAML_LITERAL_SCALAR_STYLE : style;
    if (yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)s, (int)strlen(s), 1, 1, style)) {
        emit(e, &event);
    }
}

static void put(yaml_emitter_t *e, const json_t *o);

static void put_object(yaml_emitter_t *e, const json_t *o) {
    yaml_event_t event;
    const char *key;
    json_t *v;
    yaml_mapping_style_t style = json_object_size(o) ? YAML_BLOCK_MAPPING_STYLE : YAML_FLOW_MAPPING_STYLE;
    check(yaml_mapping_start_event_initialize(&event, NULL, NULL, 1, style));
    emit(e, &event);
    json_object_foreach((json_t *)(uintptr_t)o, key, v) {
        put_scalar(e, key, true);
        put(e, v);
    }
    check(yaml_mapping_end_event_initialize(&event));
    emit(e, &event);
}

static void put_array(yaml_emitter_t *e, const json_t *o) {
    yaml_event_t event;
    size_t i;
    json_t *v;
    yaml_sequence_style_t style = json_array_size(o) ? YAML_BLOCK_SEQUENCE_STYLE : YAML_FLOW_SEQUENCE_STYLE;
    check(yaml_sequence_start_event_initialize(&event, NULL, NULL, 1, style));
    emit(e, &event);
    json_array_foreach(o, i, v) {
        put(e, v);
    }
    check(yaml_sequence_end_event_initialize(&event));
    emit(e, &event);
}

static void put(yaml_emitter_t *e, const json_t *o) {
    char number[NUMBER_MAX];
    switch (json_typeof(o)) {
    case JSON_OBJECT:
        put_object(e, o);
        return;
    case JSON_ARRAY:
        put_array(e, o);
        return;
    case JSON_STRING:
        put_scalar(e, json_string_value(o), true);
        return;
    case JSON_INTEGER:
        (void)snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(o));
        put_scalar(e, number, false);
        return;
    case JSON_REAL:
        (void)snprintf(number, sizeof(number), "%.17g", json_real_value(o));
        put_scalar(e, number, false);
        return;
    case JSON_TRUE:
    case JSON_FALSE:
        put_scalar(e, json_is_true(o) ? "true" : "false", false);
        return;
    case JSON_NULL:
        put_scalar(e, "null", false);
        return;
    }
}

void yaml_out(const json_t *o, struct buf *out) {
    yaml_emitter_t e;
    yaml_event_t event;
    check(yaml_emitter_initialize(&e));
    yaml_emitter_set_output(&e, take, out);
    yaml_emitter_set_unicode(&e, 1);
    yaml_emitter_set_width(&e, LONG_LINE);
    check(yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING));
    emit(&e, &event);
    check(yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1));
    emit(&e, &event);
    put(&e, o);
    check(yaml_document_end_event_initialize(&event, 1));
    emit(&e, &event);
    check(yaml_stream_end_event_initialize(&event));
    emit(&e, &event);
    yaml_emitter_delete(&e);
}
