/* The gate's pre-flight as lines of sections, in the style of `linkerd check`. Pure: JSON in, text out. */
#pragma once

#include "../lib/base/buf.h"
#include "../lib/base/json.h"
#include "args.h"

/* utf8: signs beyond ASCII may be used. columns: where lines are wrapped. */
void check_view(const json_t *view, bool utf8, size_t columns, struct buf *out);
/* EXIT_DONE when nothing failed or is unknown (and something was looked at), else EXIT_HELD. */
enum exit_code check_view_exit(const json_t *view);
