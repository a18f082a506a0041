/*
 * JSON written straight into a buffer, for answers with thousands of rows: no tree is built. The caller keeps the nesting
 * right. Text that is no well-formed UTF-8 becomes null, as with json_string().
 */
#pragma once

#include "buf.h"

struct jtext {
    struct buf *out; /* borrowed; when it is over, what is written is not whole */
    bool more;       /* a value stands before the next one in this object or array */
};

void jtext_init(struct jtext *t, struct buf *out);
/* bracket: '{' or '['. key: NULL inside of an array and for the outermost. */
void jtext_open(struct jtext *t, const char *key, char bracket);
/* bracket: '}' or ']' */
void jtext_close(struct jtext *t, char bracket);
/* s NULL: null */
void jtext_str(struct jtext *t, const char *key, const char *s);
/* "" becomes null too: for texts that are empty when nobody said them. */
void jtext_said(struct jtext *t, const char *key, const char *s);
void jtext_int(struct jtext *t, const char *key, int64_t v);
void jtext_bool(struct jtext *t, const char *key, bool v);
