/*
 * Recursive descent over the text, evaluating as it goes; both sides of || and && are always read, so that a form which is
 * not understood is found wherever it stands. Whether a pod had any labels or annotations at all before it was injected
 * cannot always be seen: then both cases are tried, and they must agree.
 */
#include "match_condition_inside.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { DEPTH_MAX = 32 };

static struct value parse_or(struct eval *e);

static bool same_text(const struct value *a, const struct value *b) {
    return a->len == b->len && memcmp(a->text, b->text, a->len) == 0;
}

/* --- reading --- */

static void skip(struct eval *e) {
    while (*e->at != '\0' && strchr(" \t\r\n", *e->at) != NULL) {
        e->at++;
    }
}

static bool word_char(char c) {
    return isalnum((unsigned char)c) || c == '_';
}

/* Take the token if it is next; a word only as a whole. */
static bool take(struct eval *e, const char *token) {
    skip(e);
    size_t len = strlen(token);
    if (strncmp(e->at, token, len) != 0 || (word_char(token[0]) && word_char(e->at[len]))) {
        return false;
    }
    e->at += len;
    return true;
}

static size_t word(struct eval *e, const char **out) {
    skip(e);
    *out = e->at;
    if (isdigit((unsigned char)*e->at)) {
        return 0;
    }
    while (word_char(*e->at)) {
        e->at++;
    }
    return (size_t)(e->at - *out);
}

/* A plain literal: no escapes, no triple quotes, no prefix. */
static bool literal(struct eval *e, struct value *out) {
    skip(e);
    char quote = *e->at;
    if (quote != '\'' && quote != '"') {
        return false;
    }
    const char *from = e->at + 1, *to = from + strcspn(from, "'\"\\\r\n");
    while (*to != '\0' && *to != quote && (*to == '\'' || *to == '"')) {
        to += 1 + strcspn(to + 1, "'\"\\\r\n");
    }
    if (*to != quote || (to == from && to[1] == quote)) {
        condition_refuse(e, "the text");
        return false;
    }
    *out = condition_text(from, (size_t)(to - from));
    e->at = to + 1;
    return true;
}

/* --- grammar --- */

/* a.b.c; stops before a method call. */
static bool read_path(struct eval *e, char *path) {
    size_t len = 0;
    for (bool first = true;; first = false) {
        const char *before = e->at, *w;
        if (!first && !take(e, ".")) {
            return true;
        }
        size_t n = word(e, &w);
        skip(e);
        if (!first && *e->at == '(') {
            e->at = before;
            return true;
        }
        if (n == 0 || len + n + 2 > PATH_MAX_BYTES) {
            condition_refuse(e, "the expression");
            return false;
        }
        len += (size_t)snprintf(path + len, PATH_MAX_BYTES - len, "%s%.*s", first ? "" : ".", (int)n, w);
    }
}

static struct value index_of(struct eval *e, struct value v) {
    struct value key;
    while (take(e, "[")) {
        if (!literal(e, &key) || !take(e, "]")) {
            return condition_refuse(e, "the key");
        }
        if (v.kind == MAP) {
            v = condition_lookup(e, &v, key.text, key.len, false);
        } else if (v.kind == TEXT || v.kind == TRUTH) {
            return condition_refuse(e, "a key of what is no map");
        }
    }
    return v;
}

static struct value call(struct eval *e, struct value v) {
    static const char *const methods[] = {"startsWith", "endsWith", "contains"};
    struct value arg;
    for (int m = 0; m < 3; m++) {
        if (!take(e, methods[m])) {
            continue;
        }
        if (!take(e, "(") || !literal(e, &arg) || !take(e, ")") || v.kind == TRUTH || v.kind == MAP) {
            return condition_refuse(e, "the call");
        }
        if (v.kind != TEXT) {
            return v;
        }
        bool found = arg.len == 0;
        for (size_t i = 0; i + arg.len <= v.len && !found; i++) {
            bool here = memcmp(v.text + i, arg.text, arg.len) == 0;
            found = here && (m == 0 ? i == 0 : m == 1 ? i + arg.len == v.len : true);
        }
        return condition_truth(found);
    }
    return condition_refuse(e, "the call");
}

static struct value has(struct eval *e) {
    char path[PATH_MAX_BYTES];
    if (!take(e, "(") || !read_path(e, path) || !take(e, ")")) {
        return condition_refuse(e, "has()");
    }
    return strchr(path, '.') != NULL ? condition_resolve(e, path, true) : condition_refuse(e, "has()");
}

static struct value parse_primary(struct eval *e) {
    struct value v;
    char path[PATH_MAX_BYTES];
    if (take(e, "(")) {
        v = parse_or(e);
        return take(e, ")") ? v : condition_refuse(e, "the expression");
    }
    if (take(e, "true")) {
        return condition_truth(true);
    }
    if (take(e, "false")) {
        return condition_truth(false);
    }
    if (take(e, "has")) {
        return has(e);
    }
    if (!literal(e, &v)) {
        if (e->refused || !read_path(e, path)) {
            return condition_refuse(e, "the expression");
        }
        v = index_of(e, condition_resolve(e, path, false));
    }
    while (take(e, ".")) {
        v = call(e, v);
    }
    return v;
}

static struct value parse_unary(struct eval *e) {
    struct value v;
    if (e->refused || ++e->depth > DEPTH_MAX) {
        return condition_refuse(e, "an expression of that depth");
    }
    skip(e);
    if (e->at[0] == '!' && e->at[1] != '=') {
        e->at++;
        v = parse_unary(e);
        if (v.kind == TEXT || v.kind == MAP) {
            v = condition_refuse(e, "the negation");
        }
        v.truth = !v.truth;
    } else {
        v = parse_primary(e);
    }
    e->depth--;
    return v;
}

/* UNKNOWN before FAILS: what is not known might decide. */
static struct value worse(const struct value *a, const struct value *b) {
    bool unknown = a->kind == UNKNOWN || b->kind == UNKNOWN;
    return (struct value){.kind = unknown ? UNKNOWN : FAILS};
}

static struct value parse_list(struct eval *e, const struct value *v) {
    struct value item;
    bool found = false;
    while (!take(e, "]")) {
        if (!literal(e, &item)) {
            return condition_refuse(e, "the list");
        }
        found |= v->kind == TEXT && same_text(v, &item);
        skip(e);
        if (*e->at != ']' && !take(e, ",")) {
            return condition_refuse(e, "the list");
        }
    }
    if (v->kind == TRUTH || v->kind == MAP) {
        return condition_refuse(e, "the membership before");
    }
    return v->kind == TEXT ? condition_truth(found) : *v;
}

static struct value parse_in(struct eval *e, const struct value *a) {
    if (take(e, "[")) {
        return parse_list(e, a);
    }
    struct value b = parse_unary(e);
    if ((a->kind != TEXT && a->kind > FAILS) || (b.kind != MAP && b.kind > FAILS)) {
        return condition_refuse(e, "the membership before");
    }
    return a->kind == TEXT && b.kind == MAP ? condition_lookup(e, &b, a->text, a->len, true) : worse(a, &b);
}

static struct value parse_relation(struct eval *e) {
    struct value a = parse_unary(e), b;
    bool equal = take(e, "=="), differs = !equal && take(e, "!=");
    if (!equal && !differs) {
        return take(e, "in") ? parse_in(e, &a) : a;
    }
    b = parse_unary(e);
    if (a.kind <= FAILS || b.kind <= FAILS) {
        return a.kind <= FAILS && b.kind <= FAILS ? worse(&a, &b) : a.kind <= FAILS ? a : b;
    }
    if (a.kind != b.kind || a.kind == MAP) {
        return condition_refuse(e, "the comparison before");
    }
    bool same = a.kind == TEXT ? same_text(&a, &b) : a.truth == b.truth;
    return condition_truth(same == equal);
}

/* decisive: the value that decides alone, whatever the other side is. */
static struct value combine(struct eval *e, const struct value *a, const struct value *b, bool decisive) {
    if (a->kind > TRUTH || b->kind > TRUTH) {
        return condition_refuse(e, "the expression before");
    }
    if ((a->kind == TRUTH && a->truth == decisive) || (b->kind == TRUTH && b->truth == decisive)) {
        return condition_truth(decisive);
    }
    return a->kind == TRUTH && b->kind == TRUTH ? condition_truth(!decisive) : worse(a, b);
}

static struct value parse_and(struct eval *e) {
    struct value a = parse_relation(e), b;
    while (!e->refused && take(e, "&&")) {
        b = parse_relation(e);
        a = combine(e, &a, &b, false);
    }
    return a;
}

static struct value parse_or(struct eval *e) {
    struct value a = parse_and(e), b;
    while (!e->refused && take(e, "||")) {
        b = parse_and(e);
        a = combine(e, &a, &b, true);
    }
    return a;
}

/* --- the whole --- */

static enum condition_result evaluate(const char *expression, const struct condition_pod *pod, bool labels,
                                      bool annotations, char *why) {
    struct eval e = {.at = expression, .pod = pod, .labels = labels, .annotations = annotations, .why = why};
    why[0] = '\0';
    struct value v = parse_or(&e);
    skip(&e);
    if (!e.refused && *e.at != '\0') {
        condition_refuse(&e, "the expression");
    }
    if (!e.refused && v.kind > TRUTH) {
        condition_refuse(&e, "what is no truth value");
    }
    if (e.refused || v.kind == UNKNOWN) {
        return CONDITION_UNKNOWN;
    }
    return v.kind == FAILS ? CONDITION_ERROR : v.truth ? CONDITION_TRUE : CONDITION_FALSE;
}

enum condition_result match_condition(const char *expression, const struct condition_pod *pod, char *why) {
    int labels = condition_presence(pod->labels, false), annotations = condition_presence(pod->annotations, true);
    enum condition_result all = CONDITION_UNKNOWN;
    bool first = true;
    if (strnlen(expression, CONDITION_MAX + 1) > CONDITION_MAX) {
        snprintf(why, CONDITION_WHY, "an expression of more than %d bytes is not evaluated", CONDITION_MAX);
        return CONDITION_UNKNOWN;
    }
    for (int i = 0; i < 4; i++) {
        bool with_labels = i & 1, with_annotations = i & 2;
        if (!(labels & (1 << with_labels)) || !(annotations & (1 << with_annotations))) {
            continue;
        }
        enum condition_result one = evaluate(expression, pod, with_labels, with_annotations, why);
        if (one == CONDITION_UNKNOWN) {
            return one;
        }
        if (!first && one != all) {
            snprintf(why, CONDITION_WHY, "it depends on whether the pod had labels or annotations before it was injected");
            return CONDITION_UNKNOWN;
        }
        all = one;
        first = false;
    }
    return all;
}
