/* What the gate knows, as JSON: for the admin server and for tests. */
#include <string.h>

#include "../lib/base/json.h"
#include "gate_inside.h"

static json_t *text_or_null(const char *s) {
    json_t *text = s && s[0] ? json_string(s) : NULL;
    return text ? text : json_null();
}

static json_t *age(const struct gate *g, int64_t at_ms) {
    int64_t now = sched_now(g->sched);
    return at_ms == 0 ? json_null() : json_integer(at_ms < now ? now - at_ms : 0);
}

json_t *gate_view_upgrades(const struct gate *g) {
    json_t *list = json_array();
    for (const struct inv_upgrade *o = inventory_of(g->inventory)->upgrades; o; o = o->hh.next) {
        const struct tracked *t;
        HASH_FIND_STR(g->tracked, o->uid, t);
        json_t *status = t && t->latest ? t->latest : o->status;
        json_t *x = json_object();
        json_object_set_new(x, "name", text_or_null(o->name));
        json_object_set_new(x, "generation", json_integer(o->generation));
        json_object_set_new(x, "atWork", json_boolean(g->upgrade.name && strcmp(g->upgrade.name, o->name) == 0));
        json_object_set_new(x, "status", status ? json_deep_copy(status) : json_object());
        json_array_append_new(list, x);
    }
    return json_pack("{s:o}", "upgrades", list);
}

static const char *status_text(Meshgate__V1__ReadStatus s) {
    static const char *const names[] = {"Unknown", "Ok", "Timeout", "Unreachable", "Denied", "Refused", "Garbled", "Busy"};
    return (unsigned)s < sizeof names / sizeof *names ? names[s] : "Unknown";
}

static void count(void *ctx, const struct attach_fact *f) {
    (void)f;
    ++*(json_int_t *)ctx;
}

/* Proxies of the join that a replica lists; everybody else who has a stream there (readers, other tools) is a client only.
 */
static json_int_t proxies_on(const struct gate *g, const struct inv_replica *r) {
    const struct snapshot *seen = join_snapshot(g->join);
    json_int_t n = 0;
    for (uint32_t i = 0; i < seen->n_proxies; i++) {
        const struct proxy_row *p = &seen->proxies[i];
        n += p->attached < seen->n_revisions && p->replica < seen->n_replicas &&
             join_names(g->join)->replicas[p->replica] == r;
    }
    return n;
}

static json_t *blocked_list(const struct gate *g, const char *replica) {
    size_t n;
    const struct blocked_fact *b = evidence_blocked(g->evidence, replica, &n);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(list, json_pack("{s:o,s:o,s:o}", "namespace", text_or_null(b[i].namespace_), "proxy",
                                              text_or_null(b[i].proxy), "for_ms", age(g, b[i].since_ms)));
    }
    return list;
}

static json_t *replica_object(const struct gate *g, const struct inv_replica *r) {
    const struct replica_fact *f = evidence_replica(g->evidence, r->uid);
    json_int_t clients = 0;
    evidence_each_attached(g->evidence, r->uid, count, &clients);
    json_t *o = json_object();
    json_object_set_new(o, "name", text_or_null(r->name));
    json_object_set_new(o, "address", text_or_null(r->address));
    json_object_set_new(o, "node", text_or_null(r->node));
    json_object_set_new(o, "zone", text_or_null(r->zone));
    json_object_set_new(o, "version", text_or_null(r->version));
    json_object_set_new(o, "ready", json_boolean(r->ready));
    json_object_set_new(o, "reader", text_or_null(sessions_reader(g->sessions, r->uid)));
    json_object_set_new(o, "connections", json_string(f ? status_text(f->connections) : "Unknown"));
    json_object_set_new(o, "syncz", json_string(f ? status_text(f->syncz) : "Unknown"));
    json_object_set_new(o, "error", text_or_null(f ? f->error : NULL));
    json_object_set_new(o, "connections_age_ms", age(g, f ? f->connections_ms : 0));
    json_object_set_new(o, "syncz_age_ms", age(g, f ? f->syncz_ms : 0));
    json_object_set_new(o, "rejects", json_real(f ? f->rejects : 0));
    json_object_set_new(o, "bytes_read", json_integer(f ? (json_int_t)f->bytes_read : 0));
    json_object_set_new(o, "questions", json_integer(f ? (json_int_t)f->questions : 0));
    json_object_set_new(o, "clients", json_integer(clients));
    json_object_set_new(o, "proxies", json_integer(proxies_on(g, r)));
    json_object_set_new(o, "standby", text_or_null(sessions_standby(g->sessions, r->uid)));
    json_object_set_new(o, "streams", json_real(f ? f->streams : 0));
    json_object_set_new(o, "expired_nonces", json_real(f ? f->expired_nonces : 0));
    json_object_set_new(o, "status_only", json_boolean(f && f->status_only));
    json_object_set_new(o, "blocked", blocked_list(g, r->uid));
    return o;
}

/* Proxies attached to it that were built for another version. */
static json_int_t old_builds(const struct gate *g, const char *revision) {
    const struct snapshot *seen = join_snapshot(g->join);
    for (uint32_t i = 0; i < seen->n_revisions; i++) {
        if (strcmp(join_names(g->join)->revisions[i], revision) == 0) {
            return seen->revisions[i].old_builds;
        }
    }
    return 0;
}

json_t *gate_view_revisions(struct gate *g) {
    const struct inventory *inv = inventory_of(g->inventory);
    json_t *list = json_array();
    gate_look(g);
    for (const struct inv_revision *r = inv->revisions; r; r = r->hh.next) {
        json_t *o = json_object(), *replicas = json_array();
        for (const struct inv_replica *x = inv->replicas; x; x = x->hh.next) {
            if (strcmp(x->revision, r->name) == 0) {
                json_array_append_new(replicas, replica_object(g, x));
            }
        }
        json_object_set_new(o, "name", text_or_null(r->name));
        json_object_set_new(o, "version", text_or_null(r->version));
        json_object_set_new(o, "injector", json_boolean(r->has_injector));
        json_object_set_new(o, "tags", r->tags ? json_deep_copy(r->tags) : json_array());
        json_object_set_new(o, "other_version", json_integer(old_builds(g, r->name)));
        json_object_set_new(o, "replicas", replicas);
        json_array_append_new(list, o);
    }
    return json_pack("{s:o}", "revisions", list);
}

static json_t *node_object(const struct gate *g, const char *name) {
    const struct node_fact *f = evidence_node(g->evidence, name);
    json_t *o = json_object();
    json_object_set_new(o, "name", json_string(name));
    json_object_set_new(o, "agent", json_boolean(f && f->connected));
    json_object_set_new(o, "version", text_or_null(f ? f->version : NULL));
    json_object_set_new(o, "witness", json_boolean(f && f->witness));
    json_object_set_new(o, "witness_why", text_or_null(f ? f->witness_why : NULL));
    json_object_set_new(o, "scan_age_ms", age(g, f ? f->scan_ms : 0));
    json_object_set_new(o, "connected_for_ms", age(g, f && f->connected ? f->connected_since_ms : 0));
    return o;
}

json_t *gate_view_nodes(const struct gate *g) {
    json_t *seen = json_object(), *list = json_array();
    for (const struct inv_pod *p = inventory_of(g->inventory)->pods; p; p = p->hh.next) {
        if (p->node && p->node[0] && !json_object_get(seen, p->node)) {
            json_object_set_new(seen, p->node, json_true());
            json_array_append_new(list, node_object(g, p->node));
        }
    }
    json_decref(seen);
    return json_pack("{s:o}", "nodes", list);
}
