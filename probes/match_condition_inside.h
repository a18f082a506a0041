/* Inside of match_condition: values, and what is known of the object. */
#pragma once

#include <stddef.h>

#include "match_condition.h"

enum { PATH_MAX_BYTES = 128 };

enum kind { UNKNOWN, FAILS, TRUTH, TEXT, MAP };

struct value {
    enum kind kind;
    bool truth;
    const char *text; /* TEXT: not terminated */
    size_t len;
    const json_t *map;
    bool partial; /* MAP: the annotations */
};

struct eval {
    const char *at;
    const struct condition_pod *pod;
    bool labels, annotations; /* does the object have that map? */
    int depth;
    bool refused; /* a form that is not understood; why says which */
    char *why;
};

struct value condition_truth(bool b);
struct value condition_text(const char *s, size_t len);
/* A form that is not understood, in front of e->at. */
struct value condition_refuse(struct eval *e, const char *what);
struct value condition_unknown(struct eval *e, const char *what);
/* A key that is not there. */
struct value condition_fails(struct eval *e, const char *what);
/* Value of "object.a.b"; only_whether: has() of it. */
struct value condition_resolve(struct eval *e, const char *path, bool only_whether);
/* Value of a key, or whether it is there. */
struct value condition_lookup(struct eval *e, const struct value *map, const char *key, size_t len, bool only_whether);
/* Could the object that was created have had that map? Bits: 1 it may have been absent, 2 it may have been there. */
int condition_presence(const json_t *map, bool annotations);
