#include "commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../lib/base/mem.h"
#include "change.h"
#include "check_view.h"
#include "coverage_view.h"
#include "explain_view.h"
#include "istiods_view.h"
#include "plain.h"
#include "proxies_view.h"
#include "status_view.h"
#include "terminal.h"
#include "watch.h"
#include "yaml_out.h"

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
    } else if (a->output == OUTPUT_YAML) {
        struct buf out;
        buf_init(&out, VIEW_MAX);
        yaml_out(u, &out);
        print_buf(&out);
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

/* ---- what the gate sees ---- */

enum { PLAIN_COLUMNS = 100 }; /* where sentences are wrapped when it is no terminal */

static size_t sentence_columns(void) {
    size_t columns = terminal_columns();
    return columns == 0 ? PLAIN_COLUMNS : columns > 40 ? columns : 40;
}

static void print_proxies(const struct proxies_seen *seen, const struct args *a) {
    if (a->output == OUTPUT_JSON) {
        json_t *o = json_pack("{s:O?, s:O}", "upgrade", seen->upgrade, "proxies", seen->rows);
        print_json(o);
        json_decref(o);
        return;
    }
    struct buf out;
    buf_init(&out, VIEW_MAX);
    proxies_view(seen, &a->filter, a->output == OUTPUT_WIDE, terminal_columns(), &out);
    print_buf(&out);
}

static void print_explain(const json_t *view, const struct args *a) {
    struct buf out;
    (void)a;
    buf_init(&out, VIEW_MAX);
    explain_view(view, sentence_columns(), &out);
    print_buf(&out);
}

static void print_istiods(const json_t *view, const struct args *a) {
    struct buf out;
    buf_init(&out, VIEW_MAX);
    istiods_view(view, a->output == OUTPUT_WIDE, terminal_columns(), &out);
    print_buf(&out);
}

static void print_check(const json_t *view, const struct args *a) {
    struct buf out;
    (void)a;
    buf_init(&out, VIEW_MAX);
    check_view(view, terminal_utf8(), sentence_columns(), &out);
    print_buf(&out);
}

static void print_coverage(const json_t *view, const struct args *a) {
    struct buf out;
    buf_init(&out, VIEW_MAX);
    coverage_view(view, a->output == OUTPUT_WIDE, &out);
    print_buf(&out);
}

static enum exit_code always_done(const json_t *view) {
    (void)view;
    return EXIT_DONE;
}

/* A question to the gate: what to ask, what its answer must have, and how it is shown. */
struct question {
    const char *what, *query, *key;
    void (*print)(const json_t *view, const struct args *a);
    enum exit_code (*code)(const json_t *view);
};

static enum exit_code ask(struct cluster *c, const struct args *a, const struct question *q, struct err *err) {
    json_t *view = cluster_gate(c, q->what, q->query, q->key, err);
    if (!view) {
        return EXIT_ERROR;
    }
    if (a->output == OUTPUT_JSON) {
        print_json(view);
    } else {
        q->print(view, a);
    }
    enum exit_code code = q->code(view);
    json_decref(view);
    return code;
}

static enum exit_code run_proxies(struct cluster *c, const struct args *a, struct err *err) {
    char *query = a->upgrade ? mem_printf("?upgrade=%s", a->upgrade) : mem_dup("");
    struct buf answer;
    struct proxies_seen seen = {0};
    bool ok = cluster_ask(c, "proxies", query, &answer, err);
    free(query);
    if (!ok && err->code == ERR_NOT_FOUND && a->upgrade) {
        json_decref(cluster_upgrade(c, a->upgrade, err)); /* says which there are; else the gate has not seen it yet */
    }
    ok = ok && proxies_read(answer.p, answer.len, &a->filter, a->output != OUTPUT_TABLE, &seen, err);
    buf_done(&answer);
    if (ok) {
        print_proxies(&seen, a);
    }
    proxies_seen_done(&seen);
    return ok ? EXIT_DONE : EXIT_ERROR;
}

static enum exit_code run_explain(struct cluster *c, const struct args *a, struct err *err) {
    char *query = mem_printf("?namespace=%s&pod=%s", a->filter.namespace_, a->pod);
    const struct question q = {"explain", query, "witnesses", print_explain, always_done};
    enum exit_code code = ask(c, a, &q, err);
    free(query);
    if (code == EXIT_ERROR && err->code == ERR_NOT_FOUND) {
        err_set(err, ERR_NOT_FOUND,
                "the gate knows no proxy %s/%s: no such pod, or one that has none and shall have none; "
                "kubectl meshgate proxies -n %s lists them",
                a->filter.namespace_, a->pod, a->filter.namespace_);
    }
    return code;
}

static enum exit_code run_question(struct cluster *c, const struct args *a, struct err *err) {
    static const struct question istiods = {"revisions", "", "revisions", print_istiods, always_done};
    static const struct question check = {"check", "", "sections", print_check, check_view_exit};
    static const struct question coverage = {"coverage", "", "cluster", print_coverage, always_done};
    return ask(c, a, a->command == COMMAND_ISTIODS ? &istiods : a->command == COMMAND_CHECK ? &check : &coverage, err);
}

/* ---- changes ---- */

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
    case COMMAND_EXPLAIN:
        return run_explain(c, a, err);
    case COMMAND_ISTIODS:
    case COMMAND_CHECK:
    case COMMAND_COVERAGE:
        return run_question(c, a, err);
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
    case COMMAND_COUNT:
        break;
    }
    return EXIT_USAGE;
}
