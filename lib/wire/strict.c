#include "strict.h"

#include <string.h>

#include "../base/text.h"
#include "skim.h"
#include "wire.h"

enum { MAX_DEPTH = 8 };
/* Bits of `seen`: one a field by its place in the descriptor; all arms of the (single) oneof share the last. */
#define ONEOF_BIT (UINT64_C(1) << 63)

static int wire_of(ProtobufCType type) {
    switch (type) {
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return SKIM_I32;
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return SKIM_I64;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return SKIM_BYTES;
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_BOOL:
    case PROTOBUF_C_TYPE_ENUM:
        break;
    }
    return SKIM_VARINT;
}

static bool number_ok(const ProtobufCFieldDescriptor *fd, uint64_t v) {
    if (fd->type == PROTOBUF_C_TYPE_ENUM) {
        return v <= INT32_MAX && protobuf_c_enum_descriptor_get_value(fd->descriptor, (int)v) != NULL;
    }
    if (fd->type == PROTOBUF_C_TYPE_BOOL) {
        return v <= 1;
    }
    return fd->type != PROTOBUF_C_TYPE_UINT32 || v <= UINT32_MAX;
}

static bool text_ok(uint8_t *p, size_t n) {
    if (n > WIRE_MAX_TEXT || memchr(p, '\0', n) != NULL) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if ((p[i] < 0x20 && p[i] != '\n' && p[i] != '\t') || p[i] == 0x7f) {
            p[i] = ' ';
        }
    }
    return text_is_clean((const char *)p, n);
}

static bool check_depth(const ProtobufCMessageDescriptor *d, uint8_t *p, size_t n, unsigned depth, struct err *err);

static bool check_field(const ProtobufCFieldDescriptor *fd, const struct skim_field *f, uint8_t *body, unsigned depth,
                        struct err *err) {
    if (f->wire != wire_of(fd->type)) {
        return err_set(err, ERR_PROTOCOL, "field %s has wire type %d", fd->name, f->wire);
    }
    if (f->wire == SKIM_VARINT && !number_ok(fd, f->value)) {
        return err_set(err, ERR_PROTOCOL, "field %s has the unknown value %llu", fd->name, (unsigned long long)f->value);
    }
    if (fd->type == PROTOBUF_C_TYPE_STRING && !text_ok(body, f->body.left)) {
        return err_set(err, ERR_PROTOCOL, "field %s is no clean UTF-8 text of at most %d bytes", fd->name, WIRE_MAX_TEXT);
    }
    if (fd->type == PROTOBUF_C_TYPE_MESSAGE && !check_depth(fd->descriptor, body, f->body.left, depth + 1, err)) {
        return err_wrap(err, "%s", fd->name);
    }
    return true;
}

static bool check_once(const ProtobufCMessageDescriptor *d, const ProtobufCFieldDescriptor *fd, uint64_t *seen,
                       struct err *err) {
    if (fd->label == PROTOBUF_C_LABEL_REPEATED) {
        return true;
    }
    uint64_t bit = (fd->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) ? ONEOF_BIT : UINT64_C(1) << (unsigned)(fd - d->fields);
    if (*seen & bit) {
        return err_set(err, ERR_PROTOCOL, "field %s or its alternative is there twice", fd->name);
    }
    *seen |= bit;
    return true;
}

static bool check_depth(const ProtobufCMessageDescriptor *d, uint8_t *p, size_t n, unsigned depth, struct err *err) {
    check(d->n_fields < 63);
    if (depth > MAX_DEPTH) {
        return err_set(err, ERR_LIMIT, "messages are nested more than %d deep", MAX_DEPTH);
    }
    struct piece whole = {.p = p, .len = n};
    struct skim s;
    skim_init(&s, &whole, 1);
    struct skim_field f;
    uint64_t seen = 0;
    int more;
    while ((more = skim_next(&s, &f, err)) > 0) {
        const ProtobufCFieldDescriptor *fd = protobuf_c_message_descriptor_get_field(d, f.number);
        if (fd != NULL && (!check_once(d, fd, &seen, err) || !check_field(fd, &f, p + f.body.at, depth, err))) {
            return false;
        }
    }
    return more == 0;
}

bool strict_check(const ProtobufCMessageDescriptor *d, uint8_t *p, size_t n, struct err *err) {
    return check_depth(d, p, n, 0, err) || err_wrap(err, "%s", d->short_name);
}
