/* Sidecars and their istiods: streams, acknowledgements, rejections; faults of istiods. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "istiod_state.h"
#include "world_impl.h"

#define MAX_AGE_MS (30 * 60000)

static const char *const type_urls[XDS_KINDS] = {
    "type.googleapis.com/envoy.config.cluster.v3.Cluster",
    "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
    "type.googleapis.com/envoy.config.listener.v3.Listener",
    "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
};

static const char default_rejection[] = "Error adding/updating listener(s) virtualInbound: Didn't find a registered "
                                        "implementation for 'istio.alpn' with type URL: "
                                        "'istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig'\n";

static void dial(void *ctx);

static void live_in(struct sim_pod *p, uint32_t from, uint32_t to, void (*fn)(void *ctx)) {
    timer_set(p->w->sched, &p->proxy.life, sched_now(p->w->sched) + world_random(p->w, from, to), fn, p);
}

int world_revision(const char *name) {
    return !name ? -1 : strcmp(name, "old") == 0 ? OLD : strcmp(name, "canary") == 0 ? CANARY : -1;
}

/* A random replica that the Service sends to; NULL: none. */
struct sim_istiod *world_pick_istiod(struct world *w, int rev) {
    uint32_t ready = 0;
    for (uint32_t n = 0; n < w->opts.replicas; n++) {
        ready += w->revs[rev].istiods[n].ready;
    }
    uint32_t take = ready ? world_random(w, 0, ready - 1) : 0;
    for (uint32_t n = 0; ready && n < w->opts.replicas; n++) {
        struct sim_istiod *i = &w->revs[rev].istiods[n];
        if (i->ready && take-- == 0) {
            return i;
        }
    }
    return NULL;
}

/* ---- one proxy ---- */

static const char *rejection(const struct sim_pod *p) {
    const struct world *w = p->w;
    struct sim_rejection *r = NULL;
    if (p->proxy.at->rev != CANARY) {
        return NULL;
    }
    HASH_FIND_STR(w->rejections, p->ns, r);
    return r ? (r->text ? r->text : default_rejection) : w->revs[CANARY].bad_config ? default_rejection : NULL;
}

static void answer_one(struct sim_pod *p, int kind, const char *nonce, const char *version) {
    struct sim_proxy *x = &p->proxy;
    struct istiod_push more;
    const char *error = kind == LDS ? rejection(p) : NULL;
    istiod_request(x->conn, type_urls[kind], nonce, error, &more);
    if (error) {
        x->lds_rejected++;
        world_note(p->w, "rejects", p->key);
    } else if (kind == LDS && !p->faults[FAULT_STUCK]) {
        snprintf(x->lds_version, sizeof x->lds_version, "%s", version);
    } else if (kind == CDS && !p->faults[FAULT_STUCK]) {
        snprintf(x->cds_version, sizeof x->cds_version, "%s", version);
    }
}

static void late_free(struct sim_proxy *x) {
    while (x->late) {
        struct sim_late *l = x->late;
        DL_DELETE(x->late, l);
        free(l);
    }
}

static void answer(void *ctx);

/* Pushes that a slow proxy is through with, in their order. */
static void answer_late(struct sim_pod *p) {
    struct sim_proxy *x = &p->proxy;
    int64_t now = sched_now(p->w->sched);
    while (x->late && x->late->due_ms <= now) {
        struct sim_late *l = x->late;
        DL_DELETE(x->late, l);
        answer_one(p, l->kind, l->nonce, l->version);
        free(l);
    }
    if (x->late) {
        timer_set(p->w->sched, &x->answer, x->late->due_ms, answer, p);
    }
}

static void keep_late(struct sim_pod *p, int kind, const struct istiod_push *push) {
    struct sim_proxy *x = &p->proxy;
    const struct sim_fault *slow = p->faults[FAULT_SLOW];
    struct sim_late *l = mem_alloc(sizeof *l);
    l->kind = kind;
    snprintf(l->nonce, sizeof l->nonce, "%.79s", push->nonce);
    snprintf(l->version, sizeof l->version, "%.39s", push->version);
    l->due_ms = sched_now(p->w->sched) + world_random(p->w, slow->from_ms, slow->to_ms);
    if (x->late && x->late->prev->due_ms > l->due_ms) {
        l->due_ms = x->late->prev->due_ms;
    }
    DL_APPEND(x->late, l);
    if (!timer_is_set(&x->answer)) {
        timer_set(p->w->sched, &x->answer, l->due_ms, answer, p);
    }
}

static void answer(void *ctx) {
    struct sim_pod *p = ctx;
    struct sim_proxy *x = &p->proxy;
    if (!x->conn || x->at->frozen || p->faults[FAULT_WITHHOLD]) {
        return;
    }
    for (int kind = 0; kind < XDS_KINDS; kind++) {
        if (x->pending[kind].set) {
            x->pending[kind].set = false;
            answer_one(p, kind, x->pending[kind].nonce, x->pending[kind].version);
        }
    }
    answer_late(p);
    if (!x->served && *x->cds_version && *x->lds_version) {
        x->served = true;
        world_note(p->w, "served", p->key);
        world_pod_served(p);
    }
}

void world_proxy_answer_soon(struct sim_pod *p) {
    if (p->w->building) {
        answer(p);
    } else if (!timer_is_set(&p->proxy.answer)) {
        timer_set(p->w->sched, &p->proxy.answer, sched_now(p->w->sched) + world_random(p->w, 2, 8), answer, p);
    }
}

static void got_push(void *ctx, struct istiod_conn *c, const struct istiod_push *push) {
    (void)ctx;
    struct sim_pod *p = istiod_conn_get(c);
    if (!p) {
        return;
    }
    for (int kind = 0; kind < XDS_KINDS; kind++) {
        if (strcmp(type_urls[kind], push->type_url) == 0 && p->faults[FAULT_SLOW] && p->proxy.served) {
            keep_late(p, kind, push);
        } else if (strcmp(type_urls[kind], push->type_url) == 0) {
            p->proxy.pending[kind].set = true;
            snprintf(p->proxy.pending[kind].nonce, sizeof p->proxy.pending[kind].nonce, "%.79s", push->nonce);
            snprintf(p->proxy.pending[kind].version, sizeof p->proxy.pending[kind].version, "%.39s", push->version);
        }
    }
    if (p->w->building || !(p->faults[FAULT_WITHHOLD] || (p->faults[FAULT_SLOW] && p->proxy.served))) {
        world_proxy_answer_soon(p);
    }
}

/* The stream is over for the proxy. An istiod that cannot notice keeps a dead copy. */
static void lose(struct sim_pod *p, bool orderly) {
    struct sim_proxy *x = &p->proxy;
    struct istiod_conn *c = x->conn;
    if (!c) {
        return;
    }
    if (x->at->frozen || p->faults[FAULT_HALF]) {
        istiod_conn_set(c, NULL);
    } else {
        istiod_disconnect(c);
    }
    x->conn = NULL;
    x->at = NULL;
    x->dials = false;
    memset(x->pending, 0, sizeof x->pending);
    late_free(x);
    timer_cancel(p->w->sched, &x->answer);
    *(orderly ? &x->ended_in_order : &x->ended_by_error) += 1;
    world_note(p->w, "lost", p->key);
}

static void too_old(void *ctx) {
    struct sim_pod *p = ctx;
    if (p->proxy.at->frozen) {
        live_in(p, 10000, 20000, too_old);
        return;
    }
    lose(p, true);
    live_in(p, 200, 600, dial);
}

static void attach(struct sim_pod *p, struct sim_istiod *i) {
    struct sim_proxy *x = &p->proxy;
    struct world *w = p->w;
    char id[600], address[32];
    x->port = (uint16_t)world_random(w, 30000, 60000);
    snprintf(id, sizeof id, "sidecar~%s~%s.%s~%s.svc.cluster.local", p->ip_text, p->name, p->ns, p->ns);
    snprintf(address, sizeof address, "%s:%u", p->ip_text, x->port);
    struct istiod_peer peer = {
        .node_id = id, .address = address, .namespace_ = p->ns, .istio_version = x->version, .proxy_config = true};
    x->conn = istiod_connect(i->process, &peer, NULL);
    check(x->conn);
    istiod_conn_set(x->conn, p);
    x->at = i;
    x->dials = true;
    x->attempt = 0;
    world_note(w, i->name, p->key);
    live_in(p, MAX_AGE_MS / 10 * 9, MAX_AGE_MS / 10 * 11, too_old);
    for (int kind = 0; kind < XDS_KINDS; kind++) {
        struct istiod_push push;
        if (istiod_request(x->conn, type_urls[kind], "", NULL, &push)) {
            got_push(NULL, x->conn, &push);
        }
    }
}

static void hung_up(void *ctx) {
    struct sim_pod *p = ctx;
    p->proxy.dials = false;
    p->proxy.ended_by_error++;
    live_in(p, 200, 2000, dial);
}

/* Does a fault of its own keep it from any istiod? */
static bool held_off(struct sim_pod *p) {
    struct sim_proxy *x = &p->proxy;
    if (p->faults[FAULT_HALF]) {
        x->dials = true; /* the CA client's connection stands */
        return true;
    }
    if (!p->faults[FAULT_CUT] && !p->faults[FAULT_REFUSED]) {
        return false;
    }
    x->dials = p->faults[FAULT_CUT] == NULL;
    x->csr_failed += x->dials;
    x->ended_by_error++;
    live_in(p, 2000, 15000, dial);
    return true;
}

static void dial(void *ctx) {
    struct sim_pod *p = ctx;
    struct sim_proxy *x = &p->proxy;
    if (p->faults[FAULT_NO_SIDECAR] || held_off(p)) {
        return;
    }
    int rev = p->faults[FAULT_MISDIRECTED] ? p->faults[FAULT_MISDIRECTED]->rev : x->rev;
    struct sim_istiod *i = p->node->ways[rev] == WAY_GOOD ? world_pick_istiod(p->w, rev) : NULL;
    if (i && i->process && !i->frozen) {
        attach(p, i);
    } else if (i && i->process) {
        x->dials = true; /* the kernel of a frozen process takes the connection */
        live_in(p, 20000, 20000, hung_up);
    } else {
        uint32_t most = 500u << (x->attempt < 6 ? x->attempt : 6);
        x->attempt++;
        x->ended_by_error++;
        live_in(p, 200, most < 30000 ? most : 30000, dial);
    }
}

void world_proxy_start(struct sim_pod *p) {
    if (p->w->building) {
        dial(p);
    } else {
        live_in(p, 50, 400, dial);
    }
}

void world_proxy_shaken(struct sim_pod *p) {
    if (p->phase == SIM_RUNNING && p->proxy.rev >= 0) {
        lose(p, false);
        live_in(p, 200, 2000, dial);
        world_pod_sicken(p);
    }
}

void world_proxy_stop(struct sim_pod *p) {
    lose(p, true);
    timer_cancel(p->w->sched, &p->proxy.life);
    timer_cancel(p->w->sched, &p->proxy.answer);
    p->proxy.dials = false;
}

void world_proxy_lock(struct sim_pod *p, bool on) {
    if (on) {
        istiod_lock(p->proxy.conn);
    } else {
        lose(p, true);
        live_in(p, 200, 600, dial);
    }
}

/* ---- istiods ---- */

static uint64_t istiod_seed(const struct world *w, const struct sim_istiod *i) {
    return w->opts.seed * 1000003 + (uint64_t)i->rev * 101 + i->n * 7919 + i->starts;
}

static void start(struct sim_istiod *i) {
    struct sim_revision *r = &i->w->revs[i->rev];
    i->starts++;
    i->owes_full = i->owes_endpoints = false;
    i->process = istiod_new(r->name, r->version, i->name, i->w->sched, istiod_seed(i->w, i));
}

void world_istiods_start(struct world *w) {
    for (int rev = 0; rev < REVISIONS; rev++) {
        for (uint32_t n = 0; n < w->opts.replicas; n++) {
            start(&w->revs[rev].istiods[n]);
        }
    }
}

static void push_one(struct sim_istiod *i, bool full) {
    if (!i->process || i->frozen) {
        i->owes_full = i->owes_full || full;
        i->owes_endpoints = true;
    } else if (full) {
        istiod_push_all(i->process, got_push, NULL);
    } else {
        istiod_push_endpoints(i->process, got_push, NULL);
    }
}

void world_push(struct world *w) {
    for (int rev = 0; rev < REVISIONS; rev++) {
        for (uint32_t n = 0; n < w->opts.replicas; n++) {
            push_one(&w->revs[rev].istiods[n], w->push_full);
        }
    }
    w->push_full = false;
}

/* The kubelet's probe and the EndpointSlice controller have seen the change. */
static void probed(void *ctx) {
    struct sim_istiod *i = ctx;
    bool ready = i->process && !i->frozen;
    if (ready != i->ready) {
        i->ready = ready;
        world_note(i->w, ready ? "istiod ready" : "istiod not ready", i->name);
        world_write_istiod_pod(i->w, i);
        world_write_slices(i->w, i->rev);
    }
}

/* Proxies whose istiod is silent give up after their keepalive. */
static void noticed(void *ctx) {
    struct sim_istiod *i = ctx;
    for (struct sim_pod *p = i->w->pods; p; p = p->hh.next) {
        if (p->proxy.at == i) {
            lose(p, false);
            live_in(p, 200, 8000, dial);
        }
    }
}

static void probe_in(struct sim_istiod *i, uint32_t ms) {
    timer_set(i->w->sched, &i->probe, sched_now(i->w->sched) + ms, probed, i);
}

static void thaw(struct sim_istiod *i) {
    i->frozen = false;
    timer_cancel(i->w->sched, &i->notice);
    for (struct istiod_conn *c = i->process->conns, *next; c; c = next) {
        next = c->next;
        struct sim_pod *p = istiod_conn_get(c);
        if (c->outside) {
            continue;
        }
        if (!p) {
            istiod_disconnect(c);
        } else {
            world_proxy_answer_soon(p);
        }
    }
    if (i->owes_full || i->owes_endpoints) {
        push_one(i, i->owes_full);
        i->owes_full = i->owes_endpoints = false;
    }
    probe_in(i, 3000);
}

static void die(struct sim_istiod *i) {
    i->frozen = false;
    timer_cancel(i->w->sched, &i->notice);
    for (struct sim_pod *p = i->w->pods; p; p = p->hh.next) {
        if (p->proxy.at == i) {
            lose(p, false);
            live_in(p, 200, 8000, dial);
        }
    }
    istiod_free(i->process);
    i->process = NULL;
    probe_in(i, 800);
}

void world_way_changed(struct sim_node *n, int rev) {
    struct sim_pod *p;
    DL_FOREACH2(n->pods, p, node_next) {
        /* One whose token or roots went bad keeps the stream that it has. */
        if (p->proxy.rev == rev && p->proxy.conn && n->ways[rev] == WAY_CUT) {
            lose(p, false);
            live_in(p, 200, 8000, dial);
        }
    }
}

bool world_istiod_fault(struct sim_istiod *i, const char *what, struct err *err) {
    bool alive = i->process != NULL;
    if ((strcmp(what, "refuse-debug") == 0 || strcmp(what, "serve-debug") == 0) && alive) {
        istiod_refuse_debug(i->process, *what == 'r');
    } else if (strcmp(what, "freeze") == 0 && alive && !i->frozen) {
        i->frozen = true;
        timer_set(i->w->sched, &i->notice, sched_now(i->w->sched) + 40000, noticed, i);
        probe_in(i, 10000);
    } else if (strcmp(what, "thaw") == 0 && i->frozen) {
        thaw(i);
    } else if (strcmp(what, "kill") == 0 && alive) {
        die(i);
    } else if (strcmp(what, "start") == 0 && !alive) {
        start(i);
        probe_in(i, 2000);
    } else {
        return err_set(
            err, ERR_INVALID,
            "istiod %s: \"%s\" is none of freeze thaw kill start refuse-debug serve-debug, or makes no sense now", i->name,
            what);
    }
    world_note(i->w, what, i->name);
    return true;
}
