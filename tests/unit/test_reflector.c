/* The reflector against a transport played by hand: whatever happens to its requests, the copy ends up as the server's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "fake_kube.h"
#include "lib/base/buf.h"
#include "lib/base/json.h"
#include "lib/base/mem.h"
#include "lib/kube/reflector.h"

struct fix {
    struct fake_kube fake;
    struct reflector *r;
    struct buf log; /* "+ns/name=version " for upsert, "-ns/name(uid) " for gone, "! " for synced */
};

static void on_upsert(void *ctx, const json_t *o) {
    struct fix *f = ctx;
    buf_printf(&f->log, "+%s/%s=%s ", js_text(o, "metadata", "namespace", NULL), js_text(o, "metadata", "name", NULL),
               js_text(o, "metadata", "resourceVersion", NULL));
}

static void on_gone(void *ctx, const char *ns, const char *name, const char *uid) {
    struct fix *f = ctx;
    buf_printf(&f->log, "-%s/%s(%s) ", ns, name, uid);
}

static void on_synced(void *ctx) {
    struct fix *f = ctx;
    buf_str(&f->log, "! ");
}

static const struct reflector_ops ops = {on_upsert, on_gone, on_synced};

static int setup(void **state) {
    struct fix *f = mem_alloc(sizeof *f);
    fake_kube_init(&f->fake);
    buf_init(&f->log, 1 << 20);
    struct reflector_opts opts = {.path = "/api/v1/pods", .query = "labelSelector=a%3Db", .page = 2};
    f->r = reflector_new(&f->fake.kube, &opts, &ops, f, 7);
    fake_kube_run(&f->fake, 0);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fix *f = *state;
    reflector_free(f->r);
    fake_kube_done(&f->fake);
    buf_done(&f->log);
    free(f);
    return 0;
}

/* What happened since the last look. */
static void assert_log(struct fix *f, const char *want) {
    assert_string_equal(f->log.p ? f->log.p : "", want);
    buf_reset(&f->log);
}

static struct kube_call *only(struct fix *f, bool stream, const char *text) {
    assert_int_equal(fake_kube_open(&f->fake), 1);
    struct kube_call *c = f->fake.calls;
    assert_int_equal(c->stream, stream);
    if (!strstr(c->path, text)) {
        print_error("path %s lacks %s\n", c->path, text);
        fail();
    }
    return c;
}

#define OBJ(ns, name, uid, rv) \
    "{\"metadata\":{\"namespace\":\"" ns "\",\"name\":\"" name "\",\"uid\":\"" uid "\",\"resourceVersion\":\"" rv "\"}}"
#define LIST(rv, next, items) \
    "{\"metadata\":{\"resourceVersion\":\"" rv "\",\"continue\":\"" next "\"},\"items\":[" items "]}"
#define EVENT(type, obj) "{\"type\":\"" type "\",\"object\":" obj "}\n"
#define BOOKMARK(rv) EVENT("BOOKMARK", "{\"metadata\":{\"resourceVersion\":\"" rv "\"}}")
#define EXPIRED \
    EVENT("ERROR", "{\"kind\":\"Status\",\"code\":410,\"reason\":\"Expired\",\"message\":\"too old resource version\"}")

/* One page with a and b, then the watch is open. */
static struct kube_call *synced(struct fix *f) {
    fake_kube_reply(only(f, false, "limit=2"), 200, LIST("10", "", OBJ("n", "a", "u1", "5") "," OBJ("n", "b", "u2", "6")));
    fake_kube_run(&f->fake, 0);
    assert_log(f, "+n/a=5 +n/b=6 ! ");
    return only(f, true, "resourceVersion=10");
}

/* Time until the reflector asks again, found by stepping. */
static int64_t until_next(struct fix *f) {
    int64_t from = fake_kube_now(&f->fake);
    while (!fake_kube_open(&f->fake)) {
        assert_true(fake_kube_now(&f->fake) - from < 120000);
        fake_kube_run(&f->fake, 1);
    }
    return fake_kube_now(&f->fake) - from;
}

static void pages(void **state) {
    struct fix *f = *state;
    assert_false(reflector_fresh(f->r, 30000));
    struct kube_call *c = only(f, false, "/api/v1/pods?limit=2&labelSelector=a%3Db");
    assert_null(strstr(c->path, "continue"));
    fake_kube_reply(c, 200, LIST("10", "a+b/=", OBJ("n", "a", "u1", "5")));
    assert_false(reflector_fresh(f->r, 30000));
    assert_string_not_equal(reflector_trouble(f->r), "");
    fake_kube_run(&f->fake, 0);
    fake_kube_reply(only(f, false, "continue=a%2Bb%2F%3D"), 200, LIST("11", "", OBJ("n", "b", "u2", "6")));
    fake_kube_run(&f->fake, 0);
    assert_log(f, "+n/a=5 +n/b=6 ! ");
    c = only(f, true, "resourceVersion=10"); /* of the first page */
    assert_non_null(strstr(c->path, "allowWatchBookmarks=true"));
    assert_non_null(strstr(c->path, "labelSelector=a%3Db"));
    int seconds = atoi(strstr(c->path, "timeoutSeconds=") + 15);
    assert_in_range(seconds, 300, 600);
    assert_true(reflector_fresh(f->r, 0));
    assert_string_equal(reflector_trouble(f->r), "");
    assert_int_equal(reflector_relists(f->r), 0);
}

static void events_and_bookmarks(void **state) {
    struct fix *f = *state;
    struct kube_call *c = synced(f);
    fake_kube_data(c, EVENT("MODIFIED", OBJ("n", "a", "u1", "12")) EVENT("ADDED", OBJ("n", "c", "u3", "13")));
    fake_kube_data(c, EVENT("DELETED", OBJ("n", "b", "u2", "14")));
    assert_log(f, "+n/a=12 +n/c=13 -n/b(u2) ");
    fake_kube_data(c, BOOKMARK("99"));
    fake_kube_reply(c, 200, "");
    fake_kube_run(&f->fake, 0);
    assert_true(reflector_fresh(f->r, 0));
    only(f, true, "resourceVersion=99");
    assert_log(f, "");
}

static void recreated_between(void **state) {
    struct fix *f = *state;
    fake_kube_data(synced(f), EVENT("ADDED", OBJ("n", "a", "u9", "12")));
    assert_log(f, "-n/a(u1) +n/a=12 ");
}

static void gone_after_relist(struct fix *f) {
    until_next(f);
    struct kube_call *c = only(f, false, "limit=2");
    assert_null(strstr(c->path, "continue"));
    fake_kube_reply(c, 200, LIST("50", "", OBJ("n", "b", "u2", "6")));
    assert_log(f, "+n/b=6 -n/a(u1) ! ");
    fake_kube_run(&f->fake, 0);
    only(f, true, "resourceVersion=50");
    assert_int_equal(reflector_relists(f->r), 1);
    assert_true(reflector_fresh(f->r, 0));
}

static void expired_as_status(void **state) {
    struct fix *f = *state;
    fake_kube_reply(synced(f), 410, "{\"kind\":\"Status\",\"code\":410,\"message\":\"too old resource version: 10 (40)\"}");
    assert_non_null(strstr(reflector_trouble(f->r), "too old resource version"));
    assert_false(reflector_fresh(f->r, 0));
    assert_true(reflector_fresh(f->r, 30000));
    gone_after_relist(f);
}

static void expired_as_event(void **state) {
    struct fix *f = *state;
    fake_kube_data(synced(f), EXPIRED EVENT("ADDED", OBJ("n", "never", "u", "60")));
    assert_log(f, ""); /* nothing behind the error counts */
    gone_after_relist(f);
}

static void expired_between_pages(void **state) {
    struct fix *f = *state;
    fake_kube_reply(only(f, false, "limit=2"), 200, LIST("10", "next", OBJ("n", "a", "u1", "5")));
    fake_kube_run(&f->fake, 0);
    fake_kube_reply(only(f, false, "continue=next"), 410,
                    "{\"kind\":\"Status\",\"code\":410,\"metadata\":{\"continue\":\"other\"}}");
    assert_log(f, "+n/a=5 ");
    until_next(f);
    struct kube_call *c = only(f, false, "limit=2");
    assert_null(strstr(c->path, "continue"));
    fake_kube_reply(c, 200, LIST("20", "", OBJ("n", "b", "u2", "6")));
    assert_log(f, "+n/b=6 -n/a(u1) ! ");
}

/* A stream may be cut anywhere and in pieces of any size: events before the cut count, the torn one comes again. */
static void cut_at_every_offset(void **state) {
    (void)state;
    static const char text[] =
        EVENT("MODIFIED", OBJ("n", "a", "u1", "12")) BOOKMARK("13") EVENT("DELETED", OBJ("n", "b", "u2", "14"));
    size_t first = strcspn(text, "\n"), second = first + 1 + strcspn(text + first + 1, "\n");
    for (size_t cut = 0; cut < sizeof text; cut++) {
        void *s;
        setup(&s);
        struct fix *f = s;
        struct kube_call *c = synced(f);
        char *head = mem_dup(text);
        head[cut] = 0;
        fake_kube_data(c, head);
        fake_kube_break(c, ERR_UNAVAILABLE, "connection reset");
        free(head);
        const char *version = cut > sizeof text - 2 ? "=14" : cut > second ? "=13" : cut > first ? "=12" : "=10";
        assert_log(f, cut > sizeof text - 2 ? "+n/a=12 -n/b(u2) " : cut > first ? "+n/a=12 " : "");
        until_next(f);
        c = only(f, true, version);
        for (const char *p = text; *p; p++) { /* byte by byte */
            c->handler.data(c->ctx, p, 1);
        }
        assert_log(f, cut > sizeof text - 2 ? "+n/a=12 " : "+n/a=12 -n/b(u2) ");
        teardown(&s);
    }
}

static void refuses(struct fix *f, const char *line, const char *text) {
    fake_kube_data(synced(f), line);
    assert_log(f, "");
    if (!strstr(reflector_trouble(f->r), text)) {
        print_error("trouble: %s\n", reflector_trouble(f->r));
        fail();
    }
    gone_after_relist(f);
}

static void garbage_line(void **state) {
    refuses(*state, "<html>502</html>\n", "no JSON");
}

static void duplicate_keys(void **state) {
    refuses(*state, "{\"type\":\"ADDED\",\"type\":\"DELETED\",\"object\":" OBJ("n", "a", "u1", "12") "}\n", "duplicate");
}

static void unknown_type(void **state) {
    refuses(*state, EVENT("RENAMED", OBJ("n", "a", "u1", "12")), "RENAMED");
}

static void nameless_object(void **state) {
    refuses(*state, EVENT("ADDED", "{\"metadata\":{\"resourceVersion\":\"12\"}}"), "without a name");
}

static void endless_line(void **state) {
    struct fix *f = *state;
    struct kube_call *c = synced(f);
    char *chunk = mem_alloc((1 << 20) + 1);
    memset(chunk, 'x', 1 << 20);
    for (int i = 0; i < 8 && fake_kube_open(&f->fake); i++) {
        fake_kube_data(c, chunk);
    }
    free(chunk);
    assert_int_equal(fake_kube_open(&f->fake), 0);
    assert_non_null(strstr(reflector_trouble(f->r), "larger than"));
    gone_after_relist(f);
}

static void broken_list(void **state) {
    struct fix *f = *state;
    static const char *const bodies[] = {"",
                                         "{",
                                         "[]",
                                         "{\"items\":[]}",
                                         "{\"metadata\":{\"resourceVersion\":\"1\"},\"items\":{}}",
                                         LIST("1", "", "{\"metadata\":{}}"),
                                         LIST("1", "", "7")};
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        fake_kube_reply(only(f, false, "limit=2"), 200, bodies[i]);
        assert_non_null(strstr(reflector_trouble(f->r), "/api/v1/pods"));
        until_next(f);
    }
    assert_log(f, "");
    assert_false(reflector_fresh(f->r, 30000));
    synced(f);
}

/* The transport ends a silent stream; if the server answers nothing any more, freshness ends 30 s later. */
static void silent_connection(void **state) {
    struct fix *f = *state;
    struct kube_call *c = synced(f);
    assert_int_equal(c->timeout_ms, 90000);
    fake_kube_run(&f->fake, 90000);
    fake_kube_break(c, ERR_TIMEOUT, "no byte for 90 s");
    assert_true(reflector_fresh(f->r, 30000));
    assert_non_null(strstr(reflector_trouble(f->r), "no byte for 90 s"));
    until_next(f);
    only(f, true, "resourceVersion=10");
    fake_kube_run(&f->fake, 30000);
    assert_false(reflector_fresh(f->r, 30000));
    fake_kube_data(f->fake.calls, "");
    assert_true(reflector_fresh(f->r, 0));
}

static void closed_at_once(void **state) {
    struct fix *f = *state;
    struct kube_call *c = synced(f);
    fake_kube_reply(c, 200, "");
    assert_int_equal(fake_kube_open(&f->fake), 0);
    assert_non_null(strstr(reflector_trouble(f->r), "closed at once"));
    assert_true(until_next(f) > 0);
}

static void back_off(void **state) {
    struct fix *f = *state;
    int64_t limit = 800, longest = 0;
    for (int i = 0; i < 40; i++) {
        fake_kube_reply(only(f, false, "limit=2"), 503, "");
        int64_t wait = until_next(f);
        assert_in_range(wait, 1, limit);
        longest = wait > longest ? wait : longest;
        limit = limit * 2 < 30000 ? limit * 2 : 30000;
    }
    assert_true(longest > 15000);
    assert_non_null(strstr(reflector_trouble(f->r), "503"));
    /* two quiet minutes make it forget */
    struct kube_call *c = synced(f);
    fake_kube_run(&f->fake, 121000);
    fake_kube_break(c, ERR_UNAVAILABLE, "reset");
    assert_in_range(until_next(f), 1, 800);
}

static void retry_after(void **state) {
    struct fix *f = *state;
    fake_kube_reply_after(only(f, false, "limit=2"), 429, "", 17000);
    assert_int_equal(until_next(f), 17000);
    fake_kube_reply_after(only(f, false, "limit=2"), 429, "", 86400000);
    assert_int_equal(until_next(f), 60000);
}

static void denied_text(void **state) {
    struct fix *f = *state;
    fake_kube_reply(only(f, false, "limit=2"), 403,
                    "{\"kind\":\"Status\",\"code\":403,\"message\":\"pods is forbidden: User \\\"x\\\" cannot list\"}");
    assert_string_equal(reflector_trouble(f->r),
                        "GET /api/v1/pods: 403 Forbidden: pods is forbidden: User \"x\" cannot list");
}

static void metadata_only(void **state) {
    struct fix *f = *state;
    struct fix g = {0};
    struct reflector_opts opts = {.path = "/api/v1/nodes", .metadata_only = true};
    buf_init(&g.log, 1000);
    g.r = reflector_new(&f->fake.kube, &opts, &ops, &g, 1);
    fake_kube_run(&f->fake, 0);
    struct kube_call *c = fake_kube_find(&f->fake, "/nodes?limit=500");
    assert_non_null(strstr(c->accept, "as=PartialObjectMetadataList;"));
    fake_kube_reply(c, 200, LIST("3", "", ""));
    fake_kube_run(&f->fake, 0);
    assert_non_null(strstr(fake_kube_find(&f->fake, "/nodes")->accept, "as=PartialObjectMetadata;"));
    assert_log(&g, "! ");
    reflector_free(g.r);
    buf_done(&g.log);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(pages),
        T(events_and_bookmarks),
        T(recreated_between),
        T(expired_as_status),
        T(expired_as_event),
        T(expired_between_pages),
        cmocka_unit_test(cut_at_every_offset),
        T(garbage_line),
        T(duplicate_keys),
        T(unknown_type),
        T(nameless_object),
        T(endless_line),
        T(broken_list),
        T(silent_connection),
        T(closed_at_once),
        T(back_off),
        T(retry_after),
        T(denied_text),
        T(metadata_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
