/* Of how many proxies each witness is heard. Pure: JSON in, text out. */
#pragma once

#include "../lib/base/buf.h"
#include "../lib/base/json.h"

/* Without wide only those namespaces are shown in which something is missing. */
void coverage_view(const json_t *view, bool wide, struct buf *out);
