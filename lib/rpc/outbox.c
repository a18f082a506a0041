#include "outbox.h"

#include <grpc/byte_buffer.h>
#include <grpc/slice.h>
#include <stdlib.h>
#include <string.h>

#include "../base/mem.h"

bool outbox_add(struct outbox *o, const void *p, size_t n) {
    if (o->pending > OUTBOX_MAX) {
        return false;
    }
    grpc_slice slice = grpc_slice_from_copied_buffer(p, n);
    struct outbox_item *item = mem_alloc(sizeof *item);
    item->bytes = grpc_raw_byte_buffer_create(&slice, 1);
    item->n = n;
    grpc_slice_unref(slice);
    *(o->last == NULL ? &o->first : &o->last->next) = item;
    o->last = item;
    o->pending += n;
    return true;
}

grpc_byte_buffer *outbox_next(struct outbox *o) {
    if (o->busy || o->first == NULL) {
        return NULL;
    }
    o->busy = true;
    return o->first->bytes;
}

static void drop_first(struct outbox *o) {
    struct outbox_item *item = o->first;
    o->first = item->next;
    if (o->first == NULL) {
        o->last = NULL;
    }
    o->pending -= item->n;
    grpc_byte_buffer_destroy(item->bytes);
    free(item);
}

void outbox_sent(struct outbox *o) {
    o->busy = false;
    drop_first(o);
}

void outbox_drop(struct outbox *o) {
    struct outbox_item *kept = o->busy ? o->first : NULL;
    if (kept != NULL) {
        o->first = kept->next;
        if (o->first == NULL) {
            o->last = NULL;
        }
    }
    while (o->first != NULL) {
        drop_first(o);
    }
    if (kept != NULL) {
        kept->next = NULL;
        o->first = o->last = kept;
    }
}
