/* Error values with context. They live on the caller's stack: nothing to free. */
#pragma once

#include <stdbool.h>

enum err_code {
    ERR_NONE,
    ERR_INVALID, /* what was given makes no sense */
    ERR_LIMIT,   /* larger than we take */
    ERR_NOT_FOUND,
    ERR_CONFLICT, /* somebody else wrote in between */
    ERR_DENIED,   /* not authenticated or not allowed */
    ERR_TIMEOUT,
    ERR_UNAVAILABLE, /* nobody there now; trying again is sensible */
    ERR_PROTOCOL,    /* the peer says something that it must not */
    ERR_IO,
};

struct err {
    enum err_code code;
    char text[256];
};

/* Fill *e (which may be NULL) and return false. The text says what, where and how to mend it. */
bool err_set(struct err *e, enum err_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Put context in front of the text that *e has ("reading X: ..."). Returns false. */
bool err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const char *err_code_name(enum err_code code);

/* A broken invariant of ours ends the process with a log line; stays on in release builds. Never for a peer's fault. */
#define check(cond) ((cond) ? (void)0 : check_failed(#cond, __FILE__, __LINE__))
__attribute__((noreturn)) void check_failed(const char *cond, const char *file, int line);
