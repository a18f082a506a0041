#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "lib/base/mem.h"
#include "probes/istiod_status.h"

/* ClientConfig of app-1.ns1: CDS SYNCED, LDS ERROR "rejected", RDS NOT_SENT, never. Encoded by protoc after csds.proto. */
static const char client[] =
    "0a580a096170702d312e6e73311a4b0a1a0a0a434c55535445525f4944120c1a0a4b756265726e657465730a190a0d495354494f5f56455253494f"
    "4e"
    "12081a06312e33302e330a120a094e414d45535041434512051a036e73311a410a33747970652e676f6f676c65617069732e636f6d2f656e766f79"
    "2e636f6e6669672e636c75737465722e76332e436c75737465722a0808c09ea6d406100530011a550a35747970652e676f6f676c65617069732e63"
    "6f6d2f656e766f792e636f6e6669672e6c697374656e65722e76332e4c697374656e65722a0608c09ea6d40630044212120608c09ea6d4061a0872"
    "656a65637465641a4d0a3c747970652e676f6f676c65617069732e636f6d2f656e766f792e636f6e6669672e726f7574652e76332e526f75746543"
    "6f6e66696775726174696f6e2a0b088092b8c398feffffff013002";
static const char want[] = "app-1.ns1  1.30.3 Kubernetes\n CDS = = -\n LDS = = rejected\n RDS   -\n";

struct bytes {
    uint8_t p[8192];
    size_t n;
};

static void put(struct bytes *b, const void *p, size_t n) {
    assert_true(b->n + n <= sizeof b->p);
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

static void put_varint(struct bytes *b, uint64_t v) {
    do {
        uint8_t c = (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
        put(b, &c, 1);
        v >>= 7;
    } while (v);
}

static void put_bytes(struct bytes *b, unsigned number, const void *p, size_t n) {
    put_varint(b, number << 3 | 2);
    put_varint(b, n);
    put(b, p, n);
}

static void put_resource(struct bytes *b, const struct bytes *config) {
    static const char type[] = "type.googleapis.com/envoy.service.status.v3.ClientConfig";
    struct bytes any = {.n = 0};
    put_bytes(&any, 1, type, sizeof type - 1);
    put_bytes(&any, 2, config->p, config->n);
    put_bytes(b, 2, any.p, any.n);
}

static void put_type(struct bytes *b) {
    put_bytes(b, 4, "istio.io/debug/syncz", 20);
}

static struct bytes from_hex(const char *hex) {
    struct bytes b = {.n = 0};
    unsigned x;
    for (; sscanf(hex, "%2x", &x) == 1; hex += 2) {
        uint8_t c = (uint8_t)x;
        put(&b, &c, 1);
    }
    return b;
}

struct seen {
    char text[4096];
    size_t len;
};

static void on_sync(void *ctx, const struct sync_seen *s) {
    struct seen *x = ctx;
    char *to = x->text;
    x->len += (size_t)snprintf(to + x->len, sizeof x->text - x->len, "%s %s %s %s\n", s->id, s->proxy_type,
                               s->istio_version, s->cluster);
    for (size_t i = 0; i < s->n_types; i++) {
        const struct type_seen *t = &s->types[i];
        x->len += (size_t)snprintf(to + x->len, sizeof x->text - x->len, " %s %s %s %s\n", xds_type_name(t->type), t->sent,
                                   t->acked, t->error ? t->error : "-");
    }
    assert_true(x->len < sizeof x->text);
}

static int64_t read_bytes(const struct bytes *b, size_t n, struct seen *s, struct err *err) {
    struct piece p = {b->p, n};
    *s = (struct seen){.len = 0};
    return istiod_status(&p, 1, on_sync, s, err);
}

static struct bytes answer(void) {
    struct bytes c = from_hex(client), b = {.n = 0};
    put_bytes(&b, 1, "2026-11-23T06:00:00Z/1", 22);
    put_resource(&b, &c);
    put_type(&b);
    return b;
}

static void test_vector(void **state) {
    (void)state;
    struct bytes b = answer();
    struct seen s;
    struct err err = {0};
    assert_int_equal(read_bytes(&b, b.n, &s, &err), 1);
    assert_string_equal(s.text, want);
}

/* gRPC cuts where it likes. */
static void test_cut_everywhere(void **state) {
    (void)state;
    struct bytes b = answer();
    for (size_t at = 0; at <= b.n; at++) {
        uint8_t *left = mem_alloc(at + 1), *right = mem_alloc(b.n - at + 1);
        memcpy(left, b.p, at);
        memcpy(right, b.p + at, b.n - at);
        struct piece p[3] = {{left, at}, {left, 0}, {right, b.n - at}};
        struct seen s = {.len = 0};
        assert_int_equal(istiod_status(p, 3, on_sync, &s, NULL), 1);
        assert_string_equal(s.text, want);
        free(left);
        free(right);
    }
}

static void test_byte_by_byte(void **state) {
    (void)state;
    struct bytes b = answer();
    struct piece *p = mem_alloc(b.n * sizeof *p);
    for (size_t i = 0; i < b.n; i++) {
        p[i] = (struct piece){b.p + i, 1};
    }
    struct seen s = {.len = 0};
    assert_int_equal(istiod_status(p, b.n, on_sync, &s, NULL), 1);
    assert_string_equal(s.text, want);
    free(p);
}

/* Half an answer is never a smaller mesh: without its type, which comes last, it is none. */
static void test_truncated_everywhere(void **state) {
    (void)state;
    struct bytes b = answer();
    for (size_t n = 0; n < b.n; n++) {
        struct seen s;
        struct err err = {0};
        assert_int_equal(read_bytes(&b, n, &s, &err), -1);
        assert_int_equal(err.code, ERR_PROTOCOL);
    }
}

static void test_damaged_everywhere(void **state) {
    (void)state;
    struct bytes b = answer();
    for (size_t at = 0; at < b.n; at++) {
        for (int bit = 0; bit < 8; bit++) {
            struct seen s;
            b.p[at] ^= (uint8_t)(1 << bit);
            int64_t n = read_bytes(&b, b.n, &s, NULL); /* anything, but no read outside (ASan) */
            assert_true(n >= -1 && n <= 2);
            b.p[at] ^= (uint8_t)(1 << bit);
        }
    }
}

/* node id and one CDS with a status and a time. */
static struct bytes one_type(uint64_t status, uint64_t seconds) {
    static const char url[] = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
    struct bytes c = {.n = 0}, node = {.n = 0}, x = {.n = 0}, t = {.n = 0}, b = {.n = 0};
    put_bytes(&node, 1, "web.shop", 8);
    put_bytes(&c, 1, node.p, node.n);
    put_bytes(&x, 1, url, sizeof url - 1);
    put_varint(&t, 1 << 3);
    put_varint(&t, seconds);
    put_bytes(&x, 5, t.p, t.n);
    put_varint(&x, 6 << 3);
    put_varint(&x, status);
    put_bytes(&c, 3, x.p, x.n);
    put_resource(&b, &c);
    put_type(&b);
    return b;
}

static struct type_seen kept;
static char kept_sent[32], kept_acked[32];

static void keep(void *ctx, const struct sync_seen *s) {
    *(size_t *)ctx = s->n_types;
    if (s->n_types > 0) {
        kept = s->types[0];
        snprintf(kept_sent, sizeof kept_sent, "%s", kept.sent);
        snprintf(kept_acked, sizeof kept_acked, "%s", kept.acked);
    }
}

static size_t keep_one(uint64_t status, uint64_t seconds) {
    struct bytes b = one_type(status, seconds);
    struct piece p = {b.p, b.n};
    size_t n = 99;
    assert_int_equal(istiod_status(&p, 1, keep, &n, NULL), 1);
    return n;
}

/* A stale type stands only as long as nothing new was sent. */
static void test_stale_is_told_by_its_last_send(void **state) {
    (void)state;
    assert_int_equal(keep_one(3, 1795400000), 1);
    assert_string_not_equal(kept_sent, kept_acked);
    assert_true(kept.sent_at_ms == 1795400000000);
    char acked[32];
    snprintf(acked, sizeof acked, "%s", kept_acked);
    keep_one(3, 1795400000);
    assert_string_equal(kept_acked, acked);
    keep_one(3, 1795400001);
    assert_string_not_equal(kept_acked, acked);
    keep_one(1, 1795400001);
    assert_string_equal(kept_sent, kept_acked);
    assert_int_equal(keep_one(0, 0), 0);
    assert_int_equal(keep_one(77, 0), 0);
    assert_int_equal(keep_one(4, 0), 1);
    assert_string_equal(kept.error, "istiod gives no text");
}

static void test_other_answers(void **state) {
    (void)state;
    struct bytes b = {.n = 0};
    struct seen s;
    struct err err = {0};
    put_type(&b);
    assert_int_equal(read_bytes(&b, b.n, &s, &err), 0);
    struct bytes other = {.n = 0};
    put_bytes(&other, 4, "istio.io/debug", 14);
    assert_int_equal(read_bytes(&other, other.n, &s, &err), -1);
    assert_non_null(strstr(err.text, "istio.io/debug"));
    struct bytes nobody = {.n = 0}, empty = {.n = 0};
    put_resource(&nobody, &empty);
    put_type(&nobody);
    assert_int_equal(read_bytes(&nobody, nobody.n, &s, &err), -1);
    assert_non_null(strstr(err.text, "ClientConfig"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vector),
        cmocka_unit_test(test_cut_everywhere),
        cmocka_unit_test(test_byte_by_byte),
        cmocka_unit_test(test_truncated_everywhere),
        cmocka_unit_test(test_damaged_everywhere),
        cmocka_unit_test(test_stale_is_told_by_its_last_send),
        cmocka_unit_test(test_other_answers),
    };
    return cmocka_run_group_tests_name("istiod_status", tests, NULL, NULL);
}
