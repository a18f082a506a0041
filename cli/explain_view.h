/* One proxy explained: state, cause, whose it is, the rule that decided, every witness's evidence. Pure: JSON in, text out.
 */
#pragma once

#include "../lib/base/buf.h"
#include "../lib/base/json.h"

/* columns: where lines are wrapped. */
void explain_view(const json_t *view, size_t columns, struct buf *out);
