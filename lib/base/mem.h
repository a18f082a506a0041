/* Allocation that ends the process when memory is out: libgrpc does the same, and everything whose size a peer
 * controls is limited before it is allocated. Results are freed with free(). */
#pragma once

#include <stddef.h>

void *mem_alloc(size_t n);         /* zeroed */
void *mem_grow(void *p, size_t n); /* realloc; new bytes are not zeroed */
char *mem_dup(const char *s);      /* NULL gives NULL */
char *mem_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Replace the string in *slot by a copy of s (NULL: none). */
void mem_set(char **slot, const char *s);
/* Give back what is not in use: free heap pages, and the code pages of libraries that only start-up needed (clean file
 * pages; what is needed again is read from the page cache). Not for hot paths. */
void mem_give_back(void);
