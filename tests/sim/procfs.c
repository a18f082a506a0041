#include "procfs.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uthash.h>

#include "../../lib/base/buf.h"
#include "../../lib/base/mem.h"

#define PROXY_UID 1337

struct process {
    char *key; /* NODE/PID */
    char *tcp;
    uint64_t round;
    UT_hash_handle hh;
};

struct procfs {
    char *dir;
    struct world *world;
    char *const *nodes;
    const char *node; /* being scanned */
    struct process *processes;
    uint64_t round;
};

static const char tcp_head[] =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
    "                                                     \n";
static const char tcp6_head[] =
    "  sl  local_address                         remote_address                        st tx_queue "
    "rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

static bool write_file(const char *path, const char *p, size_t n) {
    char *tmp = mem_printf("%s.new", path);
    FILE *f = fopen(tmp, "we");
    bool ok = f && fwrite(p, 1, n, f) == n;
    if (f) {
        ok = fclose(f) == 0 && ok;
    }
    ok = ok && rename(tmp, path) == 0;
    free(tmp);
    return ok;
}

static void put(struct procfs *p, const char *key, const char *file, const char *text, size_t n) {
    char *path = mem_printf("%s/%s/%s", p->dir, key, file);
    write_file(path, text, n);
    free(path);
}

static void put_text(struct procfs *p, const char *key, const char *file, const char *text) {
    put(p, key, file, text, strlen(text));
}

static void make_dir(struct procfs *p, const char *key, const char *sub) {
    char *path = mem_printf("%s/%s%s", p->dir, key, sub);
    mkdir(path, 0755);
    free(path);
}

static void process_files(struct procfs *p, const char *key, const struct dial_seen *d) {
    static const char cmdline[] = "/usr/local/bin/pilot-agent\0proxy\0sidecar\0--domain\0svc.cluster.local";
    char uid[40];
    snprintf(uid, sizeof uid, "%s", d->pod_uid);
    for (char *c = uid; *c; c++) {
        *c = *c == '-' ? '_' : *c;
    }
    make_dir(p, key, "");
    make_dir(p, key, "/net");
    char *cgroup =
        mem_printf("0::/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-"
                   "pod%s.slice/cri-containerd-%032x%032x.scope\n",
                   uid, (unsigned)d->pid, (unsigned)d->pid);
    char *status =
        mem_printf("Name:\tpilot-agent\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t%d\nNgid:\t0\nPid:\t%d\nPPid:\t1\n"
                   "TracerPid:\t0\nUid:\t%d\t%d\t%d\t%d\nGid:\t%d\t%d\t%d\t%d\nThreads:\t14\n",
                   d->pid, d->pid, PROXY_UID, PROXY_UID, PROXY_UID, PROXY_UID, PROXY_UID, PROXY_UID, PROXY_UID, PROXY_UID);
    put_text(p, key, "cgroup", cgroup);
    put_text(p, key, "status", status);
    put(p, key, "cmdline", cmdline, sizeof cmdline);
    put_text(p, key, "net/tcp6", tcp6_head);
    char *fib =
        mem_printf("Local:\n     |-- 127.0.0.1\n        /32 host LOCAL\n     |-- %s\n        /32 host LOCAL\n", d->pod_ip);
    put_text(p, key, "net/fib_trie", fib);
    free(fib);
    put_text(p, key, "comm", "pilot-agent\n"); /* last: what makes it one to look at */
    free(cgroup);
    free(status);
}

static void tcp_row(struct buf *b, unsigned n, const char *local, unsigned local_port, const char *remote,
                    unsigned remote_port) {
    struct in_addr from = {0}, to = {0};
    inet_pton(AF_INET, local, &from);
    inet_pton(AF_INET, remote, &to);
    /* Addresses as words in the machine's byte order, as the kernel prints them. */
    buf_printf(b,
               "%4u: %08X:%04X %08X:%04X %s 00000000:00000000 00:00000000 00000000  %4d        0 %u 1 0000000000000000 100 "
               "0 0 10 0"
               "                     \n",
               n, from.s_addr, local_port, to.s_addr, remote_port, remote_port ? "01" : "0A", remote_port ? PROXY_UID : 0,
               400000 + n);
}

static void tcp_text(const struct dial_seen *d, struct buf *b) {
    char ip[56];
    unsigned port = 0;
    snprintf(ip, sizeof ip, "%s", d->remote);
    char *colon = strrchr(ip, ':');
    if (colon) {
        *colon = 0;
        port = (unsigned)strtoul(colon + 1, NULL, 10);
    }
    buf_str(b, tcp_head);
    tcp_row(b, 0, "0.0.0.0", 15020, "0.0.0.0", 0);
    for (unsigned n = 0; port && n < d->connections; n++) {
        tcp_row(b, n + 1, d->pod_ip, (d->ports + n) & 0xffff, ip, port);
    }
}

static void on_seen(void *ctx, const struct dial_seen *d) {
    struct procfs *p = ctx;
    struct process *x = NULL;
    char *key = mem_printf("%s/%d", p->node, d->pid);
    struct buf b;
    buf_init(&b, 65536);
    tcp_text(d, &b);
    HASH_FIND_STR(p->processes, key, x);
    bool fresh = !x;
    if (fresh) {
        x = mem_alloc(sizeof *x);
        x->key = mem_dup(key);
        make_dir(p, key, "");
        make_dir(p, key, "/net");
        HASH_ADD_KEYPTR(hh, p->processes, x->key, strlen(x->key), x);
    }
    if (!x->tcp || strcmp(x->tcp, b.p)) {
        mem_set(&x->tcp, b.p);
        put(p, key, "net/tcp", b.p, b.len);
    }
    if (fresh) {
        process_files(p, key, d);
    }
    x->round = p->round;
    buf_done(&b);
    free(key);
}

static void remove_process(struct procfs *p, struct process *x) {
    static const char *const names[] = {"comm",     "cmdline",      "cgroup", "status", "net/tcp",
                                        "net/tcp6", "net/fib_trie", "net",    ""};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = mem_printf("%s/%s/%s", p->dir, x->key, names[i]);
        remove(path);
        free(path);
    }
    HASH_DEL(p->processes, x);
    free(x->key);
    free(x->tcp);
    free(x);
}

void procfs_update(struct procfs *p) {
    struct process *x, *next;
    p->round++;
    for (size_t i = 0; p->nodes[i]; i++) {
        p->node = p->nodes[i];
        if (world_scan(p->world, p->node, on_seen, p) >= 0) {
            continue;
        }
        /* The agent is to be silent; what it would see stays as it was. */
        size_t n = strlen(p->node);
        for (x = p->processes; x; x = x->hh.next) {
            if (!strncmp(x->key, p->node, n) && x->key[n] == '/') {
                x->round = p->round;
            }
        }
    }
    HASH_ITER(hh, p->processes, x, next) {
        if (x->round != p->round) {
            remove_process(p, x);
        }
    }
}

struct procfs *procfs_new(const char *dir, struct world *world, char *const *nodes, struct err *err) {
    struct procfs *p = mem_alloc(sizeof *p);
    p->dir = mem_dup(dir);
    p->world = world;
    p->nodes = nodes;
    if (mkdir(dir, 0755) && errno != EEXIST) {
        err_set(err, ERR_IO, "cannot make directory %s: %s", dir, strerror(errno));
        procfs_free(p);
        return NULL;
    }
    for (size_t i = 0; nodes[i]; i++) {
        char *init = mem_printf("%s/1", nodes[i]);
        make_dir(p, nodes[i], "");
        make_dir(p, init, "");
        put_text(p, init, "comm", "systemd\n");
        put_text(p, init, "cgroup", "0::/init.scope\n");
        free(init);
    }
    procfs_update(p);
    return p;
}

void procfs_free(struct procfs *p) {
    if (!p) {
        return;
    }
    struct process *x, *next;
    HASH_ITER(hh, p->processes, x, next) {
        HASH_DEL(p->processes, x);
        free(x->key);
        free(x->tcp);
        free(x);
    }
    free(p->dir);
    free(p);
}
