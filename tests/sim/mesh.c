#include "mesh.h"

#include <errno.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../../lib/base/json.h"
#include "../../lib/base/mem.h"
#include "../../lib/base/text.h"
#include "api_front.h"
#include "control.h"
#include "mesh_fronts.h"
#include "pki.h"
#include "procfs.h"

#define FOLLOW_MS 100
#define ISTIO_NS "istio-system"
#define MAX_NODES 5000

struct mesh {
    struct mesh_opts opts;
    struct loop *loop;
    struct sched *sched;
    struct store *store;
    struct world *world;
    struct pki_ca *istio_ca, *api_ca, *gate_ca;
    struct api_front *api;
    struct mesh_fronts *fronts;
    struct procfs *procfs;
    struct control *control;
    struct timer follow;
    char *dir, *gate_admin;
    char **nodes; /* NULL-terminated */
    size_t n_nodes;
};

/* --- files --- */

static bool save(struct mesh *m, const char *name, const char *text, struct err *err) {
    char *path = mem_printf("%s/%s", m->dir, name);
    FILE *f = fopen(path, "we");
    bool ok = f && fputs(text, f) >= 0;
    if (f) {
        ok = fclose(f) == 0 && ok;
    }
    if (!ok) {
        err_set(err, ERR_IO, "cannot write %s: %s", path, strerror(errno));
    }
    free(path);
    return ok;
}

static bool folder(struct mesh *m, const char *name, struct err *err) {
    char *path = mem_printf("%s/%s", m->dir, name);
    bool ok = mkdir(path, 0755) == 0 || errno == EEXIST ||
              err_set(err, ERR_IO, "cannot make directory %s: %s", path, strerror(errno));
    free(path);
    return ok;
}

static void random_token(char out[49]) {
    unsigned char bytes[24];
    check(RAND_bytes(bytes, sizeof bytes) == 1);
    for (size_t i = 0; i < sizeof bytes; i++) {
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
    }
}

static bool save_kubeconfig(struct mesh *m, const char *name, const char *user, const char *token, struct err *err) {
    char *ca = pki_ca_cert(m->api_ca), *ca64 = pki_base64(ca);
    char *text =
        mem_printf("apiVersion: v1\nkind: Config\ncurrent-context: embedded\nclusters:\n- name: embedded\n  cluster:\n"
                   "    server: https://127.0.0.1:%d\n    certificate-authority-data: %s\nusers:\n- name: %s\n  user:\n"
                   "    token: %s\ncontexts:\n- name: embedded\n  context:\n    cluster: embedded\n    user: %s\n",
                   api_front_port(m->api), ca64, user, token, user);
    bool ok = save(m, name, text, err);
    free(text);
    free(ca64);
    free(ca);
    return ok;
}

static bool save_users(struct mesh *m, struct err *err) {
    char admin[49], gate[49];
    random_token(admin);
    random_token(gate);
    store_add_token(m->store, admin, NULL, "admin", NULL, NULL, NULL);
    store_add_token(m->store, gate, ISTIO_NS, "meshgate", NULL, NULL, "meshgate-0");
    return save_kubeconfig(m, "kubeconfig", "admin", admin, err) &&
           save_kubeconfig(m, "gate.kubeconfig", "meshgate", gate, err);
}

static bool save_node_tokens(struct mesh *m, const char *node, struct err *err) {
    char token[49], pod[300];
    char *dir = mem_printf("tokens/%s", node), *gate = mem_printf("%s/meshgate", dir), *istio = mem_printf("%s/istio", dir);
    bool ok = folder(m, dir, err);
    snprintf(pod, sizeof pod, "meshgate-agent-%s", node);
    random_token(token);
    store_add_token(m->store, token, ISTIO_NS, "meshgate-agent", "meshgate", node, pod);
    ok = ok && save(m, gate, token, err);
    random_token(token);
    store_add_token(m->store, token, ISTIO_NS, "meshgate-agent", "istio-ca", node, pod);
    ok = ok && save(m, istio, token, err);
    free(dir);
    free(gate);
    free(istio);
    return ok;
}

static bool save_certificates(struct mesh *m, struct err *err) {
    char *cert, *key, *root = pki_ca_cert(m->istio_ca), *gate_ca = pki_ca_cert(m->gate_ca);
    pki_leaf(m->gate_ca, "meshgate", "DNS:meshgate.istio-system.svc,DNS:localhost,IP:127.0.0.1", false, &cert, &key);
    bool ok = save(m, "istio-root.pem", root, err) && save(m, "gate-ca.pem", gate_ca, err) &&
              save(m, "gate.crt", cert, err) && save(m, "gate.key", key, err);
    free(cert);
    free(key);
    free(root);
    free(gate_ca);
    return ok;
}

/* --- objects that belong to real sockets --- */

static void collect_name(void *ctx, const json_t *o) {
    json_array_append_new(ctx, json_string(js_text(o, "metadata", "name", NULL)));
}

static json_t *names_of(struct mesh *m, const char *resource) {
    json_t *names = json_array();
    store_each(m->store, resource, NULL, collect_name, names);
    return names;
}

static bool put_roots(struct mesh *m, struct err *err) {
    char *root = pki_ca_cert(m->istio_ca), *bundle = pki_base64(root);
    json_t *names = names_of(m, "namespaces"), *name, *hook;
    size_t i, k;
    bool ok = true;
    json_array_foreach(names, i, name) {
        ok = ok && store_put(m->store, "configmaps",
                             json_pack("{s:{s:s,s:s,s:{s:s}},s:{s:s}}", "metadata", "name", "istio-ca-root-cert",
                                       "namespace", json_string_value(name), "labels", "istio.io/config", "true", "data",
                                       "root-cert.pem", root),
                             err);
    }
    json_decref(names);
    names = names_of(m, "mutatingwebhookconfigurations");
    json_array_foreach(names, i, name) {
        json_t *o = json_deep_copy(store_get(m->store, "mutatingwebhookconfigurations", NULL, json_string_value(name)));
        json_array_foreach(json_object_get(o, "webhooks"), k, hook) {
            json_object_set_new(json_object_get(hook, "clientConfig"), "caBundle", json_string(bundle));
        }
        ok = store_put(m->store, "mutatingwebhookconfigurations", o, err) && ok;
    }
    json_decref(names);
    free(bundle);
    free(root);
    return ok;
}

static bool put_ours(struct mesh *m, struct err *err) {
    static const char *const accounts[] = {"meshgate", "meshgate-agent"};
    bool ok = true;
    for (size_t i = 0; i < 2; i++) {
        ok = ok && store_put(m->store, "serviceaccounts",
                             json_pack("{s:{s:s,s:s}}", "metadata", "name", accounts[i], "namespace", ISTIO_NS), err);
    }
    return ok && store_put(m->store, "services",
                           json_pack("{s:{s:s,s:s},s:{s:[{s:s,s:i}]}}", "metadata", "name", "meshgate", "namespace",
                                     ISTIO_NS, "spec", "ports", "name", "http", "port", 8080),
                           err);
}

static bool gate_endpoint(void *ctx, const char *namespace_, const char *service, char ip[46], int *port) {
    struct mesh *m = ctx;
    const char *colon = strrchr(m->gate_admin, ':');
    int64_t n;
    if (!namespace_ || strcmp(namespace_, ISTIO_NS) || strcmp(service, "meshgate") || !colon ||
        !text_int(colon + 1, 1, 65535, &n)) {
        return false;
    }
    snprintf(ip, 46, "%.*s", (int)(colon - m->gate_admin), m->gate_admin);
    *port = (int)n;
    return true;
}

static bool open_api(struct mesh *m, struct err *err) {
    char *cert, *key;
    pki_leaf(m->api_ca, "kube-apiserver", "DNS:localhost,DNS:kubernetes.default.svc,IP:127.0.0.1", false, &cert, &key);
    struct api_front_opts opts = {
        .port = m->opts.api_port, .cert_pem = cert, .key_pem = key, .endpoint = gate_endpoint, .ctx = m};
    m->api = api_front_new(m->loop, m->store, &opts, err);
    free(cert);
    free(key);
    return m->api;
}

/* --- control --- */

static void tell_truth(struct mesh *m, struct buf *out) {
    struct world_truth t;
    world_truth(m->world, &t);
    buf_printf(out,
               "{\"proxies\":%u,\"onOld\":%u,\"onCanary\":%u,\"detached\":%u,\"notInSync\":%u,\"rejecting\":%u,"
               "\"workloadsRestarted\":%u,\"mostTemplates\":%u}",
               t.proxies, t.on_old, t.on_canary, t.detached, t.not_in_sync, t.rejecting, t.workloads_restarted,
               t.most_templates);
}

/* do ACTION | truth | api STATUS [USER] | compact | cut */
static void answer(void *ctx, const char *line, struct buf *out) {
    struct mesh *m = ctx;
    struct err err = {0};
    int status;
    char user[200];
    if (!strncmp(line, "do ", 3)) {
        bool ok = world_action(m->world, line + 3, &err);
        mesh_fronts_update(m->fronts);
        buf_printf(out, ok ? "ok" : "error %s", err.text);
    } else if (!strcmp(line, "truth")) {
        tell_truth(m, out);
    } else if (!strncmp(line, "api ", 4) && sscanf(line + 4, "%d %199s", &status, user) == 2) {
        store_fault(m->store, user, status);
        buf_str(out, "ok");
    } else if (!strncmp(line, "api ", 4) && sscanf(line + 4, "%d", &status) == 1) {
        store_fault(m->store, NULL, status);
        buf_str(out, "ok");
    } else if (!strcmp(line, "compact")) {
        store_compact(m->store);
        buf_str(out, "ok");
    } else if (!strcmp(line, "cut")) {
        store_cut_watches(m->store);
        buf_str(out, "ok");
    } else {
        buf_str(out, "error say: do ACTION | truth | api STATUS [USER] | compact | cut");
    }
}

static void on_follow(void *ctx) {
    struct mesh *m = ctx;
    mesh_fronts_update(m->fronts);
    procfs_update(m->procfs);
    timer_set(m->sched, &m->follow, sched_now(m->sched) + FOLLOW_MS, on_follow, m);
}

/* --- together --- */

static void list_nodes(struct mesh *m) {
    json_t *names = names_of(m, "nodes"), *name;
    size_t i;
    m->nodes = mem_alloc((json_array_size(names) + 1) * sizeof *m->nodes);
    json_array_foreach(names, i, name) {
        m->nodes[m->n_nodes++] = mem_dup(json_string_value(name));
    }
    json_decref(names);
}

static bool open_fronts(struct mesh *m, struct rpc *rpc, struct err *err) {
    struct mesh_fronts_opts opts = {
        .loop = m->loop, .rpc = rpc, .world = m->world, .store = m->store, .ca = m->istio_ca, .replicas = m->opts.replicas};
    m->fronts = mesh_fronts_new(&opts, err);
    return m->fronts;
}

static bool open_procfs(struct mesh *m, struct err *err) {
    char *proc = mem_printf("%s/proc", m->dir);
    m->procfs = procfs_new(proc, m->world, m->nodes, err);
    free(proc);
    return m->procfs;
}

static bool open_control(struct mesh *m, struct err *err) {
    char *path = mem_printf("%s/control", m->dir);
    m->control = control_new(m->loop, path, answer, m, err);
    free(path);
    return m->control;
}

static bool assemble(struct mesh *m, struct rpc *rpc, struct err *err) {
    bool ok = folder(m, ".", err) && folder(m, "tokens", err) && put_roots(m, err) && put_ours(m, err) &&
              open_api(m, err) && save_users(m, err) && save_certificates(m, err) && open_fronts(m, rpc, err) &&
              open_procfs(m, err);
    for (size_t i = 0; ok && i < m->n_nodes; i++) {
        ok = save_node_tokens(m, m->nodes[i], err);
    }
    return ok && open_control(m, err) && save(m, "ready", "ready\n", err);
}

struct mesh *mesh_new(struct loop *loop, struct rpc *rpc, const struct mesh_opts *opts, struct err *err) {
    struct mesh *m = mem_alloc(sizeof *m);
    m->opts = *opts;
    m->loop = loop;
    m->sched = loop_sched(loop);
    m->dir = mem_dup(opts->dir);
    m->gate_admin = mem_dup(opts->gate_admin ? opts->gate_admin : "");
    if (mkdir(opts->dir, 0700) && errno != EEXIST) {
        err_set(err, ERR_IO, "cannot make directory %s: %s", opts->dir, strerror(errno));
        mesh_free(m);
        return NULL;
    }
    m->istio_ca = pki_ca_new("cluster.local");
    m->api_ca = pki_ca_new("embedded-kubernetes");
    m->gate_ca = pki_ca_new("meshgate");
    m->store = store_new(m->sched);
    struct world_opts world = {.nodes = opts->nodes,
                               .namespaces = opts->namespaces,
                               .pods = opts->pods,
                               .replicas = opts->replicas,
                               .seed = opts->seed,
                               .pod_net = "127.44",
                               .istiod_net = "127.45",
                               .service_net = "127.46"};
    m->world = world_new(&world, m->store, m->sched);
    list_nodes(m);
    if (!assemble(m, rpc, err)) {
        mesh_free(m);
        return NULL;
    }
    timer_set(m->sched, &m->follow, sched_now(m->sched) + FOLLOW_MS, on_follow, m);
    return m;
}

void mesh_free(struct mesh *m) {
    if (!m) {
        return;
    }
    timer_cancel(m->sched, &m->follow);
    control_free(m->control);
    api_front_free(m->api);
    mesh_fronts_free(m->fronts);
    procfs_free(m->procfs);
    world_free(m->world);
    if (m->store) {
        store_free(m->store);
    }
    for (size_t i = 0; i < m->n_nodes; i++) {
        free(m->nodes[i]);
    }
    free(m->nodes);
    pki_ca_free(m->istio_ca);
    pki_ca_free(m->api_ca);
    pki_ca_free(m->gate_ca);
    free(m->dir);
    free(m->gate_admin);
    free(m);
}
