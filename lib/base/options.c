#include "options.h"

#include <stdlib.h>
#include <string.h>

#include "text.h"

static bool is_end(const struct option_def *d) {
    return d->type != OPTION_SECTION && !d->name;
}

static const struct option_def *find_name(const struct option_def *defs, const char *name, size_t len) {
    for (const struct option_def *d = defs; !is_end(d); d++) {
        if (d->type != OPTION_SECTION && strlen(d->name) == len && memcmp(d->name, name, len) == 0) {
            return d;
        }
    }
    return NULL;
}

static const struct option_def *find_letter(const struct option_def *defs, char letter) {
    for (const struct option_def *d = defs; !is_end(d); d++) {
        if (d->letter && d->letter == letter) {
            return d;
        }
    }
    return NULL;
}

/* Damerau-less edit distance; names longer than the row are told apart by their first 31 bytes. */
static int distance(const char *a, size_t na, const char *b, size_t nb) {
    enum { ROW = 32 };
    int row[ROW];
    na = na < ROW - 1 ? na : ROW - 1;
    nb = nb < ROW - 1 ? nb : ROW - 1;
    for (size_t j = 0; j <= nb; j++) {
        row[j] = (int)j;
    }
    for (size_t i = 1; i <= na; i++) {
        int diagonal = row[0];
        row[0] = (int)i;
        for (size_t j = 1; j <= nb; j++) {
            int best = diagonal + (a[i - 1] != b[j - 1]);
            best = row[j] + 1 < best ? row[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[nb];
}

static bool unknown_flag(const struct option_def *defs, const char *arg, size_t len, struct err *err) {
    const char *nearest = NULL;
    int best = 4;
    for (const struct option_def *d = defs; !is_end(d); d++) {
        int n = d->type == OPTION_SECTION ? best : distance(arg + 2, len, d->name, strlen(d->name));
        if (n < best) {
            best = n;
            nearest = d->name;
        }
    }
    if (nearest) {
        return err_set(err, ERR_INVALID, "unknown flag --%.*s; did you mean --%s?", (int)len, arg + 2, nearest);
    }
    return err_set(err, ERR_INVALID, "unknown flag --%.*s; --help lists all", (int)len, arg + 2);
}

static bool set_number(const struct option_def *d, int64_t v, const char *text, void *field, struct err *err) {
    if (d->max > 0 && (v < d->min || v > d->max)) {
        char lo[32], hi[32];
        if (d->type == OPTION_DURATION) {
            text_duration_format(d->min, lo, sizeof(lo));
            text_duration_format(d->max, hi, sizeof(hi));
            return err_set(err, ERR_INVALID, "is %s, must be %s to %s", text, lo, hi);
        }
        return err_set(err, ERR_INVALID, "is %s, must be %lld to %lld", text, (long long)d->min, (long long)d->max);
    }
    memcpy(field, &v, sizeof(v));
    return true;
}

/* Errors without the name in front. */
static bool set_value(const struct option_def *d, const char *text, void *target, struct err *err) {
    void *field = (char *)target + d->offset;
    int64_t v = 0;
    switch (d->type) {
    case OPTION_STRING:
        memcpy(field, &text, sizeof(text));
        return true;
    case OPTION_BOOL:
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0) {
            return err_set(err, ERR_INVALID, "is \"%s\", must be true or false", text);
        }
        *(bool *)field = text[0] == 't';
        return true;
    case OPTION_INT:
        if (!text_int(text, INT64_MIN, INT64_MAX, &v)) {
            return err_set(err, ERR_INVALID, "is \"%s\", must be a whole number", text);
        }
        return set_number(d, v, text, field, err);
    case OPTION_DURATION:
        if (!text_duration(text, &v)) {
            return err_set(err, ERR_INVALID, "is \"%s\", must be a duration such as 300ms, 10s, 5m or 1h30m", text);
        }
        return set_number(d, v, text, field, err);
    case OPTION_SECTION:
        break;
    }
    return true;
}

static bool set_defaults(const struct option_def *defs, void *target, struct err *err) {
    for (const struct option_def *d = defs; !is_end(d); d++) {
        const char *env = d->type != OPTION_SECTION && d->env ? getenv(d->env) : NULL;
        if (env && *env) {
            if (!set_value(d, env, target, err)) {
                return err_wrap(err, "environment variable %s (--%s)", d->env, d->name);
            }
        } else if (d->type != OPTION_SECTION && d->def && !set_value(d, d->def, target, err)) {
            return err_wrap(err, "default of --%s", d->name);
        }
    }
    return true;
}

static bool check_required(const struct option_def *defs, void *target, struct err *err) {
    for (const struct option_def *d = defs; !is_end(d); d++) {
        const char *text = NULL;
        if (d->type != OPTION_STRING || !d->required) {
            continue;
        }
        memcpy(&text, (char *)target + d->offset, sizeof(text));
        if (!text || !*text) {
            return err_set(err, ERR_INVALID, "--%s %s is required%s%s%s: %s", d->name, d->arg ? d->arg : "VALUE",
                           d->env ? " (or environment variable " : "", d->env ? d->env : "", d->env ? ")" : "", d->help);
        }
    }
    return true;
}

struct scan {
    const struct option_def *defs;
    void *target;
    int argc, i;
    char **argv;
    struct err *err;
};

/* The flag at argv[i] and, when it takes one, its value in argv[i + 1]. */
static enum options_result take_flag(struct scan *s) {
    char *arg = s->argv[s->i];
    bool is_long = arg[1] == '-';
    const char *eq = strchr(arg, '=');
    size_t len = is_long ? (eq ? (size_t)(eq - arg) : strlen(arg)) - 2 : 0;
    const struct option_def *d = is_long ? find_name(s->defs, arg + 2, len) : find_letter(s->defs, arg[1]);
    const char *value = is_long ? (eq ? eq + 1 : NULL) : (arg[2] == '=' ? arg + 3 : arg[2] ? arg + 2 : NULL);
    if (!d) {
        if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0) {
            return OPTIONS_HELP;
        }
        if (strcmp(arg, "--version") == 0) {
            return OPTIONS_VERSION;
        }
        if (is_long) {
            unknown_flag(s->defs, arg, len, s->err);
        } else {
            err_set(s->err, ERR_INVALID, "unknown flag %s; --help lists all", arg);
        }
        return OPTIONS_BAD;
    }
    if (d->type == OPTION_BOOL && !value) {
        value = "true";
    }
    if (!value) {
        if (s->i + 1 >= s->argc) {
            err_set(s->err, ERR_INVALID, "--%s needs a value: --%s %s", d->name, d->name, d->arg ? d->arg : "VALUE");
            return OPTIONS_BAD;
        }
        value = s->argv[++s->i];
    }
    if (!set_value(d, value, s->target, s->err)) {
        err_wrap(s->err, "--%s", d->name);
        return OPTIONS_BAD;
    }
    return OPTIONS_OK;
}

enum options_result options_parse(const struct option_def *defs, void *target, int argc, char **argv, const char **args,
                                  size_t max_args, size_t *n_args, struct err *err) {
    struct scan s = {defs, target, argc, 1, argv, err};
    size_t n = 0;
    bool only_args = false;
    /* A wrong variable must not keep --help from working. */
    struct err later = {0};
    bool defaults_ok = set_defaults(defs, target, &later);
    for (; s.i < argc; s.i++) {
        const char *arg = argv[s.i];
        if (!only_args && strcmp(arg, "--") == 0) {
            only_args = true;
        } else if (!only_args && arg[0] == '-' && arg[1]) {
            enum options_result r = take_flag(&s);
            if (r != OPTIONS_OK) {
                return r;
            }
        } else if (n == max_args) {
            err_set(err, ERR_INVALID, "unexpected argument \"%s\"", arg);
            return OPTIONS_BAD;
        } else {
            args[n++] = arg;
        }
    }
    if (n_args) {
        *n_args = n;
    }
    if (!defaults_ok && err) {
        *err = later;
    }
    return defaults_ok && check_required(defs, target, err) ? OPTIONS_OK : OPTIONS_BAD;
}
