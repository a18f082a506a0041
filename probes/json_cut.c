#include "json_cut.h"

#include <string.h>

void json_cut_init(struct json_cut *c, const struct piece *pieces, size_t n) {
    *c = (struct json_cut){.pieces = pieces, .n = n};
    buf_init(&c->value, JSON_CUT_MAX_VALUE);
}

void json_cut_done(struct json_cut *c) {
    buf_done(&c->value);
}

/* The bytes that lie together from here on; 0 at the end. */
static size_t run(struct json_cut *c, const char **out) {
    while (c->i < c->n && c->at == c->pieces[c->i].len) {
        c->i++;
        c->at = 0;
    }
    if (c->i == c->n) {
        return 0;
    }
    *out = (const char *)c->pieces[c->i].p + c->at;
    return c->pieces[c->i].len - c->at;
}

static void skip(struct json_cut *c, size_t n) {
    c->at += n;
    c->offset += n;
}

static bool is_space(char ch) {
    return ch == ' ' || ch == '\t' || ch == '\n' || ch == '\r';
}

int json_cut_peek(struct json_cut *c) {
    const char *p = NULL;
    while (run(c, &p) > 0) {
        if (!is_space(*p)) {
            return (unsigned char)*p;
        }
        skip(c, 1);
    }
    return -1;
}

static bool cut_off(const struct json_cut *c, struct err *err) {
    return err_set(err, ERR_PROTOCOL, "the answer ends in the middle, after %llu bytes", (unsigned long long)c->offset);
}

bool json_cut_take(struct json_cut *c, char want, struct err *err) {
    int got = json_cut_peek(c);
    if (got < 0) {
        return cut_off(c, err);
    }
    if (got != want) {
        return err_set(err, ERR_PROTOCOL, "the answer is not JSON as expected: no '%c' at byte %llu", want,
                       (unsigned long long)c->offset);
    }
    skip(c, 1);
    return true;
}

struct scan {
    int depth;
    bool quoted, escaped, scalar;
};

/* Inside a string: bytes of p that belong to it. Each byte is looked at once for a quote and once for a backslash. */
static size_t scan_string(struct scan *s, const char *p, size_t n) {
    size_t k = 0;
    while (k < n) {
        if (s->escaped) {
            s->escaped = false;
            k++;
            continue;
        }
        const char *quote = memchr(p + k, '"', n - k), *escape;
        size_t stop = quote != NULL ? (size_t)(quote - p) : n;
        while (k < stop && (escape = memchr(p + k, '\\', stop - k)) != NULL) {
            k = (size_t)(escape - p) + 2;
        }
        if (k > stop) { /* what stands at `stop` is escaped */
            s->escaped = stop == n;
            k = stop + (quote != NULL ? 1 : 0);
            continue;
        }
        s->quoted = quote == NULL;
        return stop + (quote != NULL ? 1 : 0);
    }
    return n;
}

/* Outside of strings: the byte belongs to the value unless *end is set with false. */
static bool scan_byte(struct scan *s, char ch, bool *end) {
    if (s->scalar) {
        *end = ch == ',' || ch == ']' || ch == '}' || ch == ':' || is_space(ch);
        return !*end;
    }
    if (ch == '"') {
        s->quoted = true;
    } else if (ch == '{' || ch == '[') {
        s->depth++;
    } else if (ch == '}' || ch == ']') {
        s->depth--;
        *end = s->depth <= 0;
    } else {
        s->scalar = s->depth == 0;
    }
    return true;
}

/* Bytes of p that belong to the value; *end when the value is complete with them. */
static size_t scan_run(struct scan *s, const char *p, size_t n, bool *end) {
    *end = false;
    for (size_t k = 0; k < n;) {
        if (s->quoted) {
            k += scan_string(s, p + k, n - k);
            *end = !s->quoted && s->depth == 0;
        } else {
            k += scan_byte(s, p[k], end) ? 1 : 0;
        }
        if (*end) {
            return k;
        }
    }
    return n;
}

bool json_cut_value(struct json_cut *c, struct err *err) {
    buf_reset(&c->value);
    uint64_t from = c->offset;
    int first = json_cut_peek(c);
    if (first == ',' || first == ']' || first == '}' || first == ':') {
        return err_set(err, ERR_PROTOCOL, "the answer is not JSON: '%c' instead of a value at byte %llu", first,
                       (unsigned long long)c->offset);
    }
    struct scan s = {0};
    const char *p = NULL;
    size_t n;
    bool end = false;
    while (!end && (n = run(c, &p)) > 0) {
        size_t used = scan_run(&s, p, n, &end);
        if (!buf_add(&c->value, p, used)) {
            return err_set(err, ERR_LIMIT, "the entry at byte %llu of the answer is larger than %d bytes",
                           (unsigned long long)from, JSON_CUT_MAX_VALUE);
        }
        skip(c, used);
    }
    return end || cut_off(c, err);
}

bool json_cut_end(struct json_cut *c, struct err *err) {
    if (json_cut_peek(c) >= 0) {
        return err_set(err, ERR_PROTOCOL, "the answer goes on after its end, at byte %llu", (unsigned long long)c->offset);
    }
    return true;
}
