#include "check_view.h"

#include <string.h>

#include "plain.h"
#include "wrap.h"

/* What is not one of the words that we know is as good as unknown. */
enum result { RESULT_UNKNOWN, RESULT_OK, RESULT_WARN, RESULT_FAIL, RESULTS };

static enum result result_of(const json_t *check) {
    static const char *const names[RESULTS] = {"unknown", "ok", "warn", "fail"};
    const char *s = js_text(check, "result", NULL);
    for (unsigned i = 0; i < RESULTS; i++) {
        if (strcmp(s, names[i]) == 0) {
            return (enum result)i;
        }
    }
    return RESULT_UNKNOWN;
}

static void count_results(const json_t *view, size_t counts[RESULTS]) {
    size_t s, i;
    json_t *section, *check;
    memset(counts, 0, RESULTS * sizeof(*counts));
    json_array_foreach(js_at(view, "sections", NULL), s, section) {
        json_array_foreach(js_at(section, "checks", NULL), i, check) {
            counts[result_of(check)]++;
        }
    }
}

enum exit_code check_view_exit(const json_t *view) {
    size_t n[RESULTS];
    count_results(view, n);
    bool looked = n[RESULT_OK] + n[RESULT_WARN] > 0;
    return looked && n[RESULT_FAIL] == 0 && n[RESULT_UNKNOWN] == 0 ? EXIT_DONE : EXIT_HELD;
}

static void add_check(const json_t *check, bool utf8, size_t columns, struct buf *out) {
    static const struct {
        const char *ascii, *sign;
    } marks[RESULTS] = {{"[?]", "?"}, {"[ok]", "\xe2\x88\x9a"}, {"[warn]", "\xe2\x80\xbc"}, {"[FAIL]", "\xc3\x97"}};
    enum result r = result_of(check);
    size_t width = utf8 ? 1 : 6;
    const char *mark = utf8 ? marks[r].sign : marks[r].ascii, *hint = js_text(check, "hint", NULL);
    buf_printf(out, "%s%*s", mark, (int)(width - plain_width(mark) + 1), "");
    wrap_add(out, js_text(check, "text", NULL), width + 1, width + 1, columns);
    if (r != RESULT_OK && *hint) {
        buf_printf(out, "%*s", (int)width + 5, "");
        wrap_add(out, hint, width + 5, width + 5, columns);
    }
}

static void underline(const char *name, struct buf *out) {
    for (size_t i = 0; i < plain_width(name); i++) {
        buf_str(out, "-");
    }
    buf_str(out, "\n");
}

void check_view(const json_t *view, bool utf8, size_t columns, struct buf *out) {
    size_t n[RESULTS], s, i;
    json_t *section, *check;
    json_array_foreach(js_at(view, "sections", NULL), s, section) {
        const char *name = js_text(section, "name", NULL);
        plain_add(out, name);
        buf_str(out, "\n");
        underline(name, out);
        json_array_foreach(js_at(section, "checks", NULL), i, check) {
            add_check(check, utf8, columns, out);
        }
        buf_str(out, "\n");
    }
    count_results(view, n);
    buf_printf(out, "Status check results are %s",
               check_view_exit(view) == EXIT_DONE ? utf8 ? "\xe2\x88\x9a" : "[ok]"
               : n[RESULT_FAIL] > 0               ? utf8 ? "\xc3\x97" : "[FAIL]"
               : utf8                             ? "?"
                                                  : "[?]");
    buf_printf(out, " (%zu ok, %zu warnings, %zu failed, %zu unknown)\n", n[RESULT_OK], n[RESULT_WARN], n[RESULT_FAIL],
               n[RESULT_UNKNOWN]);
}
