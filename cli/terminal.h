/* What the place that we write to can show. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Columns of the terminal behind stdout; 0: it is none. */
size_t terminal_columns(void);
/* Characters beyond ASCII may be written (by LC_ALL, LC_CTYPE, LANG). */
bool terminal_utf8(void);
