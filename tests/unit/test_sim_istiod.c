/* The embedded istiod against recorded answers: same keys in the same order, same rules of nonces and rejections. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "../../lib/base/mem.h"
#include "../../lib/base/text.h"
#include "../../lib/base/vclock.h"
#include "../../probes/istiod_debug.h"
#include "../sim/istiod.h"

#define CDS "type.googleapis.com/envoy.config.cluster.v3.Cluster"
#define LDS "type.googleapis.com/envoy.config.listener.v3.Listener"
#define EDS "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
#define RDS "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
#define PCDS "type.googleapis.com/istio.mesh.v1alpha1.ProxyConfig"
static const char *const four[] = {CDS, EDS, LDS, RDS};

#define NOON 1795436937123

static struct vclock *clock_;
static struct istiod *istiod;

static int setup(void **state) {
    (void)state;
    clock_ = vclock_new(NOON);
    istiod = istiod_new("canary", "1.30.3", "istiod-canary-0", vclock_sched(clock_), 7);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    istiod_free(istiod);
    vclock_free(clock_);
    return 0;
}

static struct istiod_conn *join(const char *pod, const char *ns) {
    char *id = mem_printf("sidecar~10.44.0.1~%s.%s~%s.svc.cluster.local", pod, ns, ns);
    struct istiod_peer p = {.node_id = id, .address = "10.44.0.1:3297", .namespace_ = ns, .istio_version = "1.30.3"};
    struct istiod_conn *c = istiod_connect(istiod, &p, NULL);
    free(id);
    assert_non_null(c);
    return c;
}

/* Subscribe to the four types; acked: answer each. */
static void subscribe(struct istiod_conn *c, bool acked, struct istiod_push last[4]) {
    for (int n = 0; n < 4; n++) {
        struct istiod_push p;
        assert_true(istiod_request(c, four[n], "", NULL, &p));
        assert_string_equal(p.type_url, four[n]);
        if (acked) {
            assert_false(istiod_request(c, four[n], p.nonce, NULL, &p));
        }
        last[n] = p;
    }
}

static json_t *ask(const char *resource) {
    size_t len;
    char *body = istiod_debug(istiod, resource, NULL, &len);
    assert_int_equal(len, strlen(body));
    json_t *o = json_loads(body, JSON_REJECT_DUPLICATES, NULL);
    free(body);
    assert_non_null(o);
    return o;
}

/* Keys in order, nested, as one text: what is compared with a recording. */
static void shape(const json_t *o, char *out, size_t cap) {
    const char *key;
    json_t *v;
    strncat(out, "{", cap - strlen(out) - 1);
    json_object_foreach((json_t *)(uintptr_t)o, key, v) {
        strncat(out, key, cap - strlen(out) - 1);
        if (json_is_object(v)) {
            shape(v, out, cap);
        } else if (strcmp(key, "sentTime") == 0) {
            strncat(out, strncmp(json_string_value(v), "0001-01-01T00:00:00Z", 20) == 0 ? "=never" : "=time",
                    cap - strlen(out) - 1);
        }
        strncat(out, " ", cap - strlen(out) - 1);
    }
    strncat(out, "}", cap - strlen(out) - 1);
}

static json_t *recorded(const char *name) {
    char *path = mem_printf("%s/istiod/%s", TEST_DATA, name);
    json_t *o = json_load_file(path, 0, NULL);
    free(path);
    assert_non_null(o);
    return o;
}

static void same_shape(const json_t *a, const json_t *b) {
    char x[4000] = "", y[4000] = "";
    shape(a, x, sizeof x);
    shape(b, y, sizeof y);
    assert_string_equal(x, y);
}

static void collect(void *ctx, struct istiod_conn *c, const struct istiod_push *p) {
    struct istiod_push **at = ctx;
    (void)c;
    *(*at)++ = *p;
}

static void recorded_shapes(void **state) {
    (void)state;
    json_t *want = recorded("syncz-shapes.json");
    struct istiod_push last[4], p;
    subscribe(join("a-healthy", "ns-1"), true, last);
    subscribe(join("b-stale", "ns-1"), false, last);
    struct istiod_conn *c = join("c-nack", "ns-1");
    for (int n = 0; n < 4; n++) {
        assert_true(istiod_request(c, four[n], "", NULL, &p));
        assert_false(istiod_request(c, four[n], p.nonce, n == 2 ? "Error adding/updating listener(s) <x>" : NULL, &p));
    }
    c = join("d-notsent", "ns-1");
    subscribe(c, true, last);
    istiod_watch_silently(c, PCDS);
    struct istiod_peer reader = {.node_id = "sidecar~10.44.9.9~hazard-0.istio-system~istio-system.svc.cluster.local",
                                 .address = "10.44.9.9:44856",
                                 .namespace_ = "ns-9"};
    assert_non_null(istiod_connect(istiod, &reader, NULL));
    json_t *got = ask("syncz");
    assert_int_equal(json_array_size(got), json_array_size(want));
    for (size_t n = 0; n < json_array_size(want); n++) {
        same_shape(json_array_get(got, n), json_array_get(want, n));
    }
    json_decref(got);
    json_decref(want);
    got = ask("connections");
    want = recorded("connections.json");
    same_shape(json_array_get(json_object_get(got, "clients"), 0), json_array_get(json_object_get(want, "clients"), 0));
    assert_int_equal(json_integer_value(json_object_get(got, "totalClients")), 5);
    json_decref(got);
    json_decref(want);
}

static void versions_and_nonces(void **state) {
    (void)state;
    struct istiod_push last[4], got[8], *at = got;
    struct istiod_conn *c = join("a", "ns-1");
    subscribe(c, false, last);
    assert_string_equal(last[0].version + 20, "/1");
    assert_int_equal(strlen(last[0].nonce), strlen(last[0].version) + 36);
    int64_t when;
    char second[32] = "";
    memcpy(second, last[0].version, 20);
    assert_true(text_rfc3339(second, &when));
    assert_int_equal(when, NOON / 1000 * 1000);
    istiod_push_all(istiod, collect, (void *)&at);
    assert_int_equal(at - got, 4);
    for (int n = 0; n < 4; n++) {
        assert_string_equal(got[n].type_url, four[n]);
        assert_string_equal(got[n].version + 20, "/2");
        assert_string_not_equal(got[n].nonce, last[n].nonce);
    }
    at = got;
    istiod_push_endpoints(istiod, collect, (void *)&at);
    assert_int_equal(at - got, 1);
    assert_string_equal(got[0].type_url, EDS);
    assert_string_equal(got[0].version + 20, "/2");
}

static const char *field(json_t *syncz, size_t n, const char *type, const char *key) {
    return json_string_value(
        json_object_get(json_object_get(json_object_get(json_array_get(syncz, n), "resources"), type), key));
}

static void error_stands_until_the_current_nonce_is_acked(void **state) {
    (void)state;
    struct istiod_push last[4], got[8], *at = got, none;
    struct istiod_conn *c = join("a", "ns-1");
    subscribe(c, false, last);
    assert_false(istiod_request(c, LDS, last[2].nonce, "no such filter", &none));
    istiod_push_all(istiod, collect, (void *)&at);
    json_t *s = ask("syncz");
    assert_string_equal(field(s, 0, LDS, "lastError"), "no such filter");
    assert_string_equal(field(s, 0, LDS, "sent"), got[2].nonce);
    json_decref(s);
    /* an ACK of an older nonce is expired: nothing changes but the counter */
    assert_false(istiod_request(c, LDS, last[2].nonce, NULL, &none));
    s = ask("syncz?namespace=ns-1");
    assert_string_equal(field(s, 0, LDS, "lastError"), "no such filter");
    assert_null(field(s, 0, LDS, "acked"));
    json_decref(s);
    assert_false(istiod_request(c, LDS, got[2].nonce, NULL, &none));
    s = ask("syncz");
    assert_null(field(s, 0, LDS, "lastError"));
    assert_string_equal(field(s, 0, LDS, "acked"), got[2].nonce);
    json_decref(s);
    size_t len;
    char *m = istiod_metrics(istiod, &len);
    assert_non_null(strstr(m, "pilot_total_xds_rejects{type=\"lds\"} 1\n"));
    assert_non_null(strstr(m, "pilot_xds_lds_reject{err=\"Internal\",node=\"a.ns-1\"} 1\n"));
    assert_non_null(strstr(m, "pilot_xds_expired_nonce{type=\"lds\"} 1\n"));
    assert_non_null(strstr(m, "pilot_xds{version=\"1.30.3\"} 1\n"));
    assert_non_null(strstr(m, "pilot_info{version=\"1.30.3-1.30.3-Clean\"} 1\n"));
    assert_non_null(strstr(m, "istio_build{component=\"pilot\",tag=\"1.30.3\"} 1\n"));
    free(m);
}

static void empty_error_leaves_no_trace(void **state) {
    (void)state;
    struct istiod_push last[4], none;
    struct istiod_conn *c = join("a", "ns-1");
    subscribe(c, false, last);
    assert_false(istiod_request(c, LDS, last[2].nonce, "", &none));
    json_t *s = ask("syncz");
    assert_null(field(s, 0, LDS, "lastError"));
    json_decref(s);
}

static void refusals_are_plain_text(void **state) {
    (void)state;
    static const struct {
        const char *resource, *text;
    } cases[] = {
        {"nosuch", "404 page not found\n"},
        {"adsz?proxyID=nobody.ns-1",
         "Proxy not connected to this Pilot instance. It may be connected to another instance.\n"},
        {"syncz?namespace=nosuch", "[]"},
        {"connections", "{\"totalClients\":0}"},
    };
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
        size_t len;
        char *body = istiod_debug(istiod, cases[n].resource, NULL, &len);
        assert_string_equal(body, cases[n].text);
        free(body);
    }
    const char *why = NULL;
    struct istiod_peer p = {.node_id = "sidecar~~a.ns-1~ns-1.svc.cluster.local"};
    assert_null(istiod_connect(istiod, &p, &why));
    assert_string_equal(why, "no valid IP address in the service node id or metadata");
    p.node_id = "a.ns-1";
    assert_null(istiod_connect(istiod, &p, &why));
    assert_string_equal(why, "missing parts in the service node \"a.ns-1\"");
}

static void same_seed_same_answers(void **state) {
    (void)state;
    char *first = NULL;
    for (int round = 0; round < 2; round++) {
        struct vclock *v = vclock_new(NOON);
        struct istiod *i = istiod_new("old", "1.29.6", "p", vclock_sched(v), 42);
        struct istiod_peer p = {.node_id = "sidecar~10.44.0.1~a.n~n.svc.cluster.local", .address = "10.44.0.1:1"};
        struct istiod_push out;
        istiod_request(istiod_connect(i, &p, NULL), CDS, "", NULL, &out);
        size_t len;
        char *body = istiod_debug(i, "syncz", NULL, &len);
        if (first) {
            assert_string_equal(first, body);
        }
        free(first);
        first = body;
        istiod_free(i);
        vclock_free(v);
    }
    free(first);
}

struct read {
    size_t conns, syncs, errors, readers;
};

static void on_conn(void *ctx, const struct conn_seen *c) {
    ((struct read *)ctx)->conns++;
    assert_string_equal(c->address, "10.44.0.1");
    assert_int_equal(c->connected_at_ms, NOON);
}

static void on_sync(void *ctx, const struct sync_seen *s) {
    struct read *r = ctx;
    r->syncs++;
    r->readers += !s->has_types;
    for (size_t n = 0; n < s->n_types; n++) {
        char version[64];
        istiod_nonce_version(s->types[n].sent, version, sizeof version);
        assert_int_equal(strlen(version), 22);
        r->errors += s->types[n].error != NULL;
    }
}

static void our_reader_reads_it(void **state) {
    (void)state;
    struct istiod_push last[4], none;
    for (int n = 0; n < 3; n++) {
        char pod[] = {'p', (char)('0' + n), 0};
        struct istiod_conn *c = join(pod, "ns-1");
        subscribe(c, false, last);
        istiod_request(c, LDS, last[2].nonce, "bad \"quoted\"\n<html> & more", &none);
    }
    join("reader", "ns-2");
    struct read r = {0};
    struct err err;
    struct piece piece;
    char *body = istiod_debug(istiod, "connections", NULL, &piece.len);
    piece.p = (const uint8_t *)body;
    assert_int_equal(istiod_connections(&piece, 1, on_conn, &r, &err), 4);
    free(body);
    body = istiod_debug(istiod, "syncz", NULL, &piece.len);
    piece.p = (const uint8_t *)body;
    assert_int_equal(istiod_syncz(&piece, 1, on_sync, &r, &err), 4);
    free(body);
    assert_int_equal(r.conns, 4);
    assert_int_equal(r.errors, 3);
    assert_int_equal(r.readers, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(recorded_shapes, setup, teardown),
        cmocka_unit_test_setup_teardown(versions_and_nonces, setup, teardown),
        cmocka_unit_test_setup_teardown(error_stands_until_the_current_nonce_is_acked, setup, teardown),
        cmocka_unit_test_setup_teardown(empty_error_leaves_no_trace, setup, teardown),
        cmocka_unit_test_setup_teardown(refusals_are_plain_text, setup, teardown),
        cmocka_unit_test_setup_teardown(our_reader_reads_it, setup, teardown),
        cmocka_unit_test(same_seed_same_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
