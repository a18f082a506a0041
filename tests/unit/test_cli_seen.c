/* What the gate sees, as text: one proxy explained, the pre-flight, istiods, coverage. */
#include <stdlib.h>
#include <string.h>

#include "cli/check_view.h"
#include "cli/coverage_view.h"
#include "cli/explain_view.h"
#include "cli/istiods_view.h"
#include "cli/wrap.h"
#include "cmocka_all.h"

static json_t *parse(const char *text) {
    struct err err = {0};
    char *json = strdup(text);
    for (char *s = json; *s; s++) { /* easier to read */
        *s = *s == '\'' ? '"' : *s;
    }
    json_t *o = js_parse(json, strlen(json), 100000, &err);
    assert_string_equal(err.text, "");
    free(json);
    return o;
}

static void sentences_are_wrapped(void **state) {
    (void)state;
    struct buf out;
    buf_init(&out, 1000);
    wrap_add(&out, "one two  three\x1b[2J four", 0, 2, 9);
    wrap_add(&out, "word-that-is-too-long for it", 5, 5, 12);
    wrap_add(&out, "", 0, 0, 10);
    assert_string_equal(out.p, "one two\n  three?[2J\n  four\nword-that-is-too-long\n     for it\n\n");
    buf_done(&out);
}

static const char explained[] =
    "{'namespace':'shop','pod':'web-1','type':'sidecar','owner':'web','owner_kind':'Deployment','whose':'owner',"
    "'state':'Conflict','meaning':'they disagree','since_ms':61000,'reason':'VersionDisagrees','severity':'Unknown',"
    "'sentence':'Envoy differs','remedy':'restart the pod','rule':'a; b','witnesses':{"
    "'intent':{'says':'expected on canary','age_ms':0,'ready':true,'image':null},"
    "'control_plane':{'says':'istiod-x lists it','age_ms':3000,'types':{'CDS':'Synced','LDS':'Error'},'sync_age_ms':4000},"
    "'node':{'says':'Envoy \\u001b[31mdiffers','age_ms':null,'node':'n1','certificate_expires_in_ms':-7200000}}}";

static void a_proxy_is_explained(void **state) {
    (void)state;
    json_t *v = parse(explained);
    struct buf out;
    buf_init(&out, 10000);
    explain_view(v, 80, &out);
    assert_string_equal(out.p, "Proxy:    shop/web-1, sidecar, Deployment/web, on n1\n"
                               "State:    Conflict for 1m: they disagree\n"
                               "Reason:   VersionDisagrees (Unknown): Envoy differs\n"
                               "Whose:    of the owner: Deployment/web\n"
                               "Remedy:   restart the pod\n"
                               "Rule:     a; b\n"
                               "\n"
                               "WITNESS        AGE    SAYS\n"
                               "API server     0s     expected on canary\n"
                               "control plane  3s     istiod-x lists it\n"
                               "node           never  Envoy ?[31mdiffers\n"
                               "\n"
                               "Evidence of the API server\n"
                               "  ready:                   yes\n"
                               "\n"
                               "Evidence of the control plane\n"
                               "  types:                   CDS Synced, LDS Error\n"
                               "  sync age:                4s\n"
                               "\n"
                               "Evidence of the node\n"
                               "  node:                    n1\n"
                               "  certificate expires in:  -2h\n");
    buf_reset(&out);
    json_t *nothing = parse("{}");
    explain_view(nothing, 80, &out); /* whatever is missing */
    json_decref(nothing);
    buf_done(&out);
    json_decref(v);
}

static void checks_are_listed(void **state) {
    (void)state;
    json_t *v =
        parse("{'sections':[{'name':'agents','checks':["
              "{'name':'a','result':'ok','text':'all is well','hint':'not shown'},"
              "{'name':'b','result':'warn','text':'a warning','hint':'look there'},"
              "{'name':'c','result':'fail','text':'node-07 cannot reach canary','hint':'check \\u001b[2Jthe network'},"
              "{'name':'d','result':'whatever','text':'from the future','hint':''}]}]}");
    struct buf out;
    buf_init(&out, 10000);
    check_view(v, false, 80, &out);
    assert_string_equal(out.p, "agents\n------\n"
                               "[ok]   all is well\n"
                               "[warn] a warning\n"
                               "           look there\n"
                               "[FAIL] node-07 cannot reach canary\n"
                               "           check ?[2Jthe network\n"
                               "[?]    from the future\n"
                               "\n"
                               "Status check results are [FAIL] (1 ok, 1 warnings, 1 failed, 1 unknown)\n");
    buf_reset(&out);
    check_view(v, true, 80, &out);
    assert_non_null(strstr(out.p, "\xe2\x88\x9a all is well\n\xe2\x80\xbc a warning\n      look there\n\xc3\x97 node-07"));
    buf_done(&out);
    json_decref(v);
}

static void doubt_is_not_passed(void **state) {
    (void)state;
    static const struct {
        const char *results[3];
        enum exit_code code;
    } rows[] = {{{"ok", "warn", "ok"}, EXIT_DONE},    {{"ok", NULL, NULL}, EXIT_DONE},   {{NULL, NULL, NULL}, EXIT_HELD},
                {{"ok", "unknown", "ok"}, EXIT_HELD}, {{"fail", "ok", NULL}, EXIT_HELD}, {{"ok", "OK", NULL}, EXIT_HELD},
                {{"ok", "", NULL}, EXIT_HELD}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        json_t *checks = json_array();
        for (size_t k = 0; k < 3 && rows[i].results[k]; k++) {
            json_array_append_new(checks, json_pack("{s:s}", "result", rows[i].results[k]));
        }
        json_t *v = json_pack("{s:[{s:o}]}", "sections", "checks", checks);
        assert_int_equal(check_view_exit(v), rows[i].code);
        json_decref(v);
    }
    json_t *v = parse("{'sections':7}");
    assert_int_equal(check_view_exit(v), EXIT_HELD);
    json_decref(v);
}

static void istiods_are_listed(void **state) {
    (void)state;
    json_t *v = parse("{'revisions':[{'name':'old','version':'1.29.6','injector':true,'tags':['default','prod'],"
                      "'other_version':3,'replicas':[{'name':'istiod-old-b','ready':true,'reader':'n1','standby':'n2',"
                      "'connections':'Ok','syncz':'Timeout','error':'late','connections_age_ms':3000,'syncz_age_ms':null,"
                      "'proxies':20,'streams':21.0,'rejects':4.0,'bytes_read':12345678,'questions':17,"
                      "'blocked':[{'namespace':'shop','proxy':'','for_ms':30000}]},"
                      "{'name':'istiod-old-a','ready':false}]},{'name':'canary','injector':false,'replicas':[]}]}");
    struct buf out;
    buf_init(&out, 10000);
    istiods_view(v, false, 0, &out);
    assert_string_equal(
        out.p,
        "REVISION  VERSION  TAGS          INJECTOR  READY  PROXIES  OTHER VERSION\n"
        "canary    -        -             no        0/0    0        -\n"
        "old       1.29.6   default,prod  yes       1/2    20       3\n"
        "\n"
        "REVISION  REPLICA       READY  READER  STANDBY  LISTED  SYNC   PROXIES  REJECTS  BLOCKED\n"
        "old       istiod-old-a  no     -       -        never   never  -        -        0\n"
        "old       istiod-old-b  yes    n1      n2       3s      never  20       4        1\n"
        "\n"
        "istiod-old-b: syncz: Timeout: late\n"
        "istiod-old-b: pushes are locked in namespace shop for 30s: the proxy is not known yet\n"
        "old: 3 proxies run another version than its istiods: it was upgraded in place, or they keep an older sidecar\n");
    buf_reset(&out);
    istiods_view(v, false, 75, &out);
    assert_non_null(strstr(out.p, "\nREVISION  REPLICA       READY  READER  LISTED  SYNC   PROXIES  BLOCKED\n"));
    assert_non_null(strstr(out.p, "\n(STANDBY, REJECTS left out to fit this terminal; -o wide shows all)\n"));
    buf_reset(&out);
    istiods_view(v, true, 80, &out);
    assert_non_null(strstr(out.p, "  21       -        12M    17         -     -     -\n"));
    buf_done(&out);
    json_decref(v);
}

static void coverage_shows_what_is_missing(void **state) {
    (void)state;
    json_t *v = parse(
        "{'cluster':{'name':'Kubernetes','expected':3,'heard':2,'control_plane':3,'sync':3,'node':2,'oldest_ms':4000},"
        "'revisions':[{'name':'old','expected':3,'heard':2,'control_plane':3,'sync':3,'node':2,'oldest_ms':null}],'waves':["
        "],"
        "'namespaces':[{'name':'a','expected':2,'heard':2,'control_plane':2,'sync':2,'node':2,'oldest_ms':1000},"
        "{'name':'b','expected':1,'heard':0,'control_plane':1,'sync':1,'node':0,'oldest_ms':1000}]}");
    struct buf out;
    buf_init(&out, 10000);
    coverage_view(v, false, &out);
    assert_string_equal(out.p, "OF         NAME        EXPECTED  HEARD  LISTED  SYNC  NODE  OLDEST\n"
                               "cluster    Kubernetes  3         2      3       3     2     4s\n"
                               "revision   old         3         2      3       3     2     -\n"
                               "namespace  b           1         0      1       1     0     1s\n"
                               "\n1 namespace in which every proxy is heard of left out; -o wide shows all\n");
    buf_reset(&out);
    coverage_view(v, true, &out);
    assert_non_null(strstr(out.p, "namespace  a           2         2      2       2     2     1s\n"));
    buf_done(&out);
    json_decref(v);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sentences_are_wrapped), cmocka_unit_test(a_proxy_is_explained),
        cmocka_unit_test(checks_are_listed),     cmocka_unit_test(doubt_is_not_passed),
        cmocka_unit_test(istiods_are_listed),    cmocka_unit_test(coverage_shows_what_is_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
