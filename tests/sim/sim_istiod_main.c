#include <stdio.h>
#include <unistd.h>

#include "../../lib/base/log.h"
#include "../../lib/base/options.h"
#include "sim_istiod.h"

struct istiod_flags {
    const char *revision, *version, *address, *kubeconfig, *pod, *control, *log_level;
};

#define OPT(flag, field, ...) \
    { .type = OPTION_STRING, .name = flag, .offset = offsetof(struct istiod_flags, field), __VA_ARGS__ }
static const struct option_def defs[] = {
    OPT("revision", revision, .arg = "NAME", .help = "its istio.io/rev", .required = true),
    OPT("version", version, .def = "1.30.3", .arg = "X.Y.Z", .help = "Istio version that it plays"),
    OPT("address", address, .arg = "IP", .help = "serves 15010, 15012, 15014, 15017 and 8080 here", .required = true),
    OPT("kubeconfig", kubeconfig, .arg = "FILE", .help = "API server", .required = true),
    OPT("pod", pod, .def = "istiod-0", .arg = "NAME", .help = "its pod"),
    OPT("control", control, .def = "", .arg = "FILE", .help = "unix socket: freeze, thaw, nack-canary, ack-canary, push"),
    OPT("log-level", log_level, .def = "info", .arg = "LEVEL", .help = "debug, info, warn or error"),
    {.name = NULL},
};
#undef OPT

static void on_signal(void *ctx) {
    loop_stop(ctx);
}

static bool serve(const struct istiod_flags *f, struct loop *loop, struct rpc *rpc, struct err *err) {
    struct kube_config config = {0};
    if (!kube_config_load(f->kubeconfig, NULL, &config, err)) {
        kube_config_done(&config);
        return false;
    }
    struct kube *kube = kube_curl_new(loop, &config, err);
    kube_config_done(&config);
    if (!kube) {
        return false;
    }
    struct sim_istiod_opts opts = {
        .revision = f->revision, .version = f->version, .pod = f->pod, .address = f->address, .control = f->control};
    struct sim_istiod *s = sim_istiod_new(loop, rpc, kube, &opts);
    if (!sim_istiod_trouble(s)) {
        loop_on_stop_signal(loop, on_signal, loop);
        loop_run(loop);
    }
    const char *trouble = sim_istiod_trouble(s);
    bool ok = !trouble || err_set(err, ERR_UNAVAILABLE, "%s", trouble);
    sim_istiod_free(s);
    kube_curl_free(kube);
    return ok;
}

static int run(const struct istiod_flags *f) {
    struct err err = {0};
    enum log_level level = LOG_INFO;
    log_level_parse(f->log_level, &level);
    log_setup("meshgate-sim", level);
    struct loop *loop = loop_new();
    struct rpc *rpc = rpc_new(loop);
    bool ok = serve(f, loop, rpc, &err);
    if (!ok) {
        log_error("cannot go on", log_s("error", err.text));
    }
    rpc_free(rpc);
    loop_free(loop);
    return ok ? 0 : 1;
}

int sim_istiod_main(int argc, char **argv) {
    struct istiod_flags f = {0};
    struct err err = {0};
    size_t n_args = 0;
    switch (options_parse(defs, &f, argc, argv, NULL, 0, &n_args, &err)) {
    case OPTIONS_OK:
        return run(&f);
    case OPTIONS_HELP:
        options_help(defs, "meshgate-sim istiod --revision NAME --address IP --kubeconfig FILE [OPTION]...",
                     "Plays one istiod for a real API server.", STDOUT_FILENO);
        return 0;
    case OPTIONS_VERSION:
        puts("meshgate-sim " MESHGATE_VERSION);
        return 0;
    case OPTIONS_BAD:
        break;
    }
    fprintf(stderr, "meshgate-sim istiod: %s\n", err.text);
    return 2;
}
