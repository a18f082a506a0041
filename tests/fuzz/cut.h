/* An answer as it may arrive: in one piece, or in pieces whose size the input's first byte says. */
#pragma once

#include <stdint.h>
#include <stdlib.h>

#include "lib/base/buf.h"

/* Fills *whole with all but the first byte (size is not 0) and returns *n pieces of the same; to be freed. */
static inline struct piece *fuzz_cut(const uint8_t *data, size_t size, struct piece *whole, size_t *n) {
    size_t step = data[0] % 17 + (size_t)1;
    *whole = (struct piece){data + 1, size - 1};
    *n = 0;
    struct piece *cut = calloc(size / step + 1, sizeof *cut);
    for (size_t at = 1; cut != NULL && at < size; at += step) {
        cut[(*n)++] = (struct piece){data + at, at + step > size ? size - at : step};
    }
    return cut;
}
