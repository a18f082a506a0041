/*
 * One conversation with an xDS server, told as JSON lines: sends the requests that the flags describe, prints each answer
 * and how the stream ended. The conformance suite asks real and embedded istiods with it.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/loop.h"
#include "lib/base/mem.h"
#include "lib/base/options.h"
#include "lib/base/text.h"
#include "lib/rpc/rpc.h"
#include "lib/wire/wire.h"

struct ask_opts {
    const char *target, *server_name, *root_file, *token_file, *node_id, *namespace_, *account, *type, *names, *error;
    int64_t count, wait_ms;
    bool proxy_config, ack, no_node;
};

#define OFF(f) offsetof(struct ask_opts, f)
static const struct option_def options[] = {
    {.type = OPTION_STRING, .name = "target", .offset = OFF(target), .arg = "IP:PORT", .help = "server", .required = true},
    {.type = OPTION_STRING,
     .name = "server-name",
     .offset = OFF(server_name),
     .arg = "NAME",
     .help = "name in its certificate"},
    {.type = OPTION_STRING,
     .name = "root-file",
     .offset = OFF(root_file),
     .arg = "FILE",
     .help = "trust roots; without: plaintext"},
    {.type = OPTION_STRING, .name = "token-file", .offset = OFF(token_file), .arg = "FILE", .help = "bearer token"},
    {.type = OPTION_STRING,
     .name = "node-id",
     .offset = OFF(node_id),
     .def = "sidecar~10.0.0.5~asker.istio-system~istio-system.svc.cluster.local",
     .arg = "ID",
     .help = "node id"},
    {.type = OPTION_BOOL, .name = "no-node", .offset = OFF(no_node), .def = "false", .help = "leave the node out"},
    {.type = OPTION_STRING, .name = "namespace", .offset = OFF(namespace_), .arg = "NS", .help = "metadata NAMESPACE"},
    {.type = OPTION_STRING, .name = "account", .offset = OFF(account), .arg = "NAME", .help = "metadata SERVICE_ACCOUNT"},
    {.type = OPTION_BOOL,
     .name = "proxy-config",
     .offset = OFF(proxy_config),
     .def = "false",
     .help = "metadata PROXY_CONFIG"},
    {.type = OPTION_STRING, .name = "type", .offset = OFF(type), .def = "istio.io/debug", .arg = "URL", .help = "type URL"},
    {.type = OPTION_STRING, .name = "names", .offset = OFF(names), .arg = "A,B", .help = "resource names"},
    {.type = OPTION_STRING,
     .name = "error",
     .offset = OFF(error),
     .arg = "TEXT",
     .help = "answer the first response with this rejection"},
    {.type = OPTION_BOOL, .name = "ack", .offset = OFF(ack), .def = "false", .help = "acknowledge the first response"},
    {.type = OPTION_INT,
     .name = "count",
     .offset = OFF(count),
     .def = "1",
     .arg = "N",
     .help = "answers to wait for",
     .min = 0,
     .max = 100},
    {.type = OPTION_DURATION,
     .name = "wait",
     .offset = OFF(wait_ms),
     .def = "3s",
     .arg = "D",
     .help = "longest silence",
     .min = 1,
     .max = 600000},
    {0},
};

struct ask {
    struct ask_opts o;
    struct loop *loop;
    struct rpc_stream *stream;
    struct timer timer;
    int64_t answers;
};

static void field(Meshgate__Xds__Struct *s, size_t *n, char *key, Meshgate__Xds__Value *v) {
    s->fields = mem_grow(s->fields, sizeof(void *) * (*n + 1));
    Meshgate__Xds__FieldsEntry *e = mem_alloc(sizeof *e);
    meshgate__xds__fields_entry__init(e);
    e->key = key;
    e->value = v;
    s->fields[(*n)++] = e;
    s->n_fields = *n;
}

static Meshgate__Xds__Value *value_text(const char *text) {
    Meshgate__Xds__Value *v = mem_alloc(sizeof *v);
    meshgate__xds__value__init(v);
    v->kind_case = MESHGATE__XDS__VALUE__KIND_STRING_VALUE;
    v->string_value = mem_dup(text);
    return v;
}

static Meshgate__Xds__Value *value_empty_struct(void) {
    Meshgate__Xds__Value *v = mem_alloc(sizeof *v);
    meshgate__xds__value__init(v);
    v->kind_case = MESHGATE__XDS__VALUE__KIND_STRUCT_VALUE;
    v->struct_value = mem_alloc(sizeof *v->struct_value);
    meshgate__xds__struct__init(v->struct_value);
    return v;
}

/* One process, one conversation: what is allocated for requests lives as long as it. */
static Meshgate__Xds__Node *node(const struct ask_opts *o) {
    Meshgate__Xds__Node *n = mem_alloc(sizeof *n);
    meshgate__xds__node__init(n);
    n->id = mem_dup(o->node_id);
    n->metadata = mem_alloc(sizeof *n->metadata);
    meshgate__xds__struct__init(n->metadata);
    size_t count = 0;
    if (o->namespace_) {
        field(n->metadata, &count, mem_dup("NAMESPACE"), value_text(o->namespace_));
    }
    if (o->account) {
        field(n->metadata, &count, mem_dup("SERVICE_ACCOUNT"), value_text(o->account));
    }
    if (o->proxy_config) {
        field(n->metadata, &count, mem_dup("PROXY_CONFIG"), value_empty_struct());
    }
    return n;
}

static void ask_send(struct ask *a, const char *nonce, const char *version, const char *error) {
    Meshgate__Xds__DiscoveryRequest r = MESHGATE__XDS__DISCOVERY_REQUEST__INIT;
    bool first = nonce == NULL;
    r.node = first && !a->o.no_node ? node(&a->o) : NULL;
    r.type_url = mem_dup(a->o.type);
    r.response_nonce = mem_dup(nonce ? nonce : "");
    r.version_info = mem_dup(version ? version : "");
    char *names = mem_dup(a->o.names), *save = NULL;
    for (char *t = names ? strtok_r(names, ",", &save) : NULL; t; t = strtok_r(NULL, ",", &save)) {
        r.resource_names = mem_grow(r.resource_names, sizeof(char *) * (r.n_resource_names + 1));
        r.resource_names[r.n_resource_names++] = t;
    }
    Meshgate__Xds__Status status = MESHGATE__XDS__STATUS__INIT;
    if (error) {
        status.code = 13;
        status.message = mem_dup(error);
        r.error_detail = &status;
    }
    struct buf b;
    buf_init(&b, WIRE_MAX_MESSAGE);
    wire_pack(&r.base, &b);
    if (!rpc_stream_send(a->stream, b.p, b.len)) {
        fprintf(stderr, "xds-ask: the request was not taken\n");
    }
    buf_done(&b);
}

static void print(json_t *o) {
    char *text = json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS);
    puts(text ? text : "{}");
    fflush(stdout);
    free(text);
    json_decref(o);
}

static json_t *resource(const Meshgate__Xds__Any *any) {
    json_t *r = json_pack("{s:s, s:I}", "type_url", any->type_url, "bytes", (json_int_t)any->value.len);
    const char *p = (const char *)any->value.data;
    json_t *body = any->value.len ? json_loadb(p, any->value.len, JSON_DECODE_ANY, NULL) : NULL;
    if (body) {
        json_object_set_new(r, "json", body);
    } else if (any->value.len < 4096 && text_is_clean(p, any->value.len)) {
        json_object_set_new(r, "text", json_stringn(p, any->value.len));
    }
    return r;
}

static void quiet(void *ctx) {
    struct ask *a = ctx;
    print(json_pack("{s:b}", "silent", 1));
    rpc_stream_close(a->stream);
    loop_stop(a->loop);
}

static void on_message(void *ctx, const struct piece *pieces, size_t n, size_t bytes) {
    struct ask *a = ctx;
    uint8_t *flat = mem_alloc(bytes + 1);
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        memcpy(flat + at, pieces[i].p, pieces[i].len);
        at += pieces[i].len;
    }
    Meshgate__Xds__DiscoveryResponse *m = meshgate__xds__discovery_response__unpack(NULL, bytes, flat);
    free(flat);
    if (!m) {
        print(json_pack("{s:I}", "undecodable", (json_int_t)bytes));
        return;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < m->n_resources; i++) {
        json_array_append_new(list, resource(m->resources[i]));
    }
    json_t *o = json_pack("{s:s, s:s, s:s, s:b, s:o}", "type", m->type_url, "version", m->version_info, "nonce", m->nonce,
                          "identifier", m->control_plane != NULL, "resources", list);
    print(o);
    timer_set(loop_sched(a->loop), &a->timer, sched_now(loop_sched(a->loop)) + a->o.wait_ms, quiet, a);
    if (++a->answers == 1 && (a->o.ack || a->o.error)) {
        ask_send(a, m->nonce, a->o.error ? "" : m->version_info, a->o.error);
    } else if (a->answers >= a->o.count) {
        rpc_stream_close(a->stream);
        timer_cancel(loop_sched(a->loop), &a->timer);
        loop_stop(a->loop);
    } else {
        ask_send(a, "", "", NULL);
    }
    meshgate__xds__discovery_response__free_unpacked(m, NULL);
}

static void on_end(void *ctx, int status, const char *text) {
    struct ask *a = ctx;
    print(json_pack("{s:i, s:s}", "end", status, "text", text ? text : ""));
    timer_cancel(loop_sched(a->loop), &a->timer);
    loop_stop(a->loop);
}

static char *read_file(const char *path) {
    char *text = NULL;
    size_t len;
    struct err err;
    if (path && !text_read_file(path, 1 << 20, &text, &len, &err)) {
        fprintf(stderr, "xds-ask: %s\n", err.text);
        exit(1);
    }
    while (text && len && (text[len - 1] == '\n' || text[len - 1] == ' ')) {
        text[--len] = '\0';
    }
    return text;
}

int main(int argc, char **argv) {
    struct ask a = {0};
    struct err err = {0};
    size_t n_args;
    enum options_result got = options_parse(options, &a.o, argc, argv, NULL, 0, &n_args, &err);
    if (got != OPTIONS_OK) {
        options_help(options, "xds-ask --target IP:PORT [flags]", "One conversation with an xDS server as JSON lines.", 2);
        fprintf(stderr, "%s\n", err.text);
        return 2;
    }
    a.loop = loop_new();
    struct rpc *rpc = rpc_new(a.loop);
    char *root = read_file(a.o.root_file), *token = read_file(a.o.token_file);
    char *bearer = token ? mem_printf("Bearer %s", token) : NULL;
    struct rpc_channel *c = rpc_channel_new(
        rpc, &(struct rpc_channel_opts){
                 .target = a.o.target, .server_name = a.o.server_name, .root_pem = root, .max_receive_bytes = 64 << 20});
    struct rpc_header headers[] = {{"authorization", bearer}};
    static const struct rpc_stream_ops ops = {.message = on_message, .end = on_end};
    a.stream = rpc_stream_open(c, "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources",
                               headers, bearer ? 1 : 0, 5000, &ops, &a);
    ask_send(&a, NULL, NULL, NULL);
    timer_set(loop_sched(a.loop), &a.timer, sched_now(loop_sched(a.loop)) + a.o.wait_ms, quiet, &a);
    loop_run(a.loop);
    rpc_channel_free(c);
    rpc_free(rpc);
    loop_free(a.loop);
    free(bearer);
    free(token);
    free(root);
    return 0;
}
