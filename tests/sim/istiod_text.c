#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/base/mem.h"
#include "../../lib/base/text.h"
#include "istiod_state.h"

#define ANSWER_MAX ((size_t)1 << 30)
#define TYPE_PREFIX "type.googleapis.com/envoy.config."

/* Text as Go's encoding/json writes it, HTML characters escaped. */
static void add_json(struct buf *b, const char *s) {
    buf_str(b, "\"");
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\') {
            buf_printf(b, "\\%c", c);
        } else if (c == '\n') {
            buf_str(b, "\\n");
        } else if (c == '\r') {
            buf_str(b, "\\r");
        } else if (c == '\t') {
            buf_str(b, "\\t");
        } else if (c < 0x20 || c == '<' || c == '>' || c == '&') {
            buf_printf(b, "\\u%04x", c);
        } else {
            buf_add(b, s, 1);
        }
    }
    buf_str(b, "\"");
}

/* RFC 3339 with nanoseconds, trailing zeros cut; 0 is Go's zero time. */
static void add_time(struct buf *b, int64_t ns) {
    if (!ns) {
        buf_str(b, "\"0001-01-01T00:00:00Z\"");
        return;
    }
    char when[40];
    text_rfc3339_format(ns / 1000000000 * 1000, when, sizeof when);
    int64_t fraction = ns % 1000000000;
    buf_printf(b, "\"%.19s", when);
    if (fraction) {
        char digits[12];
        int n = snprintf(digits, sizeof digits, "%09lld", (long long)fraction);
        while (digits[n - 1] == '0') {
            n--;
        }
        buf_printf(b, ".%.*s", n, digits);
    }
    buf_str(b, "Z\"");
}

static int by_namespace(const void *a, const void *b) {
    const struct istiod_conn *x = *(const struct istiod_conn *const *)a, *y = *(const struct istiod_conn *const *)b;
    int d = strcmp(x->namespace_, y->namespace_);
    if (!d) {
        d = strcmp(x->id, y->id);
    }
    return d ? d : strcmp(x->connection, y->connection);
}

/* All connections in the order of the answers; free(). */
static struct istiod_conn **sorted(const struct istiod *i) {
    struct istiod_conn **all = mem_alloc((i->n_conns + 1) * sizeof(struct istiod_conn *));
    size_t n = 0;
    for (struct istiod_conn *c = i->conns; c; c = c->next) {
        all[n++] = c;
    }
    qsort(all, n, sizeof *all, by_namespace);
    return all;
}

/* "," unless it is the first; then "key": */
static void add_key(struct buf *b, bool *first, const char *key) {
    buf_str(b, *first ? "" : ",");
    *first = false;
    add_json(b, key);
    buf_str(b, ":");
}

static void add_field(struct buf *b, bool *first, const char *key, const char *value) {
    if (value && *value) {
        add_key(b, first, key);
        add_json(b, value);
    }
}

static int by_type(const void *a, const void *b) {
    return strcmp((*(const struct istiod_watch *const *)a)->type_url, (*(const struct istiod_watch *const *)b)->type_url);
}

static void add_resources(struct buf *b, const struct istiod_conn *c) {
    const struct istiod_watch *order[ISTIOD_WATCHES];
    for (size_t n = 0; n < c->n_watches; n++) {
        order[n] = &c->watches[n];
    }
    qsort(order, c->n_watches, sizeof *order, by_type);
    buf_str(b, "{");
    bool first_type = true;
    for (size_t n = 0; n < c->n_watches; n++) {
        const struct istiod_watch *w = order[n];
        bool first = true;
        add_key(b, &first_type, w->type_url);
        buf_str(b, "{");
        add_field(b, &first, "sent", w->sent);
        add_field(b, &first, "acked", w->acked);
        add_key(b, &first, "sentTime");
        add_time(b, w->sent_ns);
        add_field(b, &first, "lastError", w->error);
        buf_str(b, "}");
    }
    buf_str(b, "}");
}

static void add_sync(struct buf *b, const struct istiod_conn *c) {
    static const struct {
        const char *type, *sent, *acked;
    } top[] = {
        {TYPE_PREFIX "cluster.v3.Cluster", "cluster_sent", "cluster_acked"},
        {TYPE_PREFIX "listener.v3.Listener", "listener_sent", "listener_acked"},
        {TYPE_PREFIX "route.v3.RouteConfiguration", "route_sent", "route_acked"},
        {TYPE_PREFIX "endpoint.v3.ClusterLoadAssignment", "endpoint_sent", "endpoint_acked"},
        {TYPE_PREFIX "core.v3.TypedExtensionConfig", "extensionconfig_sent", "extensionconfig_acked"},
    };
    bool first = true;
    buf_str(b, "{");
    add_field(b, &first, "cluster_id", c->cluster_id);
    add_field(b, &first, "proxy", c->id);
    add_field(b, &first, "proxy_type", c->type);
    add_field(b, &first, "istio_version", c->version);
    for (size_t n = 0; n < sizeof top / sizeof *top; n++) {
        const struct istiod_watch *w = istiod_watch_of(c, top[n].type);
        if (w) {
            add_field(b, &first, top[n].sent, w->sent);
            add_field(b, &first, top[n].acked, w->acked);
        }
    }
    if (c->n_watches) {
        add_key(b, &first, "resources");
        add_resources(b, c);
    }
    buf_str(b, "}");
}

static void add_syncz(struct buf *b, const struct istiod *i, const char *namespace_) {
    struct istiod_conn **all = sorted(i);
    bool first = true;
    buf_str(b, "[");
    for (size_t n = 0; n < i->n_conns; n++) {
        if (!*namespace_ || strcmp(all[n]->namespace_, namespace_) == 0) {
            buf_str(b, first ? "" : ",");
            first = false;
            add_sync(b, all[n]);
        }
    }
    buf_str(b, "]");
    free(all);
}

static void add_details(struct buf *b, const struct istiod_conn *c) {
    bool first = true;
    buf_str(b, ",\"metadata\":{");
    if (c->proxy_config) {
        add_key(b, &first, "PROXY_CONFIG");
        buf_str(b, "{}");
    }
    add_field(b, &first, "ISTIO_VERSION", c->version);
    add_field(b, &first, "NAMESPACE", c->namespace_);
    buf_str(b, "},\"locality\":{}");
    if (c->n_watches) {
        buf_str(b, ",\"watches\":{");
        const struct istiod_watch *order[ISTIOD_WATCHES];
        for (size_t n = 0; n < c->n_watches; n++) {
            order[n] = &c->watches[n];
        }
        qsort(order, c->n_watches, sizeof *order, by_type);
        first = true;
        for (size_t n = 0; n < c->n_watches; n++) {
            add_key(b, &first, order[n]->type_url);
            buf_str(b, "[]");
        }
        buf_str(b, "}");
    }
}

static void add_clients(struct buf *b, struct istiod_conn *const *all, size_t n_all, bool details) {
    buf_printf(b, "{\"totalClients\":%zu", n_all);
    for (size_t n = 0; n < n_all; n++) {
        buf_str(b, n ? "," : ",\"clients\":[");
        buf_str(b, "{\"connectionId\":");
        add_json(b, all[n]->connection);
        buf_str(b, ",\"connectedAt\":");
        add_time(b, all[n]->connected_ns);
        buf_str(b, ",\"address\":");
        add_json(b, all[n]->address);
        if (details) {
            add_details(b, all[n]);
        }
        buf_str(b, "}");
    }
    buf_str(b, n_all ? "]}" : "}");
}

/* Value of key in "k=v&k=v"; "" when absent. */
static void query_value(const char *query, const char *key, char *out, size_t cap) {
    size_t n = strlen(key);
    *out = 0;
    for (const char *at = query; at && *at; at = strchr(at, '&') ? strchr(at, '&') + 1 : NULL) {
        if (strncmp(at, key, n) == 0 && at[n] == '=') {
            snprintf(out, cap, "%.*s", (int)strcspn(at + n + 1, "&"), at + n + 1);
            return;
        }
    }
}

/* Whoever is in `proxy`'s place among the clients; NULL: nobody. */
static struct istiod_conn *client_like(const struct istiod *i, const char *proxy) {
    struct istiod_conn **all = sorted(i), *found = NULL;
    for (size_t n = 0; n < i->n_conns && !found; n++) {
        found = strstr(all[n]->connection, proxy) ? all[n] : NULL;
    }
    free(all);
    return found;
}

/* syncz and adsz take the lock of every proxy that they tell of; connections does not. */
static bool hangs(const struct istiod *i, const char *path, size_t n, const char *query) {
    char value[256];
    if (i->n_locked && n == 5 && strncmp(path, "syncz", n) == 0) {
        query_value(query, "namespace", value, sizeof value);
        return istiod_status_hangs(i, *value ? value : NULL);
    }
    if (i->n_locked && n == 4 && strncmp(path, "adsz", n) == 0) {
        query_value(query, "proxyID", value, sizeof value);
        const struct istiod_conn *c = *value ? client_like(i, value) : NULL;
        return *value ? c && c->locked : true;
    }
    return false;
}

static void add_adsz(struct buf *b, const struct istiod *i, const char *proxy) {
    struct istiod_conn **all = sorted(i);
    size_t n = i->n_conns;
    if (*proxy) {
        all[0] = client_like(i, proxy);
        n = all[0] ? 1 : 0;
    }
    if (*proxy && !n) {
        buf_str(b, "Proxy not connected to this Pilot instance. It may be connected to another instance.\n");
    } else {
        add_clients(b, all, n, true);
    }
    free(all);
}

char *istiod_debug(struct istiod *i, const char *resource, const struct istiod_conn *asker, size_t *len) {
    (void)asker;
    struct buf b;
    buf_init(&b, ANSWER_MAX);
    size_t path = strcspn(resource, "?");
    const char *query = resource[path] ? resource + path + 1 : "";
    char value[256];
    if (hangs(i, resource, path, query)) {
        return NULL;
    }
    if (i->refuses_debug) {
        buf_str(&b, "404 page not found\n");
    } else if (path == 5 && strncmp(resource, "syncz", path) == 0) {
        query_value(query, "namespace", value, sizeof value);
        add_syncz(&b, i, value);
    } else if (path == 11 && strncmp(resource, "connections", path) == 0) {
        struct istiod_conn **all = sorted(i);
        add_clients(&b, all, i->n_conns, false);
        free(all);
    } else if (path == 11 && strncmp(resource, "config_dump", path) == 0 && !strstr(query, "proxyID=")) {
        buf_str(&b, "You must provide a proxyID in the query string\n");
    } else if (path == 4 && strncmp(resource, "adsz", path) == 0) {
        query_value(query, "proxyID", value, sizeof value);
        add_adsz(&b, i, value);
    } else if (path == 4 && strncmp(resource, "list", path) == 0) {
        buf_str(&b, "[\"adsz\",\"connections\",\"syncz\"]");
    } else {
        buf_str(&b, "404 page not found\n");
    }
    *len = b.len;
    return buf_take(&b);
}

static void add_family(struct buf *b, const char *name, const char *type, const char *help) {
    buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void add_counts(struct buf *b, const struct istiod_count *list, const char *name, const char *type,
                       const char *help) {
    if (list) {
        add_family(b, name, type, help);
    }
    for (; list; list = list->next) {
        buf_printf(b, "%s{type=\"%s\"} %.0f\n", name, list->type, list->value);
    }
}

static void add_versions(struct buf *b, const struct istiod *i) {
    struct {
        const char *version;
        size_t n;
    } seen[16] = {{"", 0}};
    size_t n_seen = 1;
    for (const struct istiod_conn *c = i->conns; c; c = c->next) {
        size_t n = 0;
        while (n < n_seen && strcmp(seen[n].version, c->version) != 0) {
            n++;
        }
        if (n == n_seen && n_seen < sizeof seen / sizeof *seen) {
            seen[n_seen++].version = c->version;
        }
        if (n < n_seen) {
            seen[n].n++;
        }
    }
    add_family(b, "pilot_xds", "gauge", "Number of endpoints connected to this pilot using XDS.");
    for (size_t n = 0; n < n_seen; n++) {
        buf_printf(b, "pilot_xds{version=\"%s\"} %zu\n", seen[n].version, seen[n].n);
    }
}

static void add_rejecting(struct buf *b, const struct istiod *i) {
    static const struct {
        const char *type, *name, *help;
    } families[] = {
        {"cds", "pilot_xds_cds_reject", "Pilot rejected CDS configs."},
        {"eds", "pilot_xds_eds_reject", "Pilot rejected EDS."},
        {"lds", "pilot_xds_lds_reject", "Pilot rejected LDS."},
        {"rds", "pilot_xds_rds_reject", "Pilot rejected RDS."},
    };
    for (size_t n = 0; n < sizeof families / sizeof *families; n++) {
        bool any = false;
        for (const struct istiod_count *x = i->rejecting_nodes; x; x = x->next) {
            if (strcmp(x->type, families[n].type) == 0) {
                if (!any) {
                    add_family(b, families[n].name, "gauge", families[n].help);
                }
                any = true;
                buf_printf(b, "%s{err=\"Internal\",node=\"%s\"} %.0f\n", families[n].name, x->node, x->value);
            }
        }
    }
}

char *istiod_metrics(const struct istiod *i, size_t *len) {
    struct buf b;
    buf_init(&b, ANSWER_MAX);
    add_family(&b, "istio_build", "gauge", "Istio component build info");
    buf_printf(&b, "istio_build{component=\"pilot\",tag=\"%s\"} 1\n", i->version);
    add_family(&b, "istiod_uptime_seconds", "gauge", "Current istiod server uptime in seconds");
    buf_printf(&b, "istiod_uptime_seconds %.3f\n", (double)(sched_now(i->sched) - i->started_ms) / 1000);
    add_family(&b, "pilot_info", "gauge", "Pilot version and build information.");
    buf_printf(&b, "pilot_info{version=\"%s-%s-Clean\"} 1\n", i->version, i->version);
    add_family(&b, "pilot_push_triggers", "counter",
               "Total number of times a push was triggered, labeled by reason for the push.");
    buf_printf(&b, "pilot_push_triggers{type=\"endpoint\"} %llu\n", (unsigned long long)i->triggers_endpoints);
    buf_printf(&b, "pilot_push_triggers{type=\"service\"} %llu\n", (unsigned long long)i->triggers_full);
    add_counts(&b, i->rejects, "pilot_total_xds_rejects", "counter",
               "Total number of XDS responses from pilot rejected by proxy.");
    add_versions(&b, i);
    add_counts(&b, i->expired, "pilot_xds_expired_nonce", "counter", "Total number of XDS requests with an expired nonce.");
    add_rejecting(&b, i);
    add_counts(&b, i->sent, "pilot_xds_pushes", "counter", "Pilot build and send errors for lds, rds, cds and eds.");
    *len = b.len;
    return buf_take(&b);
}
