#include "agent/report.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"

/* Grows in powers of two; *n is raised by one. Returns the (moved) array. */
static void *vec_push(void *array, size_t *n, void *item) {
    void **a = array;
    if ((*n & (*n - 1)) == 0) {
        a = mem_grow(a, sizeof(void *) * (*n ? *n * 2 : 1));
    }
    a[(*n)++] = item;
    return a;
}

void report_init(struct report *r) {
    *r = (struct report){0};
    meshgate__v1__report__init(&r->msg);
    meshgate__v1__node_scan__init(&r->scan);
}

static void free_array(void **a, size_t n) {
    for (size_t i = 0; i < n; i++) {
        free(a[i]);
    }
    free(a);
}

void report_done(struct report *r) {
    free_array((void **)r->scan.changed, r->scan.n_changed);
    free(r->scan.gone);
    for (size_t i = 0; i < r->msg.n_replicas; i++) {
        Meshgate__V1__ReplicaReading *x = r->msg.replicas[i];
        free_array((void **)x->changed, x->n_changed);
        free_array((void **)x->namespaces, x->n_namespaces);
        free_array((void **)x->blocked, x->n_blocked);
        free(x->gone);
    }
    free_array((void **)r->msg.replicas, r->msg.n_replicas);
    free_array((void **)r->msg.reach, r->msg.n_reach);
    free_array((void **)r->kept, r->n_kept);
    report_init(r);
}

bool report_full(const struct report *r) {
    return r->bytes >= REPORT_BUDGET;
}

void report_count(struct report *r, size_t bytes) {
    r->bytes += bytes;
}

char *report_keep(struct report *r, char *s) {
    r->kept = vec_push(r->kept, &r->n_kept, s);
    return s;
}

Meshgate__V1__LocalProxy *report_local(struct report *r) {
    Meshgate__V1__LocalProxy *x = mem_alloc(sizeof *x);
    meshgate__v1__local_proxy__init(x);
    r->scan.changed = vec_push(r->scan.changed, &r->scan.n_changed, x);
    return x;
}

void report_local_gone(struct report *r, char *uid_taken) {
    r->scan.gone = vec_push(r->scan.gone, &r->scan.n_gone, report_keep(r, uid_taken));
    r->bytes += 48;
}

Meshgate__V1__ReplicaReading *report_replica(struct report *r) {
    Meshgate__V1__ReplicaReading *x = mem_alloc(sizeof *x);
    meshgate__v1__replica_reading__init(x);
    r->msg.replicas = vec_push(r->msg.replicas, &r->msg.n_replicas, x);
    r->bytes += 128;
    return x;
}

Meshgate__V1__ProxyOnReplica *report_proxy(struct report *r, Meshgate__V1__ReplicaReading *on) {
    Meshgate__V1__ProxyOnReplica *x = mem_alloc(sizeof *x);
    meshgate__v1__proxy_on_replica__init(x);
    on->changed = vec_push(on->changed, &on->n_changed, x);
    r->bytes += 64;
    return x;
}

void report_proxy_gone(struct report *r, Meshgate__V1__ReplicaReading *on, char *id_taken) {
    on->gone = vec_push(on->gone, &on->n_gone, report_keep(r, id_taken));
    r->bytes += 64;
}

void report_namespace_age(struct report *r, Meshgate__V1__ReplicaReading *on, char *name, uint32_t age_ms) {
    Meshgate__V1__NamespaceAge *x = mem_alloc(sizeof *x);
    meshgate__v1__namespace_age__init(x);
    x->name = name;
    x->syncz_age_ms = age_ms;
    on->namespaces = vec_push(on->namespaces, &on->n_namespaces, x);
    r->bytes += 80;
}

void report_blocked(struct report *r, Meshgate__V1__ReplicaReading *on, const char *namespace_, const char *proxy,
                    uint32_t for_ms) {
    Meshgate__V1__Blocked *x = mem_alloc(sizeof *x);
    meshgate__v1__blocked__init(x);
    x->namespace_ = report_keep(r, mem_dup(namespace_));
    x->proxy = report_keep(r, mem_dup(proxy));
    x->for_ms = for_ms;
    on->blocked = vec_push(on->blocked, &on->n_blocked, x);
    r->bytes += 64 + strlen(namespace_) + strlen(proxy);
}

Meshgate__V1__Reach *report_reach(struct report *r) {
    Meshgate__V1__Reach *x = mem_alloc(sizeof *x);
    meshgate__v1__reach__init(x);
    r->msg.reach = vec_push(r->msg.reach, &r->msg.n_reach, x);
    r->bytes += 128;
    return x;
}
