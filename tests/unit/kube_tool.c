/*
 * Drives the real transport for tests/integration/test_kube.py: one JSON object a line on stdout.
 *   kube-tool KUBECONFIG get PATH [TIMEOUT_MS]    one request
 *   kube-tool KUBECONFIG watch PATH [SILENCE_MS]  one stream
 *   kube-tool KUBECONFIG burst PATH N             N requests at once, every other one cancelled, the rest sent again from
 * their own handlers kube-tool KUBECONFIG mirror PATH              a reflector, until stdin is closed
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/json.h"
#include "lib/base/mem.h"
#include "lib/kube/reflector.h"

static struct loop *loop;
static struct kube *kube;
static int left;
static const char *burst_path;

static void print(json_t *o) {
    char *s = js_dump(o);
    puts(s);
    fflush(stdout);
    free(s);
    json_decref(o);
}

static void on_done(void *ctx, const struct kube_response *r) {
    (void)ctx;
    print(json_pack("{s:i, s:I, s:I, s:s, s:s, s:s#}", "status", r->status, "len", (json_int_t)r->len, "retry_after_ms",
                    (json_int_t)r->retry_after_ms, "code", err_code_name(r->err.code), "text", r->err.text, "body", r->body,
                    (int)(r->len < 2000 ? r->len : 2000)));
    if (--left == 0) {
        loop_stop(loop);
    }
}

static void on_data(void *ctx, const char *p, size_t n) {
    (void)ctx;
    print(json_pack("{s:s#}", "data", p, (int)n));
}

static const struct kube_handler one = {on_data, on_done};

static void again(void *ctx, const struct kube_response *r) {
    (void)ctx;
    (void)r;
    struct kube_request req = {.method = "GET", .path = burst_path};
    kube_send(kube, &req, &one, NULL);
}

static void burst(int n) {
    static const struct kube_handler h = {NULL, again};
    struct kube_request req = {.method = "GET", .path = burst_path};
    for (int i = 0; i < n; i++) {
        struct kube_call *c = kube_send(kube, &req, &h, NULL);
        if (i % 2) {
            kube_cancel(kube, c);
        } else {
            left++;
        }
    }
}

static void on_upsert(void *ctx, const json_t *o) {
    (void)ctx;
    print(json_pack("{s:s}", "put", js_text(o, "metadata", "name", NULL)));
}

static void on_gone(void *ctx, const char *ns, const char *name, const char *uid) {
    (void)ctx;
    (void)ns;
    (void)uid;
    print(json_pack("{s:s}", "gone", name));
}

static void on_synced(void *ctx) {
    (void)ctx;
    print(json_pack("{s:b}", "synced", 1));
}

static void on_stdin(uv_poll_t *p, int status, int events) {
    (void)status;
    (void)events;
    if (getchar() == EOF) {
        uv_close((uv_handle_t *)p, NULL);
        loop_stop(loop);
    }
}

static void mirror(const char *path) {
    static const struct reflector_ops ops = {on_upsert, on_gone, on_synced};
    static uv_poll_t in;
    struct reflector_opts opts = {.path = path, .page = 2};
    struct reflector *r = reflector_new(kube, &opts, &ops, NULL, 1);
    check(uv_poll_init(loop_uv(loop), &in, 0) == 0);
    check(uv_poll_start(&in, UV_READABLE, on_stdin) == 0);
    loop_run(loop);
    print(json_pack("{s:s}", "trouble", reflector_trouble(r)));
    reflector_free(r);
}

static int run(const char *what, const char *path, const char *number) {
    struct kube_request req = {.method = "GET", .path = path, .timeout_ms = number ? atoi(number) : 5000};
    if (!strcmp(what, "mirror")) {
        mirror(path);
        return 0;
    }
    if (!strcmp(what, "burst")) {
        burst_path = path;
        burst(number ? atoi(number) : 10);
    } else {
        req.stream = !strcmp(what, "watch");
        left = 1;
        kube_send(kube, &req, &one, NULL);
    }
    loop_run(loop);
    return 0;
}

int main(int argc, char **argv) {
    struct kube_config config;
    struct err err;
    int rc = 1;
    if (argc < 4) {
        fprintf(stderr, "usage: kube-tool KUBECONFIG get|watch|burst|mirror PATH [N]\n");
        return 2;
    }
    if (!kube_config_load(argv[1], NULL, &config, &err)) {
        print(json_pack("{s:s, s:s}", "code", err_code_name(err.code), "text", err.text));
        return 1;
    }
    loop = loop_new();
    kube = kube_curl_new(loop, &config, &err);
    kube_config_done(&config);
    if (kube) {
        rc = run(argv[2], argv[3], argc > 4 ? argv[4] : NULL);
    } else {
        print(json_pack("{s:s, s:s}", "code", err_code_name(err.code), "text", err.text));
    }
    kube_curl_free(kube);
    loop_free(loop);
    return rc;
}
