#include "agent/replica.h"

#include <stdlib.h>
#include <string.h>

#include "agent/replica_inside.h"
#include "lib/base/mem.h"

struct replica *replica_new(void) {
    struct replica *r = mem_alloc(sizeof *r);
    r->words = words_new();
    return r;
}

static void entry_free(struct replica *r, struct entry *e) {
    free(e->id);
    free(e->connection);
    free(e->address);
    free(e->error);
    shared_drop(r, &e->shared);
    free(e->behind);
    free(e);
}

void replica_free(struct replica *r) {
    if (!r) {
        return;
    }
    replica_drop(r);
    gone_clear(r);
    struct entry *e, *next;
    HASH_ITER(hh, r->entries, e, next) {
        HASH_DEL(r->entries, e);
        entry_free(r, e);
    }
    words_free(r->words);
    free(r);
}

/* Replace *slot by *from (moved); true when the text differs. */
static bool take(char **slot, char **from) {
    const char *a = *slot ? *slot : "", *b = *from ? *from : "";
    if (strcmp(a, b) == 0) {
        return false;
    }
    free(*slot);
    *slot = *from;
    *from = NULL;
    return true;
}

/* The same for a shared text. */
static bool take_word(struct replica *r, char **slot, char **from) {
    const char *a = *slot ? *slot : "", *b = *from ? *from : "";
    if (a == b || strcmp(a, b) == 0) {
        return false;
    }
    words_drop(r->words, *slot);
    *slot = *from;
    *from = NULL;
    return true;
}

static struct entry *entry_get(struct replica *r, const char *id) {
    struct entry *e;
    HASH_FIND_STR(r->entries, id, e);
    if (!e) {
        e = mem_alloc(sizeof *e);
        e->id = mem_dup(id);
        e->told = gone_forget(r, id);
        e->dirty = e->fresh = true;
        e->look = r->look;
        HASH_ADD_KEYPTR(hh, r->entries, e->id, strlen(e->id), e);
    }
    return e;
}

/* A new stream starts with a clean slate: what was pending was pending on the old one. */
static void entry_new_stream(struct replica *r, struct entry *e) {
    free(e->behind);
    e->behind = NULL;
    e->pending_since_ms = 0;
    e->sync = MESHGATE__V1__SYNC__SYNC_NOT_READ;
    free(e->error);
    e->error = NULL;
    e->error_type = NULL;
    words_drop(r->words, e->shared.types);
    e->shared.types = NULL;
    e->sent = 0;
    e->sent_ms = 0;
    e->stood = 0;
    e->spared = false;
    e->fresh = true;
}

static void apply_conn(struct replica *r, struct staged *s) {
    struct entry *e = entry_get(r, s->id);
    e->look = r->look;
    bool other = e->connection && e->connection[0] && s->connection && strcmp(e->connection, s->connection) != 0;
    if (other) {
        entry_new_stream(r, e);
    }
    bool changed = take(&e->connection, &s->connection);
    changed |= take(&e->address, &s->address);
    changed |= e->connected_at_ms != s->connected_at_ms || e->copies != s->copies;
    e->connected_at_ms = s->connected_at_ms;
    e->copies = s->copies;
    e->dirty |= changed;
}

static void entry_gone(struct replica *r, struct entry *e) {
    gone_add(r, e->id, e->told);
    HASH_DEL(r->entries, e);
    entry_free(r, e);
}

static void connections_done(struct replica *r) {
    struct entry *e, *next;
    HASH_ITER(hh, r->entries, e, next) {
        if (e->look != r->look) {
            entry_gone(r, e);
        }
    }
}

void replica_commit_connections(struct replica *r) {
    r->look++;
    struct staged *s, *snext;
    HASH_ITER(hh, r->staged, s, snext) {
        apply_conn(r, s);
    }
    connections_done(r);
    replica_drop(r);
}

/* Since when some type stands still behind what was sent; 0: none. */
static int64_t standing_since(struct entry *e, const struct staged *s, int64_t now_ms) {
    if (!s->acked) {
        free(e->behind);
        e->behind = NULL;
        return 0;
    }
    if (!e->behind) {
        e->behind = mem_alloc(sizeof *e->behind);
    }
    int64_t oldest = 0;
    for (int t = 0; t < XDS_TYPES; t++) {
        if (e->behind->acked[t] != s->acked[t]) {
            e->behind->acked[t] = s->acked[t];
            e->behind->since_ms[t] = now_ms;
        }
        if (s->acked[t] && (!oldest || e->behind->since_ms[t] < oldest)) {
            oldest = e->behind->since_ms[t];
        }
    }
    return oldest;
}

static void apply_sent(struct entry *e, const struct staged *s, int64_t now_ms) {
    e->moved = e->sent && s->sent && e->sent != s->sent;
    if (e->sent != s->sent) {
        e->sent = s->sent;
        e->sent_ms = now_ms;
    }
}

static Meshgate__V1__Sync sync_of(const struct staged *s) {
    return s->error     ? MESHGATE__V1__SYNC__SYNC_IS_ERROR
           : s->pending ? MESHGATE__V1__SYNC__SYNC_IS_PENDING
           : s->synced  ? MESHGATE__V1__SYNC__SYNC_IS_SYNCED
                        : MESHGATE__V1__SYNC__SYNC_NOT_READ;
}

static void apply_sync(struct replica *r, struct staged *s, int64_t now_ms) {
    struct entry *e = entry_get(r, s->id);
    Meshgate__V1__Sync sync = sync_of(s);
    int64_t since = standing_since(e, s, now_ms);
    apply_sent(e, s, now_ms);
    if (s->copies > 1) {
        /* Two streams of one id, order unknown: one of them is dead and will stay behind. No proof, no accusation. */
        sync = MESHGATE__V1__SYNC__SYNC_IS_PENDING;
        since = now_ms;
    }
    bool changed = take(&e->error, &s->error);
    changed |= take_word(r, &e->shared.cds_acked, &s->shared.cds_acked);
    changed |= take_word(r, &e->shared.lds_acked, &s->shared.lds_acked);
    changed |= take_word(r, &e->shared.version, &s->shared.version);
    changed |= take_word(r, &e->shared.proxy_type, &s->shared.proxy_type);
    changed |= take_word(r, &e->shared.types, &s->shared.types);
    changed |= e->sync != sync || e->pending_since_ms != since || e->error_type != s->error_type;
    e->sync = sync;
    e->pending_since_ms = since;
    e->error_type = s->error_type;
    e->dirty |= changed;
}

bool replica_in_namespace(const char *id, const char *namespace_) {
    const char *dot = strrchr(id, '.');
    return !namespace_ || (dot && strcmp(dot + 1, namespace_) == 0);
}

/* Connected, but not in this answer: its stream has come or gone in between, nothing is proven. */
static void forget_absent(struct replica *r, const char *namespace_) {
    struct staged *s;
    struct entry *e, *next;
    HASH_ITER(hh, r->entries, e, next) {
        if (!replica_in_namespace(e->id, namespace_) || e->sync == MESHGATE__V1__SYNC__SYNC_NOT_READ) {
            continue;
        }
        HASH_FIND_STR(r->staged, e->id, s);
        if (!s) {
            entry_new_stream(r, e);
            e->dirty = true;
        }
    }
}

void replica_commit_syncz(struct replica *r, const char *namespace_, int64_t now_ms) {
    struct staged *s, *snext;
    r->synced_ms = now_ms;
    HASH_ITER(hh, r->staged, s, snext) {
        if (replica_in_namespace(s->id, namespace_)) {
            apply_sync(r, s, now_ms);
        }
    }
    for (struct entry *e = r->entries; e; e = e->hh.next) {
        e->fresh &= !replica_in_namespace(e->id, namespace_);
    }
    forget_absent(r, namespace_);
    replica_pace(r, namespace_);
    replica_drop(r);
}

void replica_commit_status(struct replica *r, int64_t now_ms) {
    r->look++;
    r->synced_ms = now_ms;
    struct staged *s, *snext;
    HASH_ITER(hh, r->staged, s, snext) {
        struct entry *e = entry_get(r, s->id);
        e->look = r->look;
        e->dirty |= e->copies != s->copies;
        e->copies = s->copies;
        apply_sync(r, s, now_ms);
    }
    connections_done(r);
    replica_drop(r);
}

bool replica_has_trouble(const struct replica *r, int64_t before_ms) {
    for (const struct entry *e = r->entries; e; e = e->hh.next) {
        bool behind = e->sync == MESHGATE__V1__SYNC__SYNC_IS_PENDING && e->pending_since_ms <= before_ms;
        if (behind || e->sync == MESHGATE__V1__SYNC__SYNC_IS_ERROR) {
            return true;
        }
    }
    return false;
}

size_t replica_fresh(const struct replica *r) {
    size_t n = 0;
    for (const struct entry *e = r->entries; e; e = e->hh.next) {
        n += e->fresh;
    }
    return n;
}

size_t replica_count(const struct replica *r) {
    return HASH_COUNT(r->entries);
}
