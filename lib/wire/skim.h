/*
 * Reads protobuf messages where they lie, over the pieces that gRPC delivered, without a tree and without a copy of the
 * whole. For istiod's answers, which are megabytes long.
 */
#pragma once

#include "../base/buf.h"
#include "../base/err.h"

/* A position in a sequence of pieces. */
struct skim {
    const struct piece *pieces;
    size_t n, i, at; /* next byte: pieces[i].p[at] */
    size_t left;     /* bytes until the end of the enclosing message */
};

void skim_init(struct skim *s, const struct piece *pieces, size_t n);

enum { SKIM_VARINT = 0, SKIM_I64 = 1, SKIM_BYTES = 2, SKIM_I32 = 5 };

struct skim_field {
    uint32_t number;
    int wire;         /* SKIM_... */
    uint64_t value;   /* varint, fixed; or the length of bytes */
    struct skim body; /* of SKIM_BYTES */
};

/* Next field of the message. 1: *f is filled and the position is behind it; 0: end; -1: malformed (*err). */
int skim_next(struct skim *s, struct skim_field *f, struct err *err);
/* Copy a body of at most cap-1 bytes as a C string; false when it is longer or contains NUL. */
bool skim_text(const struct skim *body, char *out, size_t cap);
/* The pieces of a body, at most `cap` of them; returns their number, or 0 when there are more (caller asks with a
 * larger array; skim.n - skim.i + 1 is always enough). Borrowed like the message. */
size_t skim_pieces(const struct skim *body, struct piece *out, size_t cap);

/* Add a body to out, in one piece; false when out takes no more. */
bool skim_copy(const struct skim *body, struct buf *out);

/* What we need of a DiscoveryResponse with one resource of type istio.io/debug. */
struct skim_debug {
    char type_url[96];
    char nonce[128];
    char version[96];
    struct skim body; /* raw HTTP body of the debug call; empty when the answer had no resource */
    size_t resources;
};
bool skim_debug_response(const struct piece *pieces, size_t n, struct skim_debug *out, struct err *err);
