/* JSON as YAML, as kubectl writes it: block style, strings quoted only where they would be read as something else. */
#pragma once

#include "../lib/base/buf.h"
#include "../lib/base/json.h"

void yaml_out(const json_t *o, struct buf *out);
