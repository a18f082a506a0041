/*
 * One element at a time: cut (json_cut), parsed by jansson, handed on, freed. NUL in a rejection's text is the proxy's to
 * choose and must not make the whole answer unreadable, so it is allowed and ends the text there.
 */
#include "istiod_debug.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/base/json.h"
#include "../lib/base/text.h"
#include "json_cut.h"

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
    bool (*element)(struct reading *r, const json_t *o, struct err *err);
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
    json_error_t why;
    json_t *o = json_loadb(r->cut.value.p, r->cut.value.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    if (!json_is_object(o)) {
        json_decref(o);
        return err_set(err, ERR_PROTOCOL, "entry %lld at byte %llu of the answer is not a JSON object", (long long)r->count,
                       (unsigned long long)at);
    }
    bool ok = r->element(r, o, err);
    json_decref(o);
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
    int first = json_cut_peek(&r->cut);
    bool ok;
    if (first != '{' && first != '[') {
        ok = refusal(body, n, err);
    } else {
        ok = (is_object ? object(r, err) : array(r, err)) && json_cut_end(&r->cut, err);
    }
    json_cut_done(&r->cut);
    return ok ? r->count : -1;
}

static void without_counter(const char *connection, char *out, size_t cap) {
    const char *dash = strrchr(connection, '-');
    int n = dash != NULL ? (int)(dash - connection) : (int)strlen(connection);
    snprintf(out, cap, "%.*s", n, connection);
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
    snprintf(out, cap, "%.*s", (int)(n < cap ? n : cap - 1), peer);
}

static bool connection(struct reading *r, const json_t *o, struct err *err) {
    char id[512], address[64];
    struct conn_seen c = {.id = id, .address = address, .connection = js_str(o, "connectionId", NULL)};
    if (c.connection == NULL || c.connection[0] == '\0' || strlen(c.connection) >= sizeof(id)) {
        return err_set(err, ERR_PROTOCOL, "no usable connectionId");
    }
    if (!time_ms(js_text(o, "connectedAt", NULL), &c.connected_at_ms)) {
        return err_set(err, ERR_PROTOCOL, "connectedAt of %.80s is not a time", c.connection);
    }
    without_counter(c.connection, id, sizeof(id));
    without_port(js_text(o, "address", NULL), address, sizeof(address));
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

static bool types_by_url(struct sync_seen *s, json_t *resources, struct err *err) {
    const char *url;
    json_t *w;
    json_object_foreach(resources, url, w) {
        const char *error = js_str(w, "lastError", NULL);
        struct type_seen t = {
            .type = xds_type_of_url(url),
            .sent = js_text(w, "sent", NULL),
            .acked = js_text(w, "acked", NULL),
            .error = error != NULL && error[0] != '\0' ? error : NULL,
        };
        if (!time_ms(js_text(w, "sentTime", NULL), &t.sent_at_ms)) {
            return err_set(err, ERR_PROTOCOL, "sentTime of %s of %.80s is not a time", xds_type_name(t.type), s->id);
        }
        add_type(s, &t);
    }
    return true;
}

/* istiod before 1.23: five fixed pairs, no times, no errors; what is absent was never sent. */
static void types_flat(struct sync_seen *s, const json_t *o) {
    static const struct {
        enum xds_type type;
        const char *sent, *acked;
    } flat[] = {
        {XDS_CDS, "cluster_sent", "cluster_acked"},
        {XDS_LDS, "listener_sent", "listener_acked"},
        {XDS_RDS, "route_sent", "route_acked"},
        {XDS_EDS, "endpoint_sent", "endpoint_acked"},
        {XDS_ECDS, "extensionconfig_sent", "extensionconfig_acked"},
    };
    for (size_t i = 0; i < sizeof(flat) / sizeof(flat[0]); i++) {
        struct type_seen t = {
            .type = flat[i].type, .sent = js_text(o, flat[i].sent, NULL), .acked = js_text(o, flat[i].acked, NULL)};
        if (t.sent[0] != '\0') {
            add_type(s, &t);
        }
    }
}

static bool sync_entry(struct reading *r, const json_t *o, struct err *err) {
    struct sync_seen s = {
        .id = js_str(o, "proxy", NULL),
        .proxy_type = js_text(o, "proxy_type", NULL),
        .istio_version = js_text(o, "istio_version", NULL),
        .cluster = js_text(o, "cluster_id", NULL),
    };
    if (s.id == NULL || s.id[0] == '\0') {
        return err_set(err, ERR_PROTOCOL, "it names no proxy");
    }
    json_t *resources = js_at(o, "resources", NULL);
    if (resources == NULL) {
        types_flat(&s, o);
    } else if (!types_by_url(&s, resources, err)) {
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
