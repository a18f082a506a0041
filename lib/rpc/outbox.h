/* Messages that wait to be sent on one stream: gRPC takes one at a time. Bounded by what may wait. */
#pragma once

#include <grpc/grpc.h>
#include <stdbool.h>
#include <stddef.h>

#define OUTBOX_MAX (4 * 1024 * 1024)

struct outbox_item {
    struct outbox_item *next;
    grpc_byte_buffer *bytes;
    size_t n;
};

struct outbox {
    struct outbox_item *first, *last;
    size_t pending; /* bytes, the message in flight included */
    bool busy;      /* the first item is in flight */
};

/* false when more than OUTBOX_MAX bytes wait already. */
bool outbox_add(struct outbox *o, const void *p, size_t n);
/* The message to send now, marked as in flight; NULL: nothing waits, or one is in flight. Borrowed until outbox_sent. */
grpc_byte_buffer *outbox_next(struct outbox *o);
/* The message in flight is done with. */
void outbox_sent(struct outbox *o);
/* Drop what waits; what is in flight stays. */
void outbox_drop(struct outbox *o);
