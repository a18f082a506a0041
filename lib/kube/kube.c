/* The face of a transport, and what an answer's status means. Not tied to any transport. */
#include "kube.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/buf.h"
#include "../base/json.h"
#include "../base/mem.h"
#include "../base/text.h"

struct kube_call *kube_send(struct kube *k, const struct kube_request *req, const struct kube_handler *h, void *ctx) {
    return k->ops->send(k->self, req, h, ctx);
}

void kube_cancel(struct kube *k, struct kube_call *c) {
    k->ops->cancel(k->self, c);
}

char *kube_escape(const char *s) {
    static const char hex[] = "0123456789ABCDEF";
    char *out = mem_alloc(3 * strlen(s) + 1), *p = out;
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (isalnum(c) || strchr("-._~", c)) {
            *p++ = (char)c;
        } else {
            *p++ = '%';
            *p++ = hex[c >> 4];
            *p++ = hex[c & 15];
        }
    }
    return out;
}

static enum err_code status_code(int status) {
    switch (status) {
    case 401:
    case 403:
        return ERR_DENIED;
    case 404:
        return ERR_NOT_FOUND;
    case 409:
        return ERR_CONFLICT;
    case 413:
        return ERR_LIMIT;
    case 408:
    case 429:
        return ERR_UNAVAILABLE;
    default:
        break;
    }
    if (status >= 500) {
        return ERR_UNAVAILABLE;
    }
    return status >= 400 ? ERR_INVALID : ERR_PROTOCOL;
}

static const char *status_name(int status) {
    static const struct {
        int status;
        const char *name;
    } names[] = {
        {400, "Bad Request"},    {401, "Unauthorized"},
        {403, "Forbidden"},      {404, "Not Found"},
        {406, "Not Acceptable"}, {408, "Timeout"},
        {409, "Conflict"},       {410, "Expired"},
        {413, "Too Large"},      {415, "Unsupported Media Type"},
        {422, "Invalid"},        {429, "Too Many Requests"},
        {500, "Internal Error"}, {502, "Bad Gateway"},
        {503, "Unavailable"},    {504, "Timeout"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (names[i].status == status) {
            return names[i].name;
        }
    }
    return status >= 300 && status < 400 ? "redirect, which is not followed" : "";
}

/* The message of a Status object, else the beginning of a text that people can read. */
static void server_text(const char *body, size_t len, char *out, size_t cap) {
    out[0] = 0;
    if (!body || !len) {
        return;
    }
    json_t *o = js_parse(body, len, 1 << 20, NULL);
    const char *message = js_text(o, "message", NULL);
    if (o) {
        snprintf(out, cap, "%s", message);
    } else {
        size_t n = strcspn(body, "\r\n");
        n = n < len ? n : len;
        n = n < cap - 1 ? n : cap - 1;
        if (text_is_clean(body, n)) {
            memcpy(out, body, n);
            out[n] = 0;
        }
    }
    json_decref(o);
}

void kube_status_error(int status, const char *body, size_t len, const char *method, const char *path, struct err *out) {
    if (status >= 200 && status < 300) {
        *out = (struct err){0};
        return;
    }
    char said[sizeof out->text];
    server_text(body, len, said, sizeof said);
    const char *hint =
        status == 401 ? " (the API server does not accept our credentials: renew the token or certificate)" : "";
    err_set(out, status_code(status), "%s %.*s: %d %s%s%s%s", method, (int)strcspn(path, "?"), path, status,
            status_name(status), said[0] ? ": " : "", said, hint);
}
