/*
 * meshgate, the gate: one in a cluster.
 *
 *   gate.c       what happens when; knows no sockets
 *     gate_follow.c      one tick: join, classify, decide, status, actions
 *     gate_views.c       what the gate knows, as JSON; gate_views_proxies.c what needs the rows of proxies
 *     explain.c          one proxy; witness.c puts into words what each witness says and which one decided
 *     check.c            is everything there that a verdict stands on; check_mesh.c looks at control planes, agents, labels
 *   listen.c     the port that agents dial
 *   session.c    one agent's stream: identity, limits, sequence
 *     review.c           what a TokenReview says about it
 *     session_seat.c     the place that each node has
 *     session_assign.c   telling agents what they read; roster.c keeps it, assign.c chooses
 *   evidence.c   what agents have said, with its age; evidence_set.c is one telling of a replica's proxies
 *   inventory.c  what the API server says
 *     inventory_watch.c  its reflectors
 *     inventory_read.c   Kubernetes objects to plain structs
 *     inventory_mesh.c   revisions and istiod replicas
 *     inventory_owners.c workloads above pods
 *   upgrade.c    one MeshUpgrade: spec to policy and waves, status to progress
 *   join.c       inventory and evidence to the rows that core/ decides on: join_mesh.c, join_proxy.c
 *   execute.c    the only one that writes to the cluster
 *   publish.c    the status; publish_events.c what is told of its changes, publish_views.c proxies and metrics
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../lib/admin/admin.h"
#include "../lib/base/json.h"
#include "../lib/base/log.h"
#include "../lib/base/options.h"
#include "listen.h"

#define USAGE "meshgate --tls-cert FILE --tls-key FILE [OPTION]..."
#define SUMMARY                                                                                                  \
    "Moves namespaces from one Istio revision to another in waves, and goes on only where every proxy is seen\n" \
    "on its new control plane. Upgrades are MeshUpgrade objects; watch them with kubectl meshgate."

/* First and later words about what keeps the gate from being ready. */
enum { TROUBLE_FIRST_MS = 3000, TROUBLE_AGAIN_MS = 30000 };

struct options {
    const char *kubeconfig, *context, *agents_address, *tls_cert, *tls_key, *admin_address;
    const char *istio_namespace, *agent_namespace, *agent_account, *audience, *cluster, *identity, *log_level;
    bool in_cluster;
    int64_t reading_period, idle_period;
};

#define OPT(kind, flag, field, ...) \
    { .type = OPTION_##kind, .name = flag, .offset = offsetof(struct options, field), __VA_ARGS__ }
#define HEADING(text) \
    { .type = OPTION_SECTION, .help = text }
#define PERIOD .arg = "TIME", .min = 100, .max = 3600000
static const struct option_def defs[] = {
    HEADING("Kubernetes"),
    OPT(STRING, "kubeconfig", kubeconfig, .def = "", .arg = "FILE", .help = "how to reach the API server from outside"),
    OPT(STRING, "context", context, .def = "", .arg = "NAME", .help = "context in it, when that is not the current one"),
    OPT(BOOL, "in-cluster", in_cluster, .def = "true", .help = "without --kubeconfig: use the pod's own service account"),
    OPT(STRING, "cluster", cluster, .def = "Kubernetes", .arg = "NAME", .help = "name of this cluster in what people see"),
    OPT(STRING, "identity", identity, .env = "POD_NAME", .def = "meshgate", .arg = "NAME", .help = "source of Events"),
    HEADING("Agents"),
    OPT(STRING, "agents-address", agents_address, .def = ":15443", .arg = "HOST:PORT", .help = "where agents dial in"),
    OPT(STRING, "tls-cert", tls_cert, .arg = "FILE", .required = true,
        .help = "PEM certificate shown to agents; read again when it changes"),
    OPT(STRING, "tls-key", tls_key, .arg = "FILE", .required = true, .help = "its private key"),
    OPT(STRING, "agent-namespace", agent_namespace, .def = "istio-system", .arg = "NAME",
        .help = "namespace of the agents' service account"),
    OPT(STRING, "agent-service-account", agent_account, .def = "meshgate-agent", .arg = "NAME",
        .help = "name of the agents' service account"),
    OPT(STRING, "audience", audience, .def = "meshgate", .arg = "NAME", .help = "audience of the agents' tokens"),
    HEADING("Mesh"),
    OPT(STRING, "istio-namespace", istio_namespace, .def = "istio-system", .arg = "NAME", .help = "Istio's root namespace"),
    OPT(DURATION, "reading-period", reading_period, .def = "10s",
        .help = "time between readings while an upgrade is at work", PERIOD),
    OPT(DURATION, "idle-period", idle_period, .def = "15s",
        .help =
            "otherwise: /metrics of each istiod and the local proxies are looked at this often; connections are read when "
            "the counts change and each minute, the whole picture every ten minutes",
        PERIOD),
    HEADING("Operation"),
    OPT(STRING, "admin-address", admin_address, .def = ":8080", .arg = "HOST:PORT",
        .help = "serves /metrics, /healthz, /readyz and /api/v1/ (read only)"),
    OPT(STRING, "log-level", log_level, .def = "info", .arg = "LEVEL", .help = "debug, info, warn or error"),
    {.name = NULL},
};

struct program {
    struct options o;
    struct loop *loop;
    struct rpc *rpc;
    struct kube *kube;
    struct metrics *metrics;
    struct gate *gate;
    struct listen *listen;
    struct admin *admin;
    struct timer trouble;
};

/* --- what the admin port shows --- */

static bool is_ready(void *ctx, struct buf *why) {
    struct program *p = ctx;
    return gate_ready(p->gate, why);
}

static void reply_none(struct admin_reply *reply, int status, const char *why) {
    reply->status = status;
    buf_str(&reply->body, why);
}

static void reply_json(struct admin_reply *reply, json_t *o, const char *why_none) {
    if (o == NULL) {
        reply_none(reply, 404, why_none);
        return;
    }
    char *text = js_dump(o);
    json_decref(o);
    reply->content_type = "application/json";
    buf_str(&reply->body, text);
    buf_str(&reply->body, "\n");
    free(text);
}

static void serve_proxies(void *ctx, const char *rest, admin_arg_fn arg, void *request, struct admin_reply *reply) {
    (void)rest;
    struct program *p = ctx;
    const char *upgrade = arg(request, "upgrade");
    reply->content_type = "application/json";
    if (!gate_write_proxies(p->gate, upgrade != NULL && upgrade[0] != '\0' ? upgrade : NULL, &reply->body)) {
        reply->content_type = "text/plain";
        reply_none(reply, 404, "no such upgrade\n");
    }
}

static void serve_explain(void *ctx, const char *rest, admin_arg_fn arg, void *request, struct admin_reply *reply) {
    (void)rest;
    struct program *p = ctx;
    const char *namespace_ = arg(request, "namespace"), *pod = arg(request, "pod");
    if (namespace_ == NULL || pod == NULL) {
        reply_none(reply, 400, "which proxy? ask for /api/v1/explain?namespace=NS&pod=POD\n");
        return;
    }
    reply_json(reply, gate_view_explain(p->gate, namespace_, pod), "no such proxy\n");
}

#define SERVE(what)                                                                                                     \
    static void serve_##what(void *ctx, const char *rest, admin_arg_fn arg, void *request, struct admin_reply *reply) { \
        (void)rest;                                                                                                     \
        (void)arg;                                                                                                      \
        (void)request;                                                                                                  \
        struct program *p = ctx;                                                                                        \
        reply_json(reply, gate_view_##what(p->gate), "nothing is known yet\n");                                         \
    }
SERVE(upgrades)
SERVE(revisions)
SERVE(nodes)
SERVE(check)
SERVE(coverage)

static bool start_admin(struct program *p, struct err *err) {
    struct admin_opts admin = {.address = p->o.admin_address, .metrics = p->metrics, .ready = is_ready, .ctx = p};
    p->admin = admin_new(p->loop, &admin, err);
    if (p->admin == NULL) {
        return false;
    }
    admin_serve(p->admin, "/api/v1/proxies", serve_proxies, p);
    admin_serve(p->admin, "/api/v1/explain", serve_explain, p);
    admin_serve(p->admin, "/api/v1/check", serve_check, p);
    admin_serve(p->admin, "/api/v1/coverage", serve_coverage, p);
    admin_serve(p->admin, "/api/v1/upgrades", serve_upgrades, p);
    admin_serve(p->admin, "/api/v1/revisions", serve_revisions, p);
    admin_serve(p->admin, "/api/v1/nodes", serve_nodes, p);
    return true;
}

/* --- begin and end --- */

static void on_trouble(void *ctx) {
    struct program *p = ctx;
    struct buf why;
    buf_init(&why, 4096);
    if (!gate_ready(p->gate, &why)) {
        log_warn("not ready", log_s("why", why.len > 0 ? why.p : "still starting"));
    }
    buf_done(&why);
    struct sched *s = loop_sched(p->loop);
    timer_set(s, &p->trouble, sched_now(s) + TROUBLE_AGAIN_MS, on_trouble, p);
}

static uint64_t random_seed(void) {
    uint64_t seed = 0;
    return getrandom(&seed, sizeof seed, 0) == sizeof seed ? seed : (uint64_t)getpid();
}

static bool start_kube(struct program *p, struct err *err) {
    const struct options *o = &p->o;
    struct kube_config config = {.server = NULL};
    bool ok;
    if (o->kubeconfig[0] != '\0') {
        ok = kube_config_load(o->kubeconfig, o->context[0] != '\0' ? o->context : NULL, &config, err);
    } else if (o->in_cluster) {
        ok = kube_config_in_cluster(&config, err);
    } else {
        return err_set(err, ERR_INVALID, "no way to the API server: give --kubeconfig or leave out --in-cluster=false");
    }
    if (!ok) {
        return false;
    }
    p->kube = kube_curl_new(p->loop, &config, err);
    kube_config_done(&config);
    return p->kube != NULL;
}

static struct gate *make_gate(struct program *p) {
    const struct options *o = &p->o;
    struct gate_opts gate = {
        .version = MESHGATE_VERSION,
        .cluster = o->cluster,
        .istio_namespace = o->istio_namespace,
        .agent_namespace = o->agent_namespace,
        .agent_account = o->agent_account,
        .audience = o->audience,
        .identity = o->identity,
        .reading_period_ms = o->reading_period,
        .idle_period_ms = o->idle_period,
        .decide_floor_ms = 200,
        .seed = random_seed(),
    };
    return gate_new(&gate, p->kube, loop_sched(p->loop), p->metrics);
}

static bool start(struct program *p, struct err *err) {
    p->loop = loop_new();
    p->rpc = rpc_new(p->loop);
    p->metrics = metrics_new();
    if (!start_kube(p, err)) {
        return false;
    }
    p->gate = make_gate(p);
    struct listen_opts listen = {.address = p->o.agents_address, .cert_file = p->o.tls_cert, .key_file = p->o.tls_key};
    p->listen = listen_new(p->rpc, p->loop, p->gate, &listen, err);
    if (p->listen == NULL || !start_admin(p, err)) {
        return false;
    }
    struct sched *s = loop_sched(p->loop);
    timer_set(s, &p->trouble, sched_now(s) + TROUBLE_FIRST_MS, on_trouble, p);
    return true;
}

/* Agents first, then the gate: streams end with "the server is stopping", and agents dial again. */
static void stop(struct program *p) {
    timer_cancel(loop_sched(p->loop), &p->trouble);
    admin_free(p->admin);
    listen_free(p->listen);
    if (p->gate != NULL) {
        gate_free(p->gate);
    }
    if (p->kube != NULL) {
        kube_curl_free(p->kube);
    }
    rpc_free(p->rpc);
    metrics_free(p->metrics);
    loop_free(p->loop);
}

static void on_signal(void *ctx) {
    struct program *p = ctx;
    log_info("stopping");
    loop_stop(p->loop);
}

/* Exit code 2: the command line; 1: could not start. */
static int run(struct program *p) {
    struct err err = {0};
    enum log_level level;
    if (!log_level_parse(p->o.log_level, &level)) {
        fprintf(stderr, "meshgate: --log-level: \"%s\" is none of debug, info, warn, error\n", p->o.log_level);
        return 2;
    }
    log_setup("meshgate", level);
    int code = 0;
    if (start(p, &err)) {
        loop_on_stop_signal(p->loop, on_signal, p);
        log_info("started", log_s("version", MESHGATE_VERSION), log_i("agents_port", listen_port(p->listen)),
                 log_i("admin_port", admin_port(p->admin)));
        loop_run(p->loop);
    } else {
        log_error("cannot start", log_s("error", err.text));
        code = 1;
    }
    stop(p);
    return code;
}

/* One descriptor an agent: take what the system allows. */
static void raise_file_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv) {
    struct program p = {.loop = NULL};
    struct err err = {0};
    size_t n_args = 0;
    switch (options_parse(defs, &p.o, argc, argv, NULL, 0, &n_args, &err)) {
    case OPTIONS_OK:
        raise_file_limit();
        return run(&p);
    case OPTIONS_HELP:
        options_help(defs, USAGE, SUMMARY, STDOUT_FILENO);
        return 0;
    case OPTIONS_VERSION:
        puts("meshgate " MESHGATE_VERSION);
        return 0;
    case OPTIONS_BAD:
        break;
    }
    fprintf(stderr, "meshgate: %s\n", err.text);
    return 2;
}
