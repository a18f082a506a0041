#include "wire.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../base/mem.h"
#include "strict.h"

/*
 * A message is unpacked into an arena of a few chunks with a budget, freed as one. protobuf-c allocates the outermost
 * message first, so it lies at the start of the first chunk: that is how the message finds its arena again.
 */
struct chunk {
    struct chunk *next;
    size_t used, cap;
    max_align_t data[];
};

struct arena {
    struct chunk *first, *last;
    size_t left; /* of the budget */
};

enum { FIRST_CHUNK = 4096, MAX_CHUNK = 256 * 1024 };

static void *arena_alloc(void *data, size_t n) {
    struct arena *a = data;
    n = (n + 7) & ~(size_t)7;
    if (n > a->left) {
        return NULL;
    }
    if (a->last == NULL || n > a->last->cap - a->last->used) {
        size_t cap = a->last == NULL ? FIRST_CHUNK : a->last->cap * 2;
        cap = cap > MAX_CHUNK ? MAX_CHUNK : cap;
        cap = n > cap ? n : cap;
        struct chunk *c = mem_alloc(sizeof *c + cap);
        c->cap = cap;
        *(a->last == NULL ? &a->first : &a->last->next) = c;
        a->last = c;
    }
    a->left -= n;
    void *p = (char *)a->last->data + a->last->used;
    a->last->used += n;
    return p;
}

static void arena_forget(void *data, void *p) {
    (void)data;
    (void)p;
}

static void chunks_free(struct chunk *c) {
    while (c != NULL) {
        struct chunk *next = c->next;
        free(c);
        c = next;
    }
}

static void message_free(void *m) {
    if (m != NULL) {
        chunks_free((struct chunk *)(void *)((char *)m - offsetof(struct chunk, data)));
    }
}

static uint8_t *flatten(const struct piece *pieces, size_t n, size_t *len, struct err *err) {
    size_t total = 0;
    for (size_t i = 0; i < n; i++) {
        if (pieces[i].len > WIRE_MAX_MESSAGE - total) {
            err_set(err, ERR_LIMIT, "message is larger than %d bytes", WIRE_MAX_MESSAGE);
            return NULL;
        }
        total += pieces[i].len;
    }
    uint8_t *flat = mem_alloc(total + 1);
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (pieces[i].len > 0) {
            memcpy(flat + at, pieces[i].p, pieces[i].len);
            at += pieces[i].len;
        }
    }
    *len = total;
    return flat;
}

static void *unpack(const ProtobufCMessageDescriptor *d, const struct piece *pieces, size_t n, struct err *err) {
    size_t len = 0;
    uint8_t *flat = flatten(pieces, n, &len, err);
    if (flat == NULL) {
        return NULL;
    }
    ProtobufCMessage *m = NULL;
    if (!strict_check(d, flat, len, err)) {
        goto out;
    }
    struct arena a = {.left = WIRE_MAX_UNPACKED};
    ProtobufCAllocator allocator = {.alloc = arena_alloc, .free = arena_forget, .allocator_data = &a};
    m = protobuf_c_message_unpack(d, &allocator, len, flat);
    if (m == NULL) {
        chunks_free(a.first);
        err_set(err, ERR_PROTOCOL, "%s of %zu bytes is malformed or takes more than %d bytes of memory", d->short_name, len,
                WIRE_MAX_UNPACKED);
    } else {
        check((void *)m == (void *)a.first->data);
    }
out:
    free(flat);
    return m;
}

/* --- ranges --- */

static bool named(const char *s, const char *field, struct err *err) {
    return s[0] != '\0' || err_set(err, ERR_PROTOCOL, "%s is empty", field);
}

static bool expiry_ok(int64_t left_s, const char *whose, struct err *err) {
    static const int64_t far_s = INT64_C(100) * 366 * 86400;
    return (left_s <= far_s && left_s >= -far_s) ||
           err_set(err, ERR_PROTOCOL, "cert_expiry_s of %s is out of range", whose);
}

static bool local_ok(const Meshgate__V1__LocalProxy *p, struct err *err) {
    return expiry_ok(p->cert_expiry_s, p->pod_uid, err) && named(p->pod_uid, "pod_uid of a local proxy", err);
}

static bool scan_ok(const Meshgate__V1__NodeScan *s, struct err *err) {
    for (size_t i = 0; s != NULL && i < s->n_changed; i++) {
        if (!local_ok(s->changed[i], err)) {
            return false;
        }
    }
    return true;
}

static bool is_count(double x) {
    return isfinite(x) && x >= 0;
}

/* A newer agent may know more types than we. */
static bool proxy_ok(const Meshgate__V1__ProxyOnReplica *p, struct err *err) {
    enum { MAX_TYPES = 32 };
    size_t n = strlen(p->types);
    if (p->connected_at_ms < 0) {
        return err_set(err, ERR_PROTOCOL, "connected_at_ms of %s is negative", p->id);
    }
    if (n > MAX_TYPES || strspn(p->types, "SPEN-") != n) {
        return err_set(err, ERR_PROTOCOL, "types of %s: \"%.40s\" is not of the letters SPEN-", p->id, p->types);
    }
    return named(p->id, "id of a proxy", err);
}

static bool reading_ok(const Meshgate__V1__ReplicaReading *r, struct err *err) {
    if (!is_count(r->rejects) || !is_count(r->expired_nonces) || !is_count(r->streams)) {
        return err_set(err, ERR_PROTOCOL, "rejects, expired_nonces or streams of replica %s is no count", r->replica);
    }
    for (size_t i = 0; i < r->n_changed; i++) {
        if (!proxy_ok(r->changed[i], err)) {
            return false;
        }
    }
    for (size_t i = 0; i < r->n_blocked; i++) {
        if (!named(r->blocked[i]->namespace_, "namespace of blocked pushes", err)) {
            return false;
        }
    }
    return named(r->replica, "replica of a reading", err);
}

static bool report_ok(const Meshgate__V1__Report *r, struct err *err) {
    if (!scan_ok(r->scan, err)) {
        return false;
    }
    for (size_t i = 0; i < r->n_replicas; i++) {
        if (!reading_ok(r->replicas[i], err)) {
            return false;
        }
    }
    for (size_t i = 0; i < r->n_reach; i++) {
        if (!named(r->reach[i]->revision, "revision of a reach test", err) ||
            !expiry_ok(r->reach[i]->cert_expiry_s, r->reach[i]->revision, err)) {
            return false;
        }
    }
    return true;
}

static bool agent_ok(const Meshgate__V1__AgentMessage *m, struct err *err) {
    if (m->seq == 0) {
        return err_set(err, ERR_PROTOCOL, "seq is missing; it counts up from 1");
    }
    switch (m->body_case) {
    case MESHGATE__V1__AGENT_MESSAGE__BODY_HELLO:
        return named(m->hello->node, "node of a hello", err);
    case MESHGATE__V1__AGENT_MESSAGE__BODY_REPORT:
        return report_ok(m->report, err);
    case MESHGATE__V1__AGENT_MESSAGE__BODY__NOT_SET:
    case _MESHGATE__V1__AGENT_MESSAGE__BODY__CASE_IS_INT_SIZE:
        break;
    }
    return err_set(err, ERR_PROTOCOL, "message %llu has no known body: is the agent newer than the gate?",
                   (unsigned long long)m->seq);
}

static bool assignment_ok(const Meshgate__V1__Assignment *a, struct err *err) {
    for (size_t i = 0; i < a->n_replicas; i++) {
        const Meshgate__V1__Assignment__Replica *r = a->replicas[i];
        if (r->xds_port > UINT16_MAX || r->http_port > UINT16_MAX) {
            return err_set(err, ERR_PROTOCOL, "a port of replica %s is out of range", r->id);
        }
        if (!named(r->id, "id of a replica", err)) {
            return false;
        }
    }
    for (size_t i = 0; i < a->n_revisions; i++) {
        if (a->revisions[i]->xds_port > UINT16_MAX) {
            return err_set(err, ERR_PROTOCOL, "the port of revision %s is out of range", a->revisions[i]->name);
        }
        if (!named(a->revisions[i]->name, "name of a revision", err)) {
            return false;
        }
    }
    return true;
}

static bool gate_ok(const Meshgate__V1__GateMessage *m, struct err *err) {
    switch (m->body_case) {
    case MESHGATE__V1__GATE_MESSAGE__BODY_ACK:
    case MESHGATE__V1__GATE_MESSAGE__BODY_REFUSAL:
        return true;
    case MESHGATE__V1__GATE_MESSAGE__BODY_ASSIGNMENT:
        return assignment_ok(m->assignment, err);
    case MESHGATE__V1__GATE_MESSAGE__BODY_SLOT:
        return named(m->slot->revision, "revision of a slot", err) &&
               (m->slot->valid_ms > 0 || err_set(err, ERR_PROTOCOL, "a slot for %s is over already", m->slot->revision));
    case MESHGATE__V1__GATE_MESSAGE__BODY__NOT_SET:
    case _MESHGATE__V1__GATE_MESSAGE__BODY__CASE_IS_INT_SIZE:
        break;
    }
    return err_set(err, ERR_PROTOCOL, "message of the gate has no known body: is the gate newer than the agent?");
}

/* --- the face --- */

Meshgate__V1__AgentMessage *wire_agent_message(const struct piece *pieces, size_t n, struct err *err) {
    Meshgate__V1__AgentMessage *m = unpack(&meshgate__v1__agent_message__descriptor, pieces, n, err);
    if (m != NULL && !agent_ok(m, err)) {
        wire_agent_free(m);
        return NULL;
    }
    return m;
}

Meshgate__V1__GateMessage *wire_gate_message(const struct piece *pieces, size_t n, struct err *err) {
    Meshgate__V1__GateMessage *m = unpack(&meshgate__v1__gate_message__descriptor, pieces, n, err);
    if (m != NULL && !gate_ok(m, err)) {
        wire_gate_free(m);
        return NULL;
    }
    return m;
}

void wire_agent_free(Meshgate__V1__AgentMessage *m) {
    message_free(m);
}

void wire_gate_free(Meshgate__V1__GateMessage *m) {
    message_free(m);
}

struct sink {
    ProtobufCBuffer base;
    struct buf *b;
};

static void sink_append(ProtobufCBuffer *base, size_t len, const uint8_t *data) {
    buf_add(((struct sink *)base)->b, data, len);
}

void wire_pack(const ProtobufCMessage *m, struct buf *b) {
    buf_reset(b);
    struct sink sink = {.base.append = sink_append, .b = b};
    protobuf_c_message_pack_to_buffer(m, &sink.base);
}

void wire_debug_request(struct buf *b, const char *node_id, const char *namespace_, const char *type_url,
                        const char *resource) {
    char *names[1] = {mem_dup(resource)};
    char *id = mem_dup(node_id), *ns = mem_dup(namespace_ != NULL ? namespace_ : ""), *type = mem_dup(type_url);
    char key[] = "NAMESPACE";
    Meshgate__Xds__Value value = MESHGATE__XDS__VALUE__INIT;
    Meshgate__Xds__FieldsEntry entry = MESHGATE__XDS__FIELDS_ENTRY__INIT;
    Meshgate__Xds__FieldsEntry *entries[1] = {&entry};
    Meshgate__Xds__Struct metadata = MESHGATE__XDS__STRUCT__INIT;
    Meshgate__Xds__Node node = MESHGATE__XDS__NODE__INIT;
    Meshgate__Xds__DiscoveryRequest request = MESHGATE__XDS__DISCOVERY_REQUEST__INIT;
    /* What istiod wants to know of a client: an identity, and the namespace that its token must belong to. */
    value.kind_case = MESHGATE__XDS__VALUE__KIND_STRING_VALUE;
    value.string_value = ns;
    entry.key = key;
    entry.value = &value;
    metadata.fields = entries;
    metadata.n_fields = 1;
    node.metadata = &metadata;
    node.id = id;
    request.node = node_id != NULL ? &node : NULL;
    request.type_url = type;
    request.resource_names = names;
    request.n_resource_names = resource != NULL ? 1 : 0;
    wire_pack(&request.base, b);
    free(names[0]);
    free(id);
    free(ns);
    free(type);
}
