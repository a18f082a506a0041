/* What a stranger with an agent's token may say: messages of two nodes, one after the other, each behind two bytes of
 * length (little endian), the way the gate takes them. Nothing that is believed may come from the future, and what is
 * forgotten is gone. */
#include <stdlib.h>
#include <string.h>

#include "gate/evidence.h"
#include "lib/wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const nodes[] = {"n1", "n2"};

static void expect(bool x) {
    if (!x) {
        abort();
    }
}

/* Pods whose UID begins with 'x' are none of this cluster's. */
static bool local_allowed(void *ctx, const char *pod_uid, const char *node) {
    (void)ctx;
    (void)node;
    return pod_uid[0] != 'x';
}

/* Replica r1 is read by n1, all others by n2. */
static bool may_read(void *ctx, const char *replica, const char *node) {
    (void)ctx;
    return (strcmp(replica, "r1") == 0) == (strcmp(node, nodes[0]) == 0);
}

static void attached(void *ctx, const struct attach_fact *f) {
    const int64_t *now = ctx;
    expect(f->id != NULL && f->pending_since_ms <= *now && f->pending_since_ms >= 0);
    expect(f->sync == SYNC_UNKNOWN || f->sync == SYNC_PENDING || f->sync == SYNC_ERROR || f->sync == SYNC_SYNCED);
}

static void look_at_replica(const struct evidence *e, const char *id, const char *node, int64_t now) {
    const struct replica_fact *f = evidence_replica(e, id);
    expect(f == NULL || may_read(NULL, id, node) || f->reader == NULL || strcmp(f->reader, node) != 0);
    expect(f == NULL || (f->connections_ms <= now && f->syncz_ms <= now));
    evidence_each_attached(e, id, attached, &now);
}

static void look(const struct evidence *e, const Meshgate__V1__Report *r, const char *node, int64_t now) {
    const struct node_fact *n = evidence_node(e, node);
    expect(n != NULL && n->scan_ms <= now);
    for (size_t i = 0; r->scan != NULL && i < r->scan->n_changed; i++) {
        const struct local_fact *f = evidence_local(e, r->scan->changed[i]->pod_uid);
        expect(f == NULL || (f->first_seen_ms <= now && local_allowed(NULL, r->scan->changed[i]->pod_uid, node)));
    }
    for (size_t i = 0; i < r->n_replicas; i++) {
        look_at_replica(e, r->replicas[i]->replica, node, now);
    }
    for (size_t i = 0; i < r->n_reach; i++) {
        const char *error;
        int64_t at = 0;
        evidence_reach(e, node, r->reach[i]->revision, &error, &at);
        expect(at <= now);
    }
}

static void take(struct evidence *e, const char *node, const struct piece *pieces, size_t n, int64_t now) {
    static const struct evidence_rules rules = {local_allowed, may_read, NULL};
    struct err err;
    Meshgate__V1__AgentMessage *m = wire_agent_message(pieces, n, &err);
    if (m == NULL) {
        return;
    }
    if (m->body_case == MESHGATE__V1__AGENT_MESSAGE__BODY_HELLO) {
        evidence_hello(e, node, m->hello, now);
    } else if (m->body_case == MESHGATE__V1__AGENT_MESSAGE__BODY_REPORT) {
        evidence_take(e, node, m->report, &rules, now);
        look(e, m->report, node, now);
    }
    wire_agent_free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct evidence *e = evidence_new();
    int64_t now = 1000;
    for (size_t at = 0, k = 0; at + 2 <= size; k++, now += 700) {
        size_t n = data[at] | (size_t)data[at + 1] << 8, rest = size - at - 2;
        n = n < rest ? n : rest;
        struct piece pieces[2] = {{data + at + 2, n / 3}, {data + at + 2 + n / 3, n - n / 3}};
        take(e, nodes[k % 2], pieces, 2, now);
        at += 2 + n;
    }
    evidence_node_lost(e, nodes[0], now);
    evidence_forget_node(e, nodes[0]);
    expect(evidence_node(e, nodes[0]) == NULL);
    evidence_free(e);
    return 0;
}
