#include "channel.h"

#include <grpc/grpc_security.h>
#include <stdlib.h>

#include "../base/mem.h"

enum {
    DEFAULT_RECEIVE = 4 * 1024 * 1024,
    DEFAULT_BACKOFF_MS = 5000,
    FIRST_BACKOFF_MS = 200,
    KEEPALIVE_TIMEOUT_MS = 10000,
    MAX_HEADERS = 32 * 1024,
};

static grpc_arg arg_int(const char *key, int64_t value) {
    return (grpc_arg){.type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)key, .value.integer = (int)value};
}

static grpc_arg arg_text(const char *key, const char *value) {
    return (grpc_arg){.type = GRPC_ARG_STRING, .key = (char *)(uintptr_t)key, .value.string = (char *)(uintptr_t)value};
}

static size_t fill_args(grpc_arg *a, const struct rpc_channel_opts *o) {
    int64_t backoff = o->max_backoff_ms > 0 ? o->max_backoff_ms : DEFAULT_BACKOFF_MS;
    size_t n = 0;
    int64_t receive = o->max_receive_bytes > 0 ? o->max_receive_bytes : DEFAULT_RECEIVE;
    a[n++] = arg_int(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, receive);
    a[n++] = arg_int(GRPC_ARG_MAX_METADATA_SIZE, MAX_HEADERS);
    a[n++] = arg_int(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, backoff < FIRST_BACKOFF_MS ? backoff : FIRST_BACKOFF_MS);
    a[n++] = arg_int(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, backoff);
    a[n++] = arg_int(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    /* Peers are pods and Services: a proxy named in the environment, or a TXT record, must not get in between. */
    a[n++] = arg_int(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    a[n++] = arg_int(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
    a[n++] = arg_int(GRPC_ARG_ENABLE_RETRIES, 0);
    if (o->keepalive_ms > 0) {
        a[n++] = arg_int(GRPC_ARG_KEEPALIVE_TIME_MS, o->keepalive_ms);
        a[n++] = arg_int(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, KEEPALIVE_TIMEOUT_MS);
        /* With the default of 2 an idle stream silently stops pinging. */
        a[n++] = arg_int(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
    }
    if (o->server_name != NULL && o->root_pem != NULL) {
        a[n++] = arg_text(GRPC_SSL_TARGET_NAME_OVERRIDE_ARG, o->server_name);
    }
    return n;
}

struct rpc_channel *rpc_channel_new(struct rpc *r, const struct rpc_channel_opts *opts) {
    struct rpc_channel *c = mem_alloc(sizeof *c);
    c->r = r;
    grpc_arg list[16];
    grpc_channel_args args = {.args = list, .num_args = fill_args(list, opts)};
    grpc_channel_credentials *creds = opts->root_pem != NULL ? grpc_ssl_credentials_create(opts->root_pem, NULL, NULL, NULL)
                                                             : grpc_insecure_credentials_create();
    c->channel = grpc_channel_create(opts->target, creds, &args);
    grpc_channel_credentials_release(creds);
    return c;
}

void rpc_channel_free(struct rpc_channel *c) {
    if (c != NULL) {
        grpc_channel_destroy(c->channel);
        free(c);
    }
}
