/*
 * pilot-agent answers on 15020 with its own metrics first, then Envoy's, then those of the application, which it merges
 * without looking at them. So lines of other families are not even parsed, and the first sample of a name counts: an
 * application can neither make the answer unreadable nor speak for the proxy.
 */
#include "proxy_stats.h"

#include <math.h>
#include <string.h>

#include "promtext.h"

/* The filter is Envoy's and matches its own dotted names anywhere; '|' is written %7C. Istio's bootstrap calls the
 * cluster's statistics "cluster.xds-grpc;.upstream_cx_active", older ones have no ';'. */
const char proxy_stats_path[] = "/stats/prometheus?text_readouts&filter="
                                "cds.version_text%7Clds.version_text%7Ccds.update_rejected%7Clds.update_rejected%7C"
                                "xds-grpc.*upstream_cx_active%7Cistio_build";

enum { HAS_CDS = 1, HAS_LDS = 2, HAS_CDS_REJECTED = 4, HAS_LDS_REJECTED = 8, HAS_CX = 16, HAS_CERT = 32, HAS_BUILD = 64 };

static bool first(unsigned *seen, unsigned what) {
    bool is_first = (*seen & what) == 0;
    *seen |= what;
    return is_first;
}

static uint64_t to_count(double v) {
    return v > 0 && v < 1e18 ? (uint64_t)v : 0;
}

/* Istio's bootstrap names the label cluster_name; Envoy's own name is the other one. */
static bool is_xds_cluster(const char *labels) {
    char name[16];
    return (prom_label(labels, "cluster_name", name, sizeof(name)) ||
            prom_label(labels, "envoy_cluster_name", name, sizeof(name))) &&
           strcmp(name, "xds-grpc") == 0;
}

static void take(struct proxy_seen *out, unsigned *seen, const struct prom_sample *s) {
    char text[64];
    if (strcmp(s->name, "envoy_cluster_manager_cds_version_text") == 0) {
        if (first(seen, HAS_CDS)) {
            prom_label(s->labels, "text_value", out->cds_version, sizeof(out->cds_version));
        }
    } else if (strcmp(s->name, "envoy_listener_manager_lds_version_text") == 0) {
        if (first(seen, HAS_LDS)) {
            prom_label(s->labels, "text_value", out->lds_version, sizeof(out->lds_version));
        }
    } else if (strcmp(s->name, "envoy_cluster_manager_cds_update_rejected") == 0) {
        out->cds_rejected = first(seen, HAS_CDS_REJECTED) ? to_count(s->value) : out->cds_rejected;
    } else if (strcmp(s->name, "envoy_listener_manager_lds_update_rejected") == 0) {
        out->lds_rejected = first(seen, HAS_LDS_REJECTED) ? to_count(s->value) : out->lds_rejected;
    } else if (strcmp(s->name, "envoy_cluster_upstream_cx_active") == 0) {
        if (is_xds_cluster(s->labels) && first(seen, HAS_CX)) {
            out->has_xds_connections = true;
            out->xds_connections = (uint32_t)to_count(fmin(s->value, 1e6));
        }
    } else if (strcmp(s->name, "istio_agent_cert_expiry_seconds") == 0) {
        if (prom_label(s->labels, "resource_name", text, sizeof(text)) && strcmp(text, "default") == 0 &&
            first(seen, HAS_CERT)) {
            out->cert_expiry_s = s->value;
        }
    } else if (strcmp(s->name, "istio_build") == 0) {
        if (prom_label(s->labels, "component", text, sizeof(text)) && strcmp(text, "proxy") == 0 &&
            first(seen, HAS_BUILD)) {
            prom_label(s->labels, "tag", out->build, sizeof(out->build));
        }
    }
}

static bool starts(const char *line, size_t len, const char *prefix) {
    size_t n = strlen(prefix);
    return len >= n && memcmp(line, prefix, n) == 0;
}

bool proxy_stats_read(const char *text, size_t len, struct proxy_seen *out, struct err *err) {
    *out = (struct proxy_seen){.cert_expiry_s = NAN};
    struct buf scratch;
    buf_init(&scratch, PROM_MAX_LINE);
    unsigned seen = 0;
    bool agent = false;
    size_t at = 0;
    while (at < len) {
        const char *line = text + at;
        const char *nl = memchr(line, '\n', len - at);
        if (nl == NULL) {
            break; /* an application's last line; a value that may be cut is not used */
        }
        size_t n = (size_t)(nl - line);
        at += n + 1;
        agent = agent || starts(line, n, "istio_agent_");
        if (!starts(line, n, "envoy_") && !starts(line, n, "istio_agent_cert_") && !starts(line, n, "istio_build")) {
            continue;
        }
        struct prom_sample s;
        if (prom_line(line, n, &scratch, &s) > 0) {
            take(out, &seen, &s);
        }
    }
    buf_done(&scratch);
    if (seen == 0 && !agent) {
        return err_set(err, ERR_PROTOCOL,
                       "no metric of pilot-agent or Envoy in %zu bytes: is the stats port that of a proxy?", len);
    }
    return true;
}
