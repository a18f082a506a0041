/*
 * bench-load: see load.h. Writes DIR/gate.kubeconfig, DIR/gate.crt, DIR/gate.key, DIR/control and then DIR/ready. One line
 * to the control socket, one answer:
 *
 *   agents | quiet       all agents begin; all lines are closed
 *
 *   flood                report as fast as the gate takes it
 *
 *   count                {"ready":N,"questions":N,"up":BYTES,"down":BYTES,"acknowledged":N,"open":N}
 *
 *   upgrade NAME SPEC    create a MeshUpgrade with this spec (JSON)
 *
 *   summary NAME         status.summary and phase of it
 */
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/base/json.h"
#include "../../lib/base/log.h"
#include "../../lib/base/mem.h"
#include "../../lib/base/options.h"
#include "../sim/api_front.h"
#include "../sim/control.h"
#include "../sim/pki.h"

enum { KEEPALIVE_MS = 20000, CONNECT_MS = 20000 };

#define GATE_NAME "meshgate.istio-system.svc"
#define GATE_TOKEN "token-of-the-gate"

struct flags {
    const char *dir, *gate_address;
    int64_t nodes, namespaces, pods, replicas, seed;
};

#define OPT(kind, flag, field, ...) \
    { .type = OPTION_##kind, .name = flag, .offset = offsetof(struct flags, field), __VA_ARGS__ }
static const struct option_def defs[] = {
    OPT(STRING, "dir", dir, .arg = "DIR", .help = "an existing directory for its files", .required = true),
    OPT(STRING, "gate-address", gate_address, .arg = "HOST:PORT", .help = "what agents dial", .required = true),
    OPT(INT, "nodes", nodes, .def = "1000", .arg = "N", .help = "nodes, each with an agent", .min = 1, .max = 10000),
    OPT(INT, "namespaces", namespaces, .def = "400", .arg = "N", .help = "application namespaces", .min = 1, .max = 10000),
    OPT(INT, "pods", pods, .def = "20000", .arg = "N", .help = "pods over all namespaces", .min = 1, .max = 200000),
    OPT(INT, "replicas", replicas, .def = "2", .arg = "N", .help = "istiods of each revision", .min = 1, .max = 20),
    OPT(INT, "seed", seed, .def = "1", .arg = "N", .help = "of everything random", .max = INT64_MAX),
    {.name = NULL},
};
#undef OPT

struct program {
    struct load load;
    struct flags flags;
    struct pki_ca *ca;
    struct api_front *api;
    struct control *control;
    struct load_agents *agents;
    struct load_flood *flood;
};

/* --- what agents share --- */

int64_t load_soon(struct load *l, uint32_t spread) {
    l->random = l->random * 6364136223846793005ULL + 1442695040888963407ULL;
    return sched_now(l->sched) + 1 + (int64_t)((l->random >> 33) % spread);
}

void load_token(const char *node, char out[64]) {
    snprintf(out, 64, "token-of-%s", node);
}

struct rpc_channel *load_channel(struct load *l) {
    char *target = mem_printf("dns:///%s", l->gate_address);
    struct rpc_channel_opts o = {
        .target = target, .server_name = GATE_NAME, .root_pem = l->gate_ca, .keepalive_ms = KEEPALIVE_MS};
    struct rpc_channel *c = rpc_channel_new(l->rpc, &o);
    free(target);
    return c;
}

struct rpc_stream *load_stream(struct load *l, struct rpc_channel *c, const char *node, const struct rpc_stream_ops *ops,
                               void *ctx) {
    (void)l;
    char token[64], bearer[80];
    load_token(node, token);
    snprintf(bearer, sizeof bearer, "Bearer %s", token);
    struct rpc_header header = {.key = "authorization", .value = bearer};
    return rpc_stream_open(c, "/meshgate.v1.Gate/Connect", &header, 1, CONNECT_MS, ops, ctx);
}

/* --- the cluster --- */

static void on_node(void *ctx, const json_t *o) {
    struct load *l = ctx;
    l->nodes[l->n_nodes++] = mem_dup(js_text(o, "metadata", "name", NULL));
}

static void make_cluster(struct program *p) {
    struct load *l = &p->load;
    const struct flags *f = &p->flags;
    l->store = store_new(l->sched);
    struct world_opts world = {.nodes = (uint32_t)f->nodes,
                               .namespaces = (uint32_t)f->namespaces,
                               .pods = (uint32_t)f->pods,
                               .replicas = (uint32_t)f->replicas,
                               .seed = (uint64_t)f->seed,
                               .pod_net = "10.44",
                               .istiod_net = "10.60",
                               .service_net = "10.61"};
    l->world = world_new(&world, l->store, l->sched);
    l->nodes = mem_alloc(((size_t)f->nodes + 1) * sizeof *l->nodes);
    store_each(l->store, "nodes", NULL, on_node, l);
    for (size_t i = 0; i < l->n_nodes; i++) {
        char token[64], pod[300];
        load_token(l->nodes[i], token);
        snprintf(pod, sizeof pod, "meshgate-agent-%s", l->nodes[i]);
        store_add_token(l->store, token, "istio-system", "meshgate-agent", "meshgate", l->nodes[i], pod);
    }
    store_add_token(l->store, GATE_TOKEN, "istio-system", "meshgate", NULL, NULL, "meshgate-0");
}

static bool save(struct program *p, const char *name, const char *text, struct err *err) {
    char *path = mem_printf("%s/%s", p->flags.dir, name);
    FILE *f = fopen(path, "we");
    bool ok = f && fputs(text, f) >= 0;
    ok = (!f || fclose(f) == 0) && ok;
    if (!ok) {
        err_set(err, ERR_IO, "cannot write %s", path);
    }
    free(path);
    return ok;
}

static bool save_kubeconfig(struct program *p, const char *ca, struct err *err) {
    char *ca64 = pki_base64(ca);
    char *text =
        mem_printf("apiVersion: v1\nkind: Config\ncurrent-context: load\nclusters:\n- name: load\n  cluster:\n"
                   "    server: https://127.0.0.1:%d\n    certificate-authority-data: %s\nusers:\n- name: gate\n  user:\n"
                   "    token: %s\ncontexts:\n- name: load\n  context:\n    cluster: load\n    user: gate\n",
                   api_front_port(p->api), ca64, GATE_TOKEN);
    bool ok = save(p, "gate.kubeconfig", text, err);
    free(text);
    free(ca64);
    return ok;
}

static bool open_cluster(struct program *p, struct err *err) {
    char *cert, *key, *api_cert, *api_key;
    p->ca = pki_ca_new("load");
    p->load.gate_ca = pki_ca_cert(p->ca);
    pki_leaf(p->ca, "meshgate", "DNS:" GATE_NAME, false, &cert, &key);
    pki_leaf(p->ca, "kube-apiserver", "IP:127.0.0.1", false, &api_cert, &api_key);
    struct api_front_opts opts = {.cert_pem = api_cert, .key_pem = api_key};
    p->api = api_front_new(p->load.loop, p->load.store, &opts, err);
    bool ok = p->api && save_kubeconfig(p, p->load.gate_ca, err) && save(p, "gate.crt", cert, err) &&
              save(p, "gate.key", key, err);
    free(cert);
    free(key);
    free(api_cert);
    free(api_key);
    return ok;
}

/* --- control --- */

static void quiet(struct program *p) {
    load_agents_free(p->agents);
    load_flood_free(p->flood);
    p->agents = NULL;
    p->flood = NULL;
}

static void count(const struct program *p, struct buf *out) {
    uint64_t up = 0, down = 0;
    if (p->agents) {
        load_agents_bytes(p->agents, &up, &down);
    }
    buf_printf(out, "{\"ready\":%zu,\"questions\":%llu,\"up\":%llu,\"down\":%llu,\"acknowledged\":%llu,\"open\":%zu}",
               p->agents ? load_agents_ready(p->agents) : 0,
               (unsigned long long)(p->agents ? load_agents_questions(p->agents) : 0), (unsigned long long)up,
               (unsigned long long)down, (unsigned long long)(p->flood ? load_flood_acknowledged(p->flood) : 0),
               p->flood ? load_flood_open(p->flood) : 0);
}

static void create_upgrade(struct program *p, const char *line, struct buf *out) {
    char name[64];
    int used = 0;
    struct err err = {0};
    json_t *spec =
        sscanf(line, "%63s %n", name, &used) == 1 && used ? js_parse(line + used, strlen(line + used), 65536, &err) : NULL;
    bool ok = spec && store_put(p->load.store, "meshupgrades",
                                json_pack("{s:s,s:s,s:{s:s},s:o}", "apiVersion", "meshgate.io/v1alpha1", "kind",
                                          "MeshUpgrade", "metadata", "name", name, "spec", spec),
                                &err);
    buf_printf(out, ok ? "ok" : "error %s", err.text);
}

static void summary(struct program *p, const char *name, struct buf *out) {
    const json_t *o = store_get(p->load.store, "meshupgrades", NULL, name);
    json_t *seen = json_pack("{s:s,s:O?}", "phase", js_text(o, "status", "phase", NULL), "summary",
                             js_at(o, "status", "summary", NULL));
    char *text = js_dump(seen);
    buf_str(out, text);
    free(text);
    json_decref(seen);
}

static void answer(void *ctx, const char *line, struct buf *out) {
    struct program *p = ctx;
    if (strcmp(line, "count") == 0) {
        count(p, out);
    } else if (strncmp(line, "summary ", 8) == 0) {
        summary(p, line + 8, out);
    } else if (strncmp(line, "upgrade ", 8) == 0) {
        create_upgrade(p, line + 8, out);
    } else if (strcmp(line, "quiet") == 0 || strcmp(line, "agents") == 0 || strcmp(line, "flood") == 0) {
        quiet(p);
        p->agents = line[0] == 'a' ? load_agents_new(&p->load) : NULL;
        p->flood = line[0] == 'f' ? load_flood_new(&p->load) : NULL;
        buf_str(out, "ok");
    } else {
        buf_str(out, "error say: agents | flood | quiet | count | upgrade NAME SPEC | summary NAME");
    }
}

/* --- begin and end --- */

static bool start(struct program *p, struct err *err) {
    struct load *l = &p->load;
    l->loop = loop_new();
    l->sched = loop_sched(l->loop);
    l->rpc = rpc_new(l->loop);
    l->random = (uint64_t)p->flags.seed;
    l->gate_address = p->flags.gate_address;
    make_cluster(p);
    if (!open_cluster(p, err)) {
        return false;
    }
    char *path = mem_printf("%s/control", p->flags.dir);
    p->control = control_new(l->loop, path, answer, p, err);
    free(path);
    return p->control && save(p, "ready", "ready\n", err);
}

static void stop(struct program *p) {
    struct load *l = &p->load;
    quiet(p);
    control_free(p->control);
    api_front_free(p->api);
    rpc_free(l->rpc);
    world_free(l->world);
    store_free(l->store);
    pki_ca_free(p->ca);
    loop_free(l->loop);
    for (size_t i = 0; i < l->n_nodes; i++) {
        free(l->nodes[i]);
    }
    free(l->nodes);
    free(l->gate_ca);
}

static void on_signal(void *ctx) {
    loop_stop(ctx);
}

int main(int argc, char **argv) {
    static struct program p;
    struct err err = {0};
    size_t n_args = 0;
    if (options_parse(defs, &p.flags, argc, argv, NULL, 0, &n_args, &err) != OPTIONS_OK) {
        fprintf(stderr, "bench-load: %s\n", err.text);
        return 2;
    }
    log_setup("bench-load", LOG_ERROR);
    bool ok = start(&p, &err);
    if (ok) {
        loop_on_stop_signal(p.load.loop, on_signal, p.load.loop);
        loop_run(p.load.loop);
    } else {
        log_error("cannot start", log_s("error", err.text));
    }
    stop(&p);
    return ok ? 0 : 1;
}
