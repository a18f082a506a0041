/*
 * kubectl-meshgate: looks at mesh upgrades and steers them. It has no connection of its own: every read and write is one
 * call of the caller's kubectl, so that kubeconfigs, credential plug-ins and proxies work as they do there.
 *
 *   args          the command line, --help, exit codes
 *   commands      what each command does
 *   watch         follows an upgrade: redraws on a terminal, prints changes elsewhere
 *   cluster       MeshUpgrades (read, change with conflict retry) and the gate's proxy list
 *   kubectl       one child process: input, output, time limit, what its errors mean
 *   change        pause, resume and approve as changes of JSON
 *   status_view   a MeshUpgrade as text
 *   proxies_view  proxies as a table, with remedies
 *   table         aligned columns
 *   plain         others' text made fit for a terminal
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "plain.h"

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

int main(int argc, char **argv) {
    struct args args;
    struct err err = {0};
    signal(SIGPIPE, SIG_IGN); /* a kubectl that ends before it has read its input is an error, not our end */
    if (!args_parse(&args, argc, argv, &err)) {
        print_plain("error: ", err.text, strlen(err.text));
        return EXIT_USAGE;
    }
    enum exit_code code = run(&args, &err);
    if (fflush(stdout) != 0) {
        fprintf(stderr, "error: can't write the output: %s\n", strerror(errno));
        return EXIT_ERROR;
    }
    return code;
}
