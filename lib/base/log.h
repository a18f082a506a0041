/*
 * JSON lines on stderr: one object a line with "time", "level", "msg" and typed fields. Messages are constant, so that
 * they can be searched and counted. Secrets are never logged: there is no field type for them.
 *
 *   log_warn("wave held", log_s("wave", name), log_i("proxies", n));
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

struct log_field {
    const char *key; /* NULL ends the list */
    enum { LOG_STR, LOG_INT, LOG_BOOL } type;
    const char *s;
    int64_t i;
};

static inline struct log_field log_s(const char *key, const char *v) {
    return (struct log_field){key, LOG_STR, v, 0};
}
static inline struct log_field log_i(const char *key, int64_t v) {
    return (struct log_field){key, LOG_INT, 0, v};
}
static inline struct log_field log_b(const char *key, bool v) {
    return (struct log_field){key, LOG_BOOL, 0, v};
}

/* program: field "program" of every line. Below `level` nothing is written. */
void log_setup(const char *program, enum log_level level);
/* "debug" | "info" | "warn" | "error"; false when it is none of them. */
bool log_level_parse(const char *text, enum log_level *out);
/* Tests: write to this descriptor instead of stderr. */
void log_to_fd(int fd);
/* Clock of the "time" field, NULL: the real one. For virtual time. */
void log_clock(int64_t (*wall_ms)(void *), void *ctx);
void log_write(enum log_level level, const char *msg, const struct log_field *fields);

#define log_debug(...) LOG_PICK_(LOG_DEBUG, __VA_ARGS__, log_end_())
#define log_info(...) LOG_PICK_(LOG_INFO, __VA_ARGS__, log_end_())
#define log_warn(...) LOG_PICK_(LOG_WARN, __VA_ARGS__, log_end_())
#define log_error(...) LOG_PICK_(LOG_ERROR, __VA_ARGS__, log_end_())
#define LOG_PICK_(level, msg, ...) log_write(level, msg, (const struct log_field[]){__VA_ARGS__})
static inline struct log_field log_end_(void) {
    return (struct log_field){0, LOG_STR, 0, 0};
}
