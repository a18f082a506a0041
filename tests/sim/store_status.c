#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store_impl.h"

void store_answer(struct store_reply *out, int status, const json_t *o) {
    char *text = js_dump(o);
    out->status = status;
    out->body = mem_printf("%s\n", text);
    free(text);
}

void store_plain(struct store_reply *out, int status, const char *text) {
    out->status = status;
    out->body = mem_dup(text);
}

json_t *store_status_object(int code, const char *reason, json_t *details, const char *message) {
    json_t *o = json_pack("{s:s,s:s,s:{},s:s,s:s}", "kind", "Status", "apiVersion", "v1", "metadata", "status",
                          code < 300 ? "Success" : "Failure", "message", message);
    if (reason) {
        json_object_set_new(o, "reason", json_string(reason));
    }
    if (details) {
        json_object_set_new(o, "details", details);
    }
    json_object_set_new(o, "code", json_integer(code));
    return o;
}

void store_status(struct store_reply *out, int code, const char *reason, json_t *details, const char *fmt, ...) {
    char message[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    json_t *o = store_status_object(code, reason, details, message);
    store_answer(out, code, o);
    json_decref(o);
}

json_t *store_details(const struct store_res *r, const char *name) {
    json_t *d = json_object();
    if (name) {
        json_object_set_new(d, "name", json_string(name));
    }
    if (*r->group) {
        json_object_set_new(d, "group", json_string(r->group));
    }
    json_object_set_new(d, "kind", json_string(r->plural));
    return d;
}

void store_qualified(const struct store_res *r, char *out, size_t cap) {
    snprintf(out, cap, "%s%s%s", r->plural, *r->group ? "." : "", r->group);
}

void store_not_found(struct store_reply *out, const struct store_res *r, const char *name) {
    char q[128];
    store_qualified(r, q, sizeof q);
    store_status(out, 404, "NotFound", store_details(r, name), "%s \"%s\" not found", q, name);
}

void store_conflict(struct store_reply *out, const struct store_res *r, const char *name, const char *why) {
    char q[128];
    store_qualified(r, q, sizeof q);
    store_status(out, 409, "Conflict", store_details(r, name), "Operation cannot be fulfilled on %s \"%s\": %s", q, name,
                 why ? why : "the object has been modified; please apply your changes to the latest version and try again");
}

void store_too_new(struct store_reply *out, uint64_t wanted, uint64_t have) {
    json_t *details = json_pack("{s:[{s:s,s:s}],s:i}", "causes", "reason", "ResourceVersionTooLarge", "message",
                                "Too large resource version", "retryAfterSeconds", 1);
    store_status(out, 504, "Timeout", details, "Timeout: Too large resource version: %" PRIu64 ", current: %" PRIu64,
                 wanted, have);
}
