/* Revisions, their istiod replicas, and how these are read. Pure: JSON in, text out. */
#pragma once

#include "../lib/base/buf.h"
#include "../lib/base/json.h"

/* columns: of the terminal; what does not fit is left out. 0: all is shown. */
void istiods_view(const json_t *view, bool wide, size_t columns, struct buf *out);
