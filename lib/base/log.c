#include "log.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"
#include "text.h"
#include "time_text.h"

enum {
    LOG_LINE_MAX = 16384, /* a line is one write(2): longer ones would mix with those of others */
    LOG_VALUE_MAX = 2048,
};

static struct {
    const char *program;
    enum log_level level;
    int fd;
    int64_t (*wall_ms)(void *);
    void *wall_ctx;
} log_state = {.program = "meshgate", .level = LOG_INFO, .fd = STDERR_FILENO};

void log_setup(const char *program, enum log_level level) {
    log_state.program = program;
    log_state.level = level;
}

static const char *const level_names[] = {"debug", "info", "warn", "error"};

bool log_level_parse(const char *text, enum log_level *out) {
    for (unsigned i = 0; text && i < sizeof(level_names) / sizeof(*level_names); i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}

void log_to_fd(int fd) {
    log_state.fd = fd;
}

void log_clock(int64_t (*wall_ms)(void *), void *ctx) {
    log_state.wall_ms = wall_ms;
    log_state.wall_ctx = ctx;
}

static int64_t log_wall(void) {
    if (log_state.wall_ms) {
        return log_state.wall_ms(log_state.wall_ctx);
    }
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* What is no valid UTF-8 becomes U+FFFD: the line must stay JSON whatever a peer sent. */
static void add_string(struct buf *b, const char *s) {
    if (!s) {
        buf_str(b, "null");
        return;
    }
    size_t n = strnlen(s, LOG_VALUE_MAX + 1);
    bool cut = n > LOG_VALUE_MAX;
    n = cut ? LOG_VALUE_MAX : n;
    buf_str(b, "\"");
    for (size_t i = 0; i < n;) {
        unsigned char c = (unsigned char)s[i];
        size_t len = text_utf8(s + i, n - i);
        if (len == 0) {
            buf_str(b, "\xef\xbf\xbd");
            i++;
            continue;
        }
        if (c == '"' || c == '\\') {
            buf_printf(b, "\\%c", c);
        } else if (c == '\n') {
            buf_str(b, "\\n");
        } else if (c == '\t') {
            buf_str(b, "\\t");
        } else if (c < 0x20 || c == 0x7f) {
            buf_printf(b, "\\u%04x", c);
        } else {
            buf_add(b, s + i, len);
        }
        i += len;
    }
    buf_str(b, cut ? "...\"" : "\"");
}

static void add_field(struct buf *b, const struct log_field *f) {
    size_t before = b->len;
    buf_str(b, ",");
    add_string(b, f->key);
    buf_str(b, ":");
    switch (f->type) {
    case LOG_STR:
        add_string(b, f->s);
        break;
    case LOG_INT:
        buf_printf(b, "%lld", (long long)f->i);
        break;
    case LOG_BOOL:
        buf_str(b, f->i ? "true" : "false");
        break;
    }
    if (b->over) {
        b->len = before;
    }
}

void log_write(enum log_level level, const char *msg, const struct log_field *fields) {
    if (level < log_state.level) {
        return;
    }
    static const char end[] = ",\"cut\":true}\n";
    char time[TIME_TEXT_CAP];
    time_text_ms(log_wall(), time, sizeof(time));
    struct buf b;
    buf_init(&b, LOG_LINE_MAX - sizeof(end));
    buf_printf(&b, "{\"time\":\"%s\",\"level\":\"%s\",\"program\":", time, level_names[level]);
    add_string(&b, log_state.program);
    buf_str(&b, ",\"msg\":");
    add_string(&b, msg);
    for (const struct log_field *f = fields; f && f->key && !b.over; f++) {
        add_field(&b, f);
    }
    bool over = b.over;
    b.max = LOG_LINE_MAX;
    buf_str(&b, over ? end : "}\n");
    ssize_t n = write(log_state.fd, b.p, b.len); /* a log that nobody can take must not stop the program */
    (void)n;
    buf_done(&b);
}
