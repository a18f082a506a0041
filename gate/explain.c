#include "explain.h"

#include <string.h>

#include "../core/decide.h"
#include "row_text.h"
#include "witness.h"

enum { TEXT_MAX = 16384 };

struct case_ {
    const struct join_names *n;
    const struct snapshot *seen;
    const struct proxy_row *p;
    uint32_t i;
    int64_t now_ms;
};

static json_t *said(const char *s) {
    json_t *text = s && s[0] ? json_string(s) : NULL;
    return text ? text : json_null();
}

/* NULL for "never"; evidence from the future has no age either. */
static json_t *age(const struct case_ *c, int64_t at_ms) {
    return at_ms == 0 || at_ms > c->now_ms ? json_null() : json_integer(c->now_ms - at_ms);
}

static json_t *taken(struct buf *b) {
    json_t *text = said(b->len ? b->p : NULL);
    buf_done(b);
    return text;
}

uint32_t explain_find(const struct join_names *n, const struct snapshot *seen, const char *namespace_, const char *pod) {
    for (uint32_t i = 0; i < seen->n_proxies; i++) {
        if (strcmp(n->pods[i]->name, pod) == 0 && strcmp(n->pods[i]->namespace_, namespace_) == 0) {
            return i;
        }
    }
    return IDX_NONE;
}

/* --- the witnesses --- */

static json_t *intent(const struct case_ *c) {
    const struct proxy_row *p = c->p;
    const struct inv_pod *pod = c->n->pods[c->i];
    struct buf b;
    buf_init(&b, TEXT_MAX);
    witness_intent_says(c->n, c->seen, c->i, &b);
    json_t *o = json_object();
    json_object_set_new(o, "says", taken(&b));
    json_object_set_new(o, "age_ms", c->seen->inventory_fresh ? json_integer(0) : json_null());
    json_object_set_new(o, "expected", said(row_revision(c->n, c->seen, p->expected)));
    json_object_set_new(o, "expected_for_ms", age(c, p->expected_since_ms));
    json_object_set_new(o, "injected", said(row_revision(c->n, c->seen, p->injected)));
    json_object_set_new(o, "created_ms", age(c, p->created_ms));
    json_object_set_new(o, "ready", json_boolean(p->ready));
    json_object_set_new(o, "host_network", json_boolean(p->host_network));
    json_object_set_new(o, "image", said(pod->proxy_image));
    json_object_set_new(o, "ip", said(pod->ip));
    return o;
}

static json_t *types(const struct attach_fact *a) {
    struct buf b;
    struct jtext t;
    buf_init(&b, TEXT_MAX);
    jtext_init(&t, &b);
    jtext_open(&t, NULL, '{');
    row_types(&t, a);
    jtext_close(&t, '}');
    json_t *whole = json_loadb(b.p, b.len, 0, NULL), *o = json_incref(json_object_get(whole, "types"));
    json_decref(whole);
    buf_done(&b);
    return o ? o : json_object();
}

static json_t *control_plane(const struct case_ *c) {
    const struct proxy_row *p = c->p;
    const struct attach_fact *a = c->n->attached[c->i];
    struct buf b;
    buf_init(&b, TEXT_MAX);
    witness_control_plane_says(c->n, c->seen, c->i, c->now_ms, &b);
    json_t *o = json_object();
    json_object_set_new(o, "says", taken(&b));
    json_object_set_new(o, "age_ms", age(c, p->attached_at_ms));
    json_object_set_new(o, "attached", said(row_revision(c->n, c->seen, p->attached)));
    json_object_set_new(o, "replica",
                        p->replica < c->seen->n_replicas && a ? said(c->n->replicas[p->replica]->name) : json_null());
    json_object_set_new(o, "sync", said(row_sync(p->sync)));
    json_object_set_new(o, "sync_age_ms", age(c, p->sync_at_ms));
    json_object_set_new(o, "types", types(a));
    json_object_set_new(o, "pending_for_ms", age(c, p->pending_since_ms));
    json_object_set_new(o, "error_type", said(a ? a->error_type : NULL));
    json_object_set_new(o, "error", said(a ? a->error : NULL));
    json_object_set_new(o, "acked_cds", said(a ? a->cds_acked : NULL));
    json_object_set_new(o, "acked_lds", said(a ? a->lds_acked : NULL));
    json_object_set_new(o, "istio_version", said(a ? a->istio_version : NULL));
    json_object_set_new(o, "address", said(a ? a->address : NULL));
    json_object_set_new(o, "streams", json_integer(a ? a->copies : 0));
    json_object_set_new(o, "absent_looks", json_integer(p->absent_looks));
    json_object_set_new(o, "absent_for_ms", age(c, p->detached_since_ms));
    return o;
}

static void add_local(json_t *o, const struct case_ *c, const struct local_fact *l) {
    json_object_set_new(o, "dials_address", said(l->dials));
    json_object_set_new(o, "connections", json_integer(l->connections));
    json_object_set_new(o, "xds_connections", json_integer(l->xds_connections));
    json_object_set_new(o, "stats", json_boolean(l->stats_ok));
    json_object_set_new(o, "ready", json_boolean(l->ready));
    json_object_set_new(o, "accepted_cds", said(l->cds_version));
    json_object_set_new(o, "accepted_lds", said(l->lds_version));
    json_object_set_new(o, "cds_rejected", json_integer((json_int_t)l->cds_rejected));
    json_object_set_new(o, "lds_rejected", json_integer((json_int_t)l->lds_rejected));
    json_object_set_new(o, "stream_failures", json_integer((json_int_t)l->xds_failures));
    json_object_set_new(o, "certificate_failures", json_integer((json_int_t)l->csr_failures));
    json_object_set_new(o, "certificate_expires_in_ms",
                        l->cert_expires_ms ? json_integer(l->cert_expires_ms - c->now_ms) : json_null());
    json_object_set_new(o, "program", said(l->program));
    json_object_set_new(o, "build", said(l->build));
}

static json_t *node(const struct case_ *c) {
    const struct proxy_row *p = c->p;
    bool bound = p->node < c->seen->n_nodes;
    struct buf b;
    buf_init(&b, TEXT_MAX);
    witness_node_says(c->n, c->seen, c->i, c->now_ms, &b);
    json_t *o = json_object();
    json_object_set_new(o, "says", taken(&b));
    json_object_set_new(o, "age_ms", c->n->local[c->i] ? age(c, p->node_at_ms) : json_null());
    json_object_set_new(o, "node", bound ? said(c->n->nodes[p->node]) : json_null());
    json_object_set_new(o, "agent", json_boolean(bound && c->seen->nodes[p->node].agent));
    json_object_set_new(o, "witness", json_boolean(bound && c->seen->nodes[p->node].witness));
    json_object_set_new(o, "trouble", bound ? said(c->n->node_troubles[p->node]) : json_null());
    json_object_set_new(o, "dials", said(row_revision(c->n, c->seen, p->dials)));
    json_object_set_new(o, "version", said(row_version(p->version)));
    if (c->n->local[c->i]) {
        add_local(o, c, c->n->local[c->i]);
    }
    return o;
}

/* --- the rule --- */

static void clause(const struct case_ *c, enum witness w, struct buf *b) {
    switch (w) {
    case WITNESS_INTENT:
        witness_intent_says(c->n, c->seen, c->i, b);
        return;
    case WITNESS_CONTROL_PLANE:
        witness_control_plane_says(c->n, c->seen, c->i, c->now_ms, b);
        return;
    case WITNESS_NODE:
        witness_node_says(c->n, c->seen, c->i, c->now_ms, b);
        return;
    case WITNESS_NONE:
    case WITNESS_ALL:
        return;
    }
}

static const char *decides(enum witness w) {
    switch (w) {
    case WITNESS_INTENT:
        return "the API server's word decides: ";
    case WITNESS_CONTROL_PLANE:
        return "the control plane's word decides: ";
    case WITNESS_NODE:
        return "the node's word decides: ";
    case WITNESS_NONE:
        return "not judged: ";
    case WITNESS_ALL:
        return "nothing contradicts: ";
    }
    return "";
}

static void add_clause(const struct case_ *c, enum witness w, bool first, bool decided, struct buf *b) {
    buf_str(b, first ? "" : "; ");
    buf_str(b, decided ? decides(w) : "");
    clause(c, w, b);
}

/* What the witnesses before the one that decided have said, and then that one. The pod itself is looked at last. */
static json_t *rule(const struct case_ *c, enum witness decided) {
    bool pod = witness_pod_decided(c->p);
    enum witness first = pod ? WITNESS_CONTROL_PLANE : WITNESS_INTENT;
    enum witness last = decided == WITNESS_ALL || pod ? WITNESS_NODE : decided == WITNESS_NONE ? WITNESS_INTENT : decided;
    struct buf b;
    buf_init(&b, TEXT_MAX);
    buf_str(&b, decided == WITNESS_ALL || decided == WITNESS_NONE ? decides(decided) : "");
    for (enum witness w = first; w <= last; w++) {
        add_clause(c, w, w == first, w == decided, &b);
    }
    if (pod) {
        add_clause(c, WITNESS_INTENT, false, true, &b);
    }
    return taken(&b);
}

json_t *explain_proxy(const struct join_names *n, const struct policy *policy, const struct snapshot *seen, uint32_t i,
                      int64_t now_ms) {
    static const char *const severities[] = {"Unknown", "Wait", "Fail", "Note"};
    const struct proxy_row *p = &seen->proxies[i];
    const struct case_ c = {n, seen, p, i, now_ms};
    const struct inv_pod *pod = n->pods[i];
    struct row_owner owner = row_owner(n, seen, i);
    enum witness decided = witness_decided(policy, seen, p, now_ms);
    bool reason = p->reason != REASON_NONE;
    json_t *o = json_object(), *w = json_object();
    json_object_set_new(o, "namespace", said(pod->namespace_));
    json_object_set_new(o, "pod", said(pod->name));
    json_object_set_new(o, "uid", said(pod->uid));
    json_object_set_new(o, "type", said(row_type(pod, n->attached[i])));
    json_object_set_new(o, "owner", said(owner.name));
    json_object_set_new(o, "owner_kind", said(owner.kind));
    json_object_set_new(o, "whose", said(whose_name(reason_whose(p->reason))));
    json_object_set_new(o, "state", said(state_name(p->state)));
    json_object_set_new(o, "meaning", said(state_meaning(p->state)));
    json_object_set_new(o, "since_ms", p->state_since_ms ? age(&c, p->state_since_ms) : json_integer(0));
    json_object_set_new(o, "reason", reason ? said(reason_name(p->reason)) : json_null());
    json_object_set_new(o, "severity", reason ? said(severities[reason_severity(p->reason)]) : json_null());
    json_object_set_new(o, "sentence", json_string(reason ? reason_sentence(p->reason) : ""));
    json_object_set_new(o, "remedy", json_string(reason ? reason_remedy(p->reason) : ""));
    json_object_set_new(o, "decided_by", said(witness_name(decided)));
    json_object_set_new(o, "rule", rule(&c, decided));
    json_object_set_new(w, "intent", intent(&c));
    json_object_set_new(w, "control_plane", control_plane(&c));
    json_object_set_new(w, "node", node(&c));
    json_object_set_new(o, "witnesses", w);
    return o;
}
