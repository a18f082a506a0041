#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "lib/base/mem.h"
#include "lib/base/text.h"
#include "lib/wire/skim.h"
#include "lib/wire/wire.h"

/* A debug answer as istiod packs it. The caller's to free(). */
static uint8_t *make_answer(const char *body, size_t *len) {
    char type[] = "istio.io/debug", version[] = "2026-11-23T06:00:16Z/1", nonce[] = "0123456789abcdef";
    Meshgate__Xds__Any any = MESHGATE__XDS__ANY__INIT, *anys[1] = {&any};
    Meshgate__Xds__DiscoveryResponse r = MESHGATE__XDS__DISCOVERY_RESPONSE__INIT;
    char *copy = mem_dup(body);
    any.type_url = type;
    any.value = (ProtobufCBinaryData){.len = strlen(body), .data = (uint8_t *)copy};
    r.version_info = version;
    r.type_url = type;
    r.nonce = nonce;
    r.n_resources = 1;
    r.resources = anys;
    struct buf b;
    buf_init(&b, 1 << 20);
    wire_pack(&r.base, &b);
    *len = b.len;
    free(copy);
    return (uint8_t *)buf_take(&b);
}

/* All ways to read the same bytes give the same. */
static void expect_answer(const struct piece *pieces, size_t n, const char *body) {
    struct skim_debug d;
    struct err err = {0};
    assert_true(skim_debug_response(pieces, n, &d, &err));
    assert_string_equal(d.type_url, "istio.io/debug");
    assert_string_equal(d.nonce, "0123456789abcdef");
    assert_string_equal(d.version, "2026-11-23T06:00:16Z/1");
    assert_int_equal(d.resources, 1);
    char text[512];
    assert_true(skim_text(&d.body, text, sizeof text));
    assert_string_equal(text, body);
    struct piece out[512];
    size_t count = skim_pieces(&d.body, out, 512), at = 0;
    for (size_t i = 0; i < count; i++) {
        assert_memory_equal(out[i].p, body + at, out[i].len);
        at += out[i].len;
    }
    assert_int_equal(at, strlen(body));
}

static const char sample[] = "{\"totalClients\":1,\"clients\":[{\"connectionId\":\"a.b-1\"}]}";

static void every_cut_into_three(void **state) {
    (void)state;
    size_t len;
    uint8_t *p = make_answer(sample, &len);
    for (size_t a = 0; a <= len; a++) {
        for (size_t b = a; b <= len; b++) {
            struct piece pieces[4] = {{p, a}, {p + a, b - a}, {p + b, 0}, {p + b, len - b}};
            expect_answer(pieces, 4, sample);
        }
    }
    free(p);
}

static void byte_by_byte(void **state) {
    (void)state;
    size_t len;
    uint8_t *p = make_answer(sample, &len);
    struct piece *pieces = mem_alloc(len * sizeof *pieces);
    for (size_t i = 0; i < len; i++) {
        pieces[i] = (struct piece){p + i, 1};
    }
    expect_answer(pieces, len, sample);
    free(pieces);
    free(p);
}

/* A message that ends early is an error unless it ends between two fields. */
static void truncated_at_every_offset(void **state) {
    (void)state;
    size_t len, whole = 0;
    uint8_t *p = make_answer(sample, &len);
    for (size_t n = 0; n < len; n++) {
        uint8_t *copy = mem_alloc(n + 1);
        memcpy(copy, p, n);
        struct piece piece = {copy, n};
        struct skim_debug d;
        struct err err = {0};
        if (skim_debug_response(&piece, 1, &d, &err)) {
            whole++;
        } else {
            assert_int_equal(err.code, ERR_PROTOCOL);
        }
        free(copy);
    }
    /* Empty, after version_info, after the resource, after type_url. */
    assert_int_equal(whole, 4);
    free(p);
}

static void fields_of_all_kinds(void **state) {
    (void)state;
    static const uint8_t bytes[] = {0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, /* 1: varint -1 */
                                    0x15, 1,    2,    3,    4,                                        /* 2: fixed32 */
                                    0x19, 1,    0,    0,    0,    0,    0,    0,    0x80,             /* 3: fixed64 */
                                    0x22, 0,                                                          /* 4: empty bytes */
                                    0xf8, 0xff, 0xff, 0xff, 0x0f, 7};                                 /* highest number */
    struct piece piece = {bytes, sizeof bytes};
    struct skim s;
    struct skim_field f;
    struct err err = {0};
    skim_init(&s, &piece, 1);
    assert_int_equal(skim_next(&s, &f, &err), 1);
    assert_true(f.number == 1 && f.wire == SKIM_VARINT && f.value == UINT64_MAX);
    assert_int_equal(skim_next(&s, &f, &err), 1);
    assert_true(f.number == 2 && f.wire == SKIM_I32 && f.value == 0x04030201);
    assert_int_equal(skim_next(&s, &f, &err), 1);
    assert_true(f.number == 3 && f.wire == SKIM_I64 && f.value == UINT64_C(0x8000000000000001));
    assert_int_equal(skim_next(&s, &f, &err), 1);
    assert_true(f.number == 4 && f.wire == SKIM_BYTES && f.body.left == 0);
    assert_int_equal(skim_next(&s, &f, &err), 1);
    assert_true(f.number == (1u << 29) - 1 && f.value == 7);
    assert_int_equal(skim_next(&s, &f, &err), 0);
    assert_int_equal(skim_next(&s, &f, &err), 0);
}

static void malformed(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint8_t bytes[12];
        size_t n;
    } rows[] = {
        {"field number 0", {0x00, 0x01}, 2},
        {"group start", {0x0b}, 1},
        {"group end", {0x0c}, 1},
        {"wire type 7", {0x0f}, 1},
        {"varint of eleven bytes", {0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00}, 12},
        {"varint above 64 bits", {0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02}, 11},
        {"length beyond the end", {0x0a, 0x02, 'x'}, 3},
        {"length near 2^64", {0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, 11},
        {"tag above 32 bits", {0x88, 0x80, 0x80, 0x80, 0x10, 0x00}, 6},
        {"fixed cut", {0x0d, 1, 2, 3}, 4},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct piece piece = {rows[i].bytes, rows[i].n};
        struct skim s;
        struct skim_field f;
        struct err err = {0};
        skim_init(&s, &piece, 1);
        if (skim_next(&s, &f, &err) != -1 || err.code != ERR_PROTOCOL) {
            fail_msg("%s was taken", rows[i].name);
        }
    }
}

static void text_limits(void **state) {
    (void)state;
    char out[6];
    struct piece piece = {(const uint8_t *)"abcde", 5};
    struct skim s;
    skim_init(&s, &piece, 1);
    assert_true(skim_text(&s, out, 6));
    assert_string_equal(out, "abcde");
    assert_false(skim_text(&s, out, 5));
    struct piece nul = {(const uint8_t *)"a\0b", 3};
    skim_init(&s, &nul, 1);
    assert_false(skim_text(&s, out, 6));
    struct piece three[3] = {{(const uint8_t *)"a", 1}, {(const uint8_t *)"b", 1}, {(const uint8_t *)"c", 1}};
    struct piece few[2];
    skim_init(&s, three, 3);
    assert_int_equal(skim_pieces(&s, few, 2), 0);
    skim_init(&s, NULL, 0);
    assert_int_equal(skim_pieces(&s, few, 2), 0);
}

static void no_resource(void **state) {
    (void)state;
    static const uint8_t bytes[] = {0x22, 1, 'T', 0x2a, 1, 'n'};
    struct piece piece = {bytes, sizeof bytes};
    struct skim_debug d;
    assert_true(skim_debug_response(&piece, 1, &d, NULL));
    assert_int_equal(d.resources, 0);
    assert_int_equal(d.body.left, 0);
    assert_string_equal(d.type_url, "T");
}

/* Random bytes and mutations never do more than fail. */
static void noise(void **state) {
    (void)state;
    size_t len;
    uint8_t *p = make_answer(sample, &len);
    uint64_t seed = 7;
    for (int round = 0; round < 20000; round++) {
        uint8_t *copy = mem_alloc(len);
        memcpy(copy, p, len);
        for (int k = 0; k < 3; k++) {
            seed = text_hash(seed, &round, sizeof round);
            copy[seed % len] = (uint8_t)(seed >> 32);
        }
        struct piece pieces[2] = {{copy, len / 2}, {copy + len / 2, len - len / 2}};
        struct skim_debug d;
        struct err err = {0};
        if (skim_debug_response(pieces, 2, &d, &err)) {
            struct piece out[4];
            skim_pieces(&d.body, out, 4);
        }
        free(copy);
    }
    free(p);
}

/* --- answers recorded from real istiods, when they are at hand --- */

static const char *const captures[] = {TEST_DATA "/captures", TEST_DATA "/../../../shared/captures"};

static uint8_t *recorded(const char *name, size_t *len) {
    for (size_t i = 0; i < sizeof captures / sizeof *captures; i++) {
        char path[512], *text;
        snprintf(path, sizeof path, "%s/%s", captures[i], name);
        if (text_read_file(path, 64 << 20, &text, len, NULL)) {
            return (uint8_t *)text;
        }
    }
    return NULL;
}

static void recorded_answers(void **state) {
    (void)state;
    static const struct {
        const char *name, *begins;
    } rows[] = {
        {"debuggen-connections-1.29.6.bin", "{\"totalClients\""},
        {"debuggen-syncz-1.29.6-6.bin", "["},
        {"debuggen-syncz-namespace-1.29.6.bin", "["},
        {"debuggen-syncz-istio-system-1.29.6.bin", "["},
    };
    size_t seen = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t len;
        uint8_t *p = recorded(rows[i].name, &len);
        if (p == NULL) {
            continue;
        }
        seen++;
        struct piece pieces[3] = {{p, len / 3}, {p + len / 3, len / 3}, {p + 2 * (len / 3), len - 2 * (len / 3)}};
        struct skim_debug d;
        struct err err = {0};
        assert_true(skim_debug_response(pieces, 3, &d, &err));
        assert_string_equal(d.type_url, "istio.io/debug");
        assert_int_equal(d.resources, 1);
        char *body = mem_alloc(d.body.left + 1);
        assert_true(skim_text(&d.body, body, d.body.left + 1));
        if (strncmp(body, rows[i].begins, strlen(rows[i].begins)) != 0) {
            fail_msg("%s begins with %.40s", rows[i].name, body);
        }
        free(body);
        free(p);
    }
    if (seen == 0) {
        skip();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cut_into_three), cmocka_unit_test(byte_by_byte), cmocka_unit_test(truncated_at_every_offset),
        cmocka_unit_test(fields_of_all_kinds),  cmocka_unit_test(malformed),    cmocka_unit_test(text_limits),
        cmocka_unit_test(no_resource),          cmocka_unit_test(noise),        cmocka_unit_test(recorded_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
