#include <stdlib.h>
#include <string.h>

#include "cli/proxies_view.h"
#include "cli/status_view.h"
#include "cmocka_all.h"

enum { NOW = 1795417200 }; /* 2026-11-23T07:00:00Z in seconds */

static json_t *parse(const char *text) {
    struct err err = {0};
    json_t *o = js_parse(text, strlen(text), 100000, &err);
    assert_string_equal(err.text, "");
    return o;
}

static const char soaking[] =
    "{\"metadata\":{\"name\":\"u\",\"generation\":3},"
    "\"spec\":{\"from\":{\"revision\":\"old\"},\"to\":{\"revision\":\"new\"},\"approvedWaves\":[\"b\"],"
    "\"waves\":[{\"name\":\"a\"},{\"name\":\"b\",\"approval\":\"Manual\"},{\"name\":\"c\",\"approval\":\"Manual\"}]},"
    "\"status\":{\"observedGeneration\":3,\"phase\":\"Soaking\",\"verdict\":\"Wait\",\"currentWave\":\"a\","
    "\"summary\":{\"namespaces\":3,\"relabelled\":1,\"expected\":3,\"heard\":3,\"moved\":1,\"byState\":{\"Moved\":1}},"
    "\"waves\":[{\"name\":\"a\",\"state\":\"Soaking\",\"namespaces\":1,\"relabelled\":1,\"expected\":1,\"moved\":1,"
    "\"soakUntil\":\"2026-11-23T07:04:00Z\"},"
    "{\"name\":\"b\",\"state\":\"Pending\",\"namespaces\":1,\"expected\":1},"
    "{\"name\":\"c\",\"state\":\"AwaitingApproval\",\"namespaces\":1,\"expected\":1}]}}";

static void status_as_text(void **state) {
    (void)state;
    json_t *u = parse(soaking);
    struct buf out;
    buf_init(&out, 10000);
    status_view(u, NOW * 1000LL, false, &out);
    assert_string_equal(out.p, "Upgrade:    u, from old to new\n"
                               "Phase:      Soaking, wave a (1 of 3)\n"
                               "Verdict:    Wait\n"
                               "Progress:   [######--------------] 33%  1 of 3 proxies moved, 3 heard\n"
                               "Relabelled: 1 of 3 namespaces\n"
                               "States:     Moved 1\n"
                               "\n"
                               "WAVE  STATE             NAMESPACES  MOVED  PROGRESS                     NOTE\n"
                               "a     Soaking           1/1         1/1    [####################] 100%  4m left\n"
                               "b     Pending           0/1         0/1    [--------------------]   0%  approved\n"
                               "c     AwaitingApproval  0/1         0/1    [--------------------]   0%  "
                               "kubectl meshgate approve u c\n");
    buf_reset(&out);
    status_view_line(u, &out);
    assert_string_equal(out.p, "Soaking Wait wave=a (1/3) 1/1 moved total=1/3");
    assert_int_equal(status_view_exit(u), EXIT_PROGRESS);
    buf_done(&out);
    json_decref(u);
}

static void doubt_is_never_done(void **state) {
    (void)state;
    static const struct {
        const char *upgrade;
        enum exit_code code;
    } rows[] = {
        {"{}", EXIT_HELD},
        {"{\"status\":{\"phase\":7}}", EXIT_HELD},
        {"{\"status\":{\"phase\":\"Finished\"}}", EXIT_HELD},
        {"{\"status\":{\"phase\":\"Completed\"}}", EXIT_DONE},
        {"{\"metadata\":{\"generation\":2},\"status\":{\"phase\":\"Completed\"}}", EXIT_PROGRESS},
        {"{\"metadata\":{\"generation\":2},\"status\":{\"phase\":\"Completed\",\"observedGeneration\":2}}", EXIT_DONE},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        json_t *u = parse(rows[i].upgrade);
        struct buf out;
        buf_init(&out, 10000);
        status_view(u, NOW * 1000LL, true, &out); /* whatever is missing */
        status_view_line(u, &out);
        assert_int_equal(status_view_exit(u), rows[i].code);
        buf_done(&out);
        json_decref(u);
    }
}

static void bars(void **state) {
    (void)state;
    static const struct {
        int64_t part, whole;
        const char *bar;
    } rows[] = {{0, 0, "[----]"},    {1, 0, "[----]"}, {-1, 4, "[----]"}, {3, 4, "[###-]"},
                {99, 100, "[###-]"}, {4, 4, "[####]"}, {9, 4, "[####]"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct buf out;
        buf_init(&out, 100);
        status_view_bar(rows[i].part, rows[i].whole, 4, &out);
        assert_string_equal(out.p, rows[i].bar);
        buf_done(&out);
    }
}

static const char view[] =
    "{\"upgrade\":\"u\",\"proxies\":["
    "{\"namespace\":\"b\",\"pod\":\"2\",\"state\":\"Moved\"},{\"namespace\":\"b\",\"pod\":\"1\",\"state\":\"NotStarted\"},"
    "{\"namespace\":\"a\",\"pod\":\"9\",\"state\":\"Stale\",\"reason\":\"AckOverdue\",\"since_ms\":61000,\"remedy\":"
    "\"look\"}]}";

/* Pods of the selection, joined. */
static void selects(struct proxies_filter f, const char *pods) {
    json_t *v = parse(view), *rows = proxies_view_select(v, &f), *p;
    char text[16] = "";
    size_t i;
    json_array_foreach(rows, i, p) {
        strncat(text, js_text(p, "pod", NULL), sizeof(text) - strlen(text) - 1);
    }
    assert_string_equal(text, pods);
    json_decref(rows);
    json_decref(v);
}

static void proxies_are_selected_and_sorted(void **state) {
    (void)state;
    selects((struct proxies_filter){0}, "912");
    selects((struct proxies_filter){.stuck = true}, "9");
    selects((struct proxies_filter){.ns = "b"}, "12");
    selects((struct proxies_filter){.ns = "b", .stuck = true}, "");
    selects((struct proxies_filter){.state = "not_started"}, "1");
    selects((struct proxies_filter){.state = "Move"}, "");
    selects((struct proxies_filter){.state = "moved-"}, "2");
}

static void proxies_as_text(void **state) {
    (void)state;
    json_t *v = parse(view);
    struct proxies_filter f = {.stuck = true};
    json_t *rows = proxies_view_select(v, &f);
    struct buf out;
    buf_init(&out, 10000);
    proxies_view(v, rows, &f, false, &out);
    assert_string_equal(out.p, "NAMESPACE  POD  NODE  OWNER  STATE  REASON      AGE  EXPECTED  INJECTED  ATTACHED\n"
                               "a          9    -     -      Stale  AckOverdue  1m   -         -         -\n"
                               "\nWhat to do:\n"
                               "  AckOverdue (1)\n"
                               "    > look\n"
                               "\n1 of 3 proxies: Stale 1\n");
    buf_done(&out);
    json_decref(rows);
    json_decref(v);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(status_as_text),
        cmocka_unit_test(doubt_is_never_done),
        cmocka_unit_test(bars),
        cmocka_unit_test(proxies_are_selected_and_sorted),
        cmocka_unit_test(proxies_as_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
