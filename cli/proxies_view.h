/* What the gate knows of every proxy, as a table. Pure: JSON in, text out. */
#pragma once

#include "proxies_read.h"

/* columns: of the terminal; what does not fit is left out. 0: all is shown. wide needs whole rows. */
void proxies_view(const struct proxies_seen *seen, const struct filter *f, bool wide, size_t columns, struct buf *out);
