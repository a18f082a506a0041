/* The table of versions, and what our readers make of the answer of each kind. */
#include "probes/drift.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "lib/base/text.h"
#include "probes/istiod_debug.h"
#include "probes/istiod_status.h"

static void versions(void **state) {
    (void)state;
    static const struct {
        const char *version;
        enum drift row;
        bool has;
    } rows[] = {
        {"1.22.4", DRIFT_FIXED_TYPES, true},
        {"1.23.0", DRIFT_FIXED_TYPES, false},
        {"v1.22", DRIFT_FIXED_TYPES, true},
        {"1.30.3-distroless", DRIFT_FIXED_TYPES, false},
        {"1.31-alpha.5c882b4f", DRIFT_LOCK_HAZARD, true},
        {"1.9.9", DRIFT_LOCK_HAZARD, false},
        {"1.22.0", DRIFT_FALSE_STALE, true},
        {"1.22.3", DRIFT_FALSE_STALE, true},
        {"1.22.4", DRIFT_FALSE_STALE, false},
        {"1.21.9", DRIFT_FALSE_STALE, false},
        {"unknown", DRIFT_FALSE_STALE, false},
        {"", DRIFT_LOCK_HAZARD, true},
        {"latest", DRIFT_NO_ERRORS, false},
        {"1.x", DRIFT_NO_ERRORS, false},
        {"1.18.7", DRIFT_JSON_NAMESPACE, false},
        {"1.19.0", DRIFT_JSON_NAMESPACE, true},
        {"1.27.7", DRIFT_PLAIN_REFUSED, false},
        {"1.27.8", DRIFT_PLAIN_REFUSED, true},
        {"1.28.4", DRIFT_PLAIN_REFUSED, false},
        {"1.28.5", DRIFT_PLAIN_REFUSED, true},
        {"1.29.0", DRIFT_PLAIN_REFUSED, false},
        {"1.29.6", DRIFT_PLAIN_REFUSED, true},
        {"1.30.0", DRIFT_PLAIN_REFUSED, true},
        {"1.26.9", DRIFT_PLAIN_REFUSED, false},
        {"2.0.0", DRIFT_LOCK_HAZARD, true},
        {"1.24.99999999999999999999", DRIFT_IDENTIFIER_EVERYWHERE, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (drift_has(rows[i].version, rows[i].row) != rows[i].has) {
            fail_msg("%s %s", rows[i].version, drift_name(rows[i].row));
        }
    }
    for (int r = 0; r < DRIFT_ROWS; r++) {
        assert_true(strlen(drift_what((enum drift)r)) > 10);
    }
}

struct seen {
    char text[2048];
    size_t len;
};

static void on_sync(void *ctx, const struct sync_seen *s) {
    struct seen *x = ctx;
    x->len += (size_t)snprintf(x->text + x->len, sizeof x->text - x->len, "%s %s %s:", s->id,
                               s->proxy_type[0] ? s->proxy_type : "-", s->istio_version[0] ? s->istio_version : "-");
    for (size_t i = 0; i < s->n_types; i++) {
        const struct type_seen *t = &s->types[i];
        x->len += (size_t)snprintf(x->text + x->len, sizeof x->text - x->len, " %s%s", xds_type_name(t->type),
                                   t->error                    ? "=error"
                                   : !t->sent[0]               ? "=nothing"
                                   : strcmp(t->sent, t->acked) ? "=behind"
                                                               : "=same");
    }
    x->len += (size_t)snprintf(x->text + x->len, sizeof x->text - x->len, "\n");
    assert_true(x->len < sizeof x->text);
}

static uint8_t *from_hex(const char *hex, size_t *n) {
    uint8_t *out = malloc(strlen(hex) / 2 + 1);
    unsigned v;
    *n = 0;
    assert_non_null(out);
    while (sscanf(hex, "%2x", &v) == 1) {
        out[(*n)++] = (uint8_t)v;
        hex += 2;
        hex += strspn(hex, "\n");
    }
    return out;
}

/* NAME.json is read as JSON syncz, NAME.hex as the protobuf one, NAME.txt is a refusal. */
static int64_t read_sample(const char *name, struct seen *s, struct err *err) {
    char path[512], *text;
    size_t n;
    snprintf(path, sizeof path, "%s/istiod/drift/%s", TEST_DATA, name);
    struct err why = {0};
    if (!text_read_file(path, 1 << 20, &text, &n, &why)) {
        fail_msg("%s", why.text);
    }
    *s = (struct seen){.len = 0};
    int64_t got;
    if (strstr(name, ".hex")) {
        uint8_t *bytes = from_hex(text, &n);
        got = istiod_status(&(struct piece){bytes, n}, 1, on_sync, s, err);
        free(bytes);
    } else {
        got = istiod_syncz(&(struct piece){(const uint8_t *)text, n}, 1, on_sync, s, err);
    }
    free(text);
    return got;
}

/* Where each sample is from is said in its folder's README. */
static const struct {
    enum drift row;
    const char *file;
    int64_t entries; /* -1: refused */
    const char *want;
} samples[] = {
    {DRIFT_FIXED_TYPES, "fixed-types-1.22.hex", 2,
     "web-1.shop - 1.22.5: LDS=same RDS=behind EDS=same CDS=same ECDS=nothing\nztunnel-x.istio-system - 1.22.5:\n"},
    {DRIFT_ZTUNNEL_LISTED, "fixed-types-1.22.hex", 2,
     "web-1.shop - 1.22.5: LDS=same RDS=behind EDS=same CDS=same ECDS=nothing\nztunnel-x.istio-system - 1.22.5:\n"},
    {DRIFT_NO_ERRORS, "rejected-1.22.json", 1, "web-1.shop sidecar 1.22.5: CDS=same LDS=behind RDS=same EDS=same\n"},
    {DRIFT_FALSE_STALE, "false-stale-1.22.2.json", 1,
     "web-1.shop sidecar 1.22.2: CDS=same LDS=same RDS=behind EDS=behind\n"},
    {DRIFT_JSON_RESOURCES, "resources-1.30.3.json", 1,
     "app-0-7d9c6b8f5d-00021.ns-1 sidecar 1.30.3: CDS=same EDS=same LDS=error RDS=same\n"},
    {DRIFT_JSON_PROXY_TYPE, "no-proxy-type-1.17.json", 1, "web-1.shop - 1.17.8: CDS=same LDS=same\n"},
    {DRIFT_JSON_NAMESPACE, "whole-for-namespace-1.18.json", 2,
     "web-1.shop sidecar 1.18.7: CDS=same LDS=same\nweb-2.bank sidecar 1.18.7: CDS=same LDS=same\n"},
    {DRIFT_STATUS_METADATA, "metadata-1.18.hex", 1, "web-1.shop - -: CDS=same\n"},
    {DRIFT_IDENTIFIER_EVERYWHERE, "identifier-1.30.3.hex", 1, "web-1.shop - 1.30.3: CDS=same\n"},
    {DRIFT_STATUS_OWN_NAMESPACE, "empty-1.30.3.hex", 0, ""},
    {DRIFT_CONNECT_TYPES, "unknown-call.txt", -1, "404 page not found"},
};

static void readers_over_each_sample(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        struct seen s;
        struct err err = {0};
        int64_t got = read_sample(samples[i].file, &s, &err);
        if (got != samples[i].entries) {
            fail_msg("%s: %lld entries, %s", samples[i].file, (long long)got, err.text);
        }
        if (got < 0) {
            assert_int_equal(err.code, ERR_DENIED);
            assert_non_null(strstr(err.text, samples[i].want));
        } else {
            assert_string_equal(s.text, samples[i].want);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions),
        cmocka_unit_test(readers_over_each_sample),
    };
    return cmocka_run_group_tests_name("drift", tests, NULL, NULL);
}
