/* A MeshUpgrade as text for people. Pure: JSON in, text out. */
#pragma once

#include "../lib/base/json.h"
#include "../lib/base/buf.h"
#include "args.h"

/* The whole picture; wide: every named object of a reason, conditions, more columns. wall_ms: now, for ages. */
void status_view(const json_t *upgrade, int64_t wall_ms, bool wide, struct buf *out);
/* The same in one line without times, for logs: two looks that differ in nothing give equal lines. */
void status_view_line(const json_t *upgrade, struct buf *out);
/* EXIT_DONE, EXIT_HELD or EXIT_PROGRESS. */
enum exit_code status_view_exit(const json_t *upgrade);
/* A bar of '#' and '-', as "[####------]". */
void status_view_bar(int64_t part, int64_t whole, int width, struct buf *out);
