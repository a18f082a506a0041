/*
 * meshgate-sim: the embedded mesh with real sockets.
 *
 *   mesh     a whole cluster on 127.x: API server, two revisions of istiods, proxies, /proc trees; for the demo
 *   istiod   one embedded istiod for a real API server; for tests without real istiods
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../../lib/base/log.h"
#include "../../lib/base/options.h"
#include "mesh.h"
#include "sim_istiod.h"

struct mesh_flags {
    const char *dir, *gate_admin, *log_level;
    int64_t nodes, namespaces, pods, replicas, api_port, seed;
};

#define OPT(kind, flag, field, ...) \
    { .type = OPTION_##kind, .name = flag, .offset = offsetof(struct mesh_flags, field), __VA_ARGS__ }
static const struct option_def mesh_defs[] = {
    OPT(STRING, "dir", dir, .arg = "DIR", .help = "where kubeconfig, tokens, certificates, proc/ and control go",
        .required = true),
    OPT(INT, "nodes", nodes, .def = "24", .arg = "N", .help = "nodes", .min = 1, .max = 5000),
    OPT(INT, "namespaces", namespaces, .def = "40", .arg = "N", .help = "application namespaces", .min = 1, .max = 5000),
    OPT(INT, "pods", pods, .def = "400", .arg = "N", .help = "pods over all namespaces", .min = 1, .max = 60000),
    OPT(INT, "replicas", replicas, .def = "2", .arg = "N", .help = "istiods of each revision", .min = 1, .max = 20),
    OPT(INT, "api-port", api_port, .def = "0", .arg = "PORT", .help = "of the API server on 127.0.0.1; 0 chooses",
        .max = 65535),
    OPT(STRING, "gate-admin", gate_admin, .def = "", .arg = "IP:PORT",
        .help = "what stands behind Service istio-system/meshgate"),
    OPT(INT, "seed", seed, .def = "1", .arg = "N", .help = "of everything random", .max = INT64_MAX),
    OPT(STRING, "log-level", log_level, .def = "info", .arg = "LEVEL", .help = "debug, info, warn or error"),
    {.name = NULL},
};
#undef OPT

static void on_signal(void *ctx) {
    loop_stop(ctx);
}

static int run_mesh(const struct mesh_flags *f) {
    struct err err = {0};
    struct loop *loop = loop_new();
    struct rpc *rpc = rpc_new(loop);
    struct mesh_opts opts = {.dir = f->dir,
                             .nodes = (uint32_t)f->nodes,
                             .namespaces = (uint32_t)f->namespaces,
                             .pods = (uint32_t)f->pods,
                             .replicas = (uint32_t)f->replicas,
                             .api_port = (int)f->api_port,
                             .gate_admin = f->gate_admin,
                             .seed = (uint64_t)f->seed};
    struct mesh *m = mesh_new(loop, rpc, &opts, &err);
    if (m) {
        log_info("mesh stands", log_s("dir", f->dir), log_i("pods", f->pods));
        loop_on_stop_signal(loop, on_signal, loop);
        loop_run(loop);
        mesh_free(m);
    } else {
        log_error("cannot start the mesh", log_s("error", err.text));
    }
    rpc_free(rpc);
    loop_free(loop);
    return m ? 0 : 1;
}

static int main_mesh(int argc, char **argv) {
    struct mesh_flags f = {0};
    struct err err = {0};
    size_t n_args = 0;
    enum log_level level = LOG_INFO;
    switch (options_parse(mesh_defs, &f, argc, argv, NULL, 0, &n_args, &err)) {
    case OPTIONS_OK:
        log_level_parse(f.log_level, &level);
        log_setup("meshgate-sim", level);
        return run_mesh(&f);
    case OPTIONS_HELP:
        options_help(mesh_defs, "meshgate-sim mesh --dir DIR [OPTION]...",
                     "Plays a cluster with a mesh on 127.x addresses.", STDOUT_FILENO);
        return 0;
    case OPTIONS_VERSION:
        puts("meshgate-sim " MESHGATE_VERSION);
        return 0;
    case OPTIONS_BAD:
        break;
    }
    fprintf(stderr, "meshgate-sim mesh: %s\n", err.text);
    return 2;
}

int main(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "mesh")) {
        return main_mesh(argc - 1, argv + 1);
    }
    if (argc > 1 && !strcmp(argv[1], "istiod")) {
        return sim_istiod_main(argc - 1, argv + 1);
    }
    fprintf(stderr, "usage: meshgate-sim mesh|istiod [OPTION]...; --help behind either tells more\n");
    return 2;
}
