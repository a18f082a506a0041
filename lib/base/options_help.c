#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "options.h"

enum { HELP_WIDTH = 100, HELP_COLUMN_MAX = 36, HELP_MAX = 65536 };

static bool is_end(const struct option_def *d) {
    return d->type != OPTION_SECTION && !d->name;
}

static const char *arg_text(const struct option_def *d) {
    static const char *const names[] = {[OPTION_STRING] = "TEXT",
                                        [OPTION_BOOL] = "",
                                        [OPTION_INT] = "N",
                                        [OPTION_DURATION] = "DURATION",
                                        [OPTION_SECTION] = ""};
    return d->arg ? d->arg : names[d->type];
}

static void flag_text(const struct option_def *d, struct buf *b) {
    buf_reset(b);
    if (d->letter) {
        buf_printf(b, "  -%c, --%s", d->letter, d->name);
    } else {
        buf_printf(b, "      --%s", d->name);
    }
    if (d->type != OPTION_BOOL) {
        buf_printf(b, " %s", arg_text(d));
    }
}

static void about_text(const struct option_def *d, struct buf *b) {
    buf_reset(b);
    buf_str(b, d->help ? d->help : "");
    if (d->required) {
        buf_str(b, " (required)");
    } else if (d->def && *d->def && !(d->type == OPTION_BOOL && strcmp(d->def, "false") == 0)) {
        buf_printf(b, " (default %s)", d->def);
    }
    if (d->env) {
        buf_printf(b, " [$%s]", d->env);
    }
}

/* Add text in lines of HELP_WIDTH; the first one begins where the line already is. */
static void add_wrapped(struct buf *out, const char *text, size_t column) {
    size_t at = column;
    while (*text) {
        size_t word = strcspn(text, " ");
        if (at > column && at + 1 + word > HELP_WIDTH) {
            buf_printf(out, "\n%*s", (int)column, "");
            at = column;
        }
        if (at > column) {
            buf_str(out, " ");
            at++;
        }
        buf_add(out, text, word);
        at += word;
        text += word;
        text += strspn(text, " ");
    }
    buf_str(out, "\n");
}

static size_t help_column(const struct option_def *defs, struct buf *flag) {
    size_t column = 0;
    for (const struct option_def *d = defs; !is_end(d); d++) {
        if (d->type != OPTION_SECTION) {
            flag_text(d, flag);
            column = flag->len > column && flag->len <= HELP_COLUMN_MAX ? flag->len : column;
        }
    }
    return column + 2;
}

static void write_all(int fd, const char *p, size_t n) {
    while (n > 0) {
        ssize_t w = write(fd, p, n);
        if (w <= 0) {
            return;
        }
        p += w;
        n -= (size_t)w;
    }
}

void options_help(const struct option_def *defs, const char *usage, const char *summary, int fd) {
    struct buf out, flag, about;
    buf_init(&out, HELP_MAX);
    buf_init(&flag, HELP_MAX);
    buf_init(&about, HELP_MAX);
    buf_printf(&out, "Usage: %s\n\n%s\n", usage, summary);
    if (defs->type != OPTION_SECTION && !is_end(defs)) {
        buf_str(&out, "\nOptions:\n");
    }
    size_t column = help_column(defs, &flag);
    for (const struct option_def *d = defs; !is_end(d); d++) {
        if (d->type == OPTION_SECTION) {
            buf_printf(&out, "\n%s:\n", d->help);
            continue;
        }
        flag_text(d, &flag);
        about_text(d, &about);
        if (flag.len + 2 > column) {
            buf_printf(&out, "%s\n%*s", flag.p, (int)column, "");
        } else {
            buf_printf(&out, "%-*s", (int)column, flag.p);
        }
        add_wrapped(&out, about.p ? about.p : "", column);
    }
    write_all(fd, out.p, out.len);
    buf_done(&out);
    buf_done(&flag);
    buf_done(&about);
}
