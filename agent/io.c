#include "agent/io.h"

#include <string.h>

#include "lib/base/mem.h"

char *io_text(const struct io_answer *a) {
    char *text = mem_alloc(a->bytes + 1);
    size_t at = 0;
    for (size_t i = 0; i < a->pieces; i++) {
        memcpy(text + at, a->body[i].p, a->body[i].len);
        at += a->body[i].len;
    }
    return text;
}
