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
    "{\"upgrade\":null,\"proxies\":["
    "{\"namespace\":\"b\",\"pod\":\"2\",\"state\":\"Moved\",\"type\":\"gateway\",\"owner_kind\":\"Gateway\",\"owner\":"
    "\"in\","
    "\"node\":\"n1\",\"attached\":\"new\",\"types\":{\"CDS\":\"Synced\",\"LDS\":\"Synced\",\"ECDS\":\"NotSent\"}},"
    "{\"namespace\":\"b\",\"pod\":\"1\",\"state\":\"NotStarted\",\"owner_kind\":\"Deployment\",\"owner\":\"web\","
    "\"node\":\"n2\",\"attached\":\"-\"},"
    "{\"namespace\":\"b\",\"pod\":\"0\",\"state\":\"Uninjected\",\"reason\":\"OptedOut\",\"owner_kind\":\"Pod\","
    "\"owner\":\"0\"},"
    "{\"namespace\":\"a\",\"pod\":\"9\",\"state\":\"Stale\",\"reason\":\"AckOverdue\",\"since_ms\":61000,\"remedy\":"
    "\"look\",\"whose\":\"owner\",\"owner_kind\":\"StatefulSet\",\"owner\":\"db\",\"attached\":\"new\","
    "\"types\":{\"CDS\":\"Synced\",\"LDS\":\"Pending\"}}]}";

static struct proxies_seen read_view(const struct filter *f, bool whole) {
    struct proxies_seen seen;
    struct err err = {0};
    assert_true(proxies_read(view, strlen(view), f, whole, &seen, &err));
    assert_int_equal(seen.total, 4);
    return seen;
}

/* Pods of the selection, joined. */
static void selects(struct filter f, const char *pods) {
    struct proxies_seen seen = read_view(&f, false);
    json_t *p;
    char text[16] = "";
    size_t i;
    json_array_foreach(seen.rows, i, p) {
        strncat(text, js_text(p, "pod", NULL), sizeof(text) - strlen(text) - 1);
    }
    assert_string_equal(text, pods);
    proxies_seen_done(&seen);
}

static void proxies_are_selected_and_sorted(void **state) {
    (void)state;
    selects((struct filter){0}, "9012");
    selects((struct filter){.stuck = true}, "9"); /* a note is no trouble */
    selects((struct filter){.namespace_ = "b"}, "012");
    selects((struct filter){.namespace_ = "a,b"}, "9012");
    selects((struct filter){.namespace_ = "b", .stuck = true}, "");
    selects((struct filter){.state = "not_started"}, "1");
    selects((struct filter){.state = "Move"}, "");
    selects((struct filter){.state = "moved-,STALE"}, "92");
    selects((struct filter){.reason = "ack-overdue"}, "9");
    selects((struct filter){.type = "Gateway"}, "2");
    selects((struct filter){.node = "n2,n1"}, "12");
    selects((struct filter){.revision = "new"}, "92");
    selects((struct filter){.revision = "none"}, "1");
    selects((struct filter){.revision = "ne"}, "");
    selects((struct filter){.owner = "web"}, "1");
    selects((struct filter){.owner = "deploy/web,sts/db"}, "91");
    selects((struct filter){.owner = "Deployment/web"}, "1");
    selects((struct filter){.owner = "statefulset/web"}, "");
    selects((struct filter){.owner = "gtw/in,pod/0"}, "02");
    selects((struct filter){.owner = "web/"}, "");
}

static void shows(struct filter f, bool wide, size_t columns, const char *text) {
    struct proxies_seen seen = read_view(&f, wide);
    struct buf out;
    buf_init(&out, 10000);
    proxies_view(&seen, &f, wide, columns, &out);
    assert_string_equal(out.p, text);
    buf_done(&out);
    proxies_seen_done(&seen);
}

static void only_proxies_are_read(void **state) {
    (void)state;
    static const struct {
        const char *text, *error;
    } rows[] = {
        {"", "no object"},
        {"[]", "no object"},
        {"{}", "has no list of proxies"},
        {"{\"proxies\":7}", "is no list"},
        {"{\"proxies\":[7]}", "no object"},
        {"{\"proxies\":[{}", "does not end"},
        {"{\"proxies\":[{}]", "does not end"},
        {"{\"proxies\":[{\"a\":1,\"a\":2}]}", "duplicate"},
        {"{\"proxies\":[],\"proxies\":[]}", "two lists"},
        {"{\"proxies\":[]} x", "something follows"},
        {"{\"proxies\" []}", "a name was expected"},
        {"{7:[]}", "a name was expected"},
        {"{\"upgrade\":}", "no JSON"},
        {"{\"proxies\":[{\"pod\":\"x", "no JSON"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct proxies_seen seen;
        struct err err = {0};
        struct filter f = {0};
        assert_false(proxies_read(rows[i].text, strlen(rows[i].text), &f, true, &seen, &err));
        if (!strstr(err.text, rows[i].error)) {
            fail_msg("%s: \"%s\" does not contain \"%s\"", rows[i].text, err.text, rows[i].error);
        }
        proxies_seen_done(&seen);
    }
    static const char good[] =
        " {\n \"more\": {\"proxies\": 1},\"proxies\" : [ {\"pod\":\"x\",\"more\":[1]} , {} ] ,\n\"upgrade\":\"u\"}\n";
    struct proxies_seen seen;
    struct err err = {0};
    struct filter f = {0};
    assert_true(proxies_read(good, strlen(good), &f, true, &seen, &err));
    assert_int_equal(seen.total, 2);
    assert_string_equal(json_string_value(seen.upgrade), "u");
    assert_int_equal(json_array_size(json_object_get(json_array_get(seen.rows, 1), "more")), 1);
    proxies_seen_done(&seen);
}

static void proxies_as_text(void **state) {
    (void)state;
    shows((struct filter){.stuck = true}, false, 0,
          "NAMESPACE  POD  OWNER   STATE  REASON      AGE  EXPECTED  ATTACHED\n"
          "a          9    sts/db  Stale  AckOverdue  1m   -         new\n"
          "\nWhat to do:\n"
          "  AckOverdue (1, owner)\n"
          "    > look\n"
          "\n1 of 4 proxies: Stale 1\n");
    shows(
        (struct filter){.type = "gateway"}, true, 20,
        "NAMESPACE  POD  NODE  TYPE     OWNER       STATE  REASON  AGE  EXPECTED  INJECTED  ATTACHED  REPLICA  XDS"
        "           CONFIG  VERSION\n"
        "b          2    n1    gateway  Gateway/in  Moved  -       0s   -         -         new       -        CDS LDS ECDS"
        "  -       -\n"
        "\n1 of 4 proxies: Moved 1\n");
    shows((struct filter){.type = "waypoint"}, false, 0,
          "No proxy matches. There are 4: Moved 1, NotStarted 1, Uninjected 1, Stale 1\n");
}

static void columns_go_where_there_is_no_room(void **state) {
    (void)state;
    shows((struct filter){.state = "Stale"}, false, 63,
          "NAMESPACE  POD  STATE  REASON      AGE  EXPECTED  ATTACHED\n"
          "a          9    Stale  AckOverdue  1m   -         new\n"
          "\n1 of 4 proxies: Stale 1\n"
          "(OWNER left out to fit this terminal; -o wide shows all)\n");
    shows((struct filter){.state = "Stale"}, false, 10,
          "NAMESPACE  POD  STATE  REASON      ATTACHED\n"
          "a          9    Stale  AckOverdue  new\n"
          "\n1 of 4 proxies: Stale 1\n"
          "(OWNER, EXPECTED, AGE left out to fit this terminal; -o wide shows all)\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(status_as_text),
        cmocka_unit_test(doubt_is_never_done),
        cmocka_unit_test(bars),
        cmocka_unit_test(proxies_are_selected_and_sorted),
        cmocka_unit_test(only_proxies_are_read),
        cmocka_unit_test(proxies_as_text),
        cmocka_unit_test(columns_go_where_there_is_no_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
