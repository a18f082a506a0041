/* Short ways through jansson trees. All results are borrowed from the tree. Paths end with NULL. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "err.h"

/* Object at the path of keys, NULL when a step is absent or of another type. */
json_t *js_at(const json_t *o, ...) __attribute__((sentinel));
/* String at the path, NULL when absent or no string. */
const char *js_str(const json_t *o, ...) __attribute__((sentinel));
/* Like js_str, "" instead of NULL. */
const char *js_text(const json_t *o, ...) __attribute__((sentinel));
int64_t js_int(const json_t *o, int64_t absent, ...) __attribute__((sentinel));
bool js_bool(const json_t *o, int absent, ...) __attribute__((sentinel));
/* Parse strictly (no duplicate keys, at most `max` bytes, depth limited); the caller decref()s. NULL with *err. */
json_t *js_parse(const char *p, size_t n, size_t max, struct err *err);
/* Compact text, the caller's to free(). */
char *js_dump(const json_t *o);
