/*
 * One JSON value, read where it lies: jsmn cuts it into tokens; what jsmn lets through (missing or doubled commas and
 * colons, bare words, control characters, lone surrogates, bytes that are not UTF-8) is refused here. Strings are unescaped
 * and ended with NUL in place, so the text must be the caller's to write to and must outlive the answers.
 *
 * Nodes are numbers in the order of the text, 0 is the whole value; below an object a key stands right before its value.
 */
#pragma once

#include <stddef.h>

#include "../lib/base/err.h"

#define JSON_DOC_MAX_DEPTH 64
#define JSON_DOC_MAX_NODES (128 * 1024)

struct json_doc;

struct json_name {
    const char *text;
    size_t len;
};
#define JSON_NAME(literal) \
    { literal, sizeof(literal) - 1 }

struct json_doc *json_doc_new(void);
void json_doc_free(struct json_doc *d);
/* Read an object, a list or a string and nothing else. text[len] must exist. false with *err: where it stops being JSON. */
bool json_doc_parse(struct json_doc *d, char *text, size_t len, struct err *err);
bool json_doc_is_object(const struct json_doc *d, int node);
/* Text of a string, cut at a NUL that it contains; NULL for anything else and for node -1. */
const char *json_doc_str(const struct json_doc *d, int node);
/* The node after all that belongs to this one. Keys of o: for (k = o + 1; k < end(o); k = end(k + 1)), value k + 1. */
int json_doc_end(const struct json_doc *d, int node);
/* nodes[i]: value of names[i] in the object, -1 when it is absent. false with *err: one of them is there twice. */
bool json_doc_fields(const struct json_doc *d, int object, const struct json_name *names, size_t n, int *nodes,
                     struct err *err);
