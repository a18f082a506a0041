#include "args.h"

#include <string.h>

static const struct option_def defs[] = {
    {.type = OPTION_SECTION, .help = "Flags"},
    {.type = OPTION_STRING,
     .name = "output",
     .letter = 'o',
     .offset = offsetof(struct args, output_text),
     .def = "table",
     .arg = "FORMAT",
     .help = "table, wide or json"},
    {.type = OPTION_STRING,
     .name = "kubeconfig",
     .offset = offsetof(struct args, kubeconfig),
     .arg = "FILE",
     .help = "handed to kubectl"},
    {.type = OPTION_STRING,
     .name = "context",
     .offset = offsetof(struct args, context),
     .arg = "NAME",
     .help = "handed to kubectl"},
    {.type = OPTION_STRING,
     .name = "kubectl",
     .env = "MESHGATE_KUBECTL",
     .offset = offsetof(struct args, kubectl),
     .def = "kubectl",
     .arg = "PATH",
     .help = "the kubectl that talks to the cluster"},
    {.type = OPTION_DURATION,
     .name = "request-timeout",
     .offset = offsetof(struct args, request_timeout_ms),
     .def = "30s",
     .min = 100,
     .max = 3600000,
     .help = "longest time for one call of kubectl"},
    {.type = OPTION_STRING,
     .name = "gate-namespace",
     .offset = offsetof(struct args, gate_namespace),
     .def = "istio-system",
     .arg = "NS",
     .help = "where the Service meshgate is"},
    {.type = OPTION_SECTION, .help = "Flags of proxies"},
    {.type = OPTION_BOOL,
     .name = "stuck",
     .offset = offsetof(struct args, stuck),
     .help = "only proxies that are not Moved, NotStarted or Settled, and what to do about them"},
    {.type = OPTION_STRING,
     .name = "state",
     .offset = offsetof(struct args, state),
     .arg = "STATE",
     .help = "only proxies in this state"},
    {.type = OPTION_STRING,
     .name = "namespace",
     .letter = 'n',
     .offset = offsetof(struct args, namespace_),
     .arg = "NS",
     .help = "only proxies in this namespace"},
    {.type = OPTION_STRING,
     .name = "upgrade",
     .offset = offsetof(struct args, upgrade_flag),
     .arg = "UPGRADE",
     .help = "of which upgrade, when there are several"},
    {.type = OPTION_SECTION, .help = "Flags of watch"},
    {.type = OPTION_DURATION,
     .name = "timeout",
     .offset = offsetof(struct args, timeout_ms),
     .min = 0,
     .max = 30LL * 86400000,
     .help = "leave after this time (default: none)"},
    {.type = OPTION_DURATION,
     .name = "interval",
     .offset = offsetof(struct args, interval_ms),
     .def = "2s",
     .min = 100,
     .max = 3600000,
     .help = "time between two looks"},
    {.type = OPTION_BOOL,
     .name = "until-held",
     .offset = offsetof(struct args, until_held),
     .help = "leave as well when the upgrade is held"},
    {0},
};

static const char usage[] = "kubectl meshgate COMMAND [flags]";
static const char summary[] = "Looks at mesh upgrades and steers them. UPGRADE may be left out when there is only one.\n"
                              "\n"
                              "Commands:\n"
                              "  status [UPGRADE]        phase, waves and what holds the upgrade, with remedies\n"
                              "  watch [UPGRADE]         follow the upgrade until it is done\n"
                              "  proxies                 every proxy: where it should be, is, and what it waits for\n"
                              "  pause [UPGRADE]         write nothing more until resume\n"
                              "  resume [UPGRADE]        go on after a pause or after a bad signal was mended\n"
                              "  approve [UPGRADE] WAVE  let a wave that waits for approval begin\n"
                              "  version                 version of this program\n"
                              "  help                    this text\n"
                              "\n"
                              "Exit codes of status and watch, for scripts:\n"
                              "  0  the upgrade is complete\n"
                              "  1  error: the cluster could not be asked, or it refused\n"
                              "  2  wrong usage\n"
                              "  3  held: paused, awaiting approval, or the gate is in doubt\n"
                              "  4  in progress: moving or soaking\n"
                              "The other commands end with 0, 1 or 2.";

static const struct {
    const char *name;
    enum command command;
    size_t max_args;
} commands[] = {
    {"help", COMMAND_HELP, 1},     {"version", COMMAND_VERSION, 0}, {"status", COMMAND_STATUS, 1},
    {"watch", COMMAND_WATCH, 1},   {"proxies", COMMAND_PROXIES, 1}, {"pause", COMMAND_PAUSE, 1},
    {"resume", COMMAND_RESUME, 1}, {"approve", COMMAND_APPROVE, 2},
};
enum { N_COMMANDS = sizeof(commands) / sizeof(*commands), MAX_ARGS = 3 };

void args_help(int fd) {
    options_help(defs, usage, summary, fd);
}

bool args_name_ok(const char *name) {
    size_t n = strlen(name);
    return n > 0 && n <= 253 && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-.") == n && name[0] != '.' &&
           name[0] != '-';
}

static bool read_command(struct args *a, const char *name, size_t *max_args, struct err *err) {
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (strcmp(name, commands[i].name) == 0) {
            a->command = commands[i].command;
            *max_args = commands[i].max_args;
            return true;
        }
    }
    return err_set(err, ERR_INVALID,
                   "unknown command \"%s\"; there are status, watch, proxies, pause, resume, approve, version, help", name);
}

/* A flag that a command does not know must not be taken silently. */
static bool check_flags(const struct args *a, struct err *err) {
    if (a->command != COMMAND_PROXIES && (a->stuck || a->state || a->namespace_)) {
        return err_set(err, ERR_INVALID, "--%s is a flag of proxies",
                       a->stuck   ? "stuck"
                       : a->state ? "state"
                                  : "namespace");
    }
    if (a->command != COMMAND_WATCH && (a->timeout_ms || a->until_held)) {
        return err_set(err, ERR_INVALID, "--%s is a flag of watch", a->timeout_ms ? "timeout" : "until-held");
    }
    return true;
}

static bool read_output(struct args *a, struct err *err) {
    static const char *const names[] = {"table", "wide", "json"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (strcmp(a->output_text, names[i]) == 0) {
            a->output = (enum output)i;
            return true;
        }
    }
    return err_set(err, ERR_INVALID, "--output: is \"%s\", must be table, wide or json", a->output_text);
}

static bool read_names(struct args *a, const char *const *args, size_t n, struct err *err) {
    if (a->command == COMMAND_APPROVE) {
        if (n == 0) {
            return err_set(err, ERR_INVALID, "approve needs a wave: kubectl meshgate approve [UPGRADE] WAVE");
        }
        a->wave = args[n - 1];
        n--;
    }
    a->upgrade = n > 0 ? args[0] : a->upgrade_flag;
    if (n > 0 && a->upgrade_flag && strcmp(args[0], a->upgrade_flag) != 0) {
        return err_set(err, ERR_INVALID, "two upgrades are named: %s and %s", args[0], a->upgrade_flag);
    }
    if (a->upgrade && !args_name_ok(a->upgrade)) {
        return err_set(err, ERR_INVALID, "\"%s\" cannot be the name of a MeshUpgrade", a->upgrade);
    }
    if (!args_name_ok(a->gate_namespace)) {
        return err_set(err, ERR_INVALID, "--gate-namespace: \"%s\" cannot be the name of a namespace", a->gate_namespace);
    }
    return true;
}

bool args_parse(struct args *a, int argc, char **argv, struct err *err) {
    const char *words[MAX_ARGS + 1];
    size_t n = 0, max_args = 0;
    *a = (struct args){0};
    switch (options_parse(defs, a, argc, argv, words, MAX_ARGS + 1, &n, err)) {
    case OPTIONS_HELP:
        a->command = COMMAND_HELP;
        return true;
    case OPTIONS_VERSION:
        a->command = COMMAND_VERSION;
        return true;
    case OPTIONS_BAD:
        return false;
    case OPTIONS_OK:
        break;
    }
    if (n == 0) {
        return err_set(err, ERR_INVALID, "no command; kubectl meshgate help lists them");
    }
    if (!read_command(a, words[0], &max_args, err)) {
        return false;
    }
    if (a->command == COMMAND_HELP || a->command == COMMAND_VERSION) {
        return true;
    }
    if (n - 1 > max_args) {
        return err_set(err, ERR_INVALID, "unexpected argument \"%s\"", words[max_args + 1]);
    }
    return read_output(a, err) && check_flags(a, err) && read_names(a, words + 1, n - 1, err);
}
