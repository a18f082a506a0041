/* The embedded API server on its socket, asked by the real client. */
#include <stdlib.h>
#include <string.h>

#include "../../lib/base/json.h"
#include "../../lib/base/mem.h"
#include "../../lib/kube/reflector.h"
#include "../sim/api_front.h"
#include "../sim/fetch.h"
#include "../sim/http.h"
#include "../sim/pki.h"
#include "../sim/relay.h"
#include "cmocka_all.h"

#define PATIENCE_MS 20000

struct fixture {
    struct loop *loop;
    struct sched *sched;
    struct store *store;
    struct api_front *front;
    struct kube *kube;
    struct timer deadline;
    const int *watched;
    int target;
    struct timer poll;
};

static void on_deadline(void *ctx) {
    (void)ctx;
    fail_msg("waited too long");
}

static void on_poll(void *ctx) {
    struct fixture *f = ctx;
    if (*f->watched >= f->target) {
        loop_stop(f->loop);
    } else {
        timer_set(f->sched, &f->poll, sched_now(f->sched) + 2, on_poll, f);
    }
}

static void until(struct fixture *f, const int *value, int target) {
    f->watched = value;
    f->target = target;
    timer_set(f->sched, &f->deadline, sched_now(f->sched) + PATIENCE_MS, on_deadline, f);
    timer_set(f->sched, &f->poll, sched_now(f->sched), on_poll, f);
    loop_run(f->loop);
    timer_cancel(f->sched, &f->deadline);
}

static struct kube *client(struct fixture *f, const char *token, const char *ca) {
    struct err err = {0};
    struct kube_config c = {0};
    c.server = mem_printf("https://127.0.0.1:%d", api_front_port(f->front));
    c.token = mem_dup(token);
    c.ca_pem = mem_dup(ca);
    struct kube *k = kube_curl_new(f->loop, &c, &err);
    assert_non_null(k);
    kube_config_done(&c);
    return k;
}

static struct fixture *begin(void) {
    struct fixture *f = mem_alloc(sizeof *f);
    struct err err = {0};
    char *cert, *key;
    f->loop = loop_new();
    f->sched = loop_sched(f->loop);
    f->store = store_new(f->sched);
    store_add_token(f->store, "secret", NULL, "admin", NULL, NULL, NULL);
    struct pki_ca *ca = pki_ca_new("test");
    char *ca_pem = pki_ca_cert(ca);
    pki_leaf(ca, "api", "IP:127.0.0.1", false, &cert, &key);
    struct api_front_opts opts = {.cert_pem = cert, .key_pem = key};
    f->front = api_front_new(f->loop, f->store, &opts, &err);
    assert_non_null(f->front);
    f->kube = client(f, "secret", ca_pem);
    free(cert);
    free(key);
    free(ca_pem);
    pki_ca_free(ca);
    return f;
}

static int setup(void **state) {
    *state = begin();
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    kube_curl_free(f->kube);
    api_front_free(f->front);
    store_free(f->store);
    loop_free(f->loop);
    free(f);
    return 0;
}

struct answer {
    int done, status;
    char text[300];
};

static void on_done(void *ctx, const struct kube_response *r) {
    struct answer *a = ctx;
    a->done++;
    a->status = r->status;
    snprintf(a->text, sizeof a->text, "%s", r->body ? r->body : "");
}

static void put_question(struct kube *k, const char *method, const char *path, const char *body, struct answer *a) {
    static const struct kube_handler h = {NULL, on_done};
    struct kube_request q = {.method = method,
                             .path = path,
                             .body = body,
                             .timeout_ms = PATIENCE_MS,
                             .content_type = !strcmp(method, "PATCH") ? "application/merge-patch+json" : NULL};
    *a = (struct answer){0};
    kube_send(k, &q, &h, a);
}

static void requests(void **state) {
    struct fixture *f = *state;
    struct answer a, b;
    put_question(f->kube, "POST", "/api/v1/namespaces", "{\"metadata\":{\"name\":\"shop\",\"labels\":{\"a\":\"1\"}}}", &a);
    until(f, &a.done, 1);
    assert_int_equal(a.status, 201);
    put_question(f->kube, "PATCH", "/api/v1/namespaces/shop", "{\"metadata\":{\"labels\":{\"b\":\"2\"}}}", &a);
    put_question(f->kube, "GET", "/api/v1/namespaces?labelSelector=a%3D1%2Cnone", NULL, &b);
    until(f, &a.done, 1);
    until(f, &b.done, 1);
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.text, "\"b\":\"2\""));
    assert_int_equal(b.status, 200);
    assert_non_null(strstr(b.text, "\"items\":[]"));
    put_question(f->kube, "GET", "/nosuch", NULL, &a);
    until(f, &a.done, 1);
    assert_int_equal(a.status, 404);
    assert_string_equal(a.text, "404 page not found\n");
}

static void strangers(void **state) {
    struct fixture *f = *state;
    struct answer a;
    struct kube *stranger = client(f, "wrong", NULL);
    kube_curl_free(stranger);
    struct pki_ca *other = pki_ca_new("other");
    char *pem = pki_ca_cert(other);
    struct kube *doubter = client(f, "secret", pem);
    put_question(doubter, "GET", "/api/v1/namespaces", NULL, &a);
    until(f, &a.done, 1);
    assert_int_equal(a.status, 0); /* the certificate is not from that CA */
    kube_curl_free(doubter);
    free(pem);
    pki_ca_free(other);
    store_drop_token(f->store, "secret");
    put_question(f->kube, "GET", "/api/v1/namespaces", NULL, &a);
    until(f, &a.done, 1);
    assert_int_equal(a.status, 401);
}

/* A server that was told to stay silent is taken down with the question open. */
static void silence(void **state) {
    struct fixture *f = *state;
    struct answer a, b;
    store_fault(f->store, "admin", -1);
    put_question(f->kube, "GET", "/api/v1/namespaces", NULL, &a);
    put_question(f->kube, "GET", "/version", NULL, &b); /* not a resource: served */
    until(f, &b.done, 1);
    assert_int_equal(b.status, 200);
    assert_int_equal(a.done, 0);
}

struct copy {
    int upserts, gone, synced;
};

static void on_upsert(void *ctx, const json_t *o) {
    (void)o;
    ((struct copy *)ctx)->upserts++;
}

static void on_gone(void *ctx, const char *ns, const char *name, const char *uid) {
    (void)ns, (void)name, (void)uid;
    ((struct copy *)ctx)->gone++;
}

static void on_synced(void *ctx) {
    ((struct copy *)ctx)->synced++;
}

static void put(struct fixture *f, const char *name, int filler) {
    struct err err = {0};
    char *text = mem_alloc((size_t)filler + 1);
    memset(text, 'x', (size_t)filler);
    assert_true(store_put(
        f->store, "configmaps",
        json_pack("{s:{s:s,s:s},s:{s:s}}", "metadata", "name", name, "namespace", "shop", "data", "text", text), &err));
    free(text);
}

/* Lines larger than every buffer on the way, a pause, a cut, and more. */
static void watches(void **state) {
    static const struct reflector_ops ops = {on_upsert, on_gone, on_synced};
    struct fixture *f = *state;
    struct copy have = {0};
    struct reflector_opts opts = {.path = "/api/v1/configmaps", .page = 2};
    for (int i = 0; i < 5; i++) {
        put(f, (const char *[]){"a", "b", "c", "d", "e"}[i], 10);
    }
    struct reflector *r = reflector_new(f->kube, &opts, &ops, &have, 1);
    until(f, &have.synced, 1);
    assert_int_equal(have.upserts, 5);
    put(f, "large", 700000);
    put(f, "f", 10);
    until(f, &have.upserts, 7);
    store_delete(f->store, "configmaps", "shop", "large");
    until(f, &have.gone, 1);
    store_cut_watches(f->store);
    put(f, "g", 10);
    until(f, &have.upserts, 8);
    store_compact(f->store);
    put(f, "h", 10);
    until(f, &have.upserts, 9);
    reflector_free(r);
}

/* --- the small parts --- */

static void serve_path(void *ctx, struct http_request *r) {
    (void)ctx;
    if (!strcmp(r->target, "/drop")) {
        http_drop(r);
        return;
    }
    char *text = mem_printf("%s %s at %s", r->method, r->target, r->local_ip);
    http_reply(r, 207, "text/x", text, strlen(text));
}

struct fetched {
    int done, status;
    char body[200], type[40], error[256];
};

static void on_fetched(void *ctx, int status, const char *type, const char *body, size_t len, const struct err *err) {
    struct fetched *x = ctx;
    x->done++;
    x->status = status;
    snprintf(x->body, sizeof x->body, "%.*s", (int)len, body);
    snprintf(x->type, sizeof x->type, "%s", type);
    snprintf(x->error, sizeof x->error, "%s", err->text);
}

static const char *endpoint(void *ctx) {
    return ctx;
}

static void relayed(void **state) {
    struct fixture *f = *state;
    struct err err = {0};
    struct fetched x = {0};
    struct http_opts opts = {.ip = "127.48.0.1", .serve = serve_path};
    struct http *h = http_new(f->loop, &opts, &err);
    assert_non_null(h);
    static char at[] = "127.48.0.1";
    struct relay *r = relay_new(f->loop, "127.48.0.2", http_port(h), endpoint, at, &err);
    struct relay *none = relay_new(f->loop, "127.48.0.3", http_port(h), endpoint, NULL, &err);
    assert_non_null(r);
    assert_non_null(none);
    fetch(f->loop, "127.48.0.2", http_port(h), "/x?y=%20z", on_fetched, &x);
    until(f, &x.done, 1);
    assert_int_equal(x.status, 207);
    assert_string_equal(x.body, "GET /x?y=%20z at 127.48.0.1");
    assert_string_equal(x.type, "text/x");
    fetch(f->loop, "127.48.0.3", http_port(h), "/", on_fetched, &x);
    fetch(f->loop, "127.48.0.1", http_port(h), "/drop", on_fetched, &x);
    fetch(f->loop, "127.48.0.4", http_port(h), "/", on_fetched, &x);
    fetch(f->loop, "no address", 1, "/", on_fetched, &x);
    until(f, &x.done, 5);
    assert_int_equal(x.status, 0);
    assert_null(relay_new(f->loop, "127.48.0.2", http_port(h), endpoint, at, &err)); /* taken */
    relay_free(r);
    relay_free(none);
    http_free(h);
}

static void certificates(void **state) {
    struct err err = {0};
    (void)state;
    struct pki_ca *a = pki_ca_new("a"), *b = pki_ca_new("b");
    char *cert = pki_ca_cert(a), *key = pki_ca_key(a), *foreign = pki_ca_key(b);
    struct pki_ca *again = pki_ca_load(cert, key, &err);
    assert_non_null(again);
    assert_null(pki_ca_load(cert, foreign, &err));
    assert_null(pki_ca_load("nonsense", key, &err));
    char *coded = pki_base64(cert), *plain = pki_unbase64(coded);
    assert_string_equal(plain, cert);
    assert_null(pki_unbase64("!!"));
    free(coded);
    free(plain);
    free(cert);
    free(key);
    free(foreign);
    pki_ca_free(a);
    pki_ca_free(b);
    pki_ca_free(again);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(requests, setup, teardown),
        cmocka_unit_test_setup_teardown(strangers, setup, teardown),
        cmocka_unit_test_setup_teardown(silence, setup, teardown),
        cmocka_unit_test_setup_teardown(watches, setup, teardown),
        cmocka_unit_test_setup_teardown(relayed, setup, teardown),
        cmocka_unit_test(certificates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
