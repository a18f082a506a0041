/* YAML text to a jansson tree: maps, sequences, and scalars as strings (an empty plain scalar, ~ and null become null). */
#pragma once

#include <jansson.h>

#include "../base/err.h"

/* NULL with *err (line and column). Depth, number of nodes and duplicate keys are bounded or refused. The caller decref()s.
 */
json_t *yaml_parse(const char *text, size_t len, struct err *err);
