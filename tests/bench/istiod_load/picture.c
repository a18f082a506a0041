/*
 * The first picture of a whole mesh, as an agent that has just become reader gets it: one stream to each istiod, first
 * `connections`, then the whole `syncz`, into the reader's table. Prints one JSON line: proxies, bytes, milliseconds from
 * the first dial, highest resident memory.
 *
 *   bench-picture TOKEN_FILE ROOT_FILE ADDRESS=SERVER_NAME...
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "agent/io_real.h"
#include "agent/replica.h"
#include "lib/base/loop.h"
#include "lib/base/mem.h"

enum { MAX_ISTIODS = 16, TIMEOUT_MS = 30000, XDS_PORT = 15012 };

struct picture;

struct istiod {
    struct picture *of;
    struct replica *table;
    struct io_target target;
    char id[16];
    bool has_connections;
};

struct picture {
    struct loop *loop;
    struct agent_io *io;
    struct istiod istiods[MAX_ISTIODS];
    size_t n, left;
    uint64_t bytes;
    bool failed;
};

static void done(struct istiod *i, const char *error) {
    struct picture *p = i->of;
    if (error != NULL) {
        fprintf(stderr, "bench-picture: %s: %s\n", i->target.address, error);
        p->failed = true;
    }
    if (--p->left == 0 || p->failed) {
        loop_stop(p->loop);
    }
}

static void on_answer(void *ctx, const struct io_answer *a) {
    struct istiod *i = ctx;
    struct err err = {0};
    if (a->status != IO_OK) {
        done(i, a->error);
        return;
    }
    i->of->bytes += a->bytes;
    replica_begin(i->table);
    int64_t n = i->has_connections ? istiod_syncz(a->body, a->pieces, replica_sync, i->table, &err)
                                   : istiod_connections(a->body, a->pieces, replica_conn, i->table, &err);
    if (n < 0) {
        replica_drop(i->table);
        done(i, err.text);
    } else if (i->has_connections) {
        replica_commit_syncz(i->table, NULL, sched_now(loop_sched(i->of->loop)));
        done(i, NULL);
    } else {
        replica_commit_connections(i->table);
        i->has_connections = true;
        i->of->io->ask(i->of->io->self, &i->target, "syncz", TIMEOUT_MS, on_answer, i);
    }
}

static bool begin(struct picture *p, char *arg) {
    char *name = strchr(arg, '=');
    if (name == NULL || p->n == MAX_ISTIODS) {
        fprintf(stderr, "bench-picture: want ADDRESS=SERVER_NAME, at most %d, got %s\n", MAX_ISTIODS, arg);
        return false;
    }
    *name = '\0';
    struct istiod *i = &p->istiods[p->n++];
    snprintf(i->id, sizeof i->id, "istiod-%zu", p->n);
    i->of = p;
    i->table = replica_new();
    i->target = (struct io_target){.id = i->id, .address = arg, .server_name = name + 1, .xds_port = XDS_PORT};
    p->left++;
    p->io->ask(p->io->self, &i->target, "connections", TIMEOUT_MS, on_answer, i);
    return true;
}

static void print(const struct picture *p, int64_t ms) {
    struct rusage used;
    size_t proxies = 0;
    getrusage(RUSAGE_SELF, &used);
    for (size_t k = 0; k < p->n; k++) {
        proxies += replica_count(p->istiods[k].table);
    }
    printf("{\"proxies\": %zu, \"bytes\": %llu, \"ms\": %lld, \"peak_kb\": %ld}\n", proxies, (unsigned long long)p->bytes,
           (long long)ms, used.ru_maxrss);
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: bench-picture TOKEN_FILE ROOT_FILE ADDRESS=SERVER_NAME...\n");
        return 2;
    }
    struct picture p = {.loop = loop_new()};
    struct rpc *rpc = rpc_new(p.loop);
    struct io_real *io = io_real_new(p.loop, rpc,
                                     &(struct io_real_opts){.node = "bench",
                                                            .pod_ip = "127.0.0.1",
                                                            .istio_namespace = "istio-system",
                                                            .istio_token_file = argv[1],
                                                            .istio_root_file = argv[2],
                                                            .proc_root = "/proc",
                                                            .xds_port = XDS_PORT});
    p.io = io_real_face(io);
    int64_t began = sched_now(loop_sched(p.loop));
    for (int k = 3; k < argc && !p.failed; k++) {
        p.failed = !begin(&p, argv[k]);
    }
    if (!p.failed) {
        loop_run(p.loop);
    }
    if (!p.failed) {
        print(&p, sched_now(loop_sched(p.loop)) - began);
    }
    io_real_free(io);
    for (size_t k = 0; k < p.n; k++) {
        replica_free(p.istiods[k].table);
    }
    rpc_free(rpc);
    loop_free(p.loop);
    return p.failed ? 1 : 0;
}
