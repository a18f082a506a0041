/* The command line: commands, flags and what --help says. */
#pragma once

#include "../lib/base/options.h"
#include "filter.h"

/* What the process ends with; documented in --help. */
enum exit_code { EXIT_DONE = 0, EXIT_ERROR = 1, EXIT_USAGE = 2, EXIT_HELD = 3, EXIT_PROGRESS = 4 };

enum command {
    COMMAND_HELP,
    COMMAND_VERSION,
    COMMAND_STATUS,
    COMMAND_WATCH,
    COMMAND_PROXIES,
    COMMAND_EXPLAIN,
    COMMAND_ISTIODS,
    COMMAND_CHECK,
    COMMAND_COVERAGE,
    COMMAND_PAUSE,
    COMMAND_RESUME,
    COMMAND_APPROVE,
    COMMAND_COUNT
};

enum output { OUTPUT_TABLE, OUTPUT_WIDE, OUTPUT_JSON, OUTPUT_YAML };

struct args {
    enum command command;
    enum output output;
    const char *upgrade; /* NULL: the only one there is */
    const char *wave;    /* of approve */
    const char *pod;     /* of explain; its namespace is in filter.namespace_ */

    const char *output_text;
    const char *unknown; /* flag whose value is none of those that filter_known() lists */
    const char *kubectl, *kubeconfig, *context, *gate_namespace;
    int64_t request_timeout_ms;
    struct filter filter; /* of proxies */
    const char *upgrade_flag;
    int64_t timeout_ms, interval_ms; /* of watch; timeout 0: none */
    bool until_held;
    char name[256]; /* holds what was cut out of an argument */
};

/* false and *err: bad usage. Asking for help or the version is a command too. */
bool args_parse(struct args *a, int argc, char **argv, struct err *err);
void args_help(int fd);
/* A name of Kubernetes: lower-case letters, digits, '-' and '.'; it becomes part of a path. */
bool args_name_ok(const char *name);

/* The table of flags and the texts around it: args_defs.c. */
extern const struct option_def args_defs[];
extern const char args_usage[], args_summary[];
