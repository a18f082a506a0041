#define _GNU_SOURCE /* pipe2 */
#include "kubectl.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SAID_MAX = 64 << 10, MAX_ARGV = 12, CHUNK = 65536, KILL_GRACE_MS = 1000 };

extern char **environ;

void kubectl_init(struct kubectl *k, const char *path, const char *kubeconfig, const char *context, int64_t timeout_ms) {
    *k = (struct kubectl){.path = path, .kubeconfig = kubeconfig, .context = context, .timeout_ms = timeout_ms};
    buf_init(&k->said, SAID_MAX);
}

void kubectl_done(struct kubectl *k) {
    buf_done(&k->said);
}

/* ---- one child ---- */

struct child {
    pid_t pid;
    int in, out, err; /* our ends, -1 when closed */
    const char *body; /* what is left to write to `in` */
    size_t body_len;
    int64_t deadline_ms;
};

static int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void close_fd(int *fd) {
    if (*fd >= 0) {
        close(*fd);
    }
    *fd = -1;
}

static bool spawn(struct child *c, char *const argv[], bool with_input, struct err *err) {
    int in[2] = {-1, -1}, out[2] = {-1, -1}, errs[2] = {-1, -1};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t defaults;
    int rc = (with_input && pipe2(in, O_CLOEXEC)) || pipe2(out, O_CLOEXEC) || pipe2(errs, O_CLOEXEC) ? errno : 0;
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attr);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE); /* ignored in here, and that would be inherited */
    posix_spawnattr_setsigdefault(&attr, &defaults);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF);
    if (rc == 0) {
        if (with_input) {
            posix_spawn_file_actions_adddup2(&files, in[0], STDIN_FILENO);
        }
        posix_spawn_file_actions_adddup2(&files, out[1], STDOUT_FILENO);
        posix_spawn_file_actions_adddup2(&files, errs[1], STDERR_FILENO);
        rc = posix_spawnp(&c->pid, argv[0], &files, &attr, argv, environ);
    }
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attr);
    close_fd(&in[0]);
    close_fd(&out[1]);
    close_fd(&errs[1]);
    c->in = in[1];
    c->out = out[0];
    c->err = errs[0];
    if (rc != 0) {
        close_fd(&c->in);
        close_fd(&c->out);
        close_fd(&c->err);
        return err_set(err, ERR_IO, "can't run %s: %s; install kubectl or set MESHGATE_KUBECTL to its path", argv[0],
                       strerror(rc));
    }
    if (c->in >= 0) {
        (void)fcntl(c->in, F_SETFL, O_NONBLOCK);
    }
    return true;
}

/* Take what there is; closes *fd at the end. Past the buffer's maximum the rest is read and dropped. */
static void take(int *fd, struct buf *b) {
    static char chunk[CHUNK];
    ssize_t n = read(*fd, chunk, sizeof(chunk));
    if (n > 0) {
        buf_add(b, chunk, (size_t)n);
    } else if (n == 0 || errno != EINTR) {
        close_fd(fd);
    }
}

static void give(struct child *c) {
    ssize_t n = write(c->in, c->body, c->body_len);
    if (n > 0) {
        c->body += n;
        c->body_len -= (size_t)n;
    }
    bool failed = n < 0 && errno != EAGAIN && errno != EINTR;
    if (failed || c->body_len == 0) {
        close_fd(&c->in);
    }
}

/* Until both outputs are closed; false at the deadline. */
static bool talk(struct child *c, struct buf *out, struct buf *said) {
    while (c->out >= 0 || c->err >= 0) {
        int64_t left = c->deadline_ms - now_ms();
        struct pollfd p[] = {{c->in, POLLOUT, 0}, {c->out, POLLIN, 0}, {c->err, POLLIN, 0}};
        int n = left > 0 ? poll(p, 3, (int)left) : 0;
        if (n == 0) {
            return false;
        }
        if (n < 0) {
            continue; /* interrupted */
        }
        if (p[0].revents) {
            give(c);
        }
        if (p[1].revents) {
            take(&c->out, out);
        }
        if (p[2].revents) {
            take(&c->err, said);
        }
    }
    return true;
}

static bool reap_until(pid_t pid, int64_t deadline_ms, int *status) {
    for (;;) {
        pid_t got = waitpid(pid, status, WNOHANG);
        if (got == pid || (got < 0 && errno != EINTR)) {
            return true;
        }
        if (now_ms() >= deadline_ms) {
            return false;
        }
        nanosleep(&(struct timespec){0, 2000000}, NULL);
    }
}

/* false: it had to be ended. */
static bool finish(struct child *c, bool in_time, int *status) {
    close_fd(&c->in);
    close_fd(&c->out);
    close_fd(&c->err);
    if (in_time && reap_until(c->pid, c->deadline_ms, status)) {
        return true;
    }
    kill(c->pid, SIGTERM);
    if (!reap_until(c->pid, now_ms() + KILL_GRACE_MS, status)) {
        kill(c->pid, SIGKILL);
        (void)waitpid(c->pid, status, 0);
    }
    return false;
}

/* ---- what it says ---- */

static enum err_code read_code(const struct buf *said) {
    static const struct {
        const char *text;
        enum err_code code;
    } known[] = {
        {"(NotFound)", ERR_NOT_FOUND},
        {"(Conflict)", ERR_CONFLICT},
        {"(Forbidden)", ERR_DENIED},
        {"(Unauthorized)", ERR_DENIED},
        {"(ServiceUnavailable)", ERR_UNAVAILABLE},
        {"was refused", ERR_UNAVAILABLE},
    };
    for (size_t i = 0; said->p && i < sizeof(known) / sizeof(*known); i++) {
        if (strstr(said->p, known[i].text)) {
            return known[i].code;
        }
    }
    return ERR_IO;
}

static size_t start_argv(const struct kubectl *k, const char **argv) {
    size_t n = 0;
    argv[n++] = k->path;
    if (k->kubeconfig) {
        argv[n++] = "--kubeconfig";
        argv[n++] = k->kubeconfig;
    }
    if (k->context) {
        argv[n++] = "--context";
        argv[n++] = k->context;
    }
    return n;
}

static bool run(struct kubectl *k, const char **argv, const char *verb, const char *path, const char *body, struct buf *out,
                struct err *err) {
    struct child c = {.body = body, .body_len = body ? strlen(body) : 0, .deadline_ms = now_ms() + k->timeout_ms};
    int status = 0;
    buf_reset(&k->said);
    if (!spawn(&c, (char *const *)(uintptr_t)argv, body != NULL, err)) {
        return false;
    }
    bool in_time = finish(&c, talk(&c, out, &k->said), &status);
    if (!in_time) {
        return err_set(err, ERR_TIMEOUT, "kubectl %s --raw %s: no answer within %lld ms (--request-timeout)", verb, path,
                       (long long)k->timeout_ms);
    }
    if (WIFSIGNALED(status)) {
        return err_set(err, ERR_IO, "kubectl %s --raw %s was ended by signal %d", verb, path, WTERMSIG(status));
    }
    if (WEXITSTATUS(status) != 0) {
        return err_set(err, read_code(&k->said), "kubectl %s --raw %s failed (exit code %d)", verb, path,
                       WEXITSTATUS(status));
    }
    buf_reset(&k->said);
    if (out->over) {
        return err_set(err, ERR_LIMIT, "kubectl %s --raw %s: the answer is larger than %zu bytes", verb, path, out->max);
    }
    return true;
}

bool kubectl_get(struct kubectl *k, const char *path, struct buf *out, struct err *err) {
    const char *argv[MAX_ARGV];
    size_t n = start_argv(k, argv);
    argv[n++] = "get";
    argv[n++] = "--raw";
    argv[n++] = path;
    argv[n] = NULL;
    return run(k, argv, "get", path, NULL, out, err);
}

bool kubectl_put(struct kubectl *k, const char *path, const char *body, struct buf *out, struct err *err) {
    const char *argv[MAX_ARGV];
    size_t n = start_argv(k, argv);
    argv[n++] = "replace";
    argv[n++] = "--raw";
    argv[n++] = path;
    argv[n++] = "-f";
    argv[n++] = "-";
    argv[n] = NULL;
    return run(k, argv, "replace", path, body, out, err);
}
