/* Property: a reflector on the embedded API server ends with what the store has, whatever happened in between. */
#include <stdlib.h>
#include <string.h>

#include "../../lib/base/json.h"
#include "../../lib/base/mem.h"
#include "../../lib/base/text.h"
#include "../../lib/base/vclock.h"
#include "../../lib/kube/reflector.h"
#include "../sim/store_impl.h"
#include "cmocka_all.h"

struct copy {
    json_t *objects; /* key -> resourceVersion */
    int synced;
};

static void on_upsert(void *ctx, const json_t *o) {
    struct copy *c = ctx;
    char *key = mem_printf("%s/%s", js_text(o, "metadata", "namespace", NULL), js_text(o, "metadata", "name", NULL));
    json_object_set_new(c->objects, key, json_string(js_text(o, "metadata", "resourceVersion", NULL)));
    free(key);
}

static void on_gone(void *ctx, const char *ns, const char *name, const char *uid) {
    struct copy *c = ctx;
    (void)uid;
    char *key = mem_printf("%s/%s", ns, name);
    json_object_del(c->objects, key);
    free(key);
}

static void on_synced(void *ctx) {
    ((struct copy *)ctx)->synced++;
}

static void collect(void *ctx, const json_t *o) {
    struct copy c = {ctx, 0};
    on_upsert(&c, o);
}

static uint64_t seed;

static uint32_t draw(uint32_t n) {
    seed = text_hash(seed, &seed, sizeof seed);
    return (uint32_t)(seed >> 20) % n;
}

static void change(struct store *s) {
    static const int faults[] = {0, 0, 410, 429, 500, 503, 401, -1};
    struct err err = {0};
    char ns[8], name[8];
    snprintf(ns, sizeof ns, "ns%u", draw(3));
    snprintf(name, sizeof name, "p%u", draw(40));
    switch (draw(40)) {
    case 0:
        store_compact(s);
        return;
    case 10:
        store_cut_watches(s);
        return;
    case 1:
        store_fault(s, "gate", faults[draw(8)]);
        return;
    case 2:
    case 3:
    case 4:
    case 5:
    case 6:
    case 7:
    case 8:
    case 9:
        store_delete(s, "pods", ns, name);
        return;
    default:
        assert_true(store_put(
            s, "pods",
            json_pack("{s:{s:s,s:s},s:{s:i}}", "metadata", "name", name, "namespace", ns, "spec", "x", (int)draw(5)),
            &err));
    }
}

static void random_histories(void **state) {
    static const struct reflector_ops ops = {on_upsert, on_gone, on_synced};
    uint64_t relists = 0;
    (void)state;
    for (uint64_t round = 1; round <= 60; round++) {
        seed = round;
        struct vclock *clock = vclock_new(1795420800000);
        struct sched *sched = vclock_sched(clock);
        struct store *s = store_new(sched);
        struct kube *k = store_kube(s, "gate");
        struct copy have = {json_object(), 0};
        struct reflector_opts opts = {.path = "/api/v1/pods", .page = (int)draw(12) + 1};
        struct reflector *r = reflector_new(k, &opts, &ops, &have, round);
        for (int i = 0; i < 300; i++) {
            change(s);
            vclock_run_until(clock, sched_now(sched) + (draw(10) ? draw(20) : draw(20000)));
        }
        store_fault(s, "gate", 0);
        vclock_run_until(clock, sched_now(sched) + 400000);
        assert_true(reflector_fresh(r, 0));
        assert_true(have.synced > 0);
        json_t *want = json_object();
        store_each(s, "pods", NULL, collect, want);
        if (!json_equal(want, have.objects)) {
            char *a = js_dump(want), *b = js_dump(have.objects);
            fail_msg("round %d:\nstore:     %s\nreflector: %s", (int)round, a, b);
        }
        relists += reflector_relists(r);
        json_decref(want);
        json_decref(have.objects);
        reflector_free(r);
        store_kube_free(k);
        store_free(s);
        vclock_free(clock);
    }
    assert_true(relists > 20); /* otherwise the histories are too tame */
}

struct answer {
    int done, status;
    enum err_code code;
};

static void on_done(void *ctx, const struct kube_response *r) {
    struct answer *a = ctx;
    a->done++;
    a->status = r->status;
    a->code = r->err.code;
}

/* Answers never come from inside kube_send, a silent server runs into the deadline, a cancelled call says nothing. */
static void requests(void **state) {
    (void)state;
    struct vclock *clock = vclock_new(0);
    struct store *s = store_new(vclock_sched(clock));
    struct kube *k = store_kube(s, "gate");
    struct kube_handler h = {NULL, on_done};
    struct kube_request get = {.method = "GET", .path = "/api/v1/namespaces/x"};
    struct answer a = {0}, b = {0}, c = {0};
    kube_send(k, &get, &h, &a);
    struct kube_call *call = kube_send(k, &get, &h, &b);
    assert_int_equal(a.done, 0);
    kube_cancel(k, call);
    vclock_run_until(clock, sched_now(k->sched) + 5);
    assert_int_equal(a.done, 1);
    assert_int_equal(a.status, 404);
    assert_int_equal(a.code, ERR_NOT_FOUND);
    assert_int_equal(b.done, 0);
    store_fault(s, NULL, -1);
    get.timeout_ms = 700;
    kube_send(k, &get, &h, &c);
    vclock_run_until(clock, sched_now(k->sched) + 650);
    assert_int_equal(c.done, 0);
    vclock_run_until(clock, sched_now(k->sched) + 100);
    assert_int_equal(c.done, 1);
    assert_int_equal(c.code, ERR_TIMEOUT);
    kube_send(k, &get, &h, &c); /* freed with the transport */
    store_kube_free(k);
    store_free(s);
    vclock_free(clock);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(requests), cmocka_unit_test(random_histories)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
