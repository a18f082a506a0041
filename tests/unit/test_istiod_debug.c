#include "probes/istiod_debug.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const char connections[] =
    "{\"totalClients\":3,\"clients\":["
    "{\"connectionId\":\"app-0-7d9c6b8f5d-00000.ns-0-408\",\"connectedAt\":\"2026-11-23T06:06:51.022876542Z\",\"address\":"
    "\"10.244.100.1:3297\"},"
    "{\"connectionId\":\"web.real-canary-2\",\"connectedAt\":\"2026-11-23T06:06:52Z\",\"address\":\"[fd00::1]:44856\","
    "\"extra\":[{}]},"
    "{\"connectionId\":\"agent.istio-system-415\",\"connectedAt\":\"2026-11-23T06:06:52.955969642Z\",\"address\":\"10.245."
    "0.20:1\"}"
    "]}\n";

static const char syncz[] =
    "[{\"cluster_id\":\"Kubernetes\",\"proxy\":\"app-0.ns-1\",\"proxy_type\":\"sidecar\",\"istio_version\":\"1.30.3\","
    "\"cluster_sent\":\"2026-11-23T04:56:41Z/445afce7e-7165-4d0b-aca4-eddaea20558a\",\"resources\":{"
    "\"type.googleapis.com/envoy.config.cluster.v3.Cluster\":{\"sent\":\"2026-11-23T04:56:41Z/445afce7e-7165-4d0b-aca4-"
    "eddaea20558a\",\"acked\":\"2026-11-23T04:56:41Z/"
    "445afce7e-7165-4d0b-aca4-eddaea20558a\",\"sentTime\":\"2026-11-23T04:56:56."
    "454959518Z\"},"
    "\"type.googleapis.com/envoy.config.listener.v3.Listener\":{\"sent\":\"2026-11-23T04:56:42Z/5073e1749-87a2-4872-8ddb-"
    "4a88c044a086\",\"acked\":\"\",\"sentTime\":\"2026-11-23T04:56:56Z\",\"lastError\":\"Error adding \\\"l\\\" ]}\\n[ "
    "\\\\\"},"
    "\"type.googleapis.com/istio.mesh.v1alpha1.ProxyConfig\":{\"sentTime\":\"0001-01-01T00:00:00Z\"}}},"
    "{\"cluster_id\":\"Kubernetes\",\"proxy\":\"reader.istio-system\",\"proxy_type\":\"sidecar\"},"
    "{\"proxy\":\"old.ns-2\",\"cluster_sent\":\"n1\",\"cluster_acked\":\"n1\",\"listener_sent\":\"n2\"}]";

struct seen {
    char text[4096];
    size_t len;
};

static void add(struct seen *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add(struct seen *s, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    s->len += (size_t)vsnprintf(s->text + s->len, sizeof(s->text) - s->len, fmt, ap);
    va_end(ap);
    assert_true(s->len < sizeof(s->text));
}

static void on_connection(void *ctx, const struct conn_seen *c) {
    add(ctx, "%s %s %lld %s\n", c->id, c->connection, (long long)c->connected_at_ms, c->address);
}

static void on_sync(void *ctx, const struct sync_seen *s) {
    add(ctx, "%s %s %s %s %d\n", s->id, s->proxy_type, s->istio_version, s->cluster, s->has_types);
    for (size_t i = 0; i < s->n_types; i++) {
        const struct type_seen *t = &s->types[i];
        add(ctx, " %s %.24s %.24s %lld %s\n", xds_type_name(t->type), t->sent, t->acked, (long long)t->sent_at_ms,
            t->error ? t->error : "-");
    }
}

static const char connections_want[] =
    "app-0-7d9c6b8f5d-00000.ns-0 app-0-7d9c6b8f5d-00000.ns-0-408 1795414011022 10.244.100.1\n"
    "web.real-canary web.real-canary-2 1795414012000 fd00::1\n"
    "agent.istio-system agent.istio-system-415 1795414012955 10.245.0.20\n";
static const char syncz_want[] = "app-0.ns-1 sidecar 1.30.3 Kubernetes 1\n"
                                 " CDS 2026-11-23T04:56:41Z/445 2026-11-23T04:56:41Z/445 1795409816454 -\n"
                                 " LDS 2026-11-23T04:56:42Z/507  1795409816000 Error adding \"l\" ]}\n[ \\\n"
                                 " PCDS   0 -\n"
                                 "reader.istio-system sidecar  Kubernetes 0\n"
                                 "old.ns-2    1\n"
                                 " CDS n1 n1 0 -\n"
                                 " LDS n2  0 -\n";

static int64_t read_connections(const struct piece *p, size_t n, struct seen *s, struct err *err) {
    *s = (struct seen){0};
    return istiod_connections(p, n, on_connection, s, err);
}

static int64_t read_syncz(const struct piece *p, size_t n, struct seen *s, struct err *err) {
    *s = (struct seen){0};
    return istiod_syncz(p, n, on_sync, s, err);
}

/* A piece of its own memory, so that a read past its end is seen. */
static struct piece piece_of(const char *p, size_t n) {
    uint8_t *copy = malloc(n > 0 ? n : 1);
    assert_non_null(copy);
    memcpy(copy, p, n);
    return (struct piece){copy, n};
}

typedef int64_t (*read_fn)(const struct piece *p, size_t n, struct seen *s, struct err *err);

static void cut_everywhere(read_fn read, const char *text, const char *want) {
    size_t len = strlen(text);
    struct seen s;
    for (size_t at = 0; at <= len; at++) {
        struct piece p[3] = {piece_of(text, at), piece_of("", 0), piece_of(text + at, len - at)};
        assert_int_equal(read(p, 3, &s, NULL), 3);
        assert_string_equal(s.text, want);
        for (int i = 0; i < 3; i++) {
            free((void *)(uintptr_t)p[i].p);
        }
    }
    struct piece *bytes = calloc(len, sizeof(*bytes));
    assert_non_null(bytes);
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (struct piece){(const uint8_t *)text + i, 1};
    }
    assert_int_equal(read(bytes, len, &s, NULL), 3);
    assert_string_equal(s.text, want);
    free(bytes);
}

static void truncate_everywhere(read_fn read, const char *text, size_t whole) {
    for (size_t n = 0; n < whole; n++) {
        struct piece p = piece_of(text, n);
        struct seen s;
        struct err err = {0};
        assert_int_equal(read(&p, 1, &s, &err), -1);
        assert_int_equal(err.code, ERR_PROTOCOL);
        free((void *)(uintptr_t)p.p);
    }
}

static void test_cuts(void **state) {
    (void)state;
    cut_everywhere(read_connections, connections, connections_want);
    cut_everywhere(read_syncz, syncz, syncz_want);
}

static void test_truncation(void **state) {
    (void)state;
    truncate_everywhere(read_connections, connections, strlen(connections) - 1); /* the newline may lack */
    truncate_everywhere(read_syncz, syncz, strlen(syncz));
}

struct bad {
    const char *text;
    enum err_code code;
    const char *says;
};

static void refuse_all(read_fn read, const struct bad *rows, size_t n) {
    for (size_t i = 0; i < n; i++) {
        struct piece p = {(const uint8_t *)rows[i].text, strlen(rows[i].text)};
        struct seen s;
        struct err err = {0};
        int64_t got = read(&p, 1, &s, &err);
        if (got != -1 || err.code != rows[i].code || strstr(err.text, rows[i].says) == NULL) {
            fail_msg("%s: %lld, %s '%s'", rows[i].text, (long long)got, err_code_name(err.code), err.text);
        }
    }
}

static void test_refused(void **state) {
    (void)state;
    static const struct bad either[] = {
        {"404 page not found\n", ERR_DENIED, "404 page not found"},
        {"Proxy not connected to this Pilot instance. It may be connected to another instance.", ERR_DENIED,
         "not connected"},
        {"\x01\x02", ERR_PROTOCOL, "not JSON"},
        {"", ERR_PROTOCOL, "empty"},
        {"\n", ERR_PROTOCOL, "empty"},
    };
    static const struct bad sync[] = {
        {"[]x", ERR_PROTOCOL, "goes on"},
        {"[][]", ERR_PROTOCOL, "goes on"},
        {"{}", ERR_PROTOCOL, "no '['"},
        {"[1]", ERR_PROTOCOL, "not a JSON object"},
        {"[{},]", ERR_PROTOCOL, "names no proxy"},
        {"[{\"proxy\":\"a\"},]", ERR_PROTOCOL, "instead of a value"},
        {"[{\"proxy\":\"a\"}{\"proxy\":\"b\"}]", ERR_PROTOCOL, "no ','"},
        {"[{\"proxy\":\"a\",\"proxy\":\"b\"}]", ERR_PROTOCOL, "entry 0"},
        {"[{\"proxy\":\"a\"]]", ERR_PROTOCOL, "not a JSON object"},
        {"[{\"proxy\":\"a\",\"resources\":{\"x\":{\"sentTime\":\"yesterday\"}}}]", ERR_PROTOCOL, "not a time"},
        {"[{\"proxy\" \"a\"}]", ERR_PROTOCOL, "entry 0 at byte 1 of the answer is not a JSON object: no ':' at byte 9"},
        {"[{\"proxy\":\"a\" \"cluster_id\":\"b\"}]", ERR_PROTOCOL, "no ',' at byte 13"},
        {"[{\"proxy\":\"a\",}]", ERR_PROTOCOL, "not a JSON object: no value"},
        {"[{\"proxy\":a}]", ERR_PROTOCOL, "not a JSON object"},
        {"[{\"proxy\":\"a\",\"x\":tru}]", ERR_PROTOCOL, "not a JSON object: a bare word"},
        {"[{\"proxy\":\"a\nb\"}]", ERR_PROTOCOL, "a control character"},
        {"[{\"proxy\":\"a\",\"x\":\"\x80\"}]", ERR_PROTOCOL, "no UTF-8"},
        {"[{\"proxy\":\"a\",\"x\":[{]}}]", ERR_PROTOCOL, "not a JSON object"},
        {"[{\"proxy\":5}]", ERR_PROTOCOL, "names no proxy"},
        {"[{\"proxy\":\"a\",\"resources\":{\"x\":{\"sent\":\"1\",\"sent\":\"2\"}}}]", ERR_PROTOCOL, "\"sent\" twice"},
        {"[{\"proxy\":\"a\",\"resources\":{\"type.googleapis.com/istio.workload.Address\":{},"
         "\"type.googleapis.com/istio.workload.Workload\":{},\"type.googleapis.com/istio.workload.Workload\":{}}}]",
         ERR_PROTOCOL, "WDS of a twice"},
    };
    static const struct bad conn[] = {
        {"[]", ERR_PROTOCOL, "no '{'"},
        {"{}", ERR_PROTOCOL, "no '\"'"},
        {"{\"totalClients\":2,\"clients\":[]}", ERR_PROTOCOL, "says 2 clients and lists 0"},
        {"{\"totalClients\":\"x\"}", ERR_PROTOCOL, "not a number"},
        {"{\"totalClients\":1,\"clients\":[{\"address\":\"1\"}]}", ERR_PROTOCOL, "connectionId"},
        {"{\"totalClients\":1,\"clients\":[{\"connectionId\":\"a-1\",\"connectedAt\":\"x\"}]}", ERR_PROTOCOL, "not a time"},
        {"{\"totalClients\":0,\"clients\":null}", ERR_PROTOCOL, "no '['"},
        {"{\"totalClients\":1,\"clients\":[{\"connectionId\":\"a-1\",\"address\":\"1\",\"address\":\"2\"}]}", ERR_PROTOCOL,
         "\"address\" twice"},
        {"{\"totalClients\":1,\"clients\":[{\"connectionId\":\"a-1\",\"address\" \"1\"}]}", ERR_PROTOCOL,
         "not a JSON object"},
    };
    refuse_all(read_syncz, either, sizeof(either) / sizeof(either[0]));
    refuse_all(read_connections, either, sizeof(either) / sizeof(either[0]));
    refuse_all(read_syncz, sync, sizeof(sync) / sizeof(sync[0]));
    refuse_all(read_connections, conn, sizeof(conn) / sizeof(conn[0]));
}

static void test_empty(void **state) {
    (void)state;
    struct seen s;
    struct piece none = {(const uint8_t *)"[]\n", 3}, zero = {(const uint8_t *)"{\"totalClients\":0}", 18};
    assert_int_equal(read_syncz(&none, 1, &s, NULL), 0);
    assert_int_equal(read_connections(&zero, 1, &s, NULL), 0);
}

/* A proxy chooses the text of its rejection: NUL ends it, it does not spoil the answer. */
static void test_nul_in_error(void **state) {
    (void)state;
    static const char text[] = "[{\"proxy\":\"a.b\",\"resources\":{\"x\":{\"sent\":\"1\",\"lastError\":\"bad\\u0000x\"}}}]";
    struct piece p = {(const uint8_t *)text, sizeof(text) - 1};
    struct seen s;
    assert_int_equal(read_syncz(&p, 1, &s, NULL), 1);
    assert_string_equal(s.text, "a.b    1\n OTHER 1  0 bad\n");
}

static void test_large_element(void **state) {
    (void)state;
    size_t len = 1100 * 1000;
    char *text = malloc(len + 32);
    assert_non_null(text);
    int n = sprintf(text, "[{\"proxy\":\"");
    memset(text + n, 'a', len);
    strcpy(text + n + len, "\"}]");
    struct piece p = {(const uint8_t *)text, (size_t)n + len + 3};
    struct seen s;
    struct err err = {0};
    assert_int_equal(read_syncz(&p, 1, &s, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
    free(text);
}

struct counts {
    size_t types, errors;
};

static void count_types(void *ctx, const struct sync_seen *s) {
    struct counts *c = ctx;
    c->types = s->n_types;
    for (size_t i = 0; i < s->n_types; i++) {
        c->errors += s->types[i].error != NULL;
    }
}

/* More types than there is room for: what is wrong is kept, whatever its place. */
static void test_many_types(void **state) {
    (void)state;
    char text[8192];
    int n = sprintf(text, "[{\"proxy\":\"a.b\",\"resources\":{");
    for (int i = 0; i < 40; i++) {
        n += sprintf(text + n, "%s\"t%d\":{\"sent\":\"s\",\"acked\":\"s\"%s}", i > 0 ? "," : "", i,
                     i >= 37 ? ",\"lastError\":\"no\"" : "");
    }
    n += sprintf(text + n, "}}]");
    struct piece p = {(const uint8_t *)text, (size_t)n};
    struct counts c = {0};
    assert_int_equal(istiod_syncz(&p, 1, count_types, &c, NULL), 1);
    assert_int_equal(c.types, 24);
    assert_int_equal(c.errors, 3);
}

static void test_names(void **state) {
    (void)state;
    assert_int_equal(xds_type_of_url("type.googleapis.com/envoy.config.route.v3.RouteConfiguration"), XDS_RDS);
    assert_int_equal(xds_type_of_url("type.googleapis.com/istio.workload.Workload"), XDS_WDS);
    assert_int_equal(xds_type_of_url(""), XDS_OTHER);
    for (int t = 0; t < XDS_TYPES; t++) {
        assert_true(xds_type_name((enum xds_type)t)[0] != '\0');
    }
    char out[64];
    istiod_nonce_version("2026-11-23T04:56:41Z/445afce7e-7165-4d0b-aca4-eddaea20558a", out, sizeof(out));
    assert_string_equal(out, "2026-11-23T04:56:41Z/4");
    istiod_nonce_version("45afce7e-7165-4d0b-aca4-eddaea20558a", out, sizeof(out));
    assert_string_equal(out, "");
    istiod_nonce_version("", out, sizeof(out));
    assert_string_equal(out, "");
    istiod_nonce_version("2026-11-23T04:56:41Z/445afce7e-7165-4d0b-aca4-eddaea20558a", out, 22);
    assert_string_equal(out, "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cuts),       cmocka_unit_test(test_truncation),   cmocka_unit_test(test_refused),
        cmocka_unit_test(test_empty),      cmocka_unit_test(test_nul_in_error), cmocka_unit_test(test_large_element),
        cmocka_unit_test(test_many_types), cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
