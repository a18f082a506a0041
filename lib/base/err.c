#include "err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

bool err_set(struct err *e, enum err_code code, const char *fmt, ...) {
    if (!e) {
        return false;
    }
    e->code = code;
    va_list ap;
    va_start(ap, fmt);
    /* Through a second buffer: the arguments may point into e->text. */
    char text[sizeof(e->text)];
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    memcpy(e->text, text, sizeof(text));
    return false;
}

bool err_wrap(struct err *e, const char *fmt, ...) {
    if (!e) {
        return false;
    }
    char context[sizeof(e->text)], both[2 * sizeof(e->text) + 2];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(context, sizeof(context), fmt, ap);
    va_end(ap);
    (void)snprintf(both, sizeof(both), "%s: %s", context, e->text);
    memcpy(e->text, both, sizeof(e->text) - 1);
    e->text[sizeof(e->text) - 1] = '\0';
    return false;
}

const char *err_code_name(enum err_code code) {
    switch (code) {
    case ERR_NONE:
        return "none";
    case ERR_INVALID:
        return "invalid";
    case ERR_LIMIT:
        return "limit";
    case ERR_NOT_FOUND:
        return "not found";
    case ERR_CONFLICT:
        return "conflict";
    case ERR_DENIED:
        return "denied";
    case ERR_TIMEOUT:
        return "timeout";
    case ERR_UNAVAILABLE:
        return "unavailable";
    case ERR_PROTOCOL:
        return "protocol";
    case ERR_IO:
        return "io";
    }
    return "unknown";
}

void check_failed(const char *cond, const char *file, int line) {
    log_error("broken invariant", log_s("condition", cond), log_s("file", file), log_i("line", line));
    abort();
}
