/* Command line options from one table that drives parsing, environment, --help and the documentation.
 * The table ends with {0}. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

enum option_type {
    OPTION_STRING,   /* const char * (points into argv or the environment) */
    OPTION_BOOL,     /* bool; "--x" or "--x=true|false" */
    OPTION_INT,      /* int64_t, with min and max */
    OPTION_DURATION, /* int64_t milliseconds; "300ms", "10s", "5m", "1h30m" */
    OPTION_SECTION,  /* a heading in --help; only `help` is used */
};

struct option_def {
    enum option_type type;
    const char *name; /* without the dashes */
    const char *env;  /* environment variable used when the flag is absent, or NULL */
    size_t offset;    /* of the field in the options struct */
    const char *def;  /* default as text, NULL: the zero value */
    const char *arg;  /* shown in --help: FILE, HOST:PORT ... */
    const char *help;
    int64_t min, max; /* OPTION_INT and OPTION_DURATION, when max > 0 */
    bool required;
    char letter; /* short form "-n", 0: none */
};

enum options_result { OPTIONS_OK, OPTIONS_HELP, OPTIONS_VERSION, OPTIONS_BAD };

/*
 * Fill *target from defaults, environment and argv (flag > environment > default). Knows --help and --version by
 * itself. Positional arguments: at most max_args are stored in args, *n_args counts them.
 * OPTIONS_BAD: *err says which flag, what is wrong, what is allowed; an unknown flag names the nearest known one.
 */
enum options_result options_parse(const struct option_def *defs, void *target, int argc, char **argv, const char **args,
                                  size_t max_args, size_t *n_args, struct err *err);
/* Write the help text (usage line, summary, options in aligned columns with defaults and variables). */
void options_help(const struct option_def *defs, const char *usage, const char *summary, int fd);
