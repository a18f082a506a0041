#define _GNU_SOURCE /* vasprintf */
#include "mem.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

__attribute__((noreturn)) static void mem_out(void) {
    /* The logger would allocate. */
    static const char line[] = "{\"level\":\"error\",\"msg\":\"out of memory\"}\n";
    ssize_t n = write(STDERR_FILENO, line, sizeof(line) - 1);
    (void)n;
    abort();
}

void *mem_alloc(size_t n) {
    void *p = calloc(1, n ? n : 1);
    if (!p) {
        mem_out();
    }
    return p;
}

void *mem_grow(void *p, size_t n) {
    void *q = realloc(p, n ? n : 1);
    if (!q) {
        mem_out();
    }
    return q;
}

char *mem_dup(const char *s) {
    if (!s) {
        return NULL;
    }
    size_t n = strlen(s) + 1;
    char *p = mem_alloc(n);
    memcpy(p, s, n);
    return p;
}

char *mem_printf(const char *fmt, ...) {
    char *p = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&p, fmt, ap);
    va_end(ap);
    if (n < 0) {
        mem_out();
    }
    return p;
}

void mem_set(char **slot, const char *s) {
    char *copy = mem_dup(s); /* first: s may be *slot or lie in it */
    free(*slot);
    *slot = copy;
}

void mem_give_back(void) {
    malloc_trim(0);
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512];
    while (maps && fgets(line, sizeof line, maps)) {
        uintptr_t from, to;
        char rights[5], path[2];
        /* Executable and not writable: nobody has changed these pages since they were read from the file. */
        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s %*s %*s %*s %1s", &from, &to, rights, path) == 4 &&
            strcmp(rights, "r-xp") == 0 && path[0] == '/') {
            madvise((void *)from, to - from, MADV_DONTNEED);
        }
    }
    if (maps) {
        fclose(maps);
    }
}
