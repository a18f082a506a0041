#include "plain.h"

#include <string.h>

#include "../lib/base/text.h"

void plain_add(struct buf *b, const char *s) {
    size_t n = s ? strlen(s) : 0;
    for (size_t i = 0; i < n;) {
        size_t len = text_utf8(s + i, n - i);
        if (len > 0 && text_is_clean(s + i, len) && s[i] != '\n' && s[i] != '\t') {
            buf_add(b, s + i, len);
        } else {
            buf_str(b, s[i] == '\n' || s[i] == '\t' || s[i] == '\r' ? " " : "?");
        }
        i += len > 0 ? len : 1;
    }
}

size_t plain_width(const char *s) {
    size_t width = 0;
    for (; *s; s++) {
        width += ((unsigned char)*s & 0xc0) != 0x80;
    }
    return width;
}

size_t plain_cut(const char *s, size_t n, size_t columns) {
    size_t i = 0;
    for (size_t width = 0; i < n; i++) {
        bool begins = ((unsigned char)s[i] & 0xc0) != 0x80;
        if (begins && width++ == columns) {
            break;
        }
    }
    return i;
}
