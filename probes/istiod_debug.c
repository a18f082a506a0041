/*
 * One element at a time: cut (json_cut), read in place (json_doc), handed on. NUL in a rejection's text is the proxy's to
 * choose and must not make the whole answer unreadable, so it is allowed and ends the text there.
 */
#include "istiod_debug.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/base/text.h"
#include "json_cut.h"
#include "json_doc.h"

#define NONCE_UUID 36

static const struct {
    const char *name, *url;
} type_table[XDS_TYPES] = {
    [XDS_CDS] = {"CDS", "type.googleapis.com/envoy.config.cluster.v3.Cluster"},
    [XDS_LDS] = {"LDS", "type.googleapis.com/envoy.config.listener.v3.Listener"},
    [XDS_EDS] = {"EDS", "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"},
    [XDS_RDS] = {"RDS", "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"},
    [XDS_ECDS] = {"ECDS", "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"},
    [XDS_SDS] = {"SDS", "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"},
    [XDS_NDS] = {"NDS", "type.googleapis.com/istio.networking.nds.v1.NameTable"},
    [XDS_PCDS] = {"PCDS", "type.googleapis.com/istio.mesh.v1alpha1.ProxyConfig"},
    [XDS_WDS] = {"WDS", "type.googleapis.com/istio.workload.Address"},
    [XDS_WADS] = {"WADS", "type.googleapis.com/istio.security.Authorization"},
    [XDS_OTHER] = {"OTHER", ""},
};

const char *xds_type_name(enum xds_type t) {
    return t < XDS_TYPES ? type_table[t].name : "OTHER";
}

enum xds_type xds_type_of_url(const char *type_url) {
    if (strcmp(type_url, "type.googleapis.com/istio.workload.Workload") == 0) {
        return XDS_WDS;
    }
    for (int t = 0; t < XDS_OTHER; t++) {
        if (strcmp(type_url, type_table[t].url) == 0) {
            return (enum xds_type)t;
        }
    }
    return XDS_OTHER;
}

void istiod_nonce_version(const char *nonce, char *out, size_t cap) {
    size_t len = strlen(nonce);
    if (len <= NONCE_UUID || len - NONCE_UUID >= cap) {
        out[0] = '\0';
        return;
    }
    memcpy(out, nonce, len - NONCE_UUID);
    out[len - NONCE_UUID] = '\0';
}

/* Go's zero time, year 1, stands for never. */
static bool time_ms(const char *s, int64_t *out) {
    if (s[0] == '\0' || strncmp(s, "0001-01-01T", 11) == 0) {
        *out = 0;
        return true;
    }
    return text_rfc3339(s, out);
}

/* istiod says no in plain text, without a status. */
static bool refusal(const struct piece *body, size_t n, struct err *err) {
    char text[161];
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < body[i].len && len + 1 < sizeof(text) && body[i].p[k] != '\n'; k++) {
            text[len++] = (char)body[i].p[k];
        }
    }
    text[len] = '\0';
    if (len == 0) {
        return err_set(err, ERR_PROTOCOL, "the answer is empty");
    }
    if (!text_is_clean(text, len)) {
        return err_set(err, ERR_PROTOCOL, "the answer is not JSON at byte 0");
    }
    return err_set(err, ERR_DENIED, "istiod refused: %s", text);
}

struct reading {
    struct json_cut cut;
    struct json_doc *doc; /* the element at hand */
    bool (*element)(struct reading *r, struct err *err);
    void (*on_connection)(void *ctx, const struct conn_seen *c);
    void (*on_sync)(void *ctx, const struct sync_seen *s);
    void *ctx;
    int64_t count, said;
};

static bool one_element(struct reading *r, struct err *err) {
    uint64_t at = r->cut.offset;
    if (!json_cut_value(&r->cut, err)) {
        return false;
    }
    bool ok = json_doc_parse(r->doc, r->cut.value.p, r->cut.value.len, err);
    if (!ok || !json_doc_is_object(r->doc, 0)) {
        char why[160];
        snprintf(why, sizeof(why), "%s%.150s", ok ? "" : ": ", ok || err == NULL ? "" : err->text);
        return err_set(err, ERR_PROTOCOL, "entry %lld at byte %llu of the answer is not a JSON object%s",
                       (long long)r->count, (unsigned long long)at, why);
    }
    ok = r->element(r, err);
    r->count += ok ? 1 : 0;
    return ok || err_wrap(err, "entry %lld", (long long)r->count);
}

static bool array(struct reading *r, struct err *err) {
    if (!json_cut_take(&r->cut, '[', err)) {
        return false;
    }
    if (json_cut_peek(&r->cut) == ']') {
        return json_cut_take(&r->cut, ']', err);
    }
    for (;;) {
        if (!one_element(r, err)) {
            return false;
        }
        if (json_cut_peek(&r->cut) == ']') {
            return json_cut_take(&r->cut, ']', err);
        }
        if (!json_cut_take(&r->cut, ',', err)) {
            return false;
        }
    }
}

static bool member(struct reading *r, struct err *err) {
    if (json_cut_peek(&r->cut) != '"') {
        return json_cut_take(&r->cut, '"', err);
    }
    if (!json_cut_value(&r->cut, err)) {
        return false;
    }
    bool clients = strcmp(r->cut.value.p, "\"clients\"") == 0;
    bool total = strcmp(r->cut.value.p, "\"totalClients\"") == 0;
    if (!json_cut_take(&r->cut, ':', err)) {
        return false;
    }
    if (clients) {
        return array(r, err);
    }
    if (!json_cut_value(&r->cut, err)) {
        return false;
    }
    if (total && !text_int(r->cut.value.p, 0, INT64_MAX, &r->said)) {
        return err_set(err, ERR_PROTOCOL, "totalClients is not a number");
    }
    return true;
}

static bool object(struct reading *r, struct err *err) {
    if (!json_cut_take(&r->cut, '{', err)) {
        return false;
    }
    for (;;) {
        if (!member(r, err)) {
            return false;
        }
        if (json_cut_peek(&r->cut) == '}') {
            break;
        }
        if (!json_cut_take(&r->cut, ',', err)) {
            return false;
        }
    }
    if (!json_cut_take(&r->cut, '}', err)) {
        return false;
    }
    if (r->said != r->count) {
        return err_set(err, ERR_PROTOCOL, "istiod says %lld clients and lists %lld", (long long)r->said,
                       (long long)r->count);
    }
    return true;
}

static int64_t answer(struct reading *r, const struct piece *body, size_t n, bool is_object, struct err *err) {
    json_cut_init(&r->cut, body, n);
    r->doc = json_doc_new();
    int first = json_cut_peek(&r->cut);
    bool ok;
    if (first != '{' && first != '[') {
        ok = refusal(body, n, err);
    } else {
        ok = (is_object ? object(r, err) : array(r, err)) && json_cut_end(&r->cut, err);
    }
    json_doc_free(r->doc);
    json_cut_done(&r->cut);
    return ok ? r->count : -1;
}

static const char *text(const struct reading *r, int node) {
    const char *s = json_doc_str(r->doc, node);
    return s != NULL ? s : "";
}

static void copy(char *out, size_t cap, const char *s, size_t n) {
    n = n < cap ? n : cap - 1;
    memcpy(out, s, n);
    out[n] = '\0';
}

static void without_counter(const char *connection, char *out, size_t cap) {
    const char *dash = strrchr(connection, '-');
    copy(out, cap, connection, dash != NULL ? (size_t)(dash - connection) : strlen(connection));
}

/* "IP:PORT" or "[IP]:PORT"; a bare address stays as it is. */
static void without_port(const char *peer, char *out, size_t cap) {
    const char *colon = strrchr(peer, ':');
    size_t n = strlen(peer);
    if (peer[0] == '[') {
        peer++;
        n = strcspn(peer, "]");
    } else if (colon != NULL && strchr(peer, ':') == colon) {
        n = (size_t)(colon - peer);
    }
    copy(out, cap, peer, n);
}

static bool connection(struct reading *r, struct err *err) {
    enum { ID, CONNECTED, ADDRESS, FIELDS };
    static const struct json_name names[FIELDS] = {JSON_NAME("connectionId"), JSON_NAME("connectedAt"),
                                                   JSON_NAME("address")};
    int at[FIELDS];
    if (!json_doc_fields(r->doc, 0, names, FIELDS, at, err)) {
        return false;
    }
    char id[512], address[64];
    struct conn_seen c = {.id = id, .address = address, .connection = text(r, at[ID])};
    if (c.connection[0] == '\0' || strlen(c.connection) >= sizeof(id)) {
        return err_set(err, ERR_PROTOCOL, "no usable connectionId");
    }
    if (!time_ms(text(r, at[CONNECTED]), &c.connected_at_ms)) {
        return err_set(err, ERR_PROTOCOL, "connectedAt of %.80s is not a time", c.connection);
    }
    without_counter(c.connection, id, sizeof(id));
    without_port(text(r, at[ADDRESS]), address, sizeof(address));
    r->on_connection(r->ctx, &c);
    return true;
}

static bool settled(const struct type_seen *t) {
    return t->error == NULL && strcmp(t->sent, t->acked) == 0;
}

/* When the table is full, a type with something to say takes the place of one that is in order. */
static void add_type(struct sync_seen *s, const struct type_seen *t) {
    size_t cap = sizeof(s->types) / sizeof(s->types[0]);
    if (s->n_types < cap) {
        s->types[s->n_types++] = *t;
        return;
    }
    for (size_t i = 0; i < cap && !settled(t); i++) {
        if (settled(&s->types[i])) {
            s->types[i] = *t;
            return;
        }
    }
}

static bool one_type(struct reading *r, const char *url, int node, struct type_seen *t, struct err *err) {
    enum { SENT, ACKED, SENT_TIME, LAST_ERROR, FIELDS };
    static const struct json_name names[FIELDS] = {JSON_NAME("sent"), JSON_NAME("acked"), JSON_NAME("sentTime"),
                                                   JSON_NAME("lastError")};
    int at[FIELDS];
    if (!json_doc_fields(r->doc, node, names, FIELDS, at, err)) {
        return false;
    }
    const char *error = text(r, at[LAST_ERROR]);
    *t = (struct type_seen){.type = xds_type_of_url(url),
                            .sent = text(r, at[SENT]),
                            .acked = text(r, at[ACKED]),
                            .error = error[0] != '\0' ? error : NULL};
    if (!time_ms(text(r, at[SENT_TIME]), &t->sent_at_ms)) {
        return err_set(err, ERR_PROTOCOL, "sentTime is not a time");
    }
    return true;
}

static bool types_by_url(struct reading *r, struct sync_seen *s, int resources, struct err *err) {
    bool before[XDS_OTHER + 1] = {false}; /* last: the other name of WDS */
    for (int k = resources + 1; k < json_doc_end(r->doc, resources); k = json_doc_end(r->doc, k + 1)) {
        const char *url = text(r, k);
        struct type_seen t;
        if (!one_type(r, url, k + 1, &t, err)) {
            return err_wrap(err, "%s of %.80s", xds_type_name(xds_type_of_url(url)), s->id);
        }
        if (t.type != XDS_OTHER) {
            enum xds_type slot = strcmp(url, type_table[t.type].url) == 0 ? t.type : XDS_OTHER;
            if (before[slot]) {
                return err_set(err, ERR_PROTOCOL, "%s of %.80s twice", xds_type_name(t.type), s->id);
            }
            before[slot] = true;
        }
        add_type(s, &t);
    }
    return true;
}

enum sync_field { PROXY, PROXY_TYPE, VERSION, CLUSTER, RESOURCES, FLAT, SYNC_FIELDS = FLAT + 10 };

/* istiod before 1.23: five fixed pairs, no times, no errors; what is absent was never sent. */
static void types_flat(const struct reading *r, struct sync_seen *s, const int at[SYNC_FIELDS]) {
    static const enum xds_type flat[] = {XDS_CDS, XDS_LDS, XDS_RDS, XDS_EDS, XDS_ECDS};
    for (size_t i = 0; i < sizeof(flat) / sizeof(flat[0]); i++) {
        struct type_seen t = {.type = flat[i], .sent = text(r, at[FLAT + 2 * i]), .acked = text(r, at[FLAT + 2 * i + 1])};
        if (t.sent[0] != '\0') {
            add_type(s, &t);
        }
    }
}

static bool sync_entry(struct reading *r, struct err *err) {
    static const struct json_name names[SYNC_FIELDS] = {
        [PROXY] = JSON_NAME("proxy"),
        [PROXY_TYPE] = JSON_NAME("proxy_type"),
        [VERSION] = JSON_NAME("istio_version"),
        [CLUSTER] = JSON_NAME("cluster_id"),
        [RESOURCES] = JSON_NAME("resources"),
        [FLAT] = JSON_NAME("cluster_sent"),
        JSON_NAME("cluster_acked"),
        JSON_NAME("listener_sent"),
        JSON_NAME("listener_acked"),
        JSON_NAME("route_sent"),
        JSON_NAME("route_acked"),
        JSON_NAME("endpoint_sent"),
        JSON_NAME("endpoint_acked"),
        JSON_NAME("extensionconfig_sent"),
        JSON_NAME("extensionconfig_acked"),
    };
    int at[SYNC_FIELDS];
    if (!json_doc_fields(r->doc, 0, names, SYNC_FIELDS, at, err)) {
        return false;
    }
    struct sync_seen s = {
        .id = text(r, at[PROXY]),
        .proxy_type = text(r, at[PROXY_TYPE]),
        .istio_version = text(r, at[VERSION]),
        .cluster = text(r, at[CLUSTER]),
    };
    if (s.id[0] == '\0') {
        return err_set(err, ERR_PROTOCOL, "it names no proxy");
    }
    if (at[RESOURCES] < 0) {
        types_flat(r, &s, at);
    } else if (json_doc_is_object(r->doc, at[RESOURCES]) && !types_by_url(r, &s, at[RESOURCES], err)) {
        return false;
    }
    s.has_types = s.n_types > 0;
    r->on_sync(r->ctx, &s);
    return true;
}

int64_t istiod_connections(const struct piece *body, size_t n, void (*fn)(void *ctx, const struct conn_seen *c), void *ctx,
                           struct err *err) {
    struct reading r = {.element = connection, .on_connection = fn, .ctx = ctx};
    return answer(&r, body, n, true, err);
}

int64_t istiod_syncz(const struct piece *body, size_t n, void (*fn)(void *ctx, const struct sync_seen *s), void *ctx,
                     struct err *err) {
    struct reading r = {.element = sync_entry, .on_sync = fn, .ctx = ctx};
    return answer(&r, body, n, false, err);
}
