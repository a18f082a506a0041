#include "wrap.h"

#include <string.h>

#include "plain.h"

enum { TEXT_MAX = 65536 };

static size_t word_width(const char *s, size_t bytes) {
    size_t width = 0;
    for (size_t i = 0; i < bytes; i++) {
        width += ((unsigned char)s[i] & 0xc0) != 0x80;
    }
    return width;
}

void wrap_add(struct buf *out, const char *s, size_t at, size_t indent, size_t columns) {
    struct buf clean;
    buf_init(&clean, TEXT_MAX);
    plain_add(&clean, s);
    bool begun = false;
    for (const char *p = clean.len ? clean.p : ""; *p;) {
        size_t n = strcspn(p, " "), width = word_width(p, n);
        if (begun && at + 1 + width > columns) {
            buf_printf(out, "\n%*s", (int)indent, "");
            at = indent;
        } else if (begun) {
            buf_str(out, " ");
            at++;
        }
        buf_add(out, p, n);
        at += width;
        begun = true;
        p += n;
        p += strspn(p, " ");
    }
    buf_str(out, "\n");
    buf_done(&clean);
}
