#include <stdlib.h>
#include <string.h>

#include "cli/change.h"
#include "cmocka_all.h"

static struct err err;

/* Result of one change on this text; *after is the changed spec as text, to be freed. */
static enum change_result change(change_fn fn, const char *upgrade, const char *arg, char **after) {
    err = (struct err){0};
    json_t *o = js_parse(upgrade, strlen(upgrade), 10000, &err);
    assert_non_null(o);
    enum change_result r = fn(o, arg, &err);
    json_t *spec = js_at(o, "spec", NULL);
    *after = spec ? js_dump(spec) : NULL;
    json_decref(o);
    return r;
}

static void every_change(void **state) {
    (void)state;
    static const struct {
        change_fn fn;
        const char *arg, *upgrade;
        enum change_result result;
        const char *spec;
    } rows[] = {
        {change_pause, NULL, "{\"spec\":{}}", CHANGE_MADE, "{\"paused\":true}"},
        {change_pause, NULL, "{\"spec\":{\"paused\":true}}", CHANGE_NONE, "{\"paused\":true}"},
        {change_pause, NULL, "{}", CHANGE_BAD, NULL},
        {change_resume, NULL, "{\"spec\":{\"paused\":true}}", CHANGE_MADE, "{\"paused\":false}"},
        {change_resume, NULL, "{\"spec\":{}}", CHANGE_NONE, "{}"},
        {change_resume, NULL, "{\"spec\":[]}", CHANGE_BAD, "[]"},
        {change_resume, NULL, "{\"spec\":{},\"status\":{\"hold\":{\"id\":4,\"active\":true}}}", CHANGE_MADE,
         "{\"resumeHold\":4}"},
        {change_resume, NULL, "{\"spec\":{\"resumeHold\":4},\"status\":{\"hold\":{\"id\":4,\"active\":true}}}", CHANGE_NONE,
         "{\"resumeHold\":4}"},
        {change_resume, NULL, "{\"spec\":{\"resumeHold\":3},\"status\":{\"hold\":{\"id\":4,\"active\":false}}}",
         CHANGE_NONE, "{\"resumeHold\":3}"},
        {change_approve, "w", "{\"spec\":{\"waves\":[{\"name\":\"w\"}]}}", CHANGE_MADE,
         "{\"waves\":[{\"name\":\"w\"}],\"approvedWaves\":[\"w\"]}"},
        {change_approve, "w", "{\"spec\":{\"waves\":[{\"name\":\"w\"}],\"approvedWaves\":[\"v\"]}}", CHANGE_MADE,
         "{\"waves\":[{\"name\":\"w\"}],\"approvedWaves\":[\"v\",\"w\"]}"},
        {change_approve, "w", "{\"spec\":{\"waves\":[{\"name\":\"w\"}],\"approvedWaves\":[\"w\"]}}", CHANGE_NONE,
         "{\"waves\":[{\"name\":\"w\"}],\"approvedWaves\":[\"w\"]}"},
        {change_approve, "x", "{\"spec\":{\"waves\":[{\"name\":\"w\"}]}}", CHANGE_BAD, "{\"waves\":[{\"name\":\"w\"}]}"},
        {change_approve, "x", "{}", CHANGE_BAD, NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        char *spec;
        enum change_result r = change(rows[i].fn, rows[i].upgrade, rows[i].arg, &spec);
        if (r != rows[i].result) {
            fail_msg("row %zu: result %d, expected %d", i, (int)r, (int)rows[i].result);
        }
        if (rows[i].spec) {
            assert_string_equal(spec, rows[i].spec);
        } else {
            assert_null(spec);
        }
        assert_int_equal(err.code != ERR_NONE, r == CHANGE_BAD);
        free(spec);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_change)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
