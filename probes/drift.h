/* Which istiod behaves how: the table of drift.def. */
#pragma once

#include <stdbool.h>

enum drift {
#define X(name, from, until, what, reader, source) DRIFT_##name,
#include "drift.def"
#undef X
    DRIFT_ROWS
};

/* Does an istiod of this version behave so? "1.22.4", "v1.22", "1.30.3-distroless", "1.31-alpha.abc"; what is no version
 * ("", "unknown") counts as the newest. */
bool drift_has(const char *version, enum drift row);
const char *drift_name(enum drift row);
const char *drift_what(enum drift row);
