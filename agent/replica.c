#include "agent/replica.h"

#include <stdlib.h>
#include <string.h>

#include "agent/words.h"
#include "lib/base/mem.h"
#include "lib/base/text.h"
#include "uthash.h"

/* The gate takes no longer texts than WIRE_MAX_TEXT; nobody reads this much of one. */
#define ERROR_MAX 4096

/* What syncz says of a proxy in texts that it shares with many. */
struct shared {
    char *cds_acked, *lds_acked, *version, *proxy_type;
};

/* One line of a reading that is being taken in. */
struct staged {
    char *id, *connection, *address, *error;
    struct shared shared;
    int64_t connected_at_ms;
    const char *error_type;
    bool pending, synced, known;
    uint64_t *acked; /* by type: hash of the nonce where sent differs from acked, 0: in step or not sent. NULL: all 0 */
    UT_hash_handle hh;
    uint32_t copies;
};

/* Types that are behind, as staged.acked of the latest reading, and since when. */
struct behind {
    uint64_t acked[XDS_TYPES];
    int64_t since_ms[XDS_TYPES];
};

struct entry {
    char *id, *connection, *address, *error;
    struct shared shared;
    const char *error_type;
    int64_t connected_at_ms;
    Meshgate__V1__Sync sync;
    struct behind *behind; /* NULL: none */
    int64_t pending_since_ms;
    uint32_t copies;
    uint32_t look; /* of the latest connections reading that had it */
    bool dirty;
    UT_hash_handle hh;
};

struct gone {
    char *id;
    struct gone *next;
};

struct replica {
    struct entry *entries;
    struct staged *staged;
    struct gone *gone;
    struct words *words;
    uint32_t look;
};

struct replica *replica_new(void) {
    struct replica *r = mem_alloc(sizeof *r);
    r->words = words_new();
    return r;
}

static void shared_drop(struct replica *r, struct shared *s) {
    words_drop(r->words, s->cds_acked);
    words_drop(r->words, s->lds_acked);
    words_drop(r->words, s->version);
    words_drop(r->words, s->proxy_type);
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

static void staged_free(struct replica *r, struct staged *s) {
    free(s->id);
    free(s->connection);
    free(s->address);
    free(s->error);
    shared_drop(r, &s->shared);
    free(s->acked);
    free(s);
}

void replica_drop(struct replica *r) {
    struct staged *s, *next;
    HASH_ITER(hh, r->staged, s, next) {
        HASH_DEL(r->staged, s);
        staged_free(r, s);
    }
}

static void gone_clear(struct replica *r) {
    while (r->gone) {
        struct gone *g = r->gone;
        r->gone = g->next;
        free(g->id);
        free(g);
    }
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

void replica_begin(struct replica *r) {
    replica_drop(r);
}

static struct staged *stage(struct replica *r, const char *id) {
    struct staged *s;
    HASH_FIND_STR(r->staged, id, s);
    if (!s) {
        s = mem_alloc(sizeof *s);
        s->id = mem_dup(id);
        HASH_ADD_KEYPTR(hh, r->staged, s->id, strlen(s->id), s);
    }
    s->copies++;
    return s;
}

void replica_conn(void *replica, const struct conn_seen *c) {
    struct staged *s = stage(replica, c->id);
    if (s->copies > 1 && c->connected_at_ms <= s->connected_at_ms) {
        return; /* the newest stream is the live one */
    }
    mem_set(&s->connection, c->connection);
    mem_set(&s->address, c->address);
    s->connected_at_ms = c->connected_at_ms;
}

/* A rejection has a line for each listener; what does not fit is cut between characters. */
static char *cut_text(const char *text) {
    size_t n = strlen(text);
    if (n > ERROR_MAX) {
        n = ERROR_MAX;
        while (n > 0 && ((unsigned char)text[n] & 0xC0) == 0x80) {
            n--;
        }
    }
    return mem_printf("%.*s", (int)n, text);
}

static void set_word(struct replica *r, char **slot, const char *text) {
    char *before = *slot;
    *slot = words_take(r->words, text);
    words_drop(r->words, before);
}

static void stage_type(struct replica *r, struct staged *s, const struct type_seen *t) {
    if (t->error && t->error[0]) {
        free(s->error);
        s->error = cut_text(t->error);
        s->error_type = xds_type_name(t->type);
    }
    if (!t->sent[0]) {
        return; /* subscribed, nothing to send: neither in step nor behind */
    }
    s->synced = true;
    char version[96];
    istiod_nonce_version(t->acked, version, sizeof version);
    if (t->type == XDS_CDS) {
        set_word(r, &s->shared.cds_acked, version);
    } else if (t->type == XDS_LDS) {
        set_word(r, &s->shared.lds_acked, version);
    }
    if (strcmp(t->sent, t->acked) != 0) {
        s->pending = true;
        s->acked = s->acked ? s->acked : mem_alloc(sizeof *s->acked * XDS_TYPES);
        s->acked[t->type] = text_hash(1, t->acked, strlen(t->acked));
    }
}

void replica_sync(void *replica, const struct sync_seen *x) {
    if (!x->has_types) {
        return; /* a client without watches: a reader such as we */
    }
    struct replica *r = replica;
    struct staged *s = stage(r, x->id);
    s->known = true;
    set_word(r, &s->shared.version, x->istio_version);
    set_word(r, &s->shared.proxy_type, x->proxy_type);
    for (size_t i = 0; i < x->n_types; i++) {
        stage_type(r, s, &x->types[i]);
    }
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

static void gone_forget(struct replica *r, const char *id) {
    for (struct gone **p = &r->gone; *p; p = &(*p)->next) {
        if (strcmp((*p)->id, id) == 0) {
            struct gone *g = *p;
            *p = g->next;
            free(g->id);
            free(g);
            return;
        }
    }
}

static struct entry *entry_get(struct replica *r, const char *id) {
    struct entry *e;
    HASH_FIND_STR(r->entries, id, e);
    if (!e) {
        gone_forget(r, id); /* back before its going was told */
        e = mem_alloc(sizeof *e);
        e->id = mem_dup(id);
        e->dirty = true;
        e->look = r->look;
        HASH_ADD_KEYPTR(hh, r->entries, e->id, strlen(e->id), e);
    }
    return e;
}

/* A new stream starts with a clean slate: what was pending was pending on the old one. */
static void entry_new_stream(struct entry *e) {
    free(e->behind);
    e->behind = NULL;
    e->pending_since_ms = 0;
    e->sync = MESHGATE__V1__SYNC__SYNC_NOT_READ;
    free(e->error);
    e->error = NULL;
    e->error_type = NULL;
}

static void apply_conn(struct replica *r, struct staged *s) {
    struct entry *e = entry_get(r, s->id);
    e->look = r->look;
    bool other = e->connection && e->connection[0] && s->connection && strcmp(e->connection, s->connection) != 0;
    if (other) {
        entry_new_stream(e);
    }
    bool changed = take(&e->connection, &s->connection);
    changed |= take(&e->address, &s->address);
    changed |= e->connected_at_ms != s->connected_at_ms || e->copies != s->copies;
    e->connected_at_ms = s->connected_at_ms;
    e->copies = s->copies;
    e->dirty |= changed;
}

static void entry_gone(struct replica *r, struct entry *e) {
    struct gone *g = mem_alloc(sizeof *g);
    g->id = mem_dup(e->id);
    g->next = r->gone;
    r->gone = g;
    HASH_DEL(r->entries, e);
    entry_free(r, e);
}

void replica_commit_connections(struct replica *r) {
    r->look++;
    struct staged *s, *snext;
    HASH_ITER(hh, r->staged, s, snext) {
        apply_conn(r, s);
    }
    struct entry *e, *next;
    HASH_ITER(hh, r->entries, e, next) {
        if (e->look != r->look) {
            entry_gone(r, e);
        }
    }
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

static void apply_sync(struct replica *r, struct staged *s, int64_t now_ms) {
    struct entry *e = entry_get(r, s->id);
    Meshgate__V1__Sync sync = MESHGATE__V1__SYNC__SYNC_NOT_READ;
    int64_t since = standing_since(e, s, now_ms);
    if (s->copies > 1) {
        /* Two streams of one id, order unknown: one of them is dead and will stay behind. No proof, no accusation. */
        sync = MESHGATE__V1__SYNC__SYNC_IS_PENDING;
        since = now_ms;
    } else if (s->error) {
        sync = MESHGATE__V1__SYNC__SYNC_IS_ERROR;
    } else if (s->pending) {
        sync = MESHGATE__V1__SYNC__SYNC_IS_PENDING;
    } else if (s->synced) {
        sync = MESHGATE__V1__SYNC__SYNC_IS_SYNCED;
    }
    bool changed = take(&e->error, &s->error);
    changed |= take_word(r, &e->shared.cds_acked, &s->shared.cds_acked);
    changed |= take_word(r, &e->shared.lds_acked, &s->shared.lds_acked);
    changed |= take_word(r, &e->shared.version, &s->shared.version);
    changed |= take_word(r, &e->shared.proxy_type, &s->shared.proxy_type);
    changed |= e->sync != sync || e->pending_since_ms != since || e->error_type != s->error_type;
    e->sync = sync;
    e->pending_since_ms = since;
    e->error_type = s->error_type;
    e->dirty |= changed;
}

static bool in_namespace(const char *id, const char *namespace_) {
    const char *dot = strrchr(id, '.');
    return !namespace_ || (dot && strcmp(dot + 1, namespace_) == 0);
}

void replica_commit_syncz(struct replica *r, const char *namespace_, int64_t now_ms) {
    struct staged *s, *snext;
    HASH_ITER(hh, r->staged, s, snext) {
        if (in_namespace(s->id, namespace_)) {
            apply_sync(r, s, now_ms);
        }
    }
    /* Connected, but not in this answer: its stream has come or gone in between, nothing is proven. */
    struct entry *e, *next;
    HASH_ITER(hh, r->entries, e, next) {
        if (!in_namespace(e->id, namespace_) || e->sync == MESHGATE__V1__SYNC__SYNC_NOT_READ) {
            continue;
        }
        HASH_FIND_STR(r->staged, e->id, s);
        if (!s) {
            entry_new_stream(e);
            e->dirty = true;
        }
    }
    replica_drop(r);
}

void replica_all_dirty(struct replica *r) {
    gone_clear(r);
    struct entry *e, *next;
    HASH_ITER(hh, r->entries, e, next) {
        e->dirty = true;
    }
}

bool replica_dirty(const struct replica *r) {
    if (r->gone) {
        return true;
    }
    for (const struct entry *e = r->entries; e; e = e->hh.next) {
        if (e->dirty) {
            return true;
        }
    }
    return false;
}

static char *text(char *s) {
    static char empty[1] = "";
    return s ? s : empty;
}

static void fill_one(struct report *rep, Meshgate__V1__ReplicaReading *on, struct entry *e, int64_t now_ms) {
    Meshgate__V1__ProxyOnReplica *x = report_proxy(rep, on);
    x->id = e->id;
    x->connection = text(e->connection);
    x->connected_at_ms = e->connected_at_ms;
    x->address = text(e->address);
    x->sync = e->sync;
    x->pending_ms = e->pending_since_ms ? (uint32_t)(now_ms - e->pending_since_ms) : 0;
    x->error = text(e->error);
    x->error_type = e->error_type ? report_keep(rep, mem_dup(e->error_type)) : text(NULL);
    x->cds_acked = text(e->shared.cds_acked);
    x->lds_acked = text(e->shared.lds_acked);
    x->istio_version = text(e->shared.version);
    x->proxy_type = text(e->shared.proxy_type);
    x->copies = e->copies;
    report_count(rep, strlen(x->id) + strlen(x->connection) + strlen(x->error) + 128);
    e->dirty = false;
}

bool replica_fill(struct replica *r, struct report *rep, Meshgate__V1__ReplicaReading *on, int64_t now_ms) {
    while (r->gone) {
        if (report_full(rep)) {
            return false;
        }
        struct gone *g = r->gone;
        r->gone = g->next;
        report_proxy_gone(rep, on, g->id);
        free(g);
    }
    struct entry *e, *next;
    HASH_ITER(hh, r->entries, e, next) {
        if (!e->dirty) {
            continue;
        }
        if (report_full(rep)) {
            return false;
        }
        fill_one(rep, on, e, now_ms);
    }
    return true;
}

size_t replica_count(const struct replica *r) {
    return HASH_COUNT(r->entries);
}
