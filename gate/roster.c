#include "roster.h"

#include <stdlib.h>
#include <string.h>

#include "../lib/base/mem.h"
#include "../lib/wire/wire.h"

enum {
    MAX_SHUNNED = 4,
    SHUN_MS = 5 * 60 * 1000,      /* the first time; doubled each time it is silent again ... */
    SHUN_MAX_MS = 80 * 60 * 1000, /* ... up to this */
    DEFAULT_XDS_PORT = 15012,
};

struct shunned {
    char *node;
    int64_t until_ms, for_ms;
};

struct post {
    char *replica, *reader, *standby;
    int64_t since_ms, heard_ms;
    uint32_t audits;                     /* whole answers asked for besides the regular ones */
    struct shunned shunned[MAX_SHUNNED]; /* latest first */
    UT_hash_handle hh;
};

struct roster {
    struct post *posts;
};

struct roster *roster_new(void) {
    return mem_alloc(sizeof(struct roster));
}

static void post_drop(struct roster *r, struct post *p) {
    HASH_DELETE(hh, r->posts, p);
    free(p->replica);
    free(p->reader);
    free(p->standby);
    for (int i = 0; i < MAX_SHUNNED; i++) {
        free(p->shunned[i].node);
    }
    free(p);
}

void roster_free(struct roster *r) {
    if (r == NULL) {
        return;
    }
    struct post *p, *next;
    HASH_ITER(hh, r->posts, p, next) {
        post_drop(r, p);
    }
    free(r);
}

static struct post *post_get(const struct roster *r, const char *replica) {
    struct post *p;
    HASH_FIND_STR(r->posts, replica, p);
    return p;
}

static struct post *post_make(struct roster *r, const char *replica) {
    struct post *p = post_get(r, replica);
    if (p == NULL) {
        p = mem_alloc(sizeof *p);
        p->replica = mem_dup(replica);
        HASH_ADD_KEYPTR(hh, r->posts, p->replica, strlen(p->replica), p);
    }
    return p;
}

static bool same(const char *a, const char *b) {
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static int64_t deadline(const struct post *p, int64_t patience_ms) {
    return (p->heard_ms > p->since_ms ? p->heard_ms : p->since_ms) + patience_ms;
}

/*
 * A reader that falls silent each time its turn comes again must not make the replica's evidence start over again and
 * again: it is passed over for twice as long as the last time. One that brought word for longer than it was shunned for is
 * forgiven.
 */
static void shun(struct post *p, int64_t now_ms) {
    int i = 0;
    while (i < MAX_SHUNNED - 1 && !same(p->shunned[i].node, p->reader)) {
        i++;
    }
    struct shunned s = p->shunned[i];
    bool again = same(s.node, p->reader) && p->heard_ms - p->since_ms < s.for_ms;
    int64_t for_ms = again ? s.for_ms * 2 : SHUN_MS;
    for_ms = for_ms < SHUN_MAX_MS ? for_ms : SHUN_MAX_MS;
    mem_set(&s.node, p->reader);
    memmove(&p->shunned[1], &p->shunned[0], (size_t)i * sizeof p->shunned[0]);
    p->shunned[0] = (struct shunned){.node = s.node, .for_ms = for_ms, .until_ms = now_ms + for_ms};
}

static bool is_shunned(const struct post *p, const char *node, int64_t now_ms) {
    for (int i = 0; i < MAX_SHUNNED; i++) {
        if (p->shunned[i].node != NULL && p->shunned[i].until_ms > now_ms && strcmp(p->shunned[i].node, node) == 0) {
            return true;
        }
    }
    return false;
}

static void choose(struct post *p, const struct inv_replica *replica, struct assign_agent *agents, size_t n,
                   int64_t patience_ms, int64_t now_ms) {
    if (p->reader != NULL && now_ms >= deadline(p, patience_ms)) {
        shun(p, now_ms);
        p->since_ms = now_ms; /* if there is nobody else it gets another chance */
    }
    for (size_t i = 0; i < n; i++) {
        agents[i].shunned = is_shunned(p, agents[i].node, now_ms);
    }
    struct assign_pick pick = assign_choose(replica->uid, replica->zone, agents, n);
    const char *reader = pick.reader == SIZE_MAX ? NULL : agents[pick.reader].node;
    if (!same(p->reader, reader)) {
        mem_set(&p->reader, reader);
        p->since_ms = now_ms;
        p->heard_ms = 0;
    }
    mem_set(&p->standby, pick.standby == SIZE_MAX ? NULL : agents[pick.standby].node);
}

int64_t roster_update(struct roster *r, const struct inventory *inv, struct assign_agent *agents, size_t n,
                      int64_t patience_ms, int64_t now_ms) {
    int64_t again = 0;
    for (const struct inv_replica *x = inv->replicas; x != NULL; x = x->hh.next) {
        struct post *p = post_make(r, x->uid);
        choose(p, x, agents, n, patience_ms, now_ms);
        int64_t at = deadline(p, patience_ms);
        if (p->reader != NULL && (again == 0 || at < again)) {
            again = at;
        }
    }
    struct post *p, *next;
    HASH_ITER(hh, r->posts, p, next) {
        struct inv_replica *x;
        HASH_FIND_STR(inv->replicas, p->replica, x);
        if (x == NULL) {
            post_drop(r, p);
        }
    }
    return again;
}

void roster_heard(struct roster *r, const char *replica, int64_t now_ms) {
    struct post *p = post_get(r, replica);
    if (p != NULL) {
        p->heard_ms = now_ms;
    }
}

void roster_pardon(struct roster *r, int64_t now_ms) {
    for (struct post *p = r->posts; p != NULL; p = p->hh.next) {
        p->since_ms = now_ms;
    }
}

void roster_audit(struct roster *r, const char *replica) {
    struct post *p = post_get(r, replica);
    if (p != NULL) {
        p->audits++;
    }
}

const char *roster_reader(const struct roster *r, const char *replica) {
    const struct post *p = post_get(r, replica);
    return p != NULL ? p->reader : NULL;
}

const char *roster_standby(const struct roster *r, const char *replica) {
    const struct post *p = post_get(r, replica);
    return p != NULL ? p->standby : NULL;
}

bool roster_has_role(const struct roster *r, const char *node) {
    for (const struct post *p = r->posts; p != NULL; p = p->hh.next) {
        if (same(p->reader, node) || same(p->standby, node)) {
            return true;
        }
    }
    return false;
}

/* --- the Assignment --- */

static char empty[1] = "";

static char *text(char *s) {
    return s != NULL ? s : empty;
}

typedef Meshgate__V1__Assignment__Replica wire_replica;
typedef Meshgate__V1__Assignment__Revision wire_revision;

static const struct inv_revision *revision_of(const struct inventory *inv, const char *name) {
    struct inv_revision *v = NULL;
    if (name != NULL) {
        HASH_FIND_STR(inv->revisions, name, v);
    }
    return v;
}

static int by_id(const void *a, const void *b) {
    return strcmp((*(wire_replica *const *)a)->id, (*(wire_replica *const *)b)->id);
}

static int by_name(const void *a, const void *b) {
    return strcmp((*(wire_revision *const *)a)->name, (*(wire_revision *const *)b)->name);
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static wire_replica *pack_replica(const struct inventory *inv, const struct inv_replica *x, const struct post *p,
                                  bool read) {
    const struct inv_revision *v = revision_of(inv, x->revision);
    wire_replica *out = mem_alloc(sizeof *out);
    meshgate__v1__assignment__replica__init(out);
    out->id = x->uid;
    out->name = text(x->name);
    out->address = text(x->address);
    out->revision = text(x->revision);
    out->server_name = v != NULL ? text(v->server_name) : empty;
    out->read = read;
    out->xds_port = x->xds_port;
    out->http_port = x->http_port;
    out->audit = p->audits;
    return out;
}

static void pack_replicas(const struct roster *r, const struct inventory *inv, const char *node,
                          Meshgate__V1__Assignment *a) {
    a->replicas = mem_alloc((HASH_COUNT(inv->replicas) + 1) * sizeof *a->replicas);
    for (const struct inv_replica *x = inv->replicas; x != NULL; x = x->hh.next) {
        const struct post *p = post_get(r, x->uid);
        bool reads = p != NULL && same(p->reader, node);
        if (reads || (p != NULL && same(p->standby, node))) {
            a->replicas[a->n_replicas++] = pack_replica(inv, x, p, reads);
        }
    }
    qsort(a->replicas, a->n_replicas, sizeof *a->replicas, by_id);
}

static wire_revision *pack_revision(const struct inventory *inv, const struct inv_revision *v) {
    wire_revision *out = mem_alloc(sizeof *out);
    meshgate__v1__assignment__revision__init(out);
    out->name = v->name;
    out->server_name = text(v->server_name);
    out->xds_port = DEFAULT_XDS_PORT;
    out->service_ips = mem_alloc((json_array_size(v->service_ips) + 1) * sizeof *out->service_ips);
    size_t i;
    json_t *ip;
    json_array_foreach(v->service_ips, i, ip) {
        if (json_is_string(ip)) {
            out->service_ips[out->n_service_ips++] = (char *)(uintptr_t)json_string_value(ip);
        }
    }
    out->replica_ips = mem_alloc((HASH_COUNT(inv->replicas) + 1) * sizeof *out->replica_ips);
    for (const struct inv_replica *x = inv->replicas; x != NULL; x = x->hh.next) {
        if (same(x->revision, v->name) && x->address != NULL) {
            out->replica_ips[out->n_replica_ips++] = x->address;
            out->xds_port = x->xds_port != 0 ? x->xds_port : out->xds_port;
        }
    }
    qsort(out->service_ips, out->n_service_ips, sizeof *out->service_ips, by_text);
    qsort(out->replica_ips, out->n_replica_ips, sizeof *out->replica_ips, by_text);
    return out;
}

static void pack_revisions(const struct inventory *inv, Meshgate__V1__Assignment *a) {
    a->revisions = mem_alloc((HASH_COUNT(inv->revisions) + 1) * sizeof *a->revisions);
    for (const struct inv_revision *v = inv->revisions; v != NULL; v = v->hh.next) {
        a->revisions[a->n_revisions++] = pack_revision(inv, v);
    }
    qsort(a->revisions, a->n_revisions, sizeof *a->revisions, by_name);
}

static void assignment_done(Meshgate__V1__Assignment *a) {
    for (size_t i = 0; i < a->n_replicas; i++) {
        free(a->replicas[i]);
    }
    for (size_t i = 0; i < a->n_revisions; i++) {
        free(a->revisions[i]->service_ips);
        free(a->revisions[i]->replica_ips);
        free(a->revisions[i]);
    }
    free(a->replicas);
    free(a->revisions);
}

void roster_pack(const struct roster *r, const struct inventory *inv, const char *node, const struct roster_terms *t,
                 struct buf *out) {
    Meshgate__V1__Assignment a = MESHGATE__V1__ASSIGNMENT__INIT;
    pack_replicas(r, inv, node, &a);
    pack_revisions(inv, &a);
    a.period_ms = (uint32_t)t->period_ms;
    a.local_period_ms = (uint32_t)t->period_ms;
    a.focus = (char **)(uintptr_t)t->focus;
    a.n_focus = t->n_focus;
    a.idle = t->idle;
    Meshgate__V1__GateMessage m = MESHGATE__V1__GATE_MESSAGE__INIT;
    m.body_case = MESHGATE__V1__GATE_MESSAGE__BODY_ASSIGNMENT;
    m.assignment = &a;
    wire_pack(&m.base, out);
    assignment_done(&a);
}
