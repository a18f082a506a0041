/* A reading as it comes in, line by line. */
#include <stdlib.h>
#include <string.h>

#include "agent/replica_inside.h"
#include "lib/base/mem.h"
#include "lib/base/text.h"
#include "probes/drift.h"

/* The gate takes no longer texts than WIRE_MAX_TEXT; nobody reads this much of one. */
#define ERROR_MAX 4096

void shared_drop(struct replica *r, struct shared *s) {
    words_drop(r->words, s->cds_acked);
    words_drop(r->words, s->lds_acked);
    words_drop(r->words, s->version);
    words_drop(r->words, s->proxy_type);
    words_drop(r->words, s->types);
}

void staged_free(struct replica *r, struct staged *s) {
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

void replica_begin(struct replica *r) {
    replica_drop(r);
}

static struct staged *stage(struct replica *r, const char *id) {
    struct staged *s;
    HASH_FIND_STR(r->staged, id, s);
    if (!s) {
        s = mem_alloc(sizeof *s);
        s->id = mem_dup(id);
        memset(s->types, '-', XDS_TYPES);
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

/* Several types share the last letter, and two streams an id: the worst is kept. */
static void set_letter(struct staged *s, enum xds_type t, char letter) {
    static const char rising[] = "-SNPE";
    if (strchr(rising, letter) > strchr(rising, s->types[t])) {
        s->types[t] = letter;
    }
}

static void stage_versions(struct replica *r, struct staged *s, const struct type_seen *t) {
    char version[96];
    if (t->type == XDS_CDS || t->type == XDS_LDS) {
        istiod_nonce_version(t->acked, version, sizeof version);
        set_word(r, t->type == XDS_CDS ? &s->shared.cds_acked : &s->shared.lds_acked, version);
    }
}

static void stage_pending(struct staged *s, const struct type_seen *t) {
    s->pending = true;
    s->acked = s->acked ? s->acked : mem_alloc(sizeof *s->acked * XDS_TYPES);
    s->acked[t->type] = text_hash(1, t->acked, strlen(t->acked)) | 1;
}

void replica_drift(struct replica *r, const char *istiod_version) {
    r->fixed_types = drift_has(istiod_version, DRIFT_FIXED_TYPES);
    r->false_stale = drift_has(istiod_version, DRIFT_FALSE_STALE);
}

static bool is_main(const struct type_seen *t) {
    return t->type == XDS_CDS || t->type == XDS_LDS;
}

/*
 * Nothing sent (NOT_SENT) is normal for a type of which there is nothing to tell: neither in step nor behind. But clusters
 * and listeners there are always: who waits for the first of them is behind.
 */
static bool is_behind(const struct replica *r, const struct type_seen *t) {
    return !t->sent[0] ? is_main(t) : strcmp(t->sent, t->acked) != 0 && (is_main(t) || !r->false_stale);
}

static char letter_of(const struct type_seen *t) {
    return t->error && t->error[0] ? 'E' : !t->sent[0] ? 'N' : strcmp(t->sent, t->acked) != 0 ? 'P' : 'S';
}

static void stage_type(struct replica *r, struct staged *s, const struct type_seen *t) {
    if (!t->sent[0] && r->fixed_types) {
        return; /* not subscribed, as likely as not */
    }
    set_letter(s, t->type, letter_of(t));
    if (t->error && t->error[0]) {
        free(s->error);
        s->error = cut_text(t->error);
        s->error_type = xds_type_name(t->type);
    }
    if (t->sent[0]) {
        s->synced = true;
        s->sent = text_hash(s->sent ^ (uint64_t)t->type, t->sent, strlen(t->sent)) | 1;
        stage_versions(r, s, t);
    }
    if (is_behind(r, t)) {
        stage_pending(s, t);
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
    set_word(r, &s->shared.types, s->types);
}
