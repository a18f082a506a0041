/*
 * Cuts JSON text that lies in pieces into values, one at a time, without a tree of the whole: knows strings, escapes and
 * depth and nothing else; whether a value is well-formed is for its parser to say.
 */
#pragma once

#include "../lib/base/buf.h"
#include "../lib/base/err.h"

#define JSON_CUT_MAX_VALUE (1024 * 1024)

struct json_cut {
    const struct piece *pieces;
    size_t n, i, at;
    uint64_t offset;  /* of the next byte */
    struct buf value; /* the value that was cut last */
};

void json_cut_init(struct json_cut *c, const struct piece *pieces, size_t n);
void json_cut_done(struct json_cut *c);
/* Next byte after white space without taking it, -1 at the end. */
int json_cut_peek(struct json_cut *c);
/* Take `want` after white space. */
bool json_cut_take(struct json_cut *c, char want, struct err *err);
/* Cut the next value into c->value (NUL-terminated). false with *err: cut in the middle, or larger than the maximum. */
bool json_cut_value(struct json_cut *c, struct err *err);
/* Nothing but white space is left. */
bool json_cut_end(struct json_cut *c, struct err *err);
