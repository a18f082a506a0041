/*
 * Who is left out: a proxy to which nothing was sent over several readings while most of its neighbours, those of its
 * namespace and type, were sent something. It may be that its pushes are locked, or that the pushes did not concern it (a
 * Sidecar resource narrows what it is sent); replica_spare() says which, after it was asked about.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/replica_inside.h"
#include "lib/base/mem.h"

enum { STOOD_READINGS = 2, STOOD_MS = 60 * 1000 };

struct group {
    char *key;
    uint32_t all, moved;
    UT_hash_handle hh;
};

static struct group *group_of(struct group **groups, const struct entry *e) {
    char key[400];
    struct group *g;
    const char *dot = strrchr(e->id, '.');
    snprintf(key, sizeof key, "%.253s %.100s", dot ? dot + 1 : "", e->shared.proxy_type ? e->shared.proxy_type : "");
    HASH_FIND_STR(*groups, key, g);
    if (!g) {
        g = mem_alloc(sizeof *g);
        g->key = mem_dup(key);
        HASH_ADD_KEYPTR(hh, *groups, g->key, strlen(g->key), g);
    }
    return g;
}

static bool counts(const struct entry *e, const char *namespace_) {
    return e->sent && replica_in_namespace(e->id, namespace_);
}

static void judge(struct entry *e, const struct group *g) {
    if (e->moved) {
        e->stood = 0;
        e->spared = false;
    } else if (g->moved > 0 && g->moved * 2 >= g->all - 1 && e->stood < UINT8_MAX) {
        e->stood++;
    }
}

void replica_pace(struct replica *r, const char *namespace_) {
    struct group *groups = NULL, *g, *next;
    for (struct entry *e = r->entries; e; e = e->hh.next) {
        if (counts(e, namespace_)) {
            g = group_of(&groups, e);
            g->all++;
            g->moved += e->moved;
        }
    }
    for (struct entry *e = r->entries; e; e = e->hh.next) {
        if (counts(e, namespace_)) {
            judge(e, group_of(&groups, e));
        }
    }
    HASH_ITER(hh, groups, g, next) {
        HASH_DEL(groups, g);
        free(g->key);
        free(g);
    }
}

static bool lags(const struct replica *r, const struct entry *e) {
    return e->stood >= STOOD_READINGS && !e->spared && r->synced_ms - e->sent_ms > STOOD_MS;
}

bool replica_has_laggards(const struct replica *r) {
    for (const struct entry *e = r->entries; e; e = e->hh.next) {
        if (lags(r, e)) {
            return true;
        }
    }
    return false;
}

void replica_each(const struct replica *r, void (*fn)(void *ctx, const struct replica_who *w), void *ctx) {
    for (const struct entry *e = r->entries; e; e = e->hh.next) {
        const char *dot = strrchr(e->id, '.');
        fn(ctx, &(struct replica_who){.id = e->id,
                                      .connection = e->connection ? e->connection : "",
                                      .namespace_ = dot ? dot + 1 : "",
                                      .sent_ms = e->sent_ms,
                                      .lags = lags(r, e)});
    }
}

const char *replica_connection(const struct replica *r, const char *id) {
    struct entry *e;
    HASH_FIND_STR(r->entries, id, e);
    return e ? e->connection ? e->connection : "" : NULL;
}

void replica_spare(struct replica *r, const char *id) {
    struct entry *e;
    HASH_FIND_STR(r->entries, id, e);
    if (e) {
        e->spared = true;
    }
}
