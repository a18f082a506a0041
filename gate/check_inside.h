/* Inside of gate/check: how the lines of a section are put together. */
#pragma once

#include "../lib/base/buf.h"
#include "check.h"

enum check_result { CHECK_UNKNOWN, CHECK_OK, CHECK_WARN, CHECK_FAIL };

/* A line of a section; hint "" for what is well. */
void check_add(json_t *checks, const char *name, enum check_result result, const char *hint, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

/* Names of what is wrong: the first few are told, all are counted. */
struct check_names {
    struct buf text;
    uint32_t n, shown;
};
void check_names_init(struct check_names *x);
void check_names_done(struct check_names *x);
void check_names_add(struct check_names *x, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* "a, b, c and 4 more"; borrowed until the next add. */
const char *check_names_text(struct check_names *x);

/* check_mesh.c: sections about revisions and their replicas, about nodes and agents, about labels and tags. */
void check_control_planes(const struct check_input *in, json_t *checks);
void check_agents(const struct check_input *in, json_t *checks);
void check_injection(const struct check_input *in, json_t *checks);
