#include "scenario.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/base/json.h"
#include "../../lib/base/mem.h"
#include "../../lib/base/text.h"

struct reader {
    const char *at;
    int line;
    struct scenario *s;
    struct err *err;
};

/* Next line without comment, indentation and trailing space; NULL at the end. free(). */
static char *next_line(struct reader *r) {
    if (!*r->at) {
        return NULL;
    }
    size_t n = strcspn(r->at, "\n"), end = 0;
    bool quoted = false;
    for (; end < n && (quoted || r->at[end] != '#'); end++) {
        quoted = r->at[end] == '"' ? !quoted : quoted;
    }
    size_t from = strspn(r->at, " \t");
    while (end > from && strchr(" \t\r", r->at[end - 1])) {
        end--;
    }
    char *line = mem_printf("%.*s", end > from ? (int)(end - from) : 0, r->at + from);
    r->at += n + (r->at[n] == '\n');
    r->line++;
    return line;
}

static bool bad(struct reader *r, const char *what, const char *text) {
    return err_set(r->err, ERR_INVALID, "line %d: %s: %.120s", r->line, what, text);
}

static struct scenario_step *add(struct reader *r, enum scenario_kind kind) {
    struct scenario *s = r->s;
    s->steps = mem_grow(s->steps, (s->n_steps + 1) * sizeof *s->steps);
    s->steps[s->n_steps] = (struct scenario_step){.kind = kind, .line = r->line};
    return &s->steps[s->n_steps++];
}

/* The first word in buf, the rest returned. */
static const char *word(const char *text, char *buf, size_t cap) {
    size_t n = strcspn(text, " \t");
    snprintf(buf, cap, "%.*s", (int)n, text);
    return text + n + strspn(text + n, " \t");
}

static bool read_runs(struct reader *r, const char *rest) {
    r->s->runs_virtual = strstr(rest, "virtual") != NULL;
    r->s->runs_demo = strstr(rest, "demo") != NULL;
    r->s->runs_e2e = strstr(rest, "e2e") != NULL;
    return *rest ? true : bad(r, "runs where? virtual, demo, e2e", rest);
}

static bool read_mesh(struct reader *r, const char *rest) {
    struct scenario *s = r->s;
    const struct {
        const char *key;
        uint32_t *value;
    } keys[] = {{"nodes", &s->nodes}, {"namespaces", &s->namespaces}, {"pods", &s->pods}, {"replicas", &s->replicas}};
    while (*rest) {
        char one[64];
        rest = word(rest, one, sizeof one);
        char *equals = strchr(one, '=');
        int64_t n = 0;
        bool known = false;
        for (size_t i = 0; equals && i < sizeof keys / sizeof *keys; i++) {
            if (strncmp(one, keys[i].key, strlen(keys[i].key)) == 0 && one + strlen(keys[i].key) == equals) {
                known = text_int(equals + 1, 1, 100000, &n);
                *keys[i].value = (uint32_t)n;
            }
        }
        if (!known) {
            return bad(r, "mesh takes nodes= namespaces= pods= replicas= with a number", one);
        }
    }
    return true;
}

/* "NAME {" or, refused, "NAME "TEXT" {", then JSON up to a line that is only "}". */
static bool read_upgrade(struct reader *r, enum scenario_kind kind, const char *rest) {
    char name[64];
    struct scenario_step *step = add(r, kind);
    rest = word(rest, name, sizeof name);
    step->name = mem_dup(name);
    if (kind == SCN_REFUSED && *rest == '"' && strchr(rest + 1, '"')) {
        step->condition = mem_printf("%.*s", (int)strcspn(rest + 1, "\""), rest + 1);
        rest += strlen(step->condition) + 2;
        rest += strspn(rest, " \t");
    }
    if (strcmp(rest, "{") != 0 || !*name) {
        return bad(r, "upgrade NAME {, refused NAME \"TEXT\" {", rest);
    }
    struct buf text;
    buf_init(&text, 65536);
    buf_str(&text, "{");
    char *line;
    bool closed = false;
    while (!closed && (line = next_line(r)) != NULL) {
        buf_printf(&text, "%s\n", line);
        closed = strcmp(line, "}") == 0;
        free(line);
    }
    step->spec = closed ? js_parse(text.p, text.len, 65536, r->err) : NULL;
    buf_done(&text);
    return step->spec ? true
           : closed   ? err_wrap(r->err, "line %d: spec of %s", r->line, name)
                      : bad(r, "no line \"}\" ends", name);
}

static bool read_on(struct reader *r, const char *rest) {
    const char *cut = strstr(rest, " do ");
    if (!cut) {
        return bad(r, "on CONDITION do ACTION", rest);
    }
    struct scenario_step *step = add(r, SCN_ON);
    step->condition = mem_printf("%.*s", (int)(cut - rest), rest);
    step->action = mem_dup(cut + 4);
    return true;
}

static bool read_expect(struct reader *r, const char *rest) {
    char first[32], duration[32];
    const char *behind = word(rest, first, sizeof first);
    bool within = strcmp(first, "within") == 0, lasting = strcmp(first, "for") == 0;
    struct scenario_step *step = add(r, within ? SCN_EXPECT_WITHIN : lasting ? SCN_EXPECT_FOR : SCN_EXPECT);
    if (within || lasting) {
        rest = word(behind, duration, sizeof duration);
        if (!text_duration(duration, &step->ms)) {
            return bad(r, "not a duration", duration);
        }
    }
    step->condition = mem_dup(rest);
    return *rest ? true : bad(r, "expect what?", rest);
}

static bool read_line(struct reader *r, const char *line) {
    char keyword[32];
    const char *rest = word(line, keyword, sizeof keyword);
    if (strcmp(keyword, "runs") == 0) {
        return read_runs(r, rest);
    }
    if (strcmp(keyword, "mesh") == 0) {
        return read_mesh(r, rest);
    }
    if (strcmp(keyword, "upgrade") == 0 || strcmp(keyword, "refused") == 0) {
        return read_upgrade(r, *keyword == 'u' ? SCN_UPGRADE : SCN_REFUSED, rest);
    }
    if (strcmp(keyword, "do") == 0) {
        add(r, SCN_DO)->action = mem_dup(rest);
        return *rest ? true : bad(r, "do what?", rest);
    }
    if (strcmp(keyword, "on") == 0) {
        return read_on(r, rest);
    }
    if (strcmp(keyword, "wait") == 0) {
        return text_duration(rest, &add(r, SCN_WAIT)->ms) ? true : bad(r, "not a duration", rest);
    }
    if (strcmp(keyword, "expect") == 0) {
        return read_expect(r, rest);
    }
    return bad(r, "unknown statement", line);
}

bool scenario_parse(const char *text, struct scenario *out, struct err *err) {
    *out =
        (struct scenario){.runs_virtual = true, .runs_demo = true, .nodes = 4, .namespaces = 8, .pods = 40, .replicas = 2};
    struct reader r = {.at = text, .s = out, .err = err};
    bool ok = true;
    char *line;
    while (ok && (line = next_line(&r)) != NULL) {
        ok = !*line || read_line(&r, line);
        free(line);
    }
    for (size_t i = 0; ok && i < out->n_steps; i++) {
        r.line = out->steps[i].line;
        if (out->steps[i].condition && out->steps[i].kind != SCN_REFUSED &&
            scenario_check(NULL, NULL, NULL, out->steps[i].condition, NULL, err) < 0) {
            ok = err_wrap(err, "line %d", r.line);
        }
    }
    if (!ok) {
        scenario_done(out);
    }
    return ok;
}

void scenario_done(struct scenario *s) {
    for (size_t i = 0; i < s->n_steps; i++) {
        free(s->steps[i].condition);
        free(s->steps[i].action);
        free(s->steps[i].name);
        json_decref(s->steps[i].spec);
    }
    free(s->steps);
    s->steps = NULL;
    s->n_steps = 0;
}
