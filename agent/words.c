#include "agent/words.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/err.h"
#include "lib/base/mem.h"
#include "uthash.h"

struct word {
    UT_hash_handle hh;
    uint32_t users;
    char text[];
};

struct words {
    struct word *all;
};

struct words *words_new(void) {
    return mem_alloc(sizeof(struct words));
}

void words_free(struct words *w) {
    struct word *x, *next;
    HASH_ITER(hh, w->all, x, next) {
        HASH_DEL(w->all, x);
        free(x);
    }
    free(w);
}

char *words_take(struct words *w, const char *text) {
    struct word *x;
    size_t n = strlen(text);
    HASH_FIND(hh, w->all, text, n, x);
    if (!x) {
        x = mem_alloc(sizeof *x + n + 1);
        memcpy(x->text, text, n);
        HASH_ADD_KEYPTR(hh, w->all, x->text, n, x);
    }
    x->users++;
    return x->text;
}

void words_drop(struct words *w, const char *text) {
    if (!text) {
        return;
    }
    struct word *x;
    HASH_FIND_STR(w->all, text, x);
    check(x && x->text == text);
    if (--x->users == 0) {
        HASH_DEL(w->all, x);
        free(x);
    }
}
