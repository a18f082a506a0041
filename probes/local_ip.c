/*
 * net/fib_trie prints a leaf as "|-- ADDRESS" and below it a line for each route to it, "/32 host LOCAL" for an address of
 * this network namespace. net/if_inet6 has a line an address: 32 hexadecimal digits, index, prefix length, scope (00:
 * global), flags, device. Seen on kernel 6.18.
 */
#include "local_ip.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

bool local_ip_v4(const char *fib_trie, char out[46]) {
    char leaf[46] = "";
    for (const char *line = fib_trie; line != NULL && *line != '\0';) {
        const char *end = strchr(line, '\n');
        size_t n = end != NULL ? (size_t)(end - line) : strlen(line);
        char copy[128], mask[16];
        snprintf(copy, sizeof copy, "%.*s", (int)(n < sizeof copy ? n : sizeof copy - 1), line);
        struct in_addr a;
        if (sscanf(copy, " |-- %45s", leaf) == 1 && inet_pton(AF_INET, leaf, &a) != 1) {
            leaf[0] = '\0';
        } else if (sscanf(copy, " %15s host LOCAL", mask) == 1 && strstr(copy, "/32 host LOCAL") != NULL &&
                   leaf[0] != '\0' && strncmp(leaf, "127.", 4) != 0) {
            memcpy(out, leaf, sizeof leaf);
            return true;
        }
        line = end != NULL ? end + 1 : NULL;
    }
    return false;
}

static bool v6_line(const char *line, char out[46]) {
    char hex[33];
    unsigned scope = 1;
    struct in6_addr a;
    if (sscanf(line, "%32[0-9a-fA-F] %*x %*x %2x", hex, &scope) != 2 || scope != 0 || strlen(hex) != 32) {
        return false;
    }
    for (size_t i = 0; i < sizeof a; i++) {
        unsigned byte = 0;
        sscanf(hex + 2 * i, "%2x", &byte);
        a.s6_addr[i] = (unsigned char)byte;
    }
    return inet_ntop(AF_INET6, &a, out, 46) != NULL;
}

bool local_ip_v6(const char *if_inet6, char out[46]) {
    for (const char *line = if_inet6; line != NULL && *line != '\0';) {
        if (v6_line(line, out)) {
            return true;
        }
        line = strchr(line, '\n');
        line = line != NULL ? line + 1 : NULL;
    }
    return false;
}
