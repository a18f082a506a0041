#include "admin_listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../base/mem.h"
#include "../base/text.h"

/* Split at the last colon; brackets of an IPv6 address are taken off. "" as host means all addresses. */
static bool split(char *text, char **host, char **port) {
    char *colon = strrchr(text, ':');
    int64_t number;
    if (!colon || !text_int(colon + 1, 0, 65535, &number)) {
        return false;
    }
    *colon = '\0';
    *port = colon + 1;
    *host = text;
    size_t n = strlen(text);
    if (n >= 2 && text[0] == '[' && text[n - 1] == ']') {
        text[n - 1] = '\0';
        *host = text + 1;
        return true;
    }
    return strchr(text, ':') == NULL; /* a bare IPv6 address is ambiguous */
}

static int open_one(const struct addrinfo *a) {
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -1;
    }
    int on = 1, off = 0;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (a->ai_family == AF_INET6) {
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    }
    if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, 64) == 0) {
        return fd;
    }
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

static int bound_port(int fd) {
    struct sockaddr_storage s;
    socklen_t n = sizeof(s);
    if (getsockname(fd, (struct sockaddr *)&s, &n) != 0) {
        return 0;
    }
    if (s.ss_family == AF_INET6) {
        return ntohs(((struct sockaddr_in6 *)&s)->sin6_port);
    }
    return ntohs(((struct sockaddr_in *)&s)->sin_port);
}

/* All addresses: IPv6 takes IPv4 too, so it comes first; without IPv6 the other one remains. */
static int open_first(const struct addrinfo *list, bool all) {
    int fd = -1;
    for (const struct addrinfo *a = list; all && a && fd < 0; a = a->ai_next) {
        fd = a->ai_family == AF_INET6 ? open_one(a) : -1;
    }
    for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
        fd = open_one(a);
    }
    return fd;
}

int admin_listen(const char *address, int *out_port, struct err *err) {
    char *text = mem_dup(address), *host, *port;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *list = NULL;
    int fd = -1;
    if (!split(text, &host, &port)) {
        err_set(err, ERR_INVALID, "address \"%s\" is not HOST:PORT, [IPV6]:PORT or :PORT", address);
        goto out;
    }
    int rc = getaddrinfo(*host ? host : NULL, port, &hints, &list);
    if (rc != 0) {
        err_set(err, ERR_INVALID, "can't resolve %s: %s", address, gai_strerror(rc));
        goto out;
    }
    fd = open_first(list, !*host);
    if (fd < 0) {
        err_set(err, ERR_IO, "can't listen on %s: %s", address, strerror(errno));
        goto out;
    }
    *out_port = bound_port(fd);
out:
    if (list) {
        freeaddrinfo(list);
    }
    free(text);
    return fd;
}
