/* Watches of the embedded API server, on virtual time. */
#include <stdlib.h>
#include <string.h>

#include "../../lib/base/json.h"
#include "../../lib/base/mem.h"
#include "../../lib/base/vclock.h"
#include "../sim/store_impl.h"
#include "cmocka_all.h"

struct fixture {
    struct vclock *clock;
    struct store *store;
    struct store_watch *watch;
    struct buf seen; /* "TYPE name;" of each line */
    int ended;
};

static int setup(void **state) {
    struct fixture *f = mem_alloc(sizeof *f);
    f->clock = vclock_new(1795420800000);
    f->store = store_new(vclock_sched(f->clock));
    buf_init(&f->seen, 100000);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    store_free(f->store);
    vclock_free(f->clock);
    buf_done(&f->seen);
    free(f);
    return 0;
}

static void on_line(void *ctx, const char *p, size_t n) {
    struct fixture *f = ctx;
    struct err err = {0};
    assert_int_equal(p[n - 1], '\n');
    json_t *e = js_parse(p, n, 1 << 20, &err);
    assert_non_null(e);
    const char *type = js_text(e, "type", NULL);
    if (!strcmp(type, "ERROR")) {
        buf_printf(&f->seen, "ERROR %lld %s;", (long long)js_int(e, 0, "object", "code", NULL),
                   js_text(e, "object", "reason", NULL));
    } else if (!strcmp(type, "BOOKMARK")) {
        buf_printf(&f->seen, "BOOKMARK %s;", js_text(e, "object", "metadata", "resourceVersion", NULL));
    } else {
        buf_printf(&f->seen, "%s %s;", type, js_text(e, "object", "metadata", "name", NULL));
    }
    json_decref(e);
}

static void on_end(void *ctx) {
    ((struct fixture *)ctx)->ended++;
}

static int open_watch(struct fixture *f, const char *query) {
    struct store_user user = {"admin"};
    struct store_reply r;
    char path[300];
    snprintf(path, sizeof path, "/api/v1/pods?watch=true%s", query);
    f->watch = store_watch(f->store, &user, path, on_line, on_end, f, &r);
    free(r.body);
    return f->watch ? 200 : r.status;
}

static void put(struct fixture *f, const char *name, const char *label) {
    struct err err = {0};
    assert_true(store_put(
        f->store, "pods",
        json_pack("{s:{s:s,s:s,s:{s:s}}}", "metadata", "name", name, "namespace", "shop", "labels", "app", label), &err));
}

static void run(struct fixture *f, int64_t ms) {
    struct sched *s = vclock_sched(f->clock);
    vclock_run_until(f->clock, sched_now(s) + ms);
}

static void expect(struct fixture *f, const char *seen) {
    assert_string_equal(f->seen.len ? f->seen.p : "", seen);
    buf_reset(&f->seen);
}

static void from_now_and_from_version(void **state) {
    struct fixture *f = *state;
    put(f, "a", "web");
    put(f, "b", "web");
    assert_int_equal(open_watch(f, ""), 200);
    run(f, 1);
    expect(f, "ADDED a;ADDED b;");
    put(f, "a", "db");
    store_delete(f->store, "pods", "shop", "b");
    expect(f, "MODIFIED a;DELETED b;");
    store_watch_close(f->watch);
    put(f, "c", "web");
    expect(f, "");
    assert_int_equal(open_watch(f, "&resourceVersion=1002"), 200);
    run(f, 1);
    expect(f, "MODIFIED a;DELETED b;ADDED c;");
    put(f, "c", "web");
    expect(f, "");
    store_watch_close(f->watch);
}

static void selected(void **state) {
    struct fixture *f = *state;
    assert_int_equal(open_watch(f, "&resourceVersion=1000&labelSelector=app%3Dweb"), 200);
    run(f, 1);
    put(f, "a", "db");
    put(f, "a", "web");
    put(f, "a", "web2");
    put(f, "b", "web");
    store_delete(f->store, "pods", "shop", "b");
    store_delete(f->store, "pods", "shop", "a");
    expect(f, "ADDED a;DELETED a;ADDED b;DELETED b;");
    store_watch_close(f->watch);
}

static void bookmarks_and_timeout(void **state) {
    struct fixture *f = *state;
    put(f, "a", "web");
    assert_int_equal(open_watch(f, "&resourceVersion=1001&allowWatchBookmarks=true&timeoutSeconds=90"), 200);
    run(f, 59000);
    expect(f, "");
    run(f, 2000);
    expect(f, "BOOKMARK 1001;");
    store_delete(f->store, "pods", "shop", "a");
    run(f, 30000);
    expect(f, "DELETED a;BOOKMARK 1002;");
    assert_int_equal(f->ended, 1);
}

static void too_old(void **state) {
    struct fixture *f = *state;
    put(f, "a", "web");
    put(f, "a", "db");
    assert_int_equal(open_watch(f, "&resourceVersion=1001"), 200);
    store_compact(f->store);
    put(f, "b", "web");
    run(f, 1);
    expect(f, "ERROR 410 Expired;");
    assert_int_equal(f->ended, 1);
    assert_int_equal(open_watch(f, "&resourceVersion=9999"), 504);
    assert_int_equal(open_watch(f, "&resourceVersion=x"), 500);
    assert_int_equal(open_watch(f, "&resourceVersion=1003"), 200);
    run(f, 1);
    put(f, "c", "web");
    expect(f, "ADDED c;");
    store_fault(f->store, "admin", 410);
    store_watch_close(f->watch);
    assert_int_equal(open_watch(f, ""), 410);
}

static void close_in_line(void *ctx, const char *p, size_t n) {
    struct fixture *f = ctx;
    (void)p, (void)n;
    f->ended++;
    store_watch_close(f->watch);
}

static void closed_from_inside(void **state) {
    struct fixture *f = *state;
    struct store_user user = {"admin"};
    struct store_reply r;
    f->watch = store_watch(f->store, &user, "/api/v1/pods?watch=1&resourceVersion=1000", close_in_line, on_end, f, &r);
    run(f, 1);
    put(f, "a", "web");
    put(f, "b", "web");
    assert_int_equal(f->ended, 1);
    assert_null(f->store->watches);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(from_now_and_from_version, setup, teardown),
        cmocka_unit_test_setup_teardown(selected, setup, teardown),
        cmocka_unit_test_setup_teardown(bookmarks_and_timeout, setup, teardown),
        cmocka_unit_test_setup_teardown(too_old, setup, teardown),
        cmocka_unit_test_setup_teardown(closed_from_inside, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
