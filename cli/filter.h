/*
 * Which proxies a person wants to see. Every text is a list by comma of what passes, NULL: all. States, reasons and types
 * are compared without case, '-' and '_': "not-started" is NotStarted.
 */
#pragma once

#include "../lib/base/buf.h"
#include "../lib/base/json.h"

struct filter {
    bool stuck; /* something is wrong that does not pass by itself */
    const char *state, *namespace_, *node, *revision, *reason, *type;
    const char *owner; /* KIND/NAME or NAME; KIND in any spelling that kubectl takes */
};

/* false and *err: an empty item, or a state, reason or type that does not exist: then *unknown is the flag's name, and
 * filter_known() lists what there is. */
bool filter_check(const struct filter *f, const char **unknown, struct err *err);
/* The values that a flag of filter_check()'s takes, by comma. */
void filter_known(const char *flag, struct buf *out);
/* p: a proxy of the gate's answer. */
bool filter_passes(const struct filter *f, const json_t *p);
/* Nothing but perhaps `stuck` is asked for. */
bool filter_is_plain(const struct filter *f);
/* Nothing is wrong with it, or it passes by itself. */
bool filter_is_calm(const json_t *p);
