/* What the gate knows of every proxy, as a table. Pure: JSON in, text out. */
#pragma once

#include "../lib/base/buf.h"
#include "../lib/base/json.h"

struct proxies_filter {
    bool stuck;             /* neither Moved nor NotStarted */
    const char *state, *ns; /* NULL: all; the state is compared without case, '-' and '_' */
};

/* The proxies of the gate's answer that pass, by namespace and pod; a new array. */
json_t *proxies_view_select(const json_t *view, const struct proxies_filter *f);
/* rows: what proxies_view_select gave. */
void proxies_view(const json_t *view, const json_t *rows, const struct proxies_filter *f, bool wide, struct buf *out);
