/* Messages on their way between gate and agent, in order. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct packet {
    uint8_t *p;
    size_t n;
    struct packet *prev, *next;
};

/* A copy at the end of the list. */
void packets_keep(struct packet **list, const void *p, size_t n);
void packets_free(struct packet **list);
