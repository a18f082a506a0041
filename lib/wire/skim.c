#include "skim.h"

#include <stdlib.h>
#include <string.h>

void skim_init(struct skim *s, const struct piece *pieces, size_t n) {
    *s = (struct skim){.pieces = pieces, .n = n};
    for (size_t i = 0; i < n; i++) {
        s->left += pieces[i].len;
    }
}

/* Go to the first piece that still has bytes. Only called with left > 0. */
static void settle(struct skim *s) {
    while (s->at == s->pieces[s->i].len) {
        s->i++;
        s->at = 0;
    }
}

static uint8_t take_byte(struct skim *s) {
    settle(s);
    s->left--;
    return s->pieces[s->i].p[s->at++];
}

static void skip(struct skim *s, size_t n) {
    s->left -= n;
    while (n > 0) {
        settle(s);
        size_t here = s->pieces[s->i].len - s->at;
        size_t step = n < here ? n : here;
        s->at += step;
        n -= step;
    }
}

/* At most ten bytes; the tenth may only carry the highest bit. */
static bool take_varint(struct skim *s, uint64_t *out) {
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (s->left == 0) {
            return false;
        }
        uint8_t b = take_byte(s);
        if (shift == 63 && b > 1) {
            return false;
        }
        v |= (uint64_t)(b & 0x7f) << shift;
        if (b < 0x80) {
            *out = v;
            return true;
        }
    }
    return false;
}

static bool take_fixed(struct skim *s, unsigned bytes, uint64_t *out) {
    if (s->left < bytes) {
        return false;
    }
    uint64_t v = 0;
    for (unsigned i = 0; i < bytes; i++) {
        v |= (uint64_t)take_byte(s) << (8 * i);
    }
    *out = v;
    return true;
}

static bool take_body(struct skim *s, struct skim_field *f, struct err *err) {
    if (!take_varint(s, &f->value)) {
        return err_set(err, ERR_PROTOCOL, "protobuf field %u is cut off in its length", f->number);
    }
    if (f->value > s->left) {
        return err_set(err, ERR_PROTOCOL, "protobuf field %u claims %llu bytes where %zu are left", f->number,
                       (unsigned long long)f->value, s->left);
    }
    f->body = *s;
    f->body.left = (size_t)f->value;
    skip(s, (size_t)f->value);
    return true;
}

int skim_next(struct skim *s, struct skim_field *f, struct err *err) {
    if (s->left == 0) {
        return 0;
    }
    uint64_t tag;
    if (!take_varint(s, &tag) || tag > UINT32_MAX || tag >> 3 == 0) {
        err_set(err, ERR_PROTOCOL, "not a protobuf message: bad field tag");
        return -1;
    }
    *f = (struct skim_field){.number = (uint32_t)(tag >> 3), .wire = (int)(tag & 7)};
    bool whole = false;
    switch (f->wire) {
    case SKIM_VARINT:
        whole = take_varint(s, &f->value);
        break;
    case SKIM_I64:
        whole = take_fixed(s, 8, &f->value);
        break;
    case SKIM_I32:
        whole = take_fixed(s, 4, &f->value);
        break;
    case SKIM_BYTES:
        return take_body(s, f, err) ? 1 : -1;
    default:
        err_set(err, ERR_PROTOCOL, "not a protobuf message: field %u has wire type %d", f->number, f->wire);
        return -1;
    }
    if (!whole) {
        err_set(err, ERR_PROTOCOL, "protobuf field %u is cut off or malformed", f->number);
        return -1;
    }
    return 1;
}

/* The next part of a body that lies in one piece; there must be something left. */
static struct piece run(struct skim *s) {
    settle(s);
    size_t here = s->pieces[s->i].len - s->at;
    struct piece out = {.p = s->pieces[s->i].p + s->at, .len = s->left < here ? s->left : here};
    skip(s, out.len);
    return out;
}

bool skim_text(const struct skim *body, char *out, size_t cap) {
    if (body->left >= cap) {
        return false;
    }
    struct skim s = *body;
    size_t n = 0;
    while (s.left > 0) {
        struct piece p = run(&s);
        memcpy(out + n, p.p, p.len);
        n += p.len;
    }
    out[n] = '\0';
    return memchr(out, '\0', n) == NULL;
}

size_t skim_pieces(const struct skim *body, struct piece *out, size_t cap) {
    struct skim s = *body;
    size_t n = 0;
    while (s.left > 0) {
        if (n == cap) {
            return 0;
        }
        out[n++] = run(&s);
    }
    return n;
}

bool skim_copy(const struct skim *body, struct buf *out) {
    struct skim s = *body;
    bool room = true;
    while (s.left > 0 && room) {
        struct piece p = run(&s);
        room = buf_add(out, p.p, p.len);
    }
    return room;
}

/* google.protobuf.Any: only its value is looked at, istiod repeats the answer's type in it. */
static bool any_value(struct skim any, struct skim *value, struct err *err) {
    struct skim_field f;
    int more;
    while ((more = skim_next(&any, &f, err)) > 0) {
        if (f.number == 2 && f.wire == SKIM_BYTES) {
            *value = f.body;
        }
    }
    return more == 0 || err_wrap(err, "resource of a debug answer");
}

static bool debug_field(const struct skim_field *f, struct skim_debug *out, struct err *err) {
    if (f->wire != SKIM_BYTES) {
        return true;
    }
    bool fits = true;
    switch (f->number) {
    case 1:
        fits = skim_text(&f->body, out->version, sizeof out->version);
        break;
    case 2:
        out->resources++;
        return out->resources > 1 || any_value(f->body, &out->body, err);
    case 4:
        fits = skim_text(&f->body, out->type_url, sizeof out->type_url);
        break;
    case 5:
        fits = skim_text(&f->body, out->nonce, sizeof out->nonce);
        break;
    default:
        break;
    }
    return fits || err_set(err, ERR_PROTOCOL, "debug answer: text of field %u is too long or contains NUL", f->number);
}

bool skim_debug_response(const struct piece *pieces, size_t n, struct skim_debug *out, struct err *err) {
    *out = (struct skim_debug){.resources = 0};
    struct skim s;
    skim_init(&s, pieces, n);
    struct skim_field f;
    int more;
    while ((more = skim_next(&s, &f, err)) > 0) {
        if (!debug_field(&f, out, err)) {
            return false;
        }
    }
    return more == 0 || err_wrap(err, "answer of istiod");
}
