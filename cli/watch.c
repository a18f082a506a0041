#include "watch.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "../lib/base/mem.h"
#include "../lib/base/text.h"
#include "plain.h"
#include "status_view.h"

enum { VIEW_MAX = 1 << 20, GIVE_UP_AFTER = 5 };

struct watch {
    const struct args *args;
    bool terminal;
    bool gone;         /* nobody reads what we write */
    int rows, columns; /* of the terminal at the last drawing */
    size_t drawn;      /* lines that the last drawing left above the cursor */
    struct buf last;   /* what was said last when it is no terminal */
};

static int64_t clock_ms(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void write_out(struct watch *w, const struct buf *b) {
    for (size_t done = 0; done < b->len;) {
        ssize_t n = write(STDOUT_FILENO, b->p + done, b->len - done);
        if (n <= 0) {
            w->gone = true;
            return;
        }
        done += (size_t)n;
    }
}

/* ---- terminal ---- */

/* A changed size has wrapped the old lines: begin on an empty screen. */
static void begin_drawing(struct watch *w, struct buf *out) {
    struct winsize size = {0};
    (void)ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
    int rows = size.ws_row > 1 ? size.ws_row : 24, columns = size.ws_col > 1 ? size.ws_col : 80;
    if (w->drawn > 0 && (rows != w->rows || columns != w->columns)) {
        buf_str(out, "\x1b[2J\x1b[H");
    } else if (w->drawn > 0) {
        buf_printf(out, "\x1b[%zuA\r", w->drawn);
    }
    w->rows = rows;
    w->columns = columns;
    w->drawn = 0;
}

/* Each line overwrites the old one and clears only the rest of it: nothing flickers. */
static void draw_line(struct watch *w, const char *text, size_t n, struct buf *out) {
    buf_add(out, text, plain_cut(text, n, (size_t)w->columns - 1));
    buf_str(out, "\x1b[K\n");
    w->drawn++;
}

/* What does not fit is left out above the last line. The cursor stays below it, so one row is not ours. */
static void draw(struct watch *w, const char *text, const char *last) {
    struct buf out;
    buf_init(&out, VIEW_MAX);
    begin_drawing(w, &out);
    while (*text && w->drawn + 2 < (size_t)w->rows) {
        size_t n = strcspn(text, "\n");
        draw_line(w, text, n, &out);
        text += n + (text[n] == '\n');
    }
    draw_line(w, last, strlen(last), &out);
    buf_str(&out, "\x1b[J");
    write_out(w, &out);
    buf_done(&out);
}

static void show_on_terminal(struct watch *w, const json_t *upgrade, const char *trouble) {
    struct buf view, last;
    char now[40];
    int64_t wall = clock_ms(CLOCK_REALTIME);
    buf_init(&view, VIEW_MAX);
    buf_init(&last, 1024);
    text_rfc3339_format(wall, now, sizeof(now));
    status_view(upgrade, wall, w->args->output == OUTPUT_WIDE, &view);
    buf_str(&view, "\n");
    if (trouble) {
        buf_str(&last, "Trying again: ");
        plain_add(&last, trouble);
    } else {
        buf_printf(&last, "%s; Ctrl-C leaves, the upgrade goes on", now);
    }
    draw(w, view.p, last.p);
    buf_done(&view);
    buf_done(&last);
}

/* ---- no terminal ---- */

static void show_line(struct watch *w, const json_t *upgrade) {
    struct buf line, out;
    char now[40];
    buf_init(&line, VIEW_MAX);
    buf_init(&out, VIEW_MAX);
    if (w->args->output == OUTPUT_JSON) {
        char *text = js_dump(upgrade);
        buf_str(&line, text);
        free(text);
    } else {
        status_view_line(upgrade, &line);
    }
    if (!w->last.p || strcmp(w->last.p, line.p) != 0) {
        if (w->args->output != OUTPUT_JSON) {
            text_rfc3339_format(clock_ms(CLOCK_REALTIME), now, sizeof(now));
            buf_printf(&out, "%s ", now);
        }
        buf_str(&out, line.p);
        buf_str(&out, "\n");
        write_out(w, &out);
        buf_reset(&w->last);
        buf_add(&w->last, line.p, line.len);
    }
    buf_done(&line);
    buf_done(&out);
}

static void show(struct watch *w, const json_t *upgrade, const char *trouble) {
    if (w->terminal) {
        show_on_terminal(w, upgrade, trouble);
    } else if (trouble) {
        struct buf line;
        buf_init(&line, 1024);
        buf_str(&line, "trying again: ");
        plain_add(&line, trouble);
        buf_str(&line, "\n");
        ssize_t n = write(STDERR_FILENO, line.p, line.len);
        (void)n;
        buf_done(&line);
    } else {
        show_line(w, upgrade);
    }
}

/* ---- */

static bool is_over(const struct args *a, enum exit_code code) {
    return code == EXIT_DONE || (code == EXIT_HELD && a->until_held);
}

/* Sleep until the next look; false when the time given to watch is over. */
static bool pause_until_next(const struct args *a, int64_t deadline_ms) {
    int64_t wait = a->interval_ms;
    if (deadline_ms) {
        int64_t left = deadline_ms - clock_ms(CLOCK_MONOTONIC);
        if (left <= 0) {
            return false;
        }
        wait = left < wait ? left : wait;
    }
    nanosleep(&(struct timespec){wait / 1000, wait % 1000 * 1000000}, NULL);
    return true;
}

static enum exit_code follow(struct watch *w, struct cluster *c, json_t **upgrade, struct err *err) {
    int64_t deadline = w->args->timeout_ms ? clock_ms(CLOCK_MONOTONIC) + w->args->timeout_ms : 0;
    char *name = mem_dup(js_text(*upgrade, "metadata", "name", NULL));
    enum exit_code code = status_view_exit(*upgrade);
    int failures = 0;
    show(w, *upgrade, NULL);
    while (!w->gone && !is_over(w->args, code) && pause_until_next(w->args, deadline)) {
        json_t *next = cluster_upgrade(c, name, err);
        if (next) {
            json_decref(*upgrade);
            *upgrade = next;
            failures = 0;
            code = status_view_exit(next);
            show(w, next, NULL);
            continue;
        }
        if (err->code == ERR_NOT_FOUND || ++failures == GIVE_UP_AFTER) {
            if (err->code == ERR_NOT_FOUND) {
                err_wrap(err, "%s was deleted", name);
            }
            code = EXIT_ERROR;
            break;
        }
        show(w, *upgrade, err->text);
    }
    free(name);
    if (w->gone) {
        err_set(err, ERR_IO, "nobody reads the output any more");
        return EXIT_ERROR;
    }
    return code;
}

enum exit_code watch(struct cluster *c, const struct args *a, struct err *err) {
    const char *term = getenv("TERM");
    json_t *upgrade = cluster_upgrade(c, a->upgrade, err);
    if (!upgrade) {
        return err->code == ERR_INVALID ? EXIT_USAGE : EXIT_ERROR;
    }
    struct watch w = {.args = a};
    w.terminal = a->output != OUTPUT_JSON && isatty(STDOUT_FILENO) && !(term && strcmp(term, "dumb") == 0);
    buf_init(&w.last, VIEW_MAX);
    enum exit_code code = follow(&w, c, &upgrade, err);
    buf_done(&w.last);
    json_decref(upgrade);
    return code;
}
