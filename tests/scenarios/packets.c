#include "packets.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "../../lib/base/mem.h"

void packets_free(struct packet **list) {
    struct packet *x, *tmp;
    DL_FOREACH_SAFE(*list, x, tmp) {
        DL_DELETE(*list, x);
        free(x->p);
        free(x);
    }
}

void packets_keep(struct packet **list, const void *p, size_t n) {
    struct packet *x = mem_alloc(sizeof *x);
    x->p = mem_alloc(n + 1);
    memcpy(x->p, p, n);
    x->n = n;
    DL_APPEND(*list, x);
}
