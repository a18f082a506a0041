/* What istiods, proxies and /proc answer, and the truth behind it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ads_pack.h"
#include "istiod_state.h"
#include "world_impl.h"

struct sim_istiod *world_istiod_at(const struct world *w, const char *ip) {
    for (int rev = 0; rev < REVISIONS; rev++) {
        for (uint32_t n = 0; n < w->opts.replicas; n++) {
            if (strcmp(w->revs[rev].istiods[n].ip, ip) == 0) {
                return &w->revs[rev].istiods[n];
            }
        }
    }
    return NULL;
}

struct istiod *world_istiod(struct world *w, const char *ip) {
    struct sim_istiod *i = world_istiod_at(w, ip);
    return i ? i->process : NULL;
}

const char *world_istiod_ip(const struct world *w, const char *revision, uint32_t n) {
    int rev = world_revision(revision);
    return rev >= 0 && n < w->opts.replicas ? w->revs[rev].istiods[n].ip : NULL;
}

bool world_istiod_frozen(const struct world *w, const char *ip) {
    const struct sim_istiod *i = world_istiod_at(w, ip);
    return i && i->frozen;
}

bool world_istiod_dead(const struct world *w, const char *ip) {
    const struct sim_istiod *i = world_istiod_at(w, ip);
    return !i || !i->process;
}

static enum io_status health(const struct sim_istiod *i) {
    return !i || !i->process ? IO_UNREACHABLE : i->frozen ? IO_TIMEOUT : IO_OK;
}

/* The protobuf syncz, as a reader in the root namespace sees it. */
static enum io_status ask_status(struct istiod *i, char **body, size_t *len) {
    struct buf b;
    if (istiod_status_hangs(i, NULL)) {
        return IO_TIMEOUT;
    }
    ads_pack_syncz(&b, false, i, NULL);
    *len = b.len;
    *body = buf_take(&b);
    return IO_OK;
}

enum io_status world_ask(struct world *w, const char *istiod_ip, const char *resource, char **body, size_t *len) {
    struct sim_istiod *i = world_istiod_at(w, istiod_ip);
    enum io_status s = health(i);
    if (s == IO_OK && strcmp(resource, IO_STATUS_SYNCZ) == 0) {
        return ask_status(i->process, body, len);
    }
    if (s == IO_OK) {
        *body = istiod_debug(i->process, resource, NULL, len);
        s = *body ? IO_OK : IO_TIMEOUT;
    }
    return s;
}

bool world_node_dark(const struct world *w, const char *node) {
    for (uint32_t n = 0; n < w->opts.nodes; n++) {
        if (strcmp(w->nodes[n].name, node) == 0) {
            return w->nodes[n].dark;
        }
    }
    return true;
}

enum world_way world_way(const struct world *w, const char *node, const char *istiod_ip) {
    const struct sim_istiod *i = world_istiod_at(w, istiod_ip);
    int rev = i ? i->rev : -1;
    for (int n = 0; n < REVISIONS && rev < 0; n++) {
        rev = strcmp(w->revs[n].service_ip, istiod_ip) == 0 ? n : -1;
    }
    for (uint32_t n = 0; n < w->opts.nodes && rev >= 0; n++) {
        if (strcmp(w->nodes[n].name, node) == 0) {
            return w->nodes[n].ways[rev];
        }
    }
    return WAY_GOOD;
}

enum io_status world_reach(struct world *w, const char *node, const char *istiod_ip) {
    if (world_node_dark(w, node) || world_way(w, node, istiod_ip) == WAY_CUT) {
        return IO_UNREACHABLE;
    }
    for (int rev = 0; rev < REVISIONS; rev++) {
        if (strcmp(w->revs[rev].service_ip, istiod_ip) == 0) {
            return health(world_pick_istiod(w, rev));
        }
    }
    return health(world_istiod_at(w, istiod_ip));
}

/* ---- ports ---- */

static struct sim_pod *pod_by_ip(const struct world *w, const char *ip) {
    unsigned a, b, c, d, first, second;
    if (sscanf(ip, "%u.%u.%u.%u", &a, &b, &c, &d) != 4 || sscanf(w->pod_net, "%u.%u", &first, &second) != 2 || a != first) {
        return NULL;
    }
    uint32_t n = ((b - second) & 255) << 16 | (c & 255) << 8 | (d & 255);
    return n < w->ips ? w->by_ip[n] : NULL;
}

/* No certificate, no Envoy: its agent turns in circles. */
static bool has_envoy(const struct sim_pod *p) {
    return p->proxy.served || !p->faults[FAULT_REFUSED];
}

/* In order of their names, as pilot-agent writes them; counters do not exist before the first event. */
static void agent_stats(const struct sim_pod *p, struct buf *b) {
    const struct sim_proxy *x = &p->proxy;
    if (has_envoy(p)) {
        int left = p->faults[FAULT_EXPIRED] ? -60 : (int)(86400 - sched_now(p->w->sched) / 1000 % 43200);
        buf_printf(b,
                   "# TYPE istio_agent_cert_expiry_seconds gauge\n"
                   "istio_agent_cert_expiry_seconds{resource_name=\"default\"} %d\n",
                   left);
    }
    if (x->ended_in_order || x->ended_by_error) {
        buf_str(b, "# TYPE istio_agent_istiod_connection_terminations counter\n");
    }
    if (x->ended_in_order) {
        buf_printf(b, "istio_agent_istiod_connection_terminations{type=\"cancelled\"} %llu\n",
                   (unsigned long long)x->ended_in_order);
    }
    if (x->ended_by_error) {
        buf_printf(b, "istio_agent_istiod_connection_terminations{type=\"error\"} %llu\n",
                   (unsigned long long)x->ended_by_error);
    }
    if (x->csr_failed) {
        buf_printf(b,
                   "# TYPE istio_agent_num_failed_outgoing_requests counter\n"
                   "istio_agent_num_failed_outgoing_requests{request_type=\"csr\"} %llu\n",
                   (unsigned long long)x->csr_failed);
    }
    buf_str(b, "# TYPE istio_agent_scrapes_total counter\nistio_agent_scrapes_total 1\n");
}

/* "filter=^$" leaves nothing of Envoy. */
static void stats(const struct sim_pod *p, bool agent, const char *query, struct buf *b) {
    const struct sim_proxy *x = &p->proxy;
    bool texts = strstr(query, "text_readouts") != NULL;
    if (agent) {
        agent_stats(p, b);
    }
    if (!has_envoy(p) || strstr(query, "filter=%5E%24")) {
        return;
    }
    buf_printf(
        b,
        "# TYPE envoy_cluster_upstream_cx_active gauge\nenvoy_cluster_upstream_cx_active{cluster_name=\"xds-grpc\"} %d\n",
        x->conn != NULL || (x->dials && !p->faults[FAULT_HALF] && !p->faults[FAULT_REFUSED]));
    buf_printf(
        b, "# TYPE envoy_cluster_manager_cds_update_rejected counter\nenvoy_cluster_manager_cds_update_rejected{} %llu\n",
        (unsigned long long)x->cds_rejected);
    buf_printf(
        b, "# TYPE envoy_listener_manager_lds_update_rejected counter\nenvoy_listener_manager_lds_update_rejected{} %llu\n",
        (unsigned long long)x->lds_rejected);
    if (texts && *x->cds_version) {
        buf_printf(b,
                   "# TYPE envoy_cluster_manager_cds_version_text "
                   "gauge\nenvoy_cluster_manager_cds_version_text{text_value=\"%s\"} 0\n",
                   x->cds_version);
    }
    if (texts && *x->lds_version) {
        buf_printf(b,
                   "# TYPE envoy_listener_manager_lds_version_text "
                   "gauge\nenvoy_listener_manager_lds_version_text{text_value=\"%s\"} 0\n",
                   x->lds_version);
    }
    buf_printf(b, "# TYPE istio_build gauge\nistio_build{component=\"proxy\",tag=\"%s\"} 1\n", x->version);
}

static enum io_status get_istiod(struct sim_istiod *i, uint16_t port, const char *path, char **body, size_t *len) {
    enum io_status s = health(i);
    if (s != IO_OK) {
        return s;
    }
    if (port == 15014 && strncmp(path, "/metrics", 8) == 0) {
        *body = istiod_metrics(i->process, len);
        return IO_OK;
    }
    if (port == 8080 && strcmp(path, "/ready") == 0) {
        *body = mem_dup("");
        *len = 0;
        return IO_OK;
    }
    return IO_REFUSED;
}

enum io_status world_get(struct world *w, const char *ip, uint16_t port, const char *path, char **body, size_t *len) {
    struct sim_istiod *i = world_istiod_at(w, ip);
    if (i) {
        return get_istiod(i, port, path, body, len);
    }
    const struct sim_pod *p = pod_by_ip(w, ip);
    if (!p || p->phase != SIM_RUNNING || p->proxy.rev < 0 || p->faults[FAULT_NO_SIDECAR]) {
        return IO_UNREACHABLE;
    }
    if (p->faults[FAULT_MUTE] || (port == 15090 && !has_envoy(p))) {
        return IO_UNREACHABLE;
    }
    struct buf b;
    buf_init(&b, 65536);
    enum io_status s = IO_OK;
    if (port == 15021 && strcmp(path, "/healthz/ready") == 0) {
        s = p->proxy.served ? IO_OK : IO_BUSY;
    } else if ((port == 15020 || port == 15090) && strncmp(path, "/stats/prometheus", 17) == 0) {
        stats(p, port == 15020, path, &b);
    } else {
        s = IO_REFUSED;
    }
    *len = b.len;
    if (s == IO_OK) {
        *body = buf_take(&b);
    }
    buf_done(&b);
    return s;
}

/* The revision that the first connection of its agent goes to. */
static int dialled(const struct sim_pod *p) {
    const struct sim_fault *ca = p->faults[FAULT_FOREIGN_CA], *to = p->faults[FAULT_MISDIRECTED];
    return ca ? ca->rev : to ? to->rev : p->proxy.rev;
}

int64_t world_scan(struct world *w, const char *node, void (*fn)(void *ctx, const struct dial_seen *d), void *ctx) {
    int64_t found = 0;
    if (world_node_dark(w, node)) {
        return -1;
    }
    for (uint32_t n = 0; n < w->opts.nodes; n++) {
        struct sim_pod *p;
        if (strcmp(w->nodes[n].name, node) != 0) {
            continue;
        }
        if (w->nodes[n].blind) {
            return -2;
        }
        DL_FOREACH2(w->nodes[n].pods, p, node_next) {
            if (p->phase != SIM_RUNNING || p->proxy.rev < 0 || p->faults[FAULT_HIDDEN] || p->faults[FAULT_NO_SIDECAR]) {
                continue;
            }
            struct dial_seen d = {.pid = (int32_t)(1000 + p->born % 4000000)};
            snprintf(d.pod_uid, sizeof d.pod_uid, "%s", p->uid);
            snprintf(d.program, sizeof d.program, "pilot-agent");
            snprintf(d.pod_ip, sizeof d.pod_ip, "%s", p->ip_text);
            if (p->proxy.dials) {
                snprintf(d.remote, sizeof d.remote, "%s:15012", w->revs[dialled(p)].service_ip);
                d.connections = 1;
                d.ports = p->proxy.port;
            }
            fn(ctx, &d);
            found++;
        }
    }
    return found;
}

/* ---- truth ---- */

static bool in_sync(const struct sim_proxy *x) {
    for (size_t n = 0; n < x->conn->n_watches; n++) {
        if (strcmp(x->conn->watches[n].sent, x->conn->watches[n].acked) != 0) {
            return false;
        }
    }
    return true;
}

static bool rejecting(const struct sim_proxy *x) {
    for (size_t n = 0; n < x->conn->n_watches; n++) {
        if (x->conn->watches[n].error) {
            return true;
        }
    }
    return false;
}

void world_truth(const struct world *w, struct world_truth *out) {
    *out = (struct world_truth){0};
    for (const struct sim_pod *p = w->pods; p; p = p->hh.next) {
        const struct sim_proxy *x = &p->proxy;
        if (x->rev < 0 || p->deleting) {
            continue;
        }
        out->proxies++;
        out->on_old += x->conn && x->at->rev == OLD;
        out->on_canary += x->conn && x->at->rev == CANARY;
        out->detached += !x->conn;
        out->not_in_sync += x->conn && !in_sync(x);
        out->rejecting += x->conn && rejecting(x);
    }
    for (const struct sim_workload *x = w->workloads; x; x = x->hh.next) {
        uint32_t more = x->templates ? x->templates - 1 : 0;
        out->workloads_restarted += more > 0;
        out->most_templates = more > out->most_templates ? more : out->most_templates;
    }
}

uint32_t world_proxies_on(const struct world *w, const char *ns, const char *revision) {
    uint32_t n = 0;
    int rev = world_revision(revision);
    for (const struct sim_pod *p = w->pods; p; p = p->hh.next) {
        n += strcmp(p->ns, ns) == 0 && !p->deleting && p->proxy.conn && p->proxy.at->rev == rev;
    }
    return n;
}
