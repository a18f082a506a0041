/*
 * pilot-agent, not Envoy, holds the connections to istiod. Right after the start there are two (the CA client and the
 * xDS stream), later one; both go to the address of the revision, so one entry a pod is enough.
 */
#define _GNU_SOURCE /* memrchr */
#include "socket.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../lib/base/mem.h"
#include "../lib/base/text.h"
#include "local_ip.h"

#define MAX_SMALL_FILE (16 * 1024)
#define MAX_FIB (64 * 1024)
#define TCP_CHUNK (64 * 1024)
/* A pod with some hundred thousand connections: what lies behind is not read, the loop must not stand still. */
#define MAX_TCP_FILE (16 * 1024 * 1024)
#define MAX_TCP_ALL (64 * 1024 * 1024)
#define MAX_PODS 4096
#define MAX_PROCESSES 2 /* of one pod; names of processes are the pod's own choice */

static bool ends(const char *p, const char *end) {
    return p == end || !(isxdigit((unsigned char)*p) || *p == '-' || *p == '_');
}

/* 32 hexadecimal digits. */
static bool hash_at(const char *p, const char *end, char out[40]) {
    for (int i = 0; i < 32; i++) {
        if (p + i >= end || !isxdigit((unsigned char)p[i])) {
            return false;
        }
        out[i] = p[i];
    }
    out[32] = '\0';
    return ends(p + 32, end);
}

/* 8-4-4-4-12 hexadecimal digits; systemd's slices have '_' where the UID has '-'. */
static bool uid_at(const char *p, const char *end, char out[40]) {
    if (end - p < 36 || !ends(p + 36, end)) {
        return false;
    }
    for (int i = 0; i < 36; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? (p[i] != '-' && p[i] != '_') : !isxdigit((unsigned char)p[i])) {
            return false;
        }
        out[i] = dash ? '-' : p[i];
    }
    out[36] = '\0';
    return true;
}

bool socket_cgroup_uid(const char *text, char out[40]) {
    const char *end = text + strlen(text);
    bool found = false;
    char uid[40];
    for (const char *p = text; (p = strstr(p, "pod")) != NULL; p += 3) {
        if (p > text && (p[-1] == '/' || p[-1] == '-') && (uid_at(p + 3, end, uid) || hash_at(p + 3, end, uid))) {
            memcpy(out, uid, sizeof(uid)); /* the innermost counts: nodes may be containers in a pod themselves */
            found = true;
        }
    }
    return found;
}

/* The kernel prints addresses as 32-bit words in the machine's byte order. */
static bool address_text(const char *hex, char out[46]) {
    size_t len = strlen(hex);
    uint32_t words[4];
    if (len != 8 && len != 32) {
        return false;
    }
    for (size_t i = 0; i < len / 8; i++) {
        char word[9];
        memcpy(word, hex + 8 * i, 8);
        word[8] = '\0';
        words[i] = (uint32_t)strtoul(word, NULL, 16);
    }
    if (len == 8) {
        return inet_ntop(AF_INET, words, out, 46) != NULL;
    }
    if (words[0] == 0 && words[1] == 0 && words[2] == htonl(0xffff)) {
        return inet_ntop(AF_INET, &words[3], out, 46) != NULL;
    }
    return inet_ntop(AF_INET6, words, out, 46) != NULL;
}

static bool tcp_line(const char *line, size_t len, uint32_t uid, uint16_t xds_port, char local[46], unsigned *local_port,
                     char remote[46]) {
    char copy[256], local_hex[33], remote_hex[33];
    unsigned port = 0, state = 0, owner = 0;
    if (len >= sizeof(copy)) {
        len = sizeof(copy) - 1;
    }
    memcpy(copy, line, len);
    copy[len] = '\0';
    int n = sscanf(copy, " %*[0-9]: %32[0-9A-Fa-f]:%4x %32[0-9A-Fa-f]:%4x %2x %*s %*s %*s %10u", local_hex, local_port,
                   remote_hex, &port, &state, &owner);
    return n == 6 && state == 1 && owner == uid && port == xds_port && address_text(local_hex, local) &&
           address_text(remote_hex, remote);
}

int64_t socket_parse_tcp(const char *text, size_t len, uint32_t uid, uint16_t xds_port,
                         void (*fn)(void *ctx, const char *local_ip, uint16_t local_port, const char *remote_ip),
                         void *ctx) {
    int64_t found = 0;
    for (size_t at = 0; at < len;) {
        const char *line = text + at;
        const char *nl = memchr(line, '\n', len - at);
        size_t n = nl != NULL ? (size_t)(nl - line) : len - at;
        char local[46], remote[46];
        unsigned port = 0;
        if (tcp_line(line, n, uid, xds_port, local, &port, remote)) {
            fn(ctx, local, (uint16_t)port, remote);
            found++;
        }
        at += n + 1;
    }
    return found;
}

/* Which processes are those of proxies, and of pilot-agent's commands only this one. */
static const struct { const char *comm, *command; } programs[] = {{"pilot-agent", "proxy"}, {"ztunnel", NULL}};

struct scan_pod {
    struct dial_seen seen;
    uint32_t processes;
};

struct scan {
    const char *root;
    uint16_t xds_port;
    struct scan_pod *pods;
    size_t n, cap, bytes; /* bytes: of net/tcp */
    bool foreign, readable;
    struct err *err; /* filled: less than all was seen */
    bool failed;
};

/* What became of a look at one file. GONE: the process has ended. */
enum look { LOOK_OK, LOOK_GONE, LOOK_FAILED };

static void fail(struct scan *s, enum err_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void fail(struct scan *s, enum err_code code, const char *fmt, ...) {
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (!s->failed) {
        s->failed = true;
        err_set(s->err, code, "%s", text);
    }
}

static enum look lost(struct scan *s, const char *path, int why) {
    if (why != EACCES && why != EPERM) {
        return LOOK_GONE;
    }
    fail(s, ERR_DENIED,
         "cannot read %s (%s): does a security module forbid it? Switch the node witness off if it must stay so", path,
         strerror(why));
    return LOOK_FAILED;
}

struct scan_one {
    struct dial_seen *d;
    uint16_t xds_port;
};

static void on_connection(void *ctx, const char *local_ip, uint16_t local_port, const char *remote_ip) {
    struct scan_one *one = ctx;
    struct dial_seen *d = one->d;
    d->connections++;
    d->ports += local_port;
    if (d->remote[0] == '\0') {
        snprintf(d->pod_ip, sizeof(d->pod_ip), "%s", local_ip);
        bool six = strchr(remote_ip, ':') != NULL;
        snprintf(d->remote, sizeof(d->remote), six ? "[%s]:%u" : "%s:%u", remote_ip, one->xds_port);
    }
}

/* Whole lines of each chunk are parsed at once; the rest waits for the next chunk. */
static size_t read_tcp(int fd, uint32_t uid, struct scan_one *one) {
    char *chunk = mem_alloc(TCP_CHUNK);
    size_t have = 0, total = 0;
    while (total < MAX_TCP_FILE) {
        ssize_t got = read(fd, chunk + have, TCP_CHUNK - have);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            break;
        }
        total += (size_t)got;
        have += (size_t)got;
        char *last = memrchr(chunk, '\n', have);
        size_t whole = last != NULL ? (size_t)(last - chunk) + 1 : (have == TCP_CHUNK ? have : 0);
        socket_parse_tcp(chunk, whole, uid, one->xds_port, on_connection, one);
        memmove(chunk, chunk + whole, have - whole);
        have -= whole;
    }
    free(chunk);
    return total;
}

static enum look tcp_file(struct scan *s, int32_t pid, const char *name, uint32_t uid, struct dial_seen *d) {
    char path[512];
    snprintf(path, sizeof path, "%s/%d/net/%s", s->root, pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return lost(s, path, errno);
    }
    struct scan_one one = {.d = d, .xds_port = s->xds_port};
    size_t bytes = read_tcp(fd, uid, &one);
    d->cut = d->cut || bytes >= MAX_TCP_FILE;
    s->bytes += bytes;
    close(fd);
    if (s->bytes > MAX_TCP_ALL) {
        fail(s, ERR_LIMIT, "the proxies of this node have more than %d MiB of connections to look at", MAX_TCP_ALL >> 20);
        return LOOK_FAILED;
    }
    return LOOK_OK;
}

static enum look small_file(struct scan *s, int32_t pid, const char *name, char **out) {
    char path[512];
    size_t len;
    snprintf(path, sizeof(path), "%s/%d/%s", s->root, pid, name);
    errno = 0;
    if (text_read_file(path, MAX_SMALL_FILE, out, &len, NULL)) {
        return LOOK_OK;
    }
    *out = NULL;
    return lost(s, path, errno);
}

/* Effective uid of the process: its sockets carry it, other processes of the pod may dial the same port. */
static enum look process_uid(struct scan *s, int32_t pid, uint32_t *out) {
    char *status = NULL;
    enum look l = small_file(s, pid, "status", &status);
    const char *line = l == LOOK_OK ? strstr(status, "\nUid:") : NULL;
    if (l == LOOK_OK && (line == NULL || sscanf(line, "\nUid: %*u %10u", out) != 1)) {
        l = LOOK_GONE;
    }
    free(status);
    return l;
}

/* Is the second word of its command line this? A line that is not there does not contradict, an empty one has ended. */
static bool runs(const struct scan *s, int32_t pid, const char *command) {
    char path[512], *line = NULL;
    size_t len = 0;
    snprintf(path, sizeof(path), "%s/%d/cmdline", s->root, pid);
    if (!text_read_file(path, MAX_SMALL_FILE, &line, &len, NULL)) {
        return true;
    }
    size_t first = strlen(line) + 1;
    bool yes = first < len && strcmp(line + first, command) == 0;
    free(line);
    return yes;
}

/* Name of the proxy program that this process is of; NULL none. Most processes of a node end here. */
static const char *program_of(struct scan *s, int32_t pid) {
    char path[512], *comm = NULL;
    size_t len;
    const char *found = NULL;
    snprintf(path, sizeof(path), "%s/%d/comm", s->root, pid);
    if (!text_read_file(path, MAX_SMALL_FILE, &comm, &len, NULL)) {
        return NULL;
    }
    s->readable = s->readable || pid != getpid();
    comm[strcspn(comm, "\n")] = '\0';
    for (size_t i = 0; i < sizeof programs / sizeof *programs && found == NULL; i++) {
        if (strcmp(comm, programs[i].comm) == 0 && (programs[i].command == NULL || runs(s, pid, programs[i].command))) {
            found = programs[i].comm;
        }
    }
    free(comm);
    return found;
}

static struct scan_pod *pod_at(struct scan *s, const char *uid) {
    for (size_t i = 0; i < s->n; i++) {
        if (strcmp(s->pods[i].seen.pod_uid, uid) == 0) {
            return &s->pods[i];
        }
    }
    if (s->n == MAX_PODS) {
        fail(s, ERR_LIMIT, "this node has more than %d pods with a proxy", MAX_PODS);
        return NULL;
    }
    if (s->n == s->cap) {
        s->cap = s->cap == 0 ? 32 : s->cap * 2;
        s->pods = mem_grow(s->pods, s->cap * sizeof(*s->pods));
    }
    s->pods[s->n] = (struct scan_pod){.processes = 0};
    return &s->pods[s->n++];
}

/* Without a connection: any address of its network namespace, where the proxy's ports are. */
static void find_address(const struct scan *s, int32_t pid, struct dial_seen *d) {
    static const struct {
        const char *name;
        bool (*read)(const char *text, char out[46]);
    } files[] = {{"fib_trie", local_ip_v4}, {"if_inet6", local_ip_v6}};
    for (size_t i = 0; i < sizeof files / sizeof *files && d->pod_ip[0] == '\0'; i++) {
        char path[512], *text = NULL;
        size_t len;
        snprintf(path, sizeof(path), "%s/%d/net/%s", s->root, pid, files[i].name);
        if (text_read_file(path, MAX_FIB, &text, &len, NULL)) {
            files[i].read(text, d->pod_ip);
            free(text);
        }
    }
}

/* Two processes of a pod share the network namespace and show the same connections: the larger count stands. */
static void merge(struct scan *s, const struct dial_seen *d) {
    struct scan_pod *p = pod_at(s, d->pod_uid);
    if (p == NULL) {
        return;
    }
    if (p->processes++ == 0 || d->connections > p->seen.connections) {
        p->seen = *d;
    }
}

static bool crowded(const struct scan *s, const char *uid) {
    for (size_t i = 0; i < s->n; i++) {
        if (strcmp(s->pods[i].seen.pod_uid, uid) == 0) {
            return s->pods[i].processes >= MAX_PROCESSES;
        }
    }
    return false;
}

/* A process that ends while it is looked at is left out. */
static void look_at(struct scan *s, int32_t pid) {
    const char *program = program_of(s, pid);
    char *cgroup = NULL;
    struct dial_seen d = {.pid = pid};
    uint32_t uid;
    if (program == NULL || small_file(s, pid, "cgroup", &cgroup) != LOOK_OK) {
        return;
    }
    bool pod = socket_cgroup_uid(cgroup, d.pod_uid) && !crowded(s, d.pod_uid);
    free(cgroup);
    if (!pod || process_uid(s, pid, &uid) != LOOK_OK || tcp_file(s, pid, "tcp", uid, &d) != LOOK_OK) {
        return;
    }
    tcp_file(s, pid, "tcp6", uid, &d); /* not there where IPv6 is switched off */
    if (d.pod_ip[0] == '\0') {
        find_address(s, pid, &d);
    }
    snprintf(d.program, sizeof d.program, "%s", program);
    merge(s, &d);
}

static void look_at_all(struct scan *s, DIR *dir) {
    for (struct dirent *e; !s->failed && (e = readdir(dir)) != NULL;) {
        int64_t pid;
        if (text_int(e->d_name, 1, INT32_MAX, &pid)) {
            s->foreign = s->foreign || pid != getpid();
            look_at(s, (int32_t)pid);
        }
    }
    if (!s->foreign) {
        fail(
            s, ERR_DENIED,
            "%s shows no process but this one: give the agent's pod hostPID: true (and no hidepid on /proc), or switch the "
            "node witness off",
            s->root);
    } else if (!s->readable) {
        fail(s, ERR_DENIED, "no process but this one can be looked at in %s: is it mounted with hidepid?", s->root);
    }
}

int64_t socket_scan(const char *proc_root, uint16_t xds_port, void (*fn)(void *ctx, const struct dial_seen *d), void *ctx,
                    struct err *err) {
    DIR *dir = opendir(proc_root);
    if (dir == NULL) {
        err_set(err, ERR_IO, "cannot read %s: %s", proc_root, strerror(errno));
        return -1;
    }
    struct scan s = {.root = proc_root, .xds_port = xds_port, .err = err};
    look_at_all(&s, dir);
    closedir(dir);
    for (size_t i = 0; i < s.n && !s.failed; i++) {
        fn(ctx, &s.pods[i].seen);
    }
    free(s.pods);
    return s.failed ? -1 : (int64_t)s.n;
}
