#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "lib/base/mem.h"
#include "lib/base/text.h"
#include "lib/wire/wire.h"

/* A report with a bit of everything, changed by the rows below before it is packed. */
struct sample {
    Meshgate__V1__AgentMessage m;
    Meshgate__V1__Hello hello;
    Meshgate__V1__Report report;
    Meshgate__V1__NodeScan scan;
    Meshgate__V1__LocalProxy local, *locals[1];
    Meshgate__V1__ReplicaReading reading, *readings[1];
    Meshgate__V1__ProxyOnReplica proxy, *proxies[1];
    Meshgate__V1__NamespaceAge age, *ages[1];
    Meshgate__V1__Reach reach, *reaches[1];
    char text[WIRE_MAX_TEXT + 8];
};

static char uid[] = "6f1c", id[] = "web-1.shop", node[] = "n1", revision[] = "canary", gone[] = "old-1.shop";
static char *gones[1] = {gone};

static void fill(struct sample *s) {
    meshgate__v1__agent_message__init(&s->m);
    meshgate__v1__hello__init(&s->hello);
    meshgate__v1__report__init(&s->report);
    meshgate__v1__node_scan__init(&s->scan);
    meshgate__v1__local_proxy__init(&s->local);
    meshgate__v1__replica_reading__init(&s->reading);
    meshgate__v1__proxy_on_replica__init(&s->proxy);
    meshgate__v1__namespace_age__init(&s->age);
    meshgate__v1__reach__init(&s->reach);
    s->m.seq = 2;
    s->m.body_case = MESHGATE__V1__AGENT_MESSAGE__BODY_REPORT;
    s->m.report = &s->report;
    s->hello.node = node;
    s->report.scan = &s->scan;
    s->local.pod_uid = uid;
    s->locals[0] = &s->local;
    s->scan.n_changed = 1;
    s->scan.changed = s->locals;
    s->reading.replica = uid;
    s->reading.rejects = 2;
    s->readings[0] = &s->reading;
    s->report.n_replicas = 1;
    s->report.replicas = s->readings;
    s->proxy.id = id;
    s->proxies[0] = &s->proxy;
    s->reading.n_changed = 1;
    s->reading.changed = s->proxies;
    s->reading.n_gone = 1;
    s->reading.gone = gones;
    s->ages[0] = &s->age;
    s->reading.n_namespaces = 1;
    s->reading.namespaces = s->ages;
    s->reach.revision = revision;
    s->reaches[0] = &s->reach;
    s->report.n_reach = 1;
    s->report.reach = s->reaches;
    s->age.name = revision;
}

static struct sample *sample_new(void) {
    struct sample *s = mem_alloc(sizeof *s);
    fill(s);
    return s;
}

static Meshgate__V1__AgentMessage *unpack(const void *p, size_t n, struct err *err) {
    struct piece pieces[2] = {{p, n / 2}, {(const uint8_t *)p + n / 2, n - n / 2}};
    return wire_agent_message(pieces, 2, err);
}

static void there_and_back(void **state) {
    (void)state;
    struct sample *s = sample_new();
    struct buf b;
    buf_init(&b, WIRE_MAX_MESSAGE);
    wire_pack(&s->m.base, &b);
    struct err err = {0};
    Meshgate__V1__AgentMessage *m = unpack(b.p, b.len, &err);
    assert_string_equal(err.text, "");
    assert_int_equal(m->seq, 2);
    assert_string_equal(m->report->scan->changed[0]->pod_uid, "6f1c");
    assert_string_equal(m->report->replicas[0]->changed[0]->id, "web-1.shop");
    assert_string_equal(m->report->replicas[0]->gone[0], "old-1.shop");
    assert_string_equal(m->report->reach[0]->revision, "canary");
    assert_true(m->report->replicas[0]->rejects == 2);
    wire_agent_free(m);
    buf_done(&b);
    free(s);
}

/* What one row does to the sample, and what the refusal says ("" = it is taken). */
struct row {
    void (*change)(struct sample *s);
    const char *says;
};

static void no_seq(struct sample *s) {
    s->m.seq = 0;
}
static void no_body(struct sample *s) {
    s->m.body_case = MESHGATE__V1__AGENT_MESSAGE__BODY__NOT_SET;
}
static void hello_without_node(struct sample *s) {
    static char none[] = "";
    s->m.body_case = MESHGATE__V1__AGENT_MESSAGE__BODY_HELLO;
    s->m.hello = &s->hello;
    s->hello.node = none;
}
static void hello(struct sample *s) {
    s->m.body_case = MESHGATE__V1__AGENT_MESSAGE__BODY_HELLO;
    s->m.hello = &s->hello;
}
static void bad_utf8(struct sample *s) {
    static char bad[] = "a\xff";
    s->local.dials = bad;
}
static void overlong_utf8(struct sample *s) {
    static char bad[] = "a\xc0\x80z";
    s->reading.error = bad;
}
static void long_text(struct sample *s) {
    memset(s->text, 'x', WIRE_MAX_TEXT + 1);
    s->proxy.error = s->text;
}
static void longest_text(struct sample *s) {
    memset(s->text, 'x', WIRE_MAX_TEXT);
    s->proxy.error = s->text;
}
static void unknown_sync(struct sample *s) {
    s->proxy.sync = (Meshgate__V1__Sync)9;
}
static void unknown_status(struct sample *s) {
    s->reading.syncz = (Meshgate__V1__ReadStatus)99;
}
static void negative_status(struct sample *s) {
    s->reading.connections = (Meshgate__V1__ReadStatus)-1;
}
static void rejects_nan(struct sample *s) {
    s->reading.rejects = NAN;
}
static void rejects_negative(struct sample *s) {
    s->reading.rejects = -1;
}
static void time_before_1970(struct sample *s) {
    s->proxy.connected_at_ms = -5;
}
static void far_expiry(struct sample *s) {
    s->local.cert_expiry_s = INT64_MAX;
}
static void far_reach_expiry(struct sample *s) {
    s->reach.cert_expiry_s = INT64_MIN;
}
static void proxy_without_id(struct sample *s) {
    static char none[] = "";
    s->proxy.id = none;
}
static void unchanged(struct sample *s) {
    (void)s;
}

static const struct row rows[] = {
    {unchanged, ""},
    {hello, ""},
    {longest_text, ""},
    {no_seq, "seq is missing"},
    {no_body, "no known body"},
    {hello_without_node, "node of a hello is empty"},
    {bad_utf8, "dials"},
    {overlong_utf8, "error"},
    {long_text, "error"},
    {unknown_sync, "sync has the unknown value 9"},
    {unknown_status, "syncz has the unknown value 99"},
    {negative_status, "connections has the unknown value"},
    {rejects_nan, "rejects"},
    {rejects_negative, "rejects"},
    {time_before_1970, "connected_at_ms"},
    {far_expiry, "cert_expiry_s"},
    {far_reach_expiry, "cert_expiry_s of"},
    {proxy_without_id, "id of a proxy is empty"},
};

static void checks(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sample *s = sample_new();
        rows[i].change(s);
        struct buf b;
        buf_init(&b, WIRE_MAX_MESSAGE);
        wire_pack(&s->m.base, &b);
        struct err err = {0};
        Meshgate__V1__AgentMessage *m = unpack(b.p, b.len, &err);
        if ((m != NULL) != (rows[i].says[0] == '\0') || strstr(err.text, rows[i].says) == NULL) {
            fail_msg("row %zu: '%s' instead of '%s'", i, err.text, rows[i].says);
        }
        wire_agent_free(m);
        buf_done(&b);
        free(s);
    }
}

/* Bytes that no packer of ours makes. */
static void raw_bytes(void **state) {
    (void)state;
    static const struct {
        const char *name, *bytes;
        size_t n;
        bool taken;
    } raw[] = {
        {"seq and hello", "\x08\x01\x12\x04\x12\x02n1", 8, true},
        {"an unknown field is skipped", "\x08\x01\x12\x04\x12\x02n1\xa2\x06\x01x", 12, true},
        {"an unknown body", "\x08\x01\x22\x02zz", 6, false},
        {"NUL in a text", "\x08\x01\x12\x05\x12\x03n\0001", 9, false},
        {"hello twice", "\x08\x01\x12\x04\x12\x02n1\x12\x04\x12\x02n1", 14, false},
        {"hello and report", "\x08\x01\x12\x04\x12\x02n1\x1a\x00", 10, false},
        {"seq twice", "\x08\x01\x08\x02\x12\x04\x12\x02n1", 10, false},
        {"seq as text", "\x0a\x01x\x12\x04\x12\x02n1", 9, false},
        {"bool of 2", "\x08\x01\x12\x06\x12\x02n1\x20\x02", 10, false},
        {"age above 32 bits", "\x08\x01\x1a\x08\x12\x06\x08\xff\xff\xff\xff\x1f", 12, false},
        {"nothing", "", 0, false},
    };
    for (size_t i = 0; i < sizeof raw / sizeof *raw; i++) {
        struct err err = {0};
        Meshgate__V1__AgentMessage *m = unpack(raw[i].bytes, raw[i].n, &err);
        if ((m != NULL) != raw[i].taken) {
            fail_msg("%s: %s", raw[i].name, m != NULL ? "taken" : err.text);
        }
        wire_agent_free(m);
    }
}

static void control_characters_become_spaces(void **state) {
    (void)state;
    struct sample *s = sample_new();
    static char text[] = "line 1\n\x1b[31mred\r\x7f";
    s->proxy.error = text;
    struct buf b;
    buf_init(&b, WIRE_MAX_MESSAGE);
    wire_pack(&s->m.base, &b);
    Meshgate__V1__AgentMessage *m = unpack(b.p, b.len, NULL);
    assert_string_equal(m->report->replicas[0]->changed[0]->error, "line 1\n [31mred  ");
    wire_agent_free(m);
    buf_done(&b);
    free(s);
}

static void too_large(void **state) {
    (void)state;
    size_t n = WIRE_MAX_MESSAGE + 1;
    uint8_t *p = mem_alloc(n);
    struct err err = {0};
    assert_null(unpack(p, n, &err));
    assert_int_equal(err.code, ERR_LIMIT);
    struct piece two[2] = {{p, SIZE_MAX - 5}, {p, 10}};
    assert_null(wire_agent_message(two, 2, &err));
    assert_int_equal(err.code, ERR_LIMIT);
    free(p);
}

/* A megabyte of empty sub-messages would become a quarter of a gigabyte of structs. */
static void amplification_meets_the_budget(void **state) {
    (void)state;
    enum { ENTRIES = 500000 };
    size_t body = 2 * ENTRIES, n = 0;
    uint8_t *p = mem_alloc(body + 16);
    static const uint8_t head[] = {0x08, 0x01, 0x1a};
    memcpy(p, head, 3);
    n = 3;
    for (size_t left = body; left > 0; left >>= 7) {
        p[n++] = (uint8_t)((left & 0x7f) | (left > 0x7f ? 0x80 : 0));
    }
    for (size_t i = 0; i < ENTRIES; i++) {
        p[n++] = 0x22; /* an empty Reach */
        p[n++] = 0x00;
    }
    struct err err = {0};
    assert_null(unpack(p, n, &err));
    assert_non_null(strstr(err.text, "takes more than"));
    free(p);
}

static void truncated_at_every_offset(void **state) {
    (void)state;
    struct sample *s = sample_new();
    struct buf b;
    buf_init(&b, WIRE_MAX_MESSAGE);
    wire_pack(&s->m.base, &b);
    for (size_t n = 0; n < b.len; n++) {
        char *copy = mem_alloc(n + 1);
        memcpy(copy, b.p, n);
        struct err err = {0};
        assert_null(unpack(copy, n, &err));
        assert_int_not_equal(err.code, ERR_NONE);
        free(copy);
    }
    buf_done(&b);
    free(s);
}

static void noise(void **state) {
    (void)state;
    struct sample *s = sample_new();
    struct buf b;
    buf_init(&b, WIRE_MAX_MESSAGE);
    wire_pack(&s->m.base, &b);
    uint64_t seed = 3;
    for (int round = 0; round < 20000; round++) {
        char *copy = mem_alloc(b.len);
        memcpy(copy, b.p, b.len);
        for (int k = 0; k < 2; k++) {
            seed = text_hash(seed, &round, sizeof round);
            copy[seed % b.len] = (char)(seed >> 32);
        }
        wire_agent_free(unpack(copy, b.len, NULL));
        struct piece piece = {(uint8_t *)copy, b.len};
        wire_gate_free(wire_gate_message(&piece, 1, NULL));
        free(copy);
    }
    buf_done(&b);
    free(s);
}

static void gate_messages(void **state) {
    (void)state;
    Meshgate__V1__GateMessage m = MESHGATE__V1__GATE_MESSAGE__INIT;
    Meshgate__V1__Assignment a = MESHGATE__V1__ASSIGNMENT__INIT;
    Meshgate__V1__Assignment__Replica r = MESHGATE__V1__ASSIGNMENT__REPLICA__INIT, *replicas[1] = {&r};
    m.body_case = MESHGATE__V1__GATE_MESSAGE__BODY_ASSIGNMENT;
    m.assignment = &a;
    a.n_replicas = 1;
    a.replicas = replicas;
    r.id = uid;
    r.xds_port = 15012;
    struct buf b;
    buf_init(&b, WIRE_MAX_MESSAGE);
    wire_pack(&m.base, &b);
    struct piece piece = {(uint8_t *)b.p, b.len};
    struct err err = {0};
    Meshgate__V1__GateMessage *got = wire_gate_message(&piece, 1, &err);
    assert_int_equal(got->assignment->replicas[0]->xds_port, 15012);
    wire_gate_free(got);
    r.xds_port = 65536;
    wire_pack(&m.base, &b);
    piece = (struct piece){(uint8_t *)b.p, b.len};
    assert_null(wire_gate_message(&piece, 1, &err));
    assert_non_null(strstr(err.text, "port"));
    assert_null(wire_gate_message(NULL, 0, &err));
    buf_done(&b);
}

static void debug_requests(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 4096);
    wire_debug_request(&b, "sidecar~10.0.0.1~reader.istio-system~istio-system.svc", "istio-system", "istio.io/debug",
                       "connections");
    Meshgate__Xds__DiscoveryRequest *r = meshgate__xds__discovery_request__unpack(NULL, b.len, (uint8_t *)b.p);
    assert_string_equal(r->node->id, "sidecar~10.0.0.1~reader.istio-system~istio-system.svc");
    assert_string_equal(r->node->metadata->fields[0]->key, "NAMESPACE");
    assert_string_equal(r->node->metadata->fields[0]->value->string_value, "istio-system");
    assert_string_equal(r->type_url, "istio.io/debug");
    assert_string_equal(r->resource_names[0], "connections");
    assert_string_equal(r->response_nonce, "");
    meshgate__xds__discovery_request__free_unpacked(r, NULL);
    wire_debug_request(&b, NULL, NULL, "istio.io/debug", NULL);
    r = meshgate__xds__discovery_request__unpack(NULL, b.len, (uint8_t *)b.p);
    assert_null(r->node);
    assert_int_equal(r->n_resource_names, 0);
    meshgate__xds__discovery_request__free_unpacked(r, NULL);
    buf_done(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(checks),
        cmocka_unit_test(raw_bytes),
        cmocka_unit_test(control_characters_become_spaces),
        cmocka_unit_test(too_large),
        cmocka_unit_test(amplification_meets_the_budget),
        cmocka_unit_test(truncated_at_every_offset),
        cmocka_unit_test(noise),
        cmocka_unit_test(gate_messages),
        cmocka_unit_test(debug_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
