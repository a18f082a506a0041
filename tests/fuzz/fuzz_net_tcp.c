/* /proc/PID/net/tcp, tcp6, cgroup, net/fib_trie and net/if_inet6. Whole lines may come in any pieces; what comes out are
 * addresses and UIDs. */
#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "probes/local_ip.h"
#include "probes/socket.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void is_address(const char *ip) {
    unsigned char bytes[16];
    if (inet_pton(strchr(ip, ':') != NULL ? AF_INET6 : AF_INET, ip, bytes) != 1) {
        abort();
    }
}

static void on_line(void *ctx, const char *local_ip, uint16_t local_port, const char *remote_ip) {
    size_t *sum = ctx;
    is_address(local_ip);
    is_address(remote_ip);
    *sum = *sum * 31 + local_port + strlen(local_ip) + strlen(remote_ip);
}

static void check_tcp(const char *text, size_t size) {
    size_t whole = 0, parts = 0;
    int64_t n = socket_parse_tcp(text, size, 1337, 15012, on_line, &whole);
    for (size_t at = 0, len; at < size; at += len) {
        const char *nl = memchr(text + at, '\n', size - at);
        len = nl != NULL ? (size_t)(nl - (text + at)) + 1 : size - at;
        n -= socket_parse_tcp(text + at, len, 1337, 15012, on_line, &parts);
    }
    if (n != 0 || whole != parts) {
        abort();
    }
}

/* A UID with its dashes, or the 32 digits of a static pod's hash. */
static void check_cgroup(const char *text) {
    char uid[40];
    if (!socket_cgroup_uid(text, uid)) {
        return;
    }
    size_t n = strlen(uid);
    for (size_t i = 0; i < n; i++) {
        bool dash = n == 36 && (i == 8 || i == 13 || i == 18 || i == 23);
        if (dash ? uid[i] != '-' : !isxdigit((unsigned char)uid[i])) {
            abort();
        }
    }
    if (n != 36 && n != 32) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    check_tcp((const char *)data, size);
    char *text = malloc(size + 1), ip[46];
    if (text != NULL) {
        memcpy(text, data, size);
        text[size] = '\0';
        check_cgroup(text);
        if (local_ip_v4(text, ip)) {
            is_address(ip);
        }
        if (local_ip_v6(text, ip)) {
            is_address(ip);
        }
    }
    free(text);
    return 0;
}
