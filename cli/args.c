#include "args.h"

#include <string.h>

static const struct {
    const char *name;
    enum command command;
    size_t max_args;
} commands[] = {
    {"help", COMMAND_HELP, 1},       {"version", COMMAND_VERSION, 0}, {"status", COMMAND_STATUS, 1},
    {"watch", COMMAND_WATCH, 1},     {"proxies", COMMAND_PROXIES, 1}, {"explain", COMMAND_EXPLAIN, 2},
    {"istiods", COMMAND_ISTIODS, 0}, {"check", COMMAND_CHECK, 0},     {"coverage", COMMAND_COVERAGE, 0},
    {"pause", COMMAND_PAUSE, 1},     {"resume", COMMAND_RESUME, 1},   {"approve", COMMAND_APPROVE, 2},
};
enum { N_COMMANDS = sizeof(commands) / sizeof(*commands), MAX_ARGS = 3 };

void args_help(int fd) {
    options_help(args_defs, args_usage, args_summary, fd);
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
                   "unknown command \"%s\"; there are status, watch, proxies, explain, istiods, check, coverage, pause, "
                   "resume, approve, version, help",
                   name);
}

/* A flag that a command does not know must not be taken silently. */
static bool check_flags(struct args *a, struct err *err) {
    const struct filter *f = &a->filter;
    bool named = a->command == COMMAND_PROXIES || a->command == COMMAND_EXPLAIN;
    bool proxies = a->command == COMMAND_PROXIES, watching = a->command == COMMAND_WATCH;
    bool upgrade = proxies || (a->command != COMMAND_EXPLAIN && a->command != COMMAND_ISTIODS &&
                               a->command != COMMAND_CHECK && a->command != COMMAND_COVERAGE);
    const struct {
        bool given, fits;
        const char *flag, *where;
    } flags[] = {
        {f->stuck, proxies, "stuck", "proxies"},
        {f->state != NULL, proxies, "state", "proxies"},
        {f->reason != NULL, proxies, "reason", "proxies"},
        {f->namespace_ != NULL, named, "namespace", "proxies and explain"},
        {f->owner != NULL, proxies, "owner", "proxies"},
        {f->node != NULL, proxies, "node", "proxies"},
        {f->revision != NULL, proxies, "revision", "proxies"},
        {f->type != NULL, proxies, "type", "proxies"},
        {a->upgrade_flag != NULL, upgrade, "upgrade", "the commands about upgrades, and of proxies"},
        {a->timeout_ms != 0, watching, "timeout", "watch"},
        {a->until_held, watching, "until-held", "watch"},
    };
    for (size_t i = 0; i < sizeof(flags) / sizeof(*flags); i++) {
        if (flags[i].given && !flags[i].fits) {
            return err_set(err, ERR_INVALID, "--%s is a flag of %s", flags[i].flag, flags[i].where);
        }
    }
    return filter_check(f, &a->unknown, err);
}

static bool read_output(struct args *a, struct err *err) {
    static const char *const names[] = {"table", "wide", "json", "yaml"};
    bool yaml = a->command == COMMAND_STATUS;
    for (size_t i = 0; i < sizeof(names) / sizeof(*names) - !yaml; i++) {
        if (strcmp(a->output_text, names[i]) == 0) {
            a->output = (enum output)i;
            return true;
        }
    }
    return err_set(err, ERR_INVALID, "--output: is \"%s\", must be table, wide%s", a->output_text,
                   yaml ? ", json or yaml" : " or json");
}

static bool good_name(const char *what, const char *name, struct err *err) {
    return args_name_ok(name) || err_set(err, ERR_INVALID, "\"%s\" cannot be the name of a %s", name, what);
}

/* "NS/POD", "proxy NS/POD", or POD with --namespace. */
static bool read_pod(struct args *a, const char *const *args, size_t n, struct err *err) {
    static const char usage[] = "explain needs a pod: kubectl meshgate explain NS/POD";
    if (n == 2 && strcmp(args[0], "proxy") != 0 && strcmp(args[0], "pod") != 0) {
        return err_set(err, ERR_INVALID, "unexpected argument \"%s\"; %s", args[1], usage);
    }
    if (n == 0 || (n == 1 && strcmp(args[0], "proxy") == 0 && !a->filter.namespace_)) {
        return err_set(err, ERR_INVALID, "%s", usage);
    }
    const char *word = args[n - 1], *slash = strchr(word, '/');
    size_t len = slash ? (size_t)(slash - word) : 0;
    if (slash && a->filter.namespace_ && strlen(a->filter.namespace_) != len) {
        return err_set(err, ERR_INVALID, "two namespaces are named: %s and %.*s", a->filter.namespace_, (int)len, word);
    }
    if (slash && len < sizeof(a->name)) {
        memcpy(a->name, word, len);
        if (a->filter.namespace_ && strcmp(a->filter.namespace_, a->name) != 0) {
            return err_set(err, ERR_INVALID, "two namespaces are named: %s and %s", a->filter.namespace_, a->name);
        }
        a->filter.namespace_ = a->name;
    }
    if (!a->filter.namespace_) {
        return err_set(err, ERR_INVALID, "in which namespace is %s? kubectl meshgate explain NS/%s", word, word);
    }
    a->pod = slash ? slash + 1 : word;
    return good_name("namespace", a->filter.namespace_, err) && good_name("pod", a->pod, err);
}

static bool read_names(struct args *a, const char *const *args, size_t n, struct err *err) {
    if (!args_name_ok(a->gate_namespace)) {
        return err_set(err, ERR_INVALID, "--gate-namespace: \"%s\" cannot be the name of a namespace", a->gate_namespace);
    }
    if (a->command == COMMAND_EXPLAIN) {
        return read_pod(a, args, n, err);
    }
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
    return !a->upgrade || good_name("MeshUpgrade", a->upgrade, err);
}

bool args_parse(struct args *a, int argc, char **argv, struct err *err) {
    const char *words[MAX_ARGS + 1];
    size_t n = 0, max_args = 0;
    *a = (struct args){0};
    switch (options_parse(args_defs, a, argc, argv, words, MAX_ARGS + 1, &n, err)) {
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
