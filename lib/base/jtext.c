#include "jtext.h"

#include <stdio.h>
#include <string.h>

#include "text.h"

enum { NUMBER_MAX = 24 };

void jtext_init(struct jtext *t, struct buf *out) {
    *t = (struct jtext){.out = out};
}

static bool plain(unsigned char c) {
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* One character that is not plain; its length, 0 when it is none. */
static size_t put_special(struct buf *out, const char *s, size_t n) {
    unsigned char c = (unsigned char)s[0];
    char esc[8];
    if (c >= 0x80) {
        size_t len = text_utf8(s, n);
        buf_add(out, s, len);
        return len;
    }
    if (c == '"' || c == '\\') {
        buf_add(out, (const char[]){'\\', (char)c}, 2);
    } else {
        (void)snprintf(esc, sizeof(esc), "\\u%04x", c);
        buf_add(out, esc, 6);
    }
    return 1;
}

/* false: s is no UTF-8; something may have been written. */
static bool put_quoted(struct buf *out, const char *s) {
    size_t n = strlen(s), from = 0, i = 0;
    buf_add(out, "\"", 1);
    while (i < n) {
        if (plain((unsigned char)s[i])) {
            i++;
            continue;
        }
        buf_add(out, s + from, i - from);
        size_t len = put_special(out, s + i, n - i);
        if (len == 0) {
            return false;
        }
        from = i += len;
    }
    buf_add(out, s + from, n - from);
    buf_add(out, "\"", 1);
    return true;
}

static void begin(struct jtext *t, const char *key) {
    if (t->more) {
        buf_add(t->out, ",", 1);
    }
    t->more = true;
    if (key) {
        put_quoted(t->out, key);
        buf_add(t->out, ":", 1);
    }
}

void jtext_open(struct jtext *t, const char *key, char bracket) {
    begin(t, key);
    buf_add(t->out, &bracket, 1);
    t->more = false;
}

void jtext_close(struct jtext *t, char bracket) {
    buf_add(t->out, &bracket, 1);
    t->more = true;
}

void jtext_str(struct jtext *t, const char *key, const char *s) {
    begin(t, key);
    size_t before = t->out->len;
    if (s && put_quoted(t->out, s)) {
        return;
    }
    t->out->len = before;
    buf_add(t->out, "null", 4);
}

void jtext_said(struct jtext *t, const char *key, const char *s) {
    jtext_str(t, key, s && s[0] ? s : NULL);
}

void jtext_int(struct jtext *t, const char *key, int64_t v) {
    char number[NUMBER_MAX];
    begin(t, key);
    int n = snprintf(number, sizeof(number), "%lld", (long long)v);
    buf_add(t->out, number, (size_t)n);
}

void jtext_bool(struct jtext *t, const char *key, bool v) {
    begin(t, key);
    buf_str(t->out, v ? "true" : "false");
}
