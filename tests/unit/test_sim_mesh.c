#define _GNU_SOURCE /* memmem */
/* The embedded mesh's files and answers: /proc trees as the agent reads them, the injector's patch, pushes on the xDS port.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../lib/base/json.h"
#include "../../lib/base/mem.h"
#include "../../lib/base/vclock.h"
#include "../../lib/wire/wire.h"
#include "../../probes/socket.h"
#include "../sim/ads.h"
#include "../sim/inject.h"
#include "../sim/pki.h"
#include "../sim/procfs.h"
#include "cmocka_all.h"

/* --- /proc --- */

static void tell(void *ctx, const struct dial_seen *d) {
    json_object_set_new(ctx, d->pod_uid,
                        json_sprintf("%s %s %u", d->remote[0] ? d->pod_ip : "", d->remote, d->connections));
}

static void compare(const char *dir, struct world *w, const char *node) {
    json_t *want = json_object(), *have = json_object();
    struct err err = {0};
    char *root = mem_printf("%s/%s", dir, node);
    int64_t n = world_scan(w, node, tell, want);
    assert_int_equal(socket_scan(root, 15012, tell, have, &err), n);
    const char *uid;
    json_t *v;
    json_object_foreach(want, uid, v) {
        /* Without a connection there is no address to compare. */
        const char *a = json_string_value(v), *b = json_string_value(json_object_get(have, uid));
        assert_non_null(b);
        assert_string_equal(a, b);
    }
    json_decref(want);
    json_decref(have);
    free(root);
}

static void proc_trees(void **state) {
    (void)state;
    char dir[] = "/tmp/meshgate-proc-XXXXXX";
    assert_non_null(mkdtemp(dir));
    struct err err = {0};
    struct vclock *clock = vclock_new(1795420800000);
    struct sched *sched = vclock_sched(clock);
    struct store *s = store_new(sched);
    struct world_opts opts = {.nodes = 2,
                              .namespaces = 3,
                              .pods = 12,
                              .replicas = 1,
                              .seed = 1,
                              .pod_net = "127.44",
                              .istiod_net = "127.45",
                              .service_net = "127.46"};
    struct world *w = world_new(&opts, s, sched);
    char *nodes[] = {(char[]){"node-01"}, (char[]){"node-02"}, NULL};
    struct procfs *p = procfs_new(dir, w, nodes, &err);
    assert_non_null(p);
    compare(dir, w, "node-01");
    compare(dir, w, "node-02");
    static const char *const actions[] = {"delete pod app-01/web-*", "istiod old/0 kill", "istiod old/0 start"};
    for (size_t i = 0; i < 3; i++) {
        assert_true(world_action(w, actions[i], &err));
        for (int k = 0; k < 20; k++) {
            vclock_run_until(clock, sched_now(sched) + 1500);
            procfs_update(p);
            compare(dir, w, "node-01");
            compare(dir, w, "node-02");
        }
    }
    assert_true(world_action(w, "delete pod app-02/web-*", &err));
    procfs_free(p);
    world_free(w);
    store_free(s);
    vclock_free(clock);
    char *remove = mem_printf("rm -rf %s", dir);
    assert_int_equal(system(remove), 0);
    free(remove);
}

/* --- the injector --- */

#define REVIEW(pod) "{\"request\":{\"uid\":\"u\",\"namespace\":\"shop\",\"object\":" pod "}}"

static json_t *inject(const char *review) {
    struct err err = {0};
    char *text = inject_answer(review, strlen(review), "canary", "1.30.3");
    assert_non_null(text);
    json_t *o = js_parse(text, strlen(text), 1 << 20, &err);
    free(text);
    return o;
}

static void injection(void **state) {
    (void)state;
    struct err err = {0};
    json_t *o =
        inject(REVIEW("{\"metadata\":{\"labels\":{\"app\":\"web\"}},\"spec\":{\"containers\":[{\"name\":\"web\"}]}}"));
    assert_string_equal(js_text(o, "response", "uid", NULL), "u");
    assert_true(js_bool(o, false, "response", "allowed", NULL));
    char *text = pki_unbase64(js_text(o, "response", "patch", NULL));
    json_t *patch = js_parse(text, strlen(text), 1 << 20, &err);
    assert_int_equal(json_array_size(patch), 3);
    json_t *annotations = json_array_get(patch, 0), *labels = json_array_get(patch, 1);
    assert_string_equal(js_text(annotations, "op", NULL), "add");
    assert_string_equal(js_text(annotations, "path", NULL), "/metadata/annotations");
    assert_string_equal(js_text(annotations, "value", "istio.io/rev", NULL), "canary");
    assert_non_null(strstr(js_text(annotations, "value", "sidecar.istio.io/status", NULL), "\"revision\":\"canary\""));
    assert_string_equal(js_text(labels, "op", NULL), "replace");
    assert_string_equal(js_text(labels, "value", "security.istio.io/tlsMode", NULL), "istio");
    assert_non_null(strstr(text, "istio-proxy"));
    free(text);
    json_decref(patch);
    json_decref(o);
    o = inject(REVIEW("{\"metadata\":{\"labels\":{\"sidecar.istio.io/inject\":\"false\"}},\"spec\":{\"containers\":[]}}"));
    assert_true(js_bool(o, false, "response", "allowed", NULL));
    assert_null(js_str(o, "response", "patch", NULL));
    json_decref(o);
    assert_null(inject_answer("{", 1, "canary", "1.30.3"));
    assert_null(inject_answer("{\"request\":{}}", 14, "canary", "1.30.3"));
}

/* --- xDS --- */

#define LDS "type.googleapis.com/envoy.config.listener.v3.Listener"
#define PATIENCE_MS 20000

struct xds {
    struct loop *loop;
    struct istiod *istiod;
    struct ads *ads;
    bool frozen;
    int messages, ended, status;
    char text[200];
    struct buf last;
    struct timer deadline;
};

static struct istiod *istiod_of(void *ctx) {
    return ((struct xds *)ctx)->istiod;
}

static bool is_frozen(void *ctx) {
    return ((struct xds *)ctx)->frozen;
}

static void authenticate(void *ctx, const char *token, struct ads_auth *a) {
    (void)ctx;
    ads_authenticated(a, strcmp(token, "good") ? NULL : "istio-system", "reader");
}

static void on_message(void *ctx, const struct piece *pieces, size_t n, size_t bytes) {
    struct xds *x = ctx;
    (void)bytes;
    x->messages++;
    buf_reset(&x->last);
    for (size_t i = 0; i < n; i++) {
        buf_add(&x->last, pieces[i].p, pieces[i].len);
    }
    loop_stop(x->loop);
}

static void on_end(void *ctx, int status, const char *text) {
    struct xds *x = ctx;
    x->ended++;
    x->status = status;
    snprintf(x->text, sizeof x->text, "%s", text);
    loop_stop(x->loop);
}

static void on_deadline(void *ctx) {
    (void)ctx;
    fail_msg("waited too long");
}

static void turn(struct xds *x) {
    struct sched *s = loop_sched(x->loop);
    timer_set(s, &x->deadline, sched_now(s) + PATIENCE_MS, on_deadline, x);
    loop_run(x->loop);
    timer_cancel(s, &x->deadline);
}

static struct rpc_stream *open_stream(struct xds *x, struct rpc_channel *c, const char *token) {
    static const struct rpc_stream_ops ops = {on_message, on_end};
    struct rpc_header h = {"authorization", token};
    return rpc_stream_open(c, "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources", &h, 1,
                           PATIENCE_MS, &ops, x);
}

static void ask(struct rpc_stream *s, const char *node, const char *type, const char *name) {
    struct buf b;
    buf_init(&b, 65536);
    wire_debug_request(&b, node, "istio-system", type, name);
    assert_true(rpc_stream_send(s, b.p, b.len));
    buf_done(&b);
}

static bool last_has(const struct xds *x, const char *text) {
    return memmem(x->last.p, x->last.len, text, strlen(text)) != NULL;
}

static void on_frozen_done(void *ctx) {
    struct xds *x = ctx;
    assert_int_equal(x->messages, 4);
    loop_stop(x->loop);
}

static void pushes(void **state) {
    (void)state;
    static const char node[] = "sidecar~127.0.0.1~a.istio-system~istio-system.svc.cluster.local";
    struct xds x = {.loop = loop_new()};
    struct err err = {0};
    char *cert, *key;
    struct rpc *rpc = rpc_new(x.loop);
    struct pki_ca *ca = pki_ca_new("mesh");
    char *root = pki_ca_cert(ca);
    pki_leaf(ca, NULL, "DNS:istiod-old.istio-system.svc", true, &cert, &key);
    buf_init(&x.last, 1 << 20);
    x.istiod = istiod_new("old", "1.29.6", "istiod-0", loop_sched(x.loop), 1);
    struct ads_opts opts = {.rpc = rpc,
                            .address = "127.48.1.1:15012",
                            .cert_pem = cert,
                            .key_pem = key,
                            .istiod = istiod_of,
                            .frozen = is_frozen,
                            .authenticate = authenticate,
                            .ctx = &x,
                            .pushes = true};
    x.ads = ads_new(&opts, &err);
    assert_non_null(x.ads);
    struct rpc_channel_opts channel = {
        .target = "127.48.1.1:15012", .server_name = "istiod-old.istio-system.svc", .root_pem = root};
    struct rpc_channel *c = rpc_channel_new(rpc, &channel);
    open_stream(&x, c, "Bearer bad");
    turn(&x);
    assert_int_equal(x.status, RPC_UNAUTHENTICATED);
    assert_string_equal(x.text, "authentication failure");
    struct rpc_stream *s = open_stream(&x, c, "Bearer good");
    ask(s, node, LDS, NULL);
    turn(&x);
    assert_true(last_has(&x, "virtualInbound"));
    ads_push(x.ads);
    turn(&x);
    assert_int_equal(x.messages, 2);
    ads_poison(x.ads, true);
    ads_push(x.ads);
    turn(&x);
    assert_true(last_has(&x, "meshgate-test-rejected-by-every-proxy"));
    ask(s, NULL, "istio.io/debug", "syncz");
    turn(&x);
    assert_true(last_has(&x, "\"proxy\":\"a.istio-system\""));
    x.frozen = true;
    ask(s, NULL, "istio.io/debug", "syncz");
    timer_set(loop_sched(x.loop), &x.deadline, sched_now(loop_sched(x.loop)) + 200, on_frozen_done, &x);
    loop_run(x.loop);
    rpc_stream_close(s);
    rpc_channel_free(c);
    ads_free(x.ads);
    rpc_free(rpc);
    istiod_free(x.istiod);
    pki_ca_free(ca);
    buf_done(&x.last);
    loop_free(x.loop);
    free(root);
    free(cert);
    free(key);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(proc_trees), cmocka_unit_test(injection), cmocka_unit_test(pushes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
