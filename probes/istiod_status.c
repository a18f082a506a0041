#include "istiod_status.h"

#include <stdlib.h>
#include <string.h>

#include "../lib/base/mem.h"
#include "../lib/base/text.h"
#include "../lib/wire/skim.h"

#define SYNCZ_TYPE "istio.io/debug/syncz"

enum { MAX_RECORD = 1024 * 1024, MAX_TYPES = 24, TOKEN = 16 };
enum { STATUS_SYNCED = 1, STATUS_NOT_SENT = 2, STATUS_STALE = 3, STATUS_ERROR = 4 };

/* A message that lies in one piece. */
struct span {
    const uint8_t *p, *end;
};

struct field {
    uint32_t number;
    uint64_t value;         /* of a varint */
    const uint8_t *p, *end; /* of bytes, else NULL */
};

#define SPAN(f) ((struct span){(f).p, (f).end})

struct known {
    char url[128];
    size_t n;
    enum xds_type type;
};

/* One proxy, texts in an arena that is used again for the next. sync_seen has room for MAX_TYPES. */
struct record {
    struct sync_seen s;
    char tokens[MAX_TYPES][TOKEN];
    struct known known[MAX_TYPES];
    char *texts; /* no longer than the record itself: each text gives up a tag for its NUL */
    size_t used, cap;
    struct buf copy; /* of a record that is in pieces */
};

static bool long_varint(struct span *s, uint64_t *out) {
    uint64_t v = 0;
    for (unsigned shift = 0; s->p < s->end && shift < 70; shift += 7) {
        uint8_t b = *s->p++;
        v |= (uint64_t)(b & 0x7f) << (shift & 63);
        if (b < 0x80) {
            *out = v;
            return shift < 63 || b < 2;
        }
    }
    return false;
}

/* Most are short. */
static inline bool varint(struct span *s, uint64_t *out) {
    if (s->p < s->end && *s->p < 0x80) {
        *out = *s->p++;
        return true;
    }
    return long_varint(s, out);
}

/* 1: *f is filled; 0: end; -1: malformed. */
__attribute__((always_inline)) static inline int next(struct span *s, struct field *f) {
    uint64_t tag, n;
    if (s->p == s->end) {
        return 0;
    }
    if (!varint(s, &tag) || tag > UINT32_MAX || tag >> 3 == 0) {
        return -1;
    }
    f->number = (uint32_t)(tag >> 3);
    f->p = f->end = NULL;
    f->value = 0;
    switch (tag & 7) {
    case SKIM_VARINT:
        return varint(s, &f->value) ? 1 : -1;
    case SKIM_BYTES:
        if (!varint(s, &n) || n > (uint64_t)(s->end - s->p)) {
            return -1;
        }
        f->p = s->p;
        f->end = s->p += n;
        return 1;
    case SKIM_I64:
    case SKIM_I32:
        n = (tag & 7) == SKIM_I64 ? 8 : 4;
        if (n > (uint64_t)(s->end - s->p)) {
            return -1;
        }
        s->p += n;
        return 1;
    default:
        return -1;
    }
}

static bool is_utf8(const char *p, size_t n) {
    size_t at = 0;
    for (uint64_t eight; at + sizeof eight <= n; at += sizeof eight) {
        memcpy(&eight, p + at, sizeof eight);
        if (eight & UINT64_C(0x8080808080808080)) {
            break;
        }
    }
    while (at < n) {
        size_t step = (unsigned char)p[at] < 0x80 ? 1 : text_utf8(p + at, n - at);
        if (step == 0) {
            return false;
        }
        at += step;
    }
    return true;
}

/* NULL: not text. A NUL inside ends it, as in the JSON form. */
static const char *text(struct record *r, struct span s) {
    size_t n = (size_t)(s.end - s.p);
    if (s.p == NULL || !is_utf8((const char *)s.p, n)) {
        return NULL;
    }
    char *out = r->texts + r->used;
    memcpy(out, s.p, n);
    out[n] = '\0';
    r->used += n + 1;
    return out;
}

static bool is(struct span s, const char *key, size_t n) {
    return (size_t)(s.end - s.p) == n && memcmp(s.p, key, n) == 0;
}

/* Value of one metadata entry, when it is one of ours. */
static bool metadata_entry(struct record *r, struct span entry) {
    struct span key = {NULL, NULL}, value = {NULL, NULL};
    struct field f;
    int more;
    while ((more = next(&entry, &f)) > 0) {
        if (f.number == 1) {
            key = SPAN(f);
        } else {
            value = SPAN(f);
        }
    }
    const char **slot = NULL;
    if (key.p != NULL) {
        slot = is(key, "ISTIO_VERSION", 13) ? &r->s.istio_version : is(key, "CLUSTER_ID", 10) ? &r->s.cluster : NULL;
    }
    while (slot != NULL && value.p != NULL && more == 0 && (more = next(&value, &f)) > 0) {
        if (f.number == 3) {
            const char *t = text(r, SPAN(f));
            *slot = t != NULL ? t : *slot;
        }
        more = 0;
    }
    return more == 0;
}

static bool metadata(struct record *r, struct span s) {
    struct field f;
    int more;
    while ((more = next(&s, &f)) > 0) {
        if (f.number == 1 && (f.p == NULL || !metadata_entry(r, SPAN(f)))) {
            return false;
        }
    }
    return more == 0;
}

static bool node(struct record *r, struct span s) {
    struct field f;
    int more;
    while ((more = next(&s, &f)) > 0) {
        if (f.number == 1) {
            r->s.id = text(r, SPAN(f));
        } else if (f.number == 3 && (f.p == NULL || !metadata(r, SPAN(f)))) {
            return false;
        }
    }
    return more == 0 && r->s.id != NULL;
}

static bool timestamp(struct span s, int64_t *seconds, int64_t *nanos) {
    struct field f;
    int more;
    *seconds = *nanos = 0;
    while ((more = next(&s, &f)) > 0) {
        if (f.number == 1) {
            *seconds = (int64_t)f.value;
        } else if (f.number == 2) {
            *nanos = (int64_t)f.value;
        }
    }
    return more == 0;
}

/* "!" and the time of the last send in letters. */
static void token(char out[TOKEN], int64_t seconds, int64_t nanos) {
    uint64_t v = (uint64_t)seconds * 1000000000u + (uint64_t)nanos;
    out[0] = '!';
    int n = 1;
    do {
        out[n++] = (char)('A' + (v & 31));
        v >>= 5;
    } while (v != 0);
    out[n] = '\0';
}

static bool error_state(struct record *r, struct span s, struct type_seen *t) {
    struct field f;
    int more;
    while ((more = next(&s, &f)) > 0) {
        if (f.number == 3) {
            t->error = text(r, SPAN(f));
        }
    }
    return more == 0;
}

/* Proxies of a kind watch the same types, in the same order: mostly it is what it was in the record before. */
static enum xds_type type_of(struct record *r, struct span s) {
    struct known *k = &r->known[r->s.n_types];
    size_t n = (size_t)(s.end - s.p);
    if (s.p == NULL || n >= sizeof k->url) {
        return XDS_OTHER;
    }
    if (n != k->n || memcmp(k->url, s.p, n) != 0) {
        memcpy(k->url, s.p, n);
        k->url[n] = '\0';
        k->n = n;
        k->type = xds_type_of_url(k->url);
    }
    return k->type;
}

/* Times cost as much to read as all else and matter of stale types only. */
static bool put_time(struct record *r, struct type_seen *t, struct span sent_at) {
    char *at = r->tokens[r->s.n_types];
    int64_t seconds, nanos;
    if (!timestamp(sent_at, &seconds, &nanos)) {
        return false;
    }
    t->sent_at_ms = seconds > 0 && seconds < INT64_MAX / 1000 ? seconds * 1000 + nanos / 1000000 : 0;
    token(at, seconds, nanos);
    t->sent = at + 1;
    t->acked = at;
    return true;
}

static bool put_status(struct record *r, struct type_seen *t, uint64_t status, struct span sent_at) {
    bool ok = true;
    t->sent = t->acked = "=";
    t->sent_at_ms = 0;
    switch (status) {
    case STATUS_SYNCED:
        t->error = NULL;
        break;
    case STATUS_NOT_SENT:
        t->sent = t->acked = "";
        t->error = NULL;
        break;
    case STATUS_STALE:
        t->error = NULL;
        ok = put_time(r, t, sent_at);
        break;
    case STATUS_ERROR:
        t->error = t->error != NULL && t->error[0] != '\0' ? t->error : "istiod gives no text";
        break;
    default:
        return true; /* UNKNOWN, of ztunnels up to 1.22: not subscribed */
    }
    r->s.n_types++;
    return ok;
}

static bool generic(struct record *r, struct span s) {
    struct type_seen *t = &r->s.types[r->s.n_types];
    struct field f;
    struct span sent_at = {NULL, NULL};
    uint64_t status = 0;
    int more;
    if (r->s.n_types == MAX_TYPES) {
        return true;
    }
    t->type = XDS_OTHER;
    t->error = NULL;
    while ((more = next(&s, &f)) > 0) {
        switch (f.number) {
        case 1:
            t->type = type_of(r, SPAN(f));
            break;
        case 5:
            sent_at = SPAN(f);
            break;
        case 6:
            status = f.p == NULL ? f.value : 0;
            break;
        case 8:
            if (f.p == NULL || !error_state(r, SPAN(f), t)) {
                return false;
            }
            break;
        default:
            break;
        }
    }
    return more == 0 && put_status(r, t, status, sent_at);
}

static bool client_config(struct record *r, struct span s) {
    struct field f;
    int more;
    while ((more = next(&s, &f)) > 0) {
        bool ok = f.number == 1   ? f.p != NULL && node(r, SPAN(f))
                  : f.number == 3 ? f.p != NULL && generic(r, SPAN(f))
                                  : true;
        if (!ok) {
            return false;
        }
    }
    return more == 0 && r->s.id[0] != '\0';
}

/* The record in one piece: where it lies, or in a copy. */
static bool whole(struct record *r, const struct skim *body, struct span *out) {
    const struct piece *p = &body->pieces[body->i < body->n ? body->i : 0];
    if (body->left > MAX_RECORD) {
        return false;
    }
    if (body->i < body->n && body->left <= p->len - body->at) {
        *out = (struct span){p->p + body->at, p->p + body->at + body->left};
        return true;
    }
    buf_reset(&r->copy);
    if (!skim_copy(body, &r->copy)) {
        return false;
    }
    const uint8_t *at = (const uint8_t *)(r->copy.p != NULL ? r->copy.p : "");
    *out = (struct span){at, at + r->copy.len};
    return true;
}

static bool one(struct record *r, const struct skim *body) {
    struct span s;
    struct field f;
    int more;
    if (!whole(r, body, &s)) {
        return false;
    }
    size_t n = (size_t)(s.end - s.p);
    if (n >= r->cap) {
        r->cap = n * 2 + 1024;
        r->texts = mem_grow(r->texts, r->cap);
    }
    r->used = r->s.n_types = 0;
    r->s.id = r->s.proxy_type = r->s.istio_version = r->s.cluster = "";
    while ((more = next(&s, &f)) > 0) {
        if (f.number == 2 && (f.p == NULL || !client_config(r, SPAN(f)))) {
            return false;
        }
    }
    r->s.has_types = true; /* readers are not listed here */
    return more == 0 && r->s.id[0] != '\0';
}

int64_t istiod_status(const struct piece *body, size_t n, void (*fn)(void *ctx, const struct sync_seen *s), void *ctx,
                      struct err *err) {
    struct record *r = mem_alloc(sizeof *r);
    struct skim s;
    struct skim_field f;
    char type[64] = "";
    int64_t count = 0;
    int more;
    _Static_assert(sizeof r->s.types / sizeof *r->s.types == MAX_TYPES, "as many as JSON syncz");
    buf_init(&r->copy, MAX_RECORD);
    skim_init(&s, body, n);
    while ((more = skim_next(&s, &f, err)) > 0) {
        if (f.number == 4 && f.wire == SKIM_BYTES && !skim_text(&f.body, type, sizeof type)) {
            more = err_set(err, ERR_PROTOCOL, "the answer's type is no text") - 1;
            break;
        }
        if (f.number == 2 && (f.wire != SKIM_BYTES || !one(r, &f.body))) {
            more = err_set(err, ERR_PROTOCOL, "entry %lld of the answer is no ClientConfig", (long long)count) - 1;
            break;
        }
        if (f.number == 2) {
            count++;
            fn(ctx, &r->s);
        }
    }
    if (more == 0 && strcmp(type, SYNCZ_TYPE) != 0) {
        more = err_set(err, ERR_PROTOCOL, "answer of type %s where %s was asked", type, SYNCZ_TYPE) - 1;
    }
    buf_done(&r->copy);
    free(r->texts);
    free(r);
    return more == 0 ? count : -1;
}
