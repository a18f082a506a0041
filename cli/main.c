/*
 * kubectl-meshgate: looks at mesh upgrades and steers them. It has no connection of its own: every read and write is one
 * call of the caller's kubectl, so that kubeconfigs, credential plug-ins and proxies work as they do there.
 *
 *   args          the command line, --help, exit codes (args_defs: flags and help)
 *   filter        which proxies somebody wants to see
 *   commands      what each command does
 *   watch         follows an upgrade: redraws on a terminal, prints changes elsewhere
 *   cluster       MeshUpgrades (read, change with conflict retry) and the gate's answers
 *   kubectl       one child process: input, output, time limit, what its errors mean
 *   change        pause, resume and approve as changes of JSON
 *   status_view   a MeshUpgrade as text
 *   proxies_read  the gate's list of proxies, one at a time; proxies_view shows it, with remedies
 *   explain_view  one proxy: witnesses, evidence, what decided
 *   istiods_view  revisions, replicas and their readers
 *   check_view    the gate's pre-flight as marked lines
 *   coverage_view of how many proxies each witness is heard
 *   table, wrap   aligned columns; sentences in narrow places
 *   yaml_out      JSON as YAML
 *   terminal      what the place that we write to can show
 *   plain         others' text made fit for a terminal
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "plain.h"
#include "terminal.h"
#include "wrap.h"

enum { KNOWN_MAX = 16384, KNOWN_COLUMNS = 100 };

static void print_plain(const char *before, const char *s, size_t n) {
    struct buf raw, line;
    buf_init(&raw, n);
    buf_init(&line, 4 * n + 1);
    buf_add(&raw, s, n);
    plain_add(&line, raw.p);
    fprintf(stderr, "%s%s\n", before, line.p ? line.p : "");
    buf_done(&raw);
    buf_done(&line);
}

/* kubectl's own words, indented below ours. */
static void print_said(const struct buf *said) {
    const char *s = said->len ? said->p : "";
    while (*s) {
        size_t n = strcspn(s, "\n");
        print_plain("  kubectl: ", s, n);
        s += n + (s[n] == '\n');
    }
}

static enum exit_code run(const struct args *a, struct err *err) {
    struct cluster c = {.gate_namespace = a->gate_namespace};
    kubectl_init(&c.kubectl, a->kubectl, a->kubeconfig, a->context, a->request_timeout_ms);
    enum exit_code code = commands_run(&c, a, err);
    if (code == EXIT_ERROR || code == EXIT_USAGE) {
        fflush(stdout);
        print_plain("error: ", err->text, strlen(err->text));
        print_said(&c.kubectl.said);
    }
    kubectl_done(&c.kubectl);
    return code;
}

/* After a value that does not exist: those that do. */
static void print_known(const char *flag) {
    struct buf known, text;
    size_t columns = terminal_columns() ? terminal_columns() : KNOWN_COLUMNS;
    buf_init(&known, KNOWN_MAX);
    buf_init(&text, 2 * KNOWN_MAX);
    filter_known(flag, &known);
    buf_str(&text, "  there are: ");
    wrap_add(&text, known.p, text.len, 4, columns);
    fputs(text.p, stderr);
    buf_done(&known);
    buf_done(&text);
}

int main(int argc, char **argv) {
    struct args args;
    struct err err = {0};
    signal(SIGPIPE, SIG_IGN); /* a kubectl that ends before it has read its input is an error, not our end */
    if (!args_parse(&args, argc, argv, &err)) {
        print_plain("error: ", err.text, strlen(err.text));
        if (args.unknown) {
            print_known(args.unknown);
        }
        return EXIT_USAGE;
    }
    enum exit_code code = run(&args, &err);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        if (errno == EPIPE) { /* a pager that was left, `head`: nobody wants the rest */
            return code;
        }
        fprintf(stderr, "error: can't write the output: %s\n", strerror(errno));
        return EXIT_ERROR;
    }
    return code;
}
