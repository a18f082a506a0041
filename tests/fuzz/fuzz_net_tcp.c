/* /proc/PID/net/tcp, cgroup, net/fib_trie and net/if_inet6. */
#include <stdlib.h>
#include <string.h>

#include "probes/local_ip.h"
#include "probes/socket.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_line(void *ctx, const char *local_ip, uint16_t local_port, const char *remote_ip) {
    *(size_t *)ctx += local_port + strlen(local_ip) + strlen(remote_ip);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    size_t sum = 0;
    socket_parse_tcp((const char *)data, size, 1337, 15012, on_line, &sum);
    char *text = malloc(size + 1), uid[40];
    if (text != NULL) {
        memcpy(text, data, size);
        text[size] = '\0';
        if (socket_cgroup_uid(text, uid) && strlen(uid) != 36 && strlen(uid) != 32) {
            abort();
        }
        char ip[46];
        if ((local_ip_v4(text, ip) || local_ip_v6(text, ip)) && strlen(ip) < 2) {
            abort();
        }
    }
    free(text);
    return 0;
}
