/*
 * pilot-agent answers on 15020 with its own metrics first, sorted by name, then Envoy's, then those of the application,
 * which it merges without looking at them. So lines of other families are not even parsed, the first sample of a name
 * counts, and pilot-agent's part is over with the first name that is not its own or not in order: an application can
 * neither make the answer unreadable nor speak for the proxy.
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
/* ^$ matches nothing: pilot-agent hands the query to Envoy only. */
const char proxy_agent_path[] = "/stats/prometheus?filter=%5E%24";

enum {
    HAS_CDS = 1,
    HAS_LDS = 2,
    HAS_CDS_REJECTED = 4,
    HAS_LDS_REJECTED = 8,
    HAS_CX = 16,
    HAS_CERT = 32,
    HAS_BUILD = 64,
    HAS_XDS_FAILURES = 128,
    HAS_CSR_FAILURES = 256,
    HAS_ZTUNNEL = 512,
};

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

/* A label has this value. */
static bool labelled(const struct prom_sample *s, const char *key, const char *value) {
    char text[32];
    return prom_label(s->labels, key, text, sizeof text) && strcmp(text, value) == 0;
}

static bool named(const struct prom_sample *s, const char *name) {
    return strcmp(s->name, name) == 0;
}

static void take_envoy(struct proxy_seen *out, unsigned *seen, const struct prom_sample *s) {
    if (named(s, "envoy_cluster_manager_cds_version_text")) {
        if (first(seen, HAS_CDS)) {
            prom_label(s->labels, "text_value", out->cds_version, sizeof(out->cds_version));
        }
    } else if (named(s, "envoy_listener_manager_lds_version_text")) {
        if (first(seen, HAS_LDS)) {
            prom_label(s->labels, "text_value", out->lds_version, sizeof(out->lds_version));
        }
    } else if (named(s, "envoy_cluster_manager_cds_update_rejected")) {
        out->cds_rejected = first(seen, HAS_CDS_REJECTED) ? to_count(s->value) : out->cds_rejected;
    } else if (named(s, "envoy_listener_manager_lds_update_rejected")) {
        out->lds_rejected = first(seen, HAS_LDS_REJECTED) ? to_count(s->value) : out->lds_rejected;
    } else if (named(s, "envoy_cluster_upstream_cx_active")) {
        if (is_xds_cluster(s->labels) && first(seen, HAS_CX)) {
            out->has_xds_connections = true;
            out->xds_connections = (uint32_t)to_count(fmin(s->value, 1e6));
        }
    }
}

static void take_agent(struct proxy_seen *out, unsigned *seen, const struct prom_sample *s) {
    if (named(s, "istio_agent_cert_expiry_seconds")) {
        if (labelled(s, "resource_name", "default") && first(seen, HAS_CERT)) {
            out->cert_expiry_s = s->value;
        }
    } else if (named(s, "istio_agent_istiod_connection_terminations")) {
        if (labelled(s, "type", "error") && first(seen, HAS_XDS_FAILURES)) {
            out->xds_failures = to_count(s->value);
        }
    } else if (named(s, "istio_agent_num_failed_outgoing_requests")) {
        if (labelled(s, "request_type", "csr") && first(seen, HAS_CSR_FAILURES)) {
            out->csr_failures = to_count(s->value);
        }
    }
}

/* istio_build, and of a ztunnel its ends of streams: ConnectionError and Error; Reconnect and Complete are in order. */
static void take_istio(struct proxy_seen *out, unsigned *seen, const struct prom_sample *s) {
    if (named(s, "istio_build")) {
        bool ztunnel = labelled(s, "component", "ztunnel");
        if ((ztunnel || labelled(s, "component", "proxy")) && first(seen, HAS_BUILD)) {
            prom_label(s->labels, "tag", out->build, sizeof(out->build));
            *seen |= ztunnel ? HAS_ZTUNNEL : 0;
        }
    } else if (named(s, "istio_xds_connection_terminations_total") && (*seen & HAS_ZTUNNEL) != 0) {
        bool error = labelled(s, "reason", "ConnectionError") || labelled(s, "reason", "Error");
        out->xds_failures += error ? to_count(s->value) : 0;
    }
}

/* pilot-agent's own part of the answer. */
struct own_part {
    bool begun, over;
    char last[128]; /* family */
};

/* Name of the family, without what histograms and summaries append. */
static void family_of(const char *line, size_t len, char *out, size_t cap) {
    static const char *const tails[] = {"_bucket", "_sum", "_count"};
    size_t n = 0;
    while (n < len && n + 1 < cap && line[n] != '{' && line[n] != ' ') {
        out[n] = line[n];
        n++;
    }
    out[n] = '\0';
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        size_t tail = strlen(tails[i]);
        if (n > tail && strcmp(out + n - tail, tails[i]) == 0) {
            out[n - tail] = '\0';
            return;
        }
    }
}

/* Does this line belong to it? */
static bool own_line(struct own_part *p, const char *line, size_t len) {
    static const char prefix[] = "istio_agent_";
    char family[sizeof p->last] = "";
    family_of(line, len, family, sizeof family);
    if (!p->over && strncmp(family, prefix, sizeof prefix - 1) == 0 && strcmp(family, p->last) >= 0) {
        p->begun = true;
        memcpy(p->last, family, sizeof family);
        return true;
    }
    p->over = p->over || p->begun;
    return false;
}

static bool starts(const char *line, size_t len, const char *prefix) {
    size_t n = strlen(prefix);
    return len >= n && memcmp(line, prefix, n) == 0;
}

typedef void (*take_fn)(struct proxy_seen *out, unsigned *seen, const struct prom_sample *s);

static take_fn taker(struct own_part *own, const char *line, size_t n) {
    if (n == 0 || line[0] == '#') {
        return NULL;
    }
    if (own_line(own, line, n)) {
        return take_agent;
    }
    if (starts(line, n, "envoy_")) {
        return take_envoy;
    }
    /* Behind pilot-agent's part these could be the application's as well. */
    return !own->begun && starts(line, n, "istio_") ? take_istio : NULL;
}

bool proxy_stats_read(const char *text, size_t len, struct proxy_seen *out, struct err *err) {
    *out = (struct proxy_seen){.cert_expiry_s = NAN};
    struct buf scratch;
    buf_init(&scratch, PROM_MAX_LINE);
    struct own_part own = {.begun = false};
    unsigned seen = 0;
    for (size_t at = 0; at < len;) {
        const char *line = text + at;
        const char *nl = memchr(line, '\n', len - at);
        if (nl == NULL) {
            break; /* an application's last line; a value that may be cut is not used */
        }
        size_t n = (size_t)(nl - line);
        at += n + 1;
        take_fn take = taker(&own, line, n);
        struct prom_sample s;
        if (take != NULL && prom_line(line, n, &scratch, &s) > 0) {
            take(out, &seen, &s);
        }
    }
    buf_done(&scratch);
    out->agent = own.begun || (seen & HAS_ZTUNNEL) != 0;
    if (seen == 0 && !out->agent) {
        return err_set(err, ERR_PROTOCOL,
                       "no metric of pilot-agent or Envoy in %zu bytes: is the stats port that of a proxy?", len);
    }
    return true;
}
