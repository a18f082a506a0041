#include "text.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mem.h"

static const struct unit {
    const char *name;
    int64_t ns;
} units[] = {
    {"ms", 1000000},      {"us", 1000},       {"\xc2\xb5s", 1000}, {"ns", 1},
    {"h", 3600000000000}, {"m", 60000000000}, {"s", 1000000000},
};

static const struct unit *read_unit(const char **s) {
    for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
        size_t n = strlen(units[i].name);
        if (strncmp(*s, units[i].name, n) == 0) {
            *s += n;
            return &units[i];
        }
    }
    return NULL;
}

/* One "12.5m" to nanoseconds. */
static bool read_part(const char **s, int64_t *ns) {
    if (!isdigit((unsigned char)**s)) {
        return false;
    }
    int64_t whole = 0;
    for (; isdigit((unsigned char)**s); (*s)++) {
        if (__builtin_mul_overflow(whole, 10, &whole) || __builtin_add_overflow(whole, **s - '0', &whole)) {
            return false;
        }
    }
    int64_t part = 0, scale = 1;
    if (**s == '.') {
        (*s)++;
        for (; isdigit((unsigned char)**s); (*s)++) {
            if (scale < 1000000) {
                part = part * 10 + (**s - '0');
                scale *= 10;
            }
        }
    }
    const struct unit *u = read_unit(s);
    if (!u || __builtin_mul_overflow(whole, u->ns, ns)) {
        return false;
    }
    /* Longest unit 3.6e12 ns, part below 1e6: no overflow. */
    return !__builtin_add_overflow(*ns, part * u->ns / scale, ns);
}

bool text_duration(const char *s, int64_t *out_ms) {
    if (!s || !*s) {
        return false;
    }
    int64_t sum = 0;
    while (*s) {
        int64_t ns;
        if (!read_part(&s, &ns) || __builtin_add_overflow(sum, ns, &sum)) {
            return false;
        }
    }
    *out_ms = sum / 1000000;
    return true;
}

void text_duration_format(int64_t ms, char *out, size_t cap) {
    static const struct {
        const char *name;
        int64_t ms;
    } parts[] = {{"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
    if (ms <= 0) {
        (void)snprintf(out, cap, "0s");
        return;
    }
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
        int64_t n = ms / parts[i].ms;
        ms %= parts[i].ms;
        if (n > 0 && len < cap) {
            int w = snprintf(out + len, cap - len, "%lld%s", (long long)n, parts[i].name);
            len += w > 0 ? (size_t)w : 0;
        }
    }
}

void text_age(int64_t ms, char *out, size_t cap) {
    int64_t s = ms > 0 ? ms / 1000 : 0;
    if (s < 60) {
        (void)snprintf(out, cap, "%llds", (long long)s);
    } else if (s < 3600) {
        (void)snprintf(out, cap, "%lldm", (long long)(s / 60));
    } else if (s < 2 * 86400) {
        (void)snprintf(out, cap, "%lldh", (long long)(s / 3600));
    } else {
        (void)snprintf(out, cap, "%lldd", (long long)(s / 86400));
    }
}

bool text_int(const char *s, int64_t min, int64_t max, int64_t *out) {
    if (!s || !(isdigit((unsigned char)*s) || (*s == '-' && isdigit((unsigned char)s[1])))) {
        return false;
    }
    char *end;
    errno = 0;
    long long v = strtoll(s, &end, 10);
    if (errno || *end || v < min || v > max) {
        return false;
    }
    *out = v;
    return true;
}

uint64_t text_hash(uint64_t seed, const void *p, size_t n) {
    const unsigned char *b = p;
    uint64_t h = seed ^ 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++) {
        h = (h ^ b[i]) * 0x100000001b3u;
    }
    return h;
}

static bool read_all(int fd, const char *path, size_t max, char **out, size_t *out_len, struct err *err) {
    size_t len = 0, cap = 0;
    char *p = NULL;
    for (;;) {
        if (len + 2 > cap) {
            cap = cap ? 2 * cap : 4096;
            p = mem_grow(p, cap);
        }
        ssize_t n = read(fd, p + len, cap - len - 1);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            err_set(err, ERR_IO, "can't read %s: %s", path, strerror(errno));
            break;
        }
        len += (size_t)n;
        if (len > max) {
            err_set(err, ERR_LIMIT, "%s is larger than %zu bytes", path, max);
            break;
        }
        if (n == 0) {
            p[len] = '\0';
            *out = p;
            if (out_len) {
                *out_len = len;
            }
            return true;
        }
    }
    free(p);
    return false;
}

bool text_read_file(const char *path, size_t max, char **out, size_t *out_len, struct err *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        enum err_code code = errno == ENOENT ? ERR_NOT_FOUND : errno == EACCES ? ERR_DENIED : ERR_IO;
        return err_set(err, code, "can't open %s: %s", path, strerror(errno));
    }
    bool ok = read_all(fd, path, max, out, out_len, err);
    close(fd);
    return ok;
}

size_t text_utf8(const char *p, size_t n) {
    const unsigned char *s = (const unsigned char *)p;
    if (n == 0) {
        return 0;
    }
    if (s[0] < 0x80) {
        return 1;
    }
    size_t len = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4 || n < len) {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    /* overlong forms, surrogates, above U+10FFFF */
    bool bad = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
               (s[0] == 0xf4 && s[1] > 0x8f);
    return bad ? 0 : len;
}

bool text_is_clean(const char *p, size_t n) {
    for (size_t i = 0; i < n;) {
        unsigned char c = (unsigned char)p[i];
        size_t len = text_utf8(p + i, n - i);
        bool control = (c < 0x20 && c != '\t' && c != '\n') || c == 0x7f || (c == 0xc2 && (unsigned char)p[i + 1] < 0xa0);
        if (len == 0 || control) {
            return false;
        }
        i += len;
    }
    return true;
}
