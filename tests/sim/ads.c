#include "ads.h"

#include <stdlib.h>
#include <string.h>

#include "../../lib/base/mem.h"
#include "ads_pack.h"
#include "xds.pb-c.h"

#define MAX_QUEUED 64

static const char method_sotw[] = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";
static const char method_delta[] = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

static const char type_syncz[] = "istio.io/debug/syncz";
static const char type_dump[] = "istio.io/debug/config_dump";

struct ads {
    struct ads_opts opts;
    struct rpc_server *server;
    struct ads_stream *streams;
    bool poison;
};

/* Outlives the stream when the client leaves before the answer is there. */
struct ads_auth {
    struct ads_stream *stream;
};

struct queued {
    uint8_t *p;
    size_t n;
    struct queued *next;
};

struct ads_stream {
    struct ads *front;
    struct rpc_server_stream *rpc;
    bool delta, refused, known;        /* known: the node has been read */
    bool hung;                         /* its question waits for a lock: nothing more is read from it */
    char *peer, *namespace_, *account; /* of the token; NULL: nobody */
    struct ads_auth *pending;
    struct queued *queue;
    size_t n_queue;
    struct istiod_conn *conn;
    struct istiod *of; /* process that conn belongs to */
    struct ads_stream *next;
};

static void fail(struct ads_stream *s, int status, const char *text) {
    s->refused = true;
    rpc_server_stream_end(s->rpc, status, text);
}

static void send_message(struct ads_stream *s, struct buf *b) {
    if (b->over || !rpc_server_stream_send(s->rpc, b->p, b->len)) {
        fail(s, RPC_RESOURCE_EXHAUSTED, "the client reads too slowly");
    }
}

/* --- what a request says, whichever form it came in --- */

struct question {
    const char *type_url, *nonce, *error;
    const Meshgate__Xds__Node *node;
    char **names;
    size_t n_names;
};

static const char *metadata_text(const Meshgate__Xds__Node *node, const char *key, bool *present) {
    for (size_t i = 0; node->metadata && i < node->metadata->n_fields; i++) {
        const Meshgate__Xds__FieldsEntry *f = node->metadata->fields[i];
        if (!strcmp(f->key, key)) {
            *present = true;
            bool text = f->value && f->value->kind_case == MESHGATE__XDS__VALUE__KIND_STRING_VALUE;
            return text ? f->value->string_value : "";
        }
    }
    return "";
}

/* Namespace that the node claims: metadata, else the first part of its DNS domain. */
static void claimed_namespace(const Meshgate__Xds__Node *node, char *out, size_t cap) {
    bool present = false;
    const char *ns = metadata_text(node, "NAMESPACE", &present);
    const char *domain = strrchr(node->id, '~');
    if (*ns || !domain || !strchr(domain, '.')) {
        snprintf(out, cap, "%s", ns);
    } else {
        snprintf(out, cap, "%.*s", (int)(strchr(domain, '.') - domain - 1), domain + 1);
    }
}

static bool check_identity(struct ads_stream *s, const Meshgate__Xds__Node *node) {
    char ns[254], text[700];
    bool present = false;
    const char *account = metadata_text(node, "SERVICE_ACCOUNT", &present);
    claimed_namespace(node, ns, sizeof ns);
    if (!s->namespace_ || ((!*ns || !strcmp(ns, s->namespace_)) && (!*account || !strcmp(account, s->account)))) {
        return true;
    }
    snprintf(text, sizeof text, "authorization failed: no identities ([spiffe://cluster.local/ns/%s/sa/%s]) matched %s/%s",
             s->namespace_, s->account, ns, account);
    fail(s, RPC_PERMISSION_DENIED, text);
    return false;
}

static bool begin(struct ads_stream *s, struct istiod *istiod, const Meshgate__Xds__Node *node) {
    if (!node || !node->id || !*node->id) {
        fail(s, RPC_INVALID_ARGUMENT, "missing node information");
        return false;
    }
    char ns[254];
    bool present = false, ignored = false;
    const char *why = "";
    claimed_namespace(node, ns, sizeof ns);
    metadata_text(node, "PROXY_CONFIG", &present);
    struct istiod_peer peer = {.node_id = node->id,
                               .address = s->peer,
                               .namespace_ = ns,
                               .proxy_config = present,
                               .outside = true,
                               .istio_version = metadata_text(node, "ISTIO_VERSION", &ignored),
                               .cluster_id = metadata_text(node, "CLUSTER_ID", &ignored)};
    struct istiod_conn *c = istiod_connect(istiod, &peer, &why);
    if (!c) {
        fail(s, RPC_INVALID_ARGUMENT, why);
        return false;
    }
    if (!check_identity(s, node)) {
        istiod_disconnect(c);
        return false;
    }
    if (s->front->opts.pushes) {
        istiod_conn_set(c, s);
    }
    s->conn = c;
    s->of = istiod;
    s->known = true;
    return true;
}

/* --- answers --- */

static void answer_debug(struct ads_stream *s, struct istiod *istiod, const struct question *q) {
    char text[300], path[200];
    if (!s->namespace_) {
        fail(s, RPC_UNAUTHENTICATED, "authentication required");
        return;
    }
    if (q->n_names != 1) {
        fail(s, RPC_INVALID_ARGUMENT, "exactly one debug request is required");
        return;
    }
    snprintf(path, sizeof path, "%.*s", (int)strcspn(q->names[0], "?"), q->names[0]);
    bool open_to_all = !strcmp(path, "config_dump") || !strcmp(path, "ndsz") || !strcmp(path, "edsz");
    if (strcmp(s->namespace_, "istio-system") && !open_to_all) {
        snprintf(text, sizeof text,
                 "the debug info is not available for current identity: \"spiffe://cluster.local/ns/%s/sa/%s\"",
                 s->namespace_, s->account);
        fail(s, RPC_PERMISSION_DENIED, text);
        return;
    }
    struct buf b;
    size_t len;
    char *body = istiod_debug(istiod, q->names[0], s->conn, &len);
    if (!body) {
        s->hung = true;
        return;
    }
    ads_pack_debug(&b, s->delta, istiod, q->names[0], body, len);
    free(body);
    send_message(s, &b);
    buf_done(&b);
}

/* Types of StatusGen: the state of proxies, and configurations, which the embedded istiod does not keep. */
static void answer_status(struct ads_stream *s, struct istiod *istiod, const char *type_url) {
    if (!s->namespace_) {
        fail(s, RPC_UNAUTHENTICATED, "authentication required");
        return;
    }
    struct buf b;
    const char *only = strcmp(s->namespace_, "istio-system") ? s->namespace_ : NULL;
    if (!strcmp(type_url, type_syncz) && istiod_status_hangs(istiod, only)) {
        s->hung = true;
        return;
    }
    if (!strcmp(type_url, type_syncz)) {
        ads_pack_syncz(&b, s->delta, istiod, only);
    } else {
        ads_pack_nothing(&b, s->delta, istiod, type_url);
    }
    send_message(s, &b);
    buf_done(&b);
}

static void send_push(struct ads_stream *s, const struct istiod_push *p, char *const *names, size_t n_names) {
    struct buf b;
    ads_pack_push(&b, s->delta, p, names, n_names, s->front->poison);
    send_message(s, &b);
    buf_done(&b);
}

static void answer(struct ads_stream *s, const struct question *q) {
    struct istiod *istiod = s->front->opts.istiod(s->front->opts.ctx);
    struct istiod_push push;
    if (!istiod || (s->known && s->of != istiod)) {
        s->conn = NULL;
        fail(s, RPC_UNAVAILABLE, "server is not ready to serve discovery information");
        return;
    }
    if (!s->known && !begin(s, istiod, q->node)) {
        return;
    }
    if (!strcmp(q->type_url, "istio.io/debug")) {
        answer_debug(s, istiod, q);
    } else if (!strcmp(q->type_url, type_syncz) || !strcmp(q->type_url, type_dump)) {
        answer_status(s, istiod, q->type_url);
    } else if (s->conn && istiod_request(s->conn, q->type_url, q->nonce, q->error, &push)) {
        send_push(s, &push, q->names, q->n_names);
    }
}

static void on_sotw(struct ads_stream *s, const uint8_t *p, size_t n) {
    Meshgate__Xds__DiscoveryRequest *m = meshgate__xds__discovery_request__unpack(NULL, n, p);
    if (!m) {
        fail(s, RPC_INVALID_ARGUMENT, "grpc: error unmarshalling request");
        return;
    }
    struct question q = {.type_url = m->type_url,
                         .nonce = m->response_nonce,
                         .node = m->node,
                         .names = m->resource_names,
                         .n_names = m->n_resource_names,
                         .error = m->error_detail ? m->error_detail->message : NULL};
    answer(s, &q);
    meshgate__xds__discovery_request__free_unpacked(m, NULL);
}

static void on_delta(struct ads_stream *s, const uint8_t *p, size_t n) {
    Meshgate__Xds__DeltaDiscoveryRequest *m = meshgate__xds__delta_discovery_request__unpack(NULL, n, p);
    if (!m) {
        fail(s, RPC_INVALID_ARGUMENT, "grpc: error unmarshalling request");
        return;
    }
    struct question q = {.type_url = m->type_url,
                         .nonce = m->response_nonce,
                         .node = m->node,
                         .names = m->resource_names_subscribe,
                         .n_names = m->n_resource_names_subscribe,
                         .error = m->error_detail ? m->error_detail->message : NULL};
    answer(s, &q);
    meshgate__xds__delta_discovery_request__free_unpacked(m, NULL);
}

static void handle(struct ads_stream *s, const uint8_t *p, size_t n) {
    struct ads *a = s->front;
    if (s->refused || s->hung || (a->opts.frozen && a->opts.frozen(a->opts.ctx))) {
        return;
    }
    if (s->delta) {
        on_delta(s, p, n);
    } else {
        on_sotw(s, p, n);
    }
}

/* --- streams --- */

static void drop_queue(struct ads_stream *s) {
    while (s->queue) {
        struct queued *q = s->queue;
        s->queue = q->next;
        free(q->p);
        free(q);
    }
    s->n_queue = 0;
}

void ads_authenticated(struct ads_auth *a, const char *namespace_, const char *account) {
    struct ads_stream *s = a->stream;
    free(a);
    if (!s) {
        return;
    }
    s->pending = NULL;
    if (!namespace_) {
        drop_queue(s);
        fail(s, RPC_UNAUTHENTICATED, "authentication failure");
        return;
    }
    s->namespace_ = mem_dup(namespace_);
    s->account = mem_dup(account ? account : "");
    while (s->queue) {
        struct queued *q = s->queue;
        s->queue = q->next;
        handle(s, q->p, q->n);
        free(q->p);
        free(q);
    }
    s->n_queue = 0;
}

static void authenticate(struct ads_stream *s, const char *authorization) {
    if (!s->front->opts.cert_pem) {
        return;
    }
    if (!authorization || strncmp(authorization, "Bearer ", 7)) {
        fail(s, RPC_UNAUTHENTICATED, "authentication failure");
        return;
    }
    s->pending = mem_alloc(sizeof *s->pending);
    s->pending->stream = s;
    s->front->opts.authenticate(s->front->opts.ctx, authorization + 7, s->pending);
}

static void *on_open(void *ctx, struct rpc_server_stream *rpc, const char *method, const char *peer,
                     const char *(*header)(struct rpc_server_stream *s, const char *key)) {
    struct ads *a = ctx;
    struct ads_stream *s = mem_alloc(sizeof *s);
    s->front = a;
    s->rpc = rpc;
    s->delta = !strcmp(method, method_delta);
    s->peer = mem_dup(peer);
    s->next = a->streams;
    a->streams = s;
    authenticate(s, header(rpc, "authorization"));
    return s;
}

static uint8_t *flatten(const struct piece *pieces, size_t n, size_t bytes) {
    uint8_t *p = mem_alloc(bytes + 1);
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        memcpy(p + at, pieces[i].p, pieces[i].len);
        at += pieces[i].len;
    }
    return p;
}

static void on_message(void *ctx, const struct piece *pieces, size_t n, size_t bytes) {
    struct ads_stream *s = ctx;
    uint8_t *p = flatten(pieces, n, bytes);
    if (!s->pending) {
        handle(s, p, bytes);
        free(p);
        return;
    }
    if (++s->n_queue > MAX_QUEUED) {
        free(p);
        fail(s, RPC_RESOURCE_EXHAUSTED, "too many requests before authentication");
        return;
    }
    struct queued **last = &s->queue;
    while (*last) {
        last = &(*last)->next;
    }
    *last = mem_alloc(sizeof **last);
    **last = (struct queued){.p = p, .n = bytes};
}

static void on_closed(void *ctx) {
    struct ads_stream *s = ctx;
    struct ads_stream **p = &s->front->streams;
    while (*p != s) {
        p = &(*p)->next;
    }
    *p = s->next;
    if (s->pending) {
        s->pending->stream = NULL;
    }
    if (s->conn && s->front->opts.istiod(s->front->opts.ctx) == s->of) {
        istiod_disconnect(s->conn);
    }
    drop_queue(s);
    free(s->peer);
    free(s->namespace_);
    free(s->account);
    free(s);
}

struct ads *ads_new(const struct ads_opts *opts, struct err *err) {
    static const char *const methods[] = {method_sotw, method_delta, NULL};
    static const struct rpc_server_ops ops = {on_open, on_message, on_closed};
    struct ads *a = mem_alloc(sizeof *a);
    a->opts = *opts;
    struct rpc_server_opts server = {.address = opts->address,
                                     .cert_pem = opts->cert_pem,
                                     .key_pem = opts->key_pem,
                                     .methods = methods,
                                     .max_receive_bytes = 4 * 1024 * 1024,
                                     .max_streams = 100000};
    a->server = rpc_server_new(opts->rpc, &server, &ops, a, err);
    a->opts.cert_pem = opts->cert_pem ? "" : NULL; /* only whether there is one matters from here on */
    a->opts.key_pem = NULL;
    a->opts.address = NULL;
    if (!a->server) {
        free(a);
        return NULL;
    }
    return a;
}

void ads_free(struct ads *a) {
    if (a) {
        rpc_server_free(a->server);
        free(a);
    }
}

static void on_push(void *ctx, struct istiod_conn *c, const struct istiod_push *p) {
    (void)ctx;
    struct ads_stream *s = istiod_conn_get(c);
    if (s && !s->refused) {
        send_push(s, p, NULL, 0);
    }
}

void ads_push(struct ads *a) {
    struct istiod *istiod = a->opts.istiod(a->opts.ctx);
    if (istiod) {
        istiod_push_all(istiod, on_push, a);
    }
}

void ads_poison(struct ads *a, bool on) {
    a->poison = on;
}
