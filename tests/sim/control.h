/* A line-oriented unix socket: a line in, an answer of one line out, in order. */
#pragma once

#include "../../lib/base/buf.h"
#include "../../lib/base/err.h"
#include "../../lib/base/loop.h"

struct control;

/* answer: fill one line (no newline). */
struct control *control_new(struct loop *loop, const char *path,
                            void (*answer)(void *ctx, const char *line, struct buf *out), void *ctx, struct err *err);
void control_free(struct control *c);
