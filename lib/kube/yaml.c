#include "yaml.h"

#include <string.h>
#include <yaml.h>

enum { MAX_DEPTH = 24, MAX_NODES = 100000 };

struct reading {
    yaml_document_t *doc;
    size_t nodes; /* visited, aliases counted each time: bounds what aliases can blow up to */
    struct err *err;
};

static json_t *node_json(struct reading *r, int index, int depth);

static json_t *fault(struct reading *r, const yaml_node_t *n, const char *what) {
    err_set(r->err, ERR_INVALID, "line %zu: %s", n->start_mark.line + 1, what);
    return NULL;
}

static json_t *scalar_json(struct reading *r, const yaml_node_t *n) {
    const char *v = (const char *)n->data.scalar.value;
    size_t len = n->data.scalar.length;
    bool plain = n->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (plain && (len == 0 || !strcmp(v, "~") || !strcmp(v, "null"))) {
        return json_null();
    }
    json_t *s = memchr(v, 0, len) ? NULL : json_stringn(v, len);
    return s ? s : fault(r, n, "a value that is not text");
}

static json_t *sequence_json(struct reading *r, const yaml_node_t *n, int depth) {
    json_t *out = json_array();
    for (yaml_node_item_t *i = n->data.sequence.items.start; i < n->data.sequence.items.top; i++) {
        json_t *v = node_json(r, *i, depth + 1);
        if (!v) {
            json_decref(out);
            return NULL;
        }
        json_array_append_new(out, v);
    }
    return out;
}

static json_t *mapping_json(struct reading *r, const yaml_node_t *n, int depth) {
    json_t *out = json_object();
    for (yaml_node_pair_t *p = n->data.mapping.pairs.start; p < n->data.mapping.pairs.top; p++) {
        const yaml_node_t *key = yaml_document_get_node(r->doc, p->key);
        json_t *v = NULL;
        if (!key || key->type != YAML_SCALAR_NODE) {
            fault(r, n, "a key that is not text");
        } else if (json_object_get(out, (const char *)key->data.scalar.value)) {
            fault(r, key, "a key that stands there twice");
        } else {
            v = node_json(r, p->value, depth + 1);
        }
        if (!v || json_object_set_new(out, (const char *)key->data.scalar.value, v) != 0) {
            json_decref(out);
            return v ? fault(r, key, "a key that is not text") : NULL;
        }
    }
    return out;
}

static json_t *node_json(struct reading *r, int index, int depth) {
    const yaml_node_t *n = yaml_document_get_node(r->doc, index);
    if (!n) {
        err_set(r->err, ERR_INVALID, "empty");
        return NULL;
    }
    if (depth > MAX_DEPTH || ++r->nodes > MAX_NODES) {
        return fault(r, n, "nested too deeply or too large");
    }
    switch (n->type) {
    case YAML_SCALAR_NODE:
        return scalar_json(r, n);
    case YAML_SEQUENCE_NODE:
        return sequence_json(r, n, depth);
    case YAML_MAPPING_NODE:
        return mapping_json(r, n, depth);
    case YAML_NO_NODE:
        break;
    }
    return fault(r, n, "a node of unknown type");
}

json_t *yaml_parse(const char *text, size_t len, struct err *err) {
    yaml_parser_t parser;
    yaml_document_t doc;
    json_t *out = NULL;
    if (!yaml_parser_initialize(&parser)) {
        err_set(err, ERR_LIMIT, "out of memory");
        return NULL;
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
    if (!yaml_parser_load(&parser, &doc)) {
        err_set(err, ERR_INVALID, "line %zu column %zu: %s", parser.problem_mark.line + 1, parser.problem_mark.column + 1,
                parser.problem ? parser.problem : "broken YAML");
    } else {
        struct reading r = {&doc, 0, err};
        out = node_json(&r, 1, 0);
        yaml_document_delete(&doc);
    }
    yaml_parser_delete(&parser);
    return out;
}
