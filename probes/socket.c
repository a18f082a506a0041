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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../lib/base/mem.h"
#include "../lib/base/text.h"

#define MAX_SMALL_FILE (16 * 1024)
#define TCP_CHUNK (64 * 1024)
/* A pod with some hundred thousand connections: what lies behind is not read, the loop must not stand still. */
#define MAX_TCP_FILE (16 * 1024 * 1024)

/* 8-4-4-4-12 hexadecimal digits; systemd's slices have '_' where the UID has '-'. */
static bool uid_at(const char *p, const char *end, char out[40]) {
    if (end - p < 36 || (end - p > 36 && (isxdigit((unsigned char)p[36]) || p[36] == '-' || p[36] == '_'))) {
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
        if (p > text && (p[-1] == '/' || p[-1] == '-') && uid_at(p + 3, end, uid)) {
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

static bool tcp_line(const char *line, size_t len, uint32_t uid, uint16_t xds_port, char local[46], char remote[46]) {
    char copy[256], local_hex[33], remote_hex[33];
    unsigned port = 0, state = 0, owner = 0;
    if (len >= sizeof(copy)) {
        len = sizeof(copy) - 1;
    }
    memcpy(copy, line, len);
    copy[len] = '\0';
    int n = sscanf(copy, " %*[0-9]: %32[0-9A-Fa-f]:%*4x %32[0-9A-Fa-f]:%4x %2x %*s %*s %*s %10u", local_hex, remote_hex,
                   &port, &state, &owner);
    return n == 5 && state == 1 && owner == uid && port == xds_port && address_text(local_hex, local) &&
           address_text(remote_hex, remote);
}

int64_t socket_parse_tcp(const char *text, size_t len, uint32_t uid, uint16_t xds_port,
                         void (*fn)(void *ctx, const char *local_ip, const char *remote_ip), void *ctx) {
    int64_t found = 0;
    for (size_t at = 0; at < len;) {
        const char *line = text + at;
        const char *nl = memchr(line, '\n', len - at);
        size_t n = nl != NULL ? (size_t)(nl - line) : len - at;
        char local[46], remote[46];
        if (tcp_line(line, n, uid, xds_port, local, remote)) {
            fn(ctx, local, remote);
            found++;
        }
        at += n + 1;
    }
    return found;
}

struct scan {
    uint16_t xds_port;
    struct dial_seen *pods;
    size_t n, cap;
};

struct scan_one {
    struct dial_seen *d;
    uint16_t xds_port;
};

static void on_connection(void *ctx, const char *local_ip, const char *remote_ip) {
    struct scan_one *one = ctx;
    struct dial_seen *d = one->d;
    d->connections++;
    if (d->remote[0] == '\0') {
        snprintf(d->pod_ip, sizeof(d->pod_ip), "%s", local_ip);
        bool six = strchr(remote_ip, ':') != NULL;
        snprintf(d->remote, sizeof(d->remote), six ? "[%s]:%u" : "%s:%u", remote_ip, one->xds_port);
    }
}

/* Whole lines of each chunk are parsed at once; the rest waits for the next chunk. */
static void tcp_file(const char *path, uint32_t uid, struct scan_one *one) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return;
    }
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
    close(fd);
}

static bool small_file(const char *root, int32_t pid, const char *name, char **out) {
    char path[512];
    size_t len;
    snprintf(path, sizeof(path), "%s/%d/%s", root, pid, name);
    return text_read_file(path, MAX_SMALL_FILE, out, &len, NULL);
}

/* Effective uid of the process: its sockets carry it, other processes of the pod may dial the same port. */
static bool process_uid(const char *root, int32_t pid, uint32_t *out) {
    char *status = NULL;
    bool ok = small_file(root, pid, "status", &status);
    if (ok) {
        const char *line = strstr(status, "\nUid:");
        ok = line != NULL && sscanf(line, "\nUid: %*u %10u", out) == 1;
    }
    free(status);
    return ok;
}

static bool is_agent(const char *root, int32_t pid) {
    char *comm = NULL;
    bool yes = small_file(root, pid, "comm", &comm) && strcmp(comm, "pilot-agent\n") == 0;
    free(comm);
    return yes;
}

/* Two processes of a pod share the network namespace and show the same connections: the larger count stands. */
static void merge(struct scan *s, const struct dial_seen *d) {
    for (size_t i = 0; i < s->n; i++) {
        if (strcmp(s->pods[i].pod_uid, d->pod_uid) == 0) {
            if (d->connections > s->pods[i].connections) {
                s->pods[i] = *d;
            }
            return;
        }
    }
    if (s->n == s->cap) {
        s->cap = s->cap == 0 ? 32 : s->cap * 2;
        s->pods = mem_grow(s->pods, s->cap * sizeof(*s->pods));
    }
    s->pods[s->n++] = *d;
}

/* A process that ends while it is looked at is left out. */
static void look_at(struct scan *s, const char *root, int32_t pid) {
    char *cgroup = NULL;
    struct dial_seen d = {.pid = pid};
    uint32_t uid;
    if (is_agent(root, pid) && small_file(root, pid, "cgroup", &cgroup) && socket_cgroup_uid(cgroup, d.pod_uid) &&
        process_uid(root, pid, &uid)) {
        char path[512];
        struct scan_one one = {.d = &d, .xds_port = s->xds_port};
        snprintf(path, sizeof(path), "%s/%d/net/tcp", root, pid);
        tcp_file(path, uid, &one);
        snprintf(path, sizeof(path), "%s/%d/net/tcp6", root, pid);
        tcp_file(path, uid, &one);
        merge(s, &d);
    }
    free(cgroup);
}

int64_t socket_scan(const char *proc_root, uint16_t xds_port, void (*fn)(void *ctx, const struct dial_seen *d), void *ctx,
                    struct err *err) {
    DIR *dir = opendir(proc_root);
    if (dir == NULL) {
        err_set(err, ERR_IO, "cannot read %s: %s", proc_root, strerror(errno));
        return -1;
    }
    struct scan s = {.xds_port = xds_port};
    bool foreign = false;
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        int64_t pid;
        if (!text_int(e->d_name, 1, INT32_MAX, &pid)) {
            continue;
        }
        foreign = foreign || pid != getpid();
        look_at(&s, proc_root, (int32_t)pid);
    }
    closedir(dir);
    if (!foreign) {
        free(s.pods);
        err_set(
            err, ERR_DENIED,
            "%s shows no process but this one: give the agent's pod hostPID: true (and no hidepid on /proc), or switch the "
            "node witness off",
            proc_root);
        return -1;
    }
    for (size_t i = 0; i < s.n; i++) {
        fn(ctx, &s.pods[i]);
    }
    free(s.pods);
    return (int64_t)s.n;
}
