/*
 * meshgate-agent: one on each node.
 *
 *   agent.c      what is done when: ties the parts below together; knows no sockets
 *   local.c      this node's proxies: processes, stats and readiness
 *   reader.c     the istiod replicas that the gate gave this agent to read; replica.c is what it knows of one
 *   reach.c      can this node reach the control planes?
 *   uplink.c     the session with the gate; report.c is the message under way
 *   io.h         everything that the above ask of the world; io_real.c is the world:
 *     io_ads.c     debug questions on ADS streams to istiods
 *     io_http.c    HTTP GETs
 *     io_reach.c   TCP and TLS tests
 *     io_stream.c  a real ADS stream, as a test
 *     io_link.c    the stream to the gate
 *     io_trust.c   tokens and roots
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "../lib/admin/admin.h"
#include "../lib/base/log.h"
#include "../lib/base/mem.h"
#include "../lib/base/options.h"
#include "agent.h"
#include "io_real.h"

#define USAGE "meshgate-agent --node-name NAME --gate-address HOST:PORT [OPTION]..."
#define SUMMARY                                                                                                    \
    "Sees which control plane each proxy of this node is attached to and how far it is in sync, reads the istiod " \
    "replicas that\n"                                                                                              \
    "the gate assigns to it, and reports changes to the gate."

struct options {
    const char *node_name, *pod_ip;
    const char *gate_address, *gate_server_name, *gate_ca_file, *token_file;
    const char *istio_token_file, *istio_root_file, *istio_namespace;
    const char *proc_root, *admin_address, *log_level;
    bool node_witness;
    int64_t xds_port, stats_port, agent_port, health_port, question_timeout;
};

#define OPT(kind, flag, field, ...) \
    { .type = OPTION_##kind, .name = flag, .offset = offsetof(struct options, field), __VA_ARGS__ }
#define HEADING(text) \
    { .type = OPTION_SECTION, .help = text }
#define PORT_RANGE .arg = "PORT", .min = 1, .max = 65535
static const struct option_def defs[] = {
    HEADING("Identity"),
    OPT(STRING, "node-name", node_name, .env = "NODE_NAME", .arg = "NAME", .required = true,
        .help = "Kubernetes node that this agent runs on"),
    OPT(STRING, "pod-ip", pod_ip, .env = "POD_IP", .def = "127.0.0.1", .arg = "IP",
        .help = "address shown to istiod, which wants one in the node id"),
    HEADING("Gate"),
    OPT(STRING, "gate-address", gate_address, .env = "MESHGATE_GATE_ADDRESS", .arg = "HOST:PORT", .required = true,
        .help = "where the gate listens"),
    OPT(STRING, "gate-server-name", gate_server_name, .def = "", .arg = "NAME",
        .help = "name in the gate's certificate, when it is not HOST"),
    OPT(STRING, "gate-ca-file", gate_ca_file, .def = "/var/run/secrets/meshgate/ca.crt", .arg = "FILE",
        .help = "PEM certificates that the gate's must be signed by"),
    OPT(STRING, "token-file", token_file, .def = "/var/run/secrets/meshgate/token", .arg = "FILE",
        .help = "service account token for the gate, audience meshgate"),
    HEADING("Istio"),
    OPT(STRING, "istio-namespace", istio_namespace, .def = "istio-system", .arg = "NAME",
        .help = "Istio's root namespace; the agent must run in it"),
    OPT(STRING, "istio-token-file", istio_token_file, .def = "/var/run/secrets/tokens/istio-token", .arg = "FILE",
        .help = "service account token for istiods, audience istio-ca"),
    OPT(STRING, "istio-root-file", istio_root_file, .def = "/var/run/secrets/istio/root-cert.pem", .arg = "FILE",
        .help = "the mesh's root certificate (ConfigMap istio-ca-root-cert)"),
    OPT(INT, "xds-port", xds_port, .def = "15012", .help = "istiod's port that proxies dial", PORT_RANGE),
    OPT(DURATION, "question-timeout", question_timeout, .def = "10s", .arg = "TIME", .min = 100, .max = 600000,
        .help = "how long an istiod may take for an answer"),
    HEADING("This node"),
    OPT(BOOL, "node-witness", node_witness, .def = "true", .help = "look at the proxies of this node; needs hostPID"),
    OPT(STRING, "proc-root", proc_root, .def = "/proc", .arg = "DIR", .help = "where the host's processes are shown"),
    OPT(INT, "stats-port", stats_port, .def = "15090", .help = "Envoy's metrics in each pod", PORT_RANGE),
    OPT(INT, "agent-port", agent_port, .def = "15020", .help = "pilot-agent's metrics in each pod; asked rarely",
        PORT_RANGE),
    OPT(INT, "health-port", health_port, .def = "15021", .help = "Envoy's readiness in each pod", PORT_RANGE),
    HEADING("Operation"),
    OPT(STRING, "admin-address", admin_address, .def = ":15480", .arg = "HOST:PORT",
        .help = "serves /metrics, /healthz and /readyz"),
    OPT(STRING, "log-level", log_level, .def = "info", .arg = "LEVEL", .help = "debug, info, warn or error"),
    {.name = NULL},
};

struct program {
    struct options o;
    struct loop *loop;
    struct rpc *rpc;
    struct io_real *io;
    struct metrics *metrics;
    struct agent *agent;
    struct admin *admin;
    struct timer thrift;
};

enum { THRIFT_FIRST_MS = 20 * 1000, THRIFT_MS = 10 * 60 * 1000 };

static void on_signal(void *ctx) {
    struct program *p = ctx;
    log_info("stopping");
    loop_stop(p->loop);
}

static bool is_ready(void *ctx, struct buf *why) {
    struct program *p = ctx;
    const char *text = "";
    bool ready = agent_ready(p->agent, &text);
    if (!ready) {
        buf_str(why, text);
    }
    return ready;
}

static uint64_t random_seed(void) {
    uint64_t seed = 0;
    return getrandom(&seed, sizeof seed, 0) == sizeof seed ? seed : (uint64_t)getpid();
}

static bool start(struct program *p, struct err *err) {
    const struct options *o = &p->o;
    p->loop = loop_new();
    p->rpc = rpc_new(p->loop);
    p->metrics = metrics_new();
    struct io_real_opts io = {
        .node = o->node_name,
        .pod_ip = o->pod_ip,
        .istio_namespace = o->istio_namespace,
        .istio_token_file = o->istio_token_file,
        .istio_root_file = o->istio_root_file,
        .gate_address = o->gate_address,
        .gate_server_name = o->gate_server_name[0] != '\0' ? o->gate_server_name : NULL,
        .gate_ca_file = o->gate_ca_file,
        .token_file = o->token_file,
        .proc_root = o->proc_root,
        .xds_port = (uint16_t)o->xds_port,
    };
    p->io = io_real_new(p->loop, p->rpc, &io);
    struct agent_opts agent = {
        .node = o->node_name,
        .version = MESHGATE_VERSION,
        .node_witness = o->node_witness,
        .xds_port = (uint16_t)o->xds_port,
        .stats_port = (uint16_t)o->stats_port,
        .agent_port = (uint16_t)o->agent_port,
        .health_port = (uint16_t)o->health_port,
        .question_timeout_ms = o->question_timeout,
        .seed = random_seed(),
    };
    p->agent = agent_new(&agent, io_real_face(p->io), loop_sched(p->loop), p->metrics);
    io_real_events(p->io, agent_link_events(p->agent));
    struct admin_opts admin = {.address = o->admin_address, .metrics = p->metrics, .ready = is_ready, .ctx = p};
    p->admin = admin_new(p->loop, &admin, err);
    return p->admin != NULL;
}

/* After start-up most of what was read of the libraries is never needed again; one agent a node adds up. */
static void on_thrift(void *ctx) {
    struct program *p = ctx;
    mem_give_back();
    timer_set(loop_sched(p->loop), &p->thrift, sched_now(loop_sched(p->loop)) + THRIFT_MS, on_thrift, p);
}

static void stop(struct program *p) {
    timer_cancel(loop_sched(p->loop), &p->thrift);
    admin_free(p->admin);
    agent_free(p->agent);
    io_real_free(p->io);
    rpc_free(p->rpc);
    metrics_free(p->metrics);
    loop_free(p->loop);
}

/* Exit code 2: the command line; 1: could not start. */
static int run(struct program *p) {
    struct err err = {0};
    enum log_level level;
    if (!log_level_parse(p->o.log_level, &level)) {
        fprintf(stderr, "meshgate-agent: --log-level: \"%s\" is none of debug, info, warn, error\n", p->o.log_level);
        return 2;
    }
    log_setup("meshgate-agent", level);
    int code = 0;
    if (start(p, &err)) {
        loop_on_stop_signal(p->loop, on_signal, p);
        log_info("started", log_s("version", MESHGATE_VERSION), log_s("node", p->o.node_name),
                 log_s("gate", p->o.gate_address), log_i("admin_port", admin_port(p->admin)));
        timer_set(loop_sched(p->loop), &p->thrift, sched_now(loop_sched(p->loop)) + THRIFT_FIRST_MS, on_thrift, p);
        loop_run(p->loop);
    } else {
        log_error("cannot start", log_s("error", err.text));
        code = 1;
    }
    stop(p);
    return code;
}

int main(int argc, char **argv) {
    struct program p = {.loop = NULL};
    struct err err = {0};
    size_t n_args = 0;
    switch (options_parse(defs, &p.o, argc, argv, NULL, 0, &n_args, &err)) {
    case OPTIONS_OK:
        return run(&p);
    case OPTIONS_HELP:
        options_help(defs, USAGE, SUMMARY, STDOUT_FILENO);
        return 0;
    case OPTIONS_VERSION:
        puts("meshgate-agent " MESHGATE_VERSION);
        return 0;
    case OPTIONS_BAD:
        break;
    }
    fprintf(stderr, "meshgate-agent: %s\n", err.text);
    return 2;
}
