#include "agent/local_pod.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"

#define ASK_MS 3000
#define MORE_MS (5 * 60 * 1000)
/* A certificate's end that moves by less is the same certificate. */
#define SAME_CERT_MS (60 * 1000)

static bool has_envoy(const struct local_pod *p) {
    return strcmp(p->dial.program, "ztunnel") != 0;
}

struct local_pod *local_pod_new(const struct local_env *env, const struct dial_seen *d, int64_t now_ms) {
    struct local_pod *p = mem_alloc(sizeof *p);
    p->env = env;
    p->dial = *d;
    p->first_seen_ms = now_ms;
    p->envoy.cert_expiry_s = p->agent.cert_expiry_s = NAN;
    p->dirty = true;
    return p;
}

void local_pod_free(struct local_pod *p) {
    struct agent_io *io = p->env->io;
    struct io_question *const open[] = {p->stats, p->health, p->more};
    for (size_t i = 0; i < sizeof open / sizeof *open; i++) {
        if (open[i]) {
            io->drop(io->self, open[i]);
        }
    }
    free(p);
}

void local_pod_seen(struct local_pod *p, const struct dial_seen *d) {
    struct dial_seen before = p->dial;
    bool unseen = d->cut && !d->remote[0];
    p->dial = *d;
    if (!d->remote[0] && before.pod_ip[0]) { /* the address of its connection is the better one */
        memcpy(p->dial.pod_ip, before.pod_ip, sizeof before.pod_ip);
    }
    if (unseen) {
        memcpy(p->dial.remote, before.remote, sizeof before.remote);
        p->dial.connections = before.connections;
        p->dial.ports = before.ports;
    }
    p->more_wanted |= p->dial.ports != before.ports || d->pid != before.pid;
    p->dirty |= strcmp(p->dial.pod_ip, before.pod_ip) != 0 || strcmp(p->dial.remote, before.remote) != 0 ||
                p->dial.connections != before.connections || strcmp(d->program, before.program) != 0;
}

/* --- answers --- */

static void ask_more(struct local_pod *p);

static void step(struct local_pod *p) {
    if (p->stats || p->health || p->more) {
        return;
    }
    ask_more(p);
    if (!p->more) {
        p->answered(p->ctx);
    }
}

static bool read_stats(const struct io_answer *a, struct proxy_seen *out) {
    *out = (struct proxy_seen){.cert_expiry_s = NAN};
    if (a->status != IO_OK) {
        return false;
    }
    char *text = io_text(a);
    struct err err;
    bool ok = proxy_stats_read(text, a->bytes, out, &err);
    free(text);
    return ok;
}

static bool same_envoy(const struct proxy_seen *a, const struct proxy_seen *b) {
    return strcmp(a->cds_version, b->cds_version) == 0 && strcmp(a->lds_version, b->lds_version) == 0 &&
           a->xds_connections == b->xds_connections && a->cds_rejected == b->cds_rejected &&
           a->lds_rejected == b->lds_rejected && strcmp(a->build, b->build) == 0;
}

static void set_stats_ok(struct local_pod *p, bool ok) {
    p->dirty |= ok != p->stats_ok;
    p->stats_ok = ok;
}

static void on_stats(void *ctx, const struct io_answer *a) {
    struct local_pod *p = ctx;
    p->stats = NULL;
    struct proxy_seen seen;
    bool ok = read_stats(a, &seen);
    p->dirty |= ok && !same_envoy(&seen, &p->envoy);
    p->envoy = seen;
    set_stats_ok(p, ok);
    step(p);
}

static void on_health(void *ctx, const struct io_answer *a) {
    struct local_pod *p = ctx;
    p->health = NULL;
    bool ready = a->status == IO_OK;
    p->dirty |= ready != p->ready;
    p->ready = ready;
    step(p);
}

/* No certificate yet: nothing is said of its end. */
static void take_cert(struct local_pod *p, double left_s) {
    int64_t at = 0;
    if (!isnan(left_s)) {
        at = sched_now(p->env->sched) + (int64_t)(fmax(-1e6, fmin(left_s, 1e9)) * 1000);
        at = at != 0 ? at : -1;
    }
    bool same = (at == 0) == (p->cert_expires_ms == 0) && llabs(at - p->cert_expires_ms) < SAME_CERT_MS;
    p->dirty |= !same;
    p->cert_expires_ms = at;
}

static void on_more(void *ctx, const struct io_answer *a) {
    struct local_pod *p = ctx;
    p->more = NULL;
    struct proxy_seen seen;
    bool ok = read_stats(a, &seen) && seen.agent;
    if (ok) {
        p->dirty |= seen.xds_failures != p->agent.xds_failures || seen.csr_failures != p->agent.csr_failures ||
                    strcmp(seen.build, p->agent.build) != 0;
        take_cert(p, seen.cert_expiry_s);
        p->agent = seen;
    }
    if (!has_envoy(p)) {
        set_stats_ok(p, ok);
    }
    p->answered(p->ctx);
}

/* --- questions --- */

static bool in_trouble(const struct local_pod *p) {
    bool served = !has_envoy(p) || (p->stats_ok && p->envoy.xds_connections > 0);
    return !p->ready || !served || p->dial.connections == 0 || p->cert_expired;
}

static void ask_more(struct local_pod *p) {
    struct agent_io *io = p->env->io;
    int64_t now = sched_now(p->env->sched);
    bool due = !p->more_asked_ms || now - p->more_asked_ms >= MORE_MS;
    bool trouble = in_trouble(p), wanted = trouble || p->troubled || p->more_wanted;
    p->troubled = trouble;
    if (due || wanted) {
        p->more_wanted = false;
        p->more_asked_ms = now;
        p->more = io->get(io->self, p->dial.pod_ip, p->env->agent_port, proxy_agent_path, ASK_MS, on_more, p);
    }
}

bool local_pod_ask(struct local_pod *p) {
    struct agent_io *io = p->env->io;
    if (!p->dial.pod_ip[0]) {
        p->dirty |= p->ready;
        p->ready = false;
        set_stats_ok(p, false);
        return false;
    }
    bool expired = p->cert_expires_ms && sched_now(p->env->sched) >= p->cert_expires_ms;
    p->dirty |= expired != p->cert_expired;
    p->cert_expired = expired;
    if (has_envoy(p)) {
        p->stats = io->get(io->self, p->dial.pod_ip, p->env->stats_port, proxy_stats_path, ASK_MS, on_stats, p);
    }
    p->health = io->get(io->self, p->dial.pod_ip, p->env->health_port, "/healthz/ready", ASK_MS, on_health, p);
    return true;
}

/* Seconds from now; never 0, which means not said. */
static int64_t left_s(int64_t at_ms, int64_t now_ms) {
    int64_t left = (at_ms - now_ms) / 1000;
    return at_ms > now_ms ? left + 1 : left - 1;
}

void local_pod_fill(struct local_pod *p, Meshgate__V1__LocalProxy *x) {
    int64_t now = sched_now(p->env->sched);
    x->pod_uid = p->dial.pod_uid;
    x->pod_ip = p->dial.pod_ip;
    x->dials = p->dial.remote;
    x->program = p->dial.program;
    x->connections = p->dial.connections;
    x->stats_ok = p->stats_ok;
    x->ready = p->ready;
    x->first_seen_ms = (uint32_t)(now - p->first_seen_ms);
    x->xds_failures = p->agent.xds_failures;
    x->csr_failures = p->agent.csr_failures;
    x->build = p->agent.build;
    if (p->stats_ok && has_envoy(p)) {
        x->cds_version = p->envoy.cds_version;
        x->lds_version = p->envoy.lds_version;
        x->xds_connections = p->envoy.xds_connections;
        x->cds_rejected = p->envoy.cds_rejected;
        x->lds_rejected = p->envoy.lds_rejected;
        x->build = p->envoy.build;
    }
    if (p->cert_expires_ms) {
        x->cert_expiry_s = left_s(p->cert_expires_ms, now);
    }
    p->dirty = false;
}
