#include "ways.h"

#include <stdio.h>

struct io_reach ways_say(enum world_way way, bool stream, enum io_status s, const char *text, const char *address,
                         const char *server_name, char error[200]) {
    bool tls = way == WAY_WRONG_NAME || way == WAY_WRONG_ROOT;
    bool ok = s == IO_OK && !tls && !(stream && way == WAY_TOKEN);
    snprintf(error, 200, "%s:15012: %s", address, text);
    if (s == IO_OK && way == WAY_WRONG_NAME) {
        snprintf(error, 200, "wrong name: the certificate of istiod at %s:15012 is not for %s", address, server_name);
    } else if (s == IO_OK && way == WAY_WRONG_ROOT) {
        snprintf(error, 200, "wrong CA: istiod's certificate at %s:15012 is not signed by --istio-root-file", address);
    } else if (s == IO_OK && !ok) {
        snprintf(error, 200, "istiod at %s:15012 refused the token: authentication failure", address);
    }
    struct io_reach r = {.ok = ok, .error = error, .rtt_us = 900, .cert_expiry_s = 86400};
    r.stage = stream ? "ads" : s != IO_OK ? "tcp" : tls ? "tls" : "ready";
    r.first_byte_us = stream && ok ? 6000 : 0;
    return r;
}
