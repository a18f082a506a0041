/* Tokens, trust roots, and the words for what is wrong with them. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/base/mem.h"
#include "../lib/base/text.h"
#include "io_parts.h"

enum { MAX_TOKEN = 64 * 1024, MAX_ROOTS = 1024 * 1024 };

bool io_trust_is_ip(const char *address) {
    struct in6_addr a;
    return inet_pton(AF_INET, address, &a) == 1 || inet_pton(AF_INET6, address, &a) == 1;
}

char *io_trust_place(const char *address, uint16_t port) {
    bool six = strchr(address, ':') != NULL;
    return six ? mem_printf("[%s]:%u", address, port) : mem_printf("%s:%u", address, port);
}

bool io_trust_token(const char *path, const char *flag, char **out, struct err *err) {
    size_t len = 0;
    if (!text_read_file(path, MAX_TOKEN, out, &len, err)) {
        return err_wrap(err, "%s", flag);
    }
    while (len > 0 && strchr(" \t\r\n", (*out)[len - 1]) != NULL) {
        (*out)[--len] = '\0';
    }
    if (len == 0) {
        free(*out);
        *out = NULL;
        return err_set(err, ERR_DENIED, "%s: %s is empty: is the token volume mounted?", flag, path);
    }
    return true;
}

bool io_trust_roots(const char *path, const char *flag, char **out, struct err *err) {
    size_t len = 0;
    if (!text_read_file(path, MAX_ROOTS, out, &len, err)) {
        return err_wrap(err, "%s", flag);
    }
    if (strstr(*out, "-----BEGIN CERTIFICATE-----") == NULL) {
        free(*out);
        *out = NULL;
        return err_set(err, ERR_INVALID, "%s: %s holds no PEM certificate", flag, path);
    }
    return true;
}

void io_trust_explain(struct err *err, const char *grpc_text, const char *who, const char *name, const char *root_flag,
                      const char *root_file) {
    if (strstr(grpc_text, "certificate verify failed") != NULL || strstr(grpc_text, "CERTIFICATE_VERIFY_FAILED") != NULL) {
        err_set(err, ERR_UNAVAILABLE, "wrong CA: the certificate of %s is not signed by %s %s, or has expired", who,
                root_flag, root_file);
    } else if (strstr(grpc_text, "is not in peer certificate") != NULL ||
               strstr(grpc_text, "Hostname Verification") != NULL) {
        err_set(err, ERR_UNAVAILABLE, "wrong name: the certificate of %s is not for %s", who, name);
    } else {
        err_set(err, ERR_UNAVAILABLE, "%s: %s", who, grpc_text);
    }
}
