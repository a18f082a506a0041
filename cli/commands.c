#include "commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "change.h"
#include "plain.h"
#include "proxies_view.h"
#include "status_view.h"
#include "watch.h"

enum { VIEW_MAX = 64 << 20 };

static int64_t wall_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static enum exit_code failed(const struct err *err) {
    return err->code == ERR_INVALID ? EXIT_USAGE : EXIT_ERROR;
}

static void print_json(const json_t *o) {
    json_dumpf(o, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
    fputc('\n', stdout);
}

static void print_buf(struct buf *b) {
    fwrite(b->p, 1, b->len, stdout);
    buf_done(b);
}

static enum exit_code run_status(struct cluster *c, const struct args *a, struct err *err) {
    json_t *u = cluster_upgrade(c, a->upgrade, err);
    if (!u) {
        return failed(err);
    }
    if (a->output == OUTPUT_JSON) {
        print_json(u);
    } else {
        struct buf out;
        buf_init(&out, VIEW_MAX);
        status_view(u, wall_ms(), a->output == OUTPUT_WIDE, &out);
        print_buf(&out);
    }
    enum exit_code code = status_view_exit(u);
    json_decref(u);
    return code;
}

static void print_proxies(const json_t *view, const struct args *a) {
    struct proxies_filter f = {.stuck = a->stuck, .state = a->state, .ns = a->namespace_};
    json_t *rows = proxies_view_select(view, &f);
    if (a->output == OUTPUT_JSON) {
        json_t *o = json_pack("{s:O?, s:O}", "upgrade", js_at(view, "upgrade", NULL), "proxies", rows);
        print_json(o);
        json_decref(o);
    } else {
        struct buf out;
        buf_init(&out, VIEW_MAX);
        proxies_view(view, rows, &f, a->output == OUTPUT_WIDE, &out);
        print_buf(&out);
    }
    json_decref(rows);
}

static enum exit_code run_proxies(struct cluster *c, const struct args *a, struct err *err) {
    json_t *only = NULL;
    const char *name = a->upgrade;
    if (!name) {
        only = cluster_upgrade(c, NULL, err);
        if (!only) {
            return failed(err);
        }
        name = js_text(only, "metadata", "name", NULL);
    }
    json_t *view = cluster_proxies(c, name, err);
    if (view) {
        print_proxies(view, a);
    }
    json_decref(view);
    json_decref(only);
    return view ? EXIT_DONE : EXIT_ERROR;
}

static const struct change {
    enum command command;
    change_fn fn;
    const char *made, *none;
} changes[] = {
    {COMMAND_PAUSE, change_pause, "paused: nothing more is written until resume", "was paused already"},
    {COMMAND_RESUME, change_resume, "resumed", "is not paused: nothing to resume"},
    {COMMAND_APPROVE, change_approve, "approved", "was approved already"},
};

static enum exit_code run_change(struct cluster *c, const struct args *a, struct err *err) {
    const struct change *change = changes;
    while (change->command != a->command) {
        change++;
    }
    json_t *u = NULL;
    enum change_result r = cluster_change(c, a->upgrade, change->fn, a->wave, &u, err);
    if (r == CHANGE_BAD) {
        return failed(err);
    }
    if (a->output == OUTPUT_JSON) {
        print_json(u);
    } else {
        struct buf out;
        buf_init(&out, VIEW_MAX);
        plain_add(&out, js_text(u, "metadata", "name", NULL));
        buf_printf(&out, "%s%s %s\n", a->wave ? ": wave " : "", a->wave ? a->wave : "",
                   r == CHANGE_MADE ? change->made : change->none);
        print_buf(&out);
    }
    json_decref(u);
    return EXIT_DONE;
}

enum exit_code commands_run(struct cluster *c, const struct args *a, struct err *err) {
    switch (a->command) {
    case COMMAND_STATUS:
        return run_status(c, a, err);
    case COMMAND_WATCH:
        return watch(c, a, err);
    case COMMAND_PROXIES:
        return run_proxies(c, a, err);
    case COMMAND_PAUSE:
    case COMMAND_RESUME:
    case COMMAND_APPROVE:
        return run_change(c, a, err);
    case COMMAND_HELP:
        args_help(1);
        return EXIT_DONE;
    case COMMAND_VERSION:
        printf("kubectl-meshgate %s\n", MESHGATE_VERSION);
        return EXIT_DONE;
    }
    return EXIT_USAGE;
}
