/*
 * One pass over the lines. A line is copied into a scratch buffer and cut there with NULs, so that strtod() and the
 * callbacks get C strings without an allocation a line.
 */
#include "promtext.h"

#include <stdlib.h>
#include <string.h>

static bool is_blank(char c) {
    return c == ' ' || c == '\t';
}

static bool is_name_char(char c, bool first) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':' || (!first && c >= '0' && c <= '9');
}

/* p stands behind the opening brace. Returns the closing one, NULL when there is none. */
static char *labels_end(char *p) {
    bool quoted = false;
    for (; *p != '\0'; p++) {
        if (quoted && *p == '\\' && p[1] != '\0') {
            p++;
        } else if (*p == '"') {
            quoted = !quoted;
        } else if (*p == '}' && !quoted) {
            return p;
        }
    }
    return NULL;
}

/* Value, then an optional timestamp, then an optional exemplar. */
static bool value_parse(char *p, double *out) {
    if (*p == '\0' || strchr("+-.0123456789NIni", *p) == NULL) {
        return false;
    }
    char *end = p;
    *out = strtod(p, &end);
    if (end == p || (*end != '\0' && !is_blank(*end))) {
        return false;
    }
    p = end + strspn(end, " \t");
    if (*p == '-' || (*p >= '0' && *p <= '9')) {
        p += *p == '-' ? 1 : 0;
        p += strspn(p, "0123456789.");
        p += strspn(p, " \t");
    }
    return *p == '\0' || *p == '#';
}

int prom_line(const char *line, size_t len, struct buf *scratch, struct prom_sample *out) {
    while (len > 0 && (is_blank(line[len - 1]) || line[len - 1] == '\r')) {
        len--;
    }
    while (len > 0 && is_blank(*line)) {
        line++;
        len--;
    }
    if (len == 0 || *line == '#') {
        return 0;
    }
    buf_reset(scratch);
    if (memchr(line, '\0', len) != NULL || !buf_add(scratch, line, len)) {
        return -1;
    }
    char *p = scratch->p;
    out->name = p;
    out->labels = "";
    while (is_name_char(*p, p == scratch->p)) {
        p++;
    }
    if (p == scratch->p || (*p != '{' && !is_blank(*p))) {
        return -1;
    }
    char *name_end = p;
    p += strspn(p, " \t");
    if (*p == '{') {
        char *close = labels_end(p + 1);
        if (close == NULL) {
            return -1;
        }
        out->labels = p + 1;
        *close = '\0';
        p = close + 1;
        p += strspn(p, " \t");
    }
    *name_end = '\0';
    return value_parse(p, &out->value) ? 1 : -1;
}

int64_t prom_parse(const char *text, size_t len, void (*fn)(void *ctx, const struct prom_sample *s), void *ctx,
                   struct err *err) {
    struct buf scratch;
    buf_init(&scratch, PROM_MAX_LINE);
    int64_t count = 0, number = 1;
    size_t at = 0;
    for (; at < len; number++) {
        const char *line = text + at;
        const char *nl = memchr(line, '\n', len - at);
        if (nl == NULL) {
            err_set(err, ERR_PROTOCOL, "line %lld of the metrics has no end: the answer was cut", (long long)number);
            count = -1;
            break;
        }
        struct prom_sample s;
        int got = prom_line(line, (size_t)(nl - line), &scratch, &s);
        if (got < 0) {
            err_set(err, ERR_PROTOCOL, "line %lld of the metrics is not in Prometheus text format", (long long)number);
            count = -1;
            break;
        }
        if (got > 0) {
            fn(ctx, &s);
            count++;
        }
        at += (size_t)(nl - line) + 1;
    }
    buf_done(&scratch);
    return count;
}

/* Copies the quoted value at *p (behind the opening quote) and leaves *p behind the closing one. false: no closing quote,
 * or it does not fit; out may be NULL to skip. */
static bool value_copy(const char **p, char *out, size_t cap) {
    size_t n = 0;
    bool fits = true;
    const char *s = *p;
    for (; *s != '\0' && *s != '"'; s++) {
        char c = *s;
        if (c == '\\' && s[1] != '\0') {
            s++;
            c = *s == 'n' ? '\n' : *s;
        }
        if (n + 1 < cap) {
            out[n++] = c;
        } else {
            fits = false;
        }
    }
    if (cap > 0) {
        out[fits ? n : 0] = '\0';
    }
    *p = *s == '"' ? s + 1 : s;
    return *s == '"' && fits;
}

bool prom_label(const char *labels, const char *key, char *out, size_t cap) {
    size_t key_len = strlen(key);
    const char *p = labels;
    for (;;) {
        p += strspn(p, " \t,");
        size_t n = strcspn(p, "= \t,\"");
        const char *name = p;
        p += n;
        p += strspn(p, " \t");
        if (n == 0 || *p != '=') {
            return false;
        }
        p++;
        p += strspn(p, " \t");
        if (*p != '"') {
            return false;
        }
        p++;
        if (n == key_len && memcmp(name, key, n) == 0) {
            return value_copy(&p, out, cap);
        }
        value_copy(&p, NULL, 0);
    }
}
