#include "json_doc.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define JSMN_STATIC
#define JSMN_STRICT
#define JSMN_PARENT_LINKS /* without them closing a bracket looks at every token before it */
#include <jsmn.h>

#include "../lib/base/mem.h"
#include "../lib/base/text.h"

#define FIRST_NODES 128

/* After the check a token's `size` is the node behind it, and a string's `end` is that of its unescaped text. */
struct json_doc {
    char *text;
    jsmntok_t *tok;
    unsigned int cap;
    int n;
};

struct json_doc *json_doc_new(void) {
    return mem_alloc(sizeof(struct json_doc));
}

void json_doc_free(struct json_doc *d) {
    if (d != NULL) {
        free(d->tok);
        free(d);
    }
}

static bool bad(struct err *err, const char *what, size_t at) {
    return err_set(err, ERR_PROTOCOL, "%s at byte %zu", what, at);
}

/* Bytes from the front that stand for themselves: ASCII without control characters and backslash. */
static size_t plain(const char *p, size_t n) {
    const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
    size_t i = 0;
    for (; n - i >= 8; i += 8) {
        uint64_t w, b;
        memcpy(&w, p + i, 8);
        b = w ^ (ones * '\\');
        if (((w | (w - ones * 0x20) | (b - ones)) & high) != 0) {
            break;
        }
    }
    while (i < n && (unsigned char)p[i] >= 0x20 && (unsigned char)p[i] < 0x80 && p[i] != '\\') {
        i++;
    }
    return i;
}

static size_t utf8_put(char *out, uint32_t c) {
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (c & 0x3f));
        c >>= 6;
    }
    static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    out[0] = (char)(lead[n] | c);
    return n;
}

static bool hex4(const char *p, size_t n, uint32_t *out) {
    *out = 0;
    for (size_t i = 0; i < 4; i++) {
        static const char digits[] = "0123456789abcdef0123456789ABCDEF";
        const char *at = i < n && p[i] != '\0' ? strchr(digits, p[i]) : NULL;
        if (at == NULL) {
            return false;
        }
        *out = *out << 4 | ((uint32_t)(at - digits) & 0xf);
    }
    return true;
}

/* "uXXXX" and, for a high surrogate, the "\uXXXX" that must follow. Returns the bytes read, 0 when there is none. */
static size_t unicode(const char *p, size_t n, uint32_t *c) {
    uint32_t low;
    if (!hex4(p + 1, n - 1, c) || (*c >= 0xdc00 && *c < 0xe000)) {
        return 0;
    }
    if (*c < 0xd800 || *c >= 0xe000) {
        return 5;
    }
    if (n < 11 || p[5] != '\\' || p[6] != 'u' || !hex4(p + 7, n - 7, &low) || low < 0xdc00 || low >= 0xe000) {
        return 0;
    }
    *c = 0x10000 + ((*c - 0xd800) << 10) + (low - 0xdc00);
    return 11;
}

/* What follows a backslash; returns the bytes read, 0 when it is no escape. */
static size_t escape(const char *p, size_t n, char *out, size_t *put) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *at = n > 0 && p[0] != '\0' ? strchr(from, p[0]) : NULL;
    if (at != NULL) {
        *out = to[at - from];
        *put = 1;
        return 1;
    }
    uint32_t c;
    size_t used = n > 0 && p[0] == 'u' ? unicode(p, n, &c) : 0;
    *put = used > 0 ? utf8_put(out, c) : 0;
    return used;
}

/* Unescape in place: what an escape stands for is never longer than the escape. Returns the length, -1 with *err. */
static int settle(char *s, size_t n, size_t offset, struct err *err) {
    size_t i = plain(s, n), out = i;
    while (i < n) {
        size_t used, put;
        if (s[i] == '\\') {
            used = escape(s + i + 1, n - i - 1, s + out, &put);
            if (used == 0) {
                bad(err, "an escape that is none", offset + i);
                return -1;
            }
            used++;
        } else {
            used = put = (unsigned char)s[i] < 0x20 ? 0 : text_utf8(s + i, n - i);
            if (used == 0) {
                bad(err, "a control character or no UTF-8", offset + i);
                return -1;
            }
            memmove(s + out, s + i, used);
        }
        i += used;
        out += put;
    }
    s[out] = '\0';
    return (int)out;
}

static size_t digits(const char *p, size_t n) {
    size_t i = 0;
    while (i < n && p[i] >= '0' && p[i] <= '9') {
        i++;
    }
    return i;
}

static bool is_number(const char *p, size_t n) {
    size_t i = n > 0 && p[0] == '-' ? 1 : 0, whole = digits(p + i, n - i);
    if (whole == 0 || (whole > 1 && p[i] == '0')) {
        return false;
    }
    i += whole;
    if (i < n && p[i] == '.') {
        size_t part = digits(p + i + 1, n - i - 1);
        i += part > 0 ? part + 1 : 0;
    }
    if (i < n && (p[i] == 'e' || p[i] == 'E')) {
        size_t sign = i + 1 < n && (p[i + 1] == '+' || p[i + 1] == '-') ? 1 : 0;
        size_t power = digits(p + i + 1 + sign, n - i - 1 - sign);
        i += power > 0 ? power + 1 + sign : 0;
    }
    return i == n;
}

static bool is_word(const char *p, size_t n, const char *word) {
    return n == strlen(word) && memcmp(p, word, n) == 0;
}

static bool is_scalar(const char *p, size_t n) {
    return is_number(p, n) || is_word(p, n, "true") || is_word(p, n, "false") || is_word(p, n, "null");
}

static size_t after_space(const char *text, size_t at) {
    while (text[at] == ' ' || text[at] == '\t' || text[at] == '\n' || text[at] == '\r') {
        at++;
    }
    return at;
}

/* Where a token begins and ends in the text, quotes included. */
static size_t begins(const jsmntok_t *t) {
    return (size_t)t->start - (t->type == JSMN_STRING ? 1 : 0);
}

static size_t ends(const jsmntok_t *t) {
    return (size_t)t->end + (t->type == JSMN_STRING ? 1 : 0);
}

static bool value(struct json_doc *d, int i, int depth, struct err *err);

/* The token i comes next after *at, at most white space between, and lies before `limit`. */
static bool comes(struct json_doc *d, int i, size_t *at, size_t limit, int depth, struct err *err) {
    *at = after_space(d->text, *at);
    if (i >= d->n || begins(&d->tok[i]) != *at || ends(&d->tok[i]) > limit) {
        return bad(err, "no value", *at);
    }
    *at = ends(&d->tok[i]);
    return value(d, i, depth, err);
}

static bool sign(const struct json_doc *d, char want, size_t *at, struct err *err) {
    *at = after_space(d->text, *at);
    if (d->text[*at] != want) {
        const char what[] = {'n', 'o', ' ', '\'', want, '\'', '\0'};
        return bad(err, what, *at);
    }
    (*at)++;
    return true;
}

static bool key(struct json_doc *d, int i, size_t *at, size_t limit, int depth, struct err *err) {
    if (!comes(d, i, at, limit, depth, err)) {
        return false;
    }
    const jsmntok_t *t = &d->tok[i];
    if (t->type != JSMN_STRING || memchr(d->text + t->start, '\0', (size_t)(t->end - t->start)) != NULL) {
        return bad(err, "no usable key", (size_t)t->start);
    }
    return sign(d, ':', at, err);
}

static bool members(struct json_doc *d, int i, int depth, struct err *err) {
    const size_t limit = (size_t)d->tok[i].end - 1;
    const bool object = d->tok[i].type == JSMN_OBJECT;
    size_t at = (size_t)d->tok[i].start + 1;
    int next = i + 1;
    while ((at = after_space(d->text, at)) < limit) {
        if (next > i + 1 && !sign(d, ',', &at, err)) {
            return false;
        }
        if (object && !key(d, next++, &at, limit, depth, err)) {
            return false;
        }
        if (!comes(d, next, &at, limit, depth, err)) {
            return false;
        }
        next = d->tok[next].size;
    }
    d->tok[i].size = next;
    return true;
}

static bool value(struct json_doc *d, int i, int depth, struct err *err) {
    jsmntok_t *t = &d->tok[i];
    char *p = d->text + t->start;
    size_t n = (size_t)(t->end - t->start);
    t->size = i + 1;
    switch (t->type) {
    case JSMN_OBJECT:
    case JSMN_ARRAY:
        return depth < JSON_DOC_MAX_DEPTH ? members(d, i, depth + 1, err) : bad(err, "nested too deep", (size_t)t->start);
    case JSMN_STRING: {
        int len = settle(p, n, (size_t)t->start, err);
        t->end = t->start + len;
        return len >= 0;
    }
    case JSMN_PRIMITIVE:
        return is_scalar(p, n) || bad(err, "a bare word", (size_t)t->start);
    case JSMN_UNDEFINED:
        break;
    }
    return bad(err, "no value", (size_t)t->start);
}

static int tokenize(struct json_doc *d, const char *text, size_t len) {
    jsmn_parser parser;
    jsmn_init(&parser);
    int n = JSMN_ERROR_NOMEM;
    while (n == JSMN_ERROR_NOMEM && d->cap <= JSON_DOC_MAX_NODES) {
        if (d->cap > 0) {
            n = jsmn_parse(&parser, text, len, d->tok, d->cap);
        }
        if (n == JSMN_ERROR_NOMEM && d->cap < JSON_DOC_MAX_NODES) {
            d->cap = d->cap > 0 ? 2 * d->cap : FIRST_NODES;
            d->tok = mem_grow(d->tok, d->cap * sizeof(*d->tok));
        } else {
            break;
        }
    }
    return n < 0 ? n : (int)parser.toknext;
}

bool json_doc_parse(struct json_doc *d, char *text, size_t len, struct err *err) {
    d->text = text;
    text[len] = '\0';
    d->n = tokenize(d, text, len);
    if (d->n == JSMN_ERROR_NOMEM) {
        return err_set(err, ERR_LIMIT, "more than %d values in one", JSON_DOC_MAX_NODES);
    }
    if (d->n <= 0) {
        return err_set(err, ERR_PROTOCOL, "its brackets, quotes or words don't fit");
    }
    size_t at = 0;
    if (!comes(d, 0, &at, len, 0, err)) {
        return false;
    }
    at = after_space(text, at);
    return (at == len && d->tok[0].size == d->n) || bad(err, "more than one value", at);
}

bool json_doc_is_object(const struct json_doc *d, int node) {
    return node >= 0 && node < d->n && d->tok[node].type == JSMN_OBJECT;
}

const char *json_doc_str(const struct json_doc *d, int node) {
    return node >= 0 && node < d->n && d->tok[node].type == JSMN_STRING ? d->text + d->tok[node].start : NULL;
}

int json_doc_end(const struct json_doc *d, int node) {
    return d->tok[node].size;
}

bool json_doc_fields(const struct json_doc *d, int object, const struct json_name *names, size_t n, int *nodes,
                     struct err *err) {
    for (size_t i = 0; i < n; i++) {
        nodes[i] = -1;
    }
    if (!json_doc_is_object(d, object)) {
        return true;
    }
    for (int k = object + 1; k < json_doc_end(d, object); k = json_doc_end(d, k + 1)) {
        const char *text = d->text + d->tok[k].start;
        size_t len = (size_t)(d->tok[k].end - d->tok[k].start), i = 0;
        while (i < n && (len != names[i].len || memcmp(text, names[i].text, len) != 0)) {
            i++;
        }
        if (i < n && nodes[i] >= 0) {
            return err_set(err, ERR_PROTOCOL, "the key \"%s\" twice", names[i].text);
        }
        if (i < n) {
            nodes[i] = k + 1;
        }
    }
    return true;
}
