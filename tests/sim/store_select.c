#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "store_impl.h"

enum op { OP_EQ, OP_NE, OP_IN, OP_NOT_IN, OP_EXISTS, OP_ABSENT };

struct term {
    enum op op;
    bool field;
    char *key, *values; /* values: separated by ',' */
    struct term *next;
};

struct store_select {
    struct term *terms;
    char *ns;
};

static const char *const fields_of_pods[] = {"spec.nodeName", "status.phase", "spec.serviceAccountName", "status.podIP",
                                             NULL};
static const char *const fields_of_events[] = {
    "involvedObject.name", "involvedObject.namespace", "involvedObject.kind", "involvedObject.uid", "reason", "type", NULL};

static bool field_known(const char *plural, const char *key) {
    if (!strcmp(key, "metadata.name") || !strcmp(key, "metadata.namespace")) {
        return true;
    }
    const char *const *list = !strcmp(plural, "pods")     ? fields_of_pods
                              : !strcmp(plural, "events") ? fields_of_events
                                                          : NULL;
    for (; list && *list; list++) {
        if (!strcmp(*list, key)) {
            return true;
        }
    }
    return false;
}

static char *trimmed(const char *p, size_t n) {
    while (n && isspace((unsigned char)*p)) {
        p++;
        n--;
    }
    while (n && isspace((unsigned char)p[n - 1])) {
        n--;
    }
    char *s = mem_alloc(n + 1);
    memcpy(s, p, n);
    return s;
}

static char *without_blanks(const char *p, size_t n) {
    char *s = mem_alloc(n + 1);
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isspace((unsigned char)p[i])) {
            s[k++] = p[i];
        }
    }
    return s;
}

/* "key in (a,b)" and "key notin (a,b)" */
static bool set_term(struct term *t, const char *p, size_t n) {
    const char *open = memchr(p, '(', n);
    if (!open || p[n - 1] != ')') {
        return false;
    }
    char *head = trimmed(p, (size_t)(open - p));
    char *blank = strpbrk(head, " \t");
    bool ok = false;
    if (blank) {
        char *word = trimmed(blank, strlen(blank));
        ok = !strcmp(word, "in") || !strcmp(word, "notin");
        t->op = !strcmp(word, "in") ? OP_IN : OP_NOT_IN;
        free(word);
        t->key = trimmed(head, (size_t)(blank - head));
        t->values = without_blanks(open + 1, (size_t)(p + n - 1 - (open + 1)));
    }
    free(head);
    return ok;
}

static bool read_term(struct term *t, const char *p, size_t n) {
    const char *eq = memchr(p, '=', n);
    if (memchr(p, '(', n)) {
        return set_term(t, p, n);
    }
    if (eq) {
        bool ne = eq > p && eq[-1] == '!';
        const char *v = eq + 1;
        if (v < p + n && *v == '=') {
            v++;
        }
        t->op = ne ? OP_NE : OP_EQ;
        t->key = trimmed(p, (size_t)(eq - p) - (ne ? 1 : 0));
        t->values = trimmed(v, (size_t)(p + n - v));
        return *t->key != 0 && !strpbrk(t->values, "=! ,()");
    }
    bool absent = *p == '!';
    t->op = absent ? OP_ABSENT : OP_EXISTS;
    t->key = trimmed(p + (absent ? 1 : 0), n - (absent ? 1 : 0));
    return *t->key != 0 && !strpbrk(t->key, " \t");
}

static bool read_terms(struct store_select *x, const char *text, bool field) {
    while (*text) {
        size_t n = 0;
        for (int depth = 0; text[n] && (text[n] != ',' || depth > 0); n++) {
            depth += text[n] == '(' ? 1 : text[n] == ')' ? -1 : 0;
        }
        while (n && isspace((unsigned char)*text)) {
            text++;
            n--;
        }
        if (n) {
            struct term *t = mem_alloc(sizeof *t);
            t->field = field;
            t->next = x->terms;
            x->terms = t;
            if (!read_term(t, text, n)) {
                return false;
            }
        }
        text += n;
        if (*text == ',') {
            text++;
        }
    }
    return true;
}

struct store_select *store_select_new(const struct store_call *c, struct store_reply *out) {
    struct store_select *x = mem_alloc(sizeof *x);
    const char *labels = store_call_param(c, "labelSelector"), *fields = store_call_param(c, "fieldSelector");
    const struct store_res *r = &store_resources[c->res];
    x->ns = mem_dup(c->ns);
    if (labels && !read_terms(x, labels, false)) {
        store_status(out, 400, "BadRequest", NULL, "unable to parse requirement: cannot read label selector \"%s\"",
                     labels);
        store_select_free(x);
        return NULL;
    }
    if (fields && !read_terms(x, fields, true)) {
        store_status(out, 400, "BadRequest", NULL, "invalid selector: '%s'; can't understand it", fields);
        store_select_free(x);
        return NULL;
    }
    for (const struct term *t = x->terms; t; t = t->next) {
        if (t->field && (!field_known(r->plural, t->key) || (t->op != OP_EQ && t->op != OP_NE))) {
            store_status(out, 400, "BadRequest", NULL,
                         "Unable to find \"%s/%s, Resource=%s\" that match label selector \"\", "
                         "field selector \"%s\": field label not supported: %s",
                         *r->group ? r->group : "", r->version, r->plural, fields, t->key);
            store_select_free(x);
            return NULL;
        }
    }
    return x;
}

void store_select_free(struct store_select *x) {
    if (!x) {
        return;
    }
    for (struct term *t = x->terms, *next; t; t = next) {
        next = t->next;
        free(t->key);
        free(t->values);
        free(t);
    }
    free(x->ns);
    free(x);
}

static const char *field_value(const json_t *o, const char *path) {
    char key[64];
    const char *dot;
    for (; (dot = strchr(path, '.')) != NULL && (size_t)(dot - path) < sizeof key; path = dot + 1) {
        memcpy(key, path, (size_t)(dot - path));
        key[dot - path] = 0;
        o = json_object_get(o, key);
    }
    const char *v = json_string_value(json_object_get(o, path));
    return v ? v : "";
}

static bool among(const char *values, const char *v) {
    size_t n = strlen(v);
    for (const char *p = values;; p++) {
        const char *end = p + strcspn(p, ",");
        if ((size_t)(end - p) == n && !memcmp(p, v, n)) {
            return true;
        }
        if (!*end) {
            return false;
        }
        p = end;
    }
}

static bool term_matches(const struct term *t, const json_t *o) {
    const char *v;
    if (t->field) {
        v = field_value(o, t->key);
    } else {
        v = json_string_value(json_object_get(js_at(o, "metadata", "labels", NULL), t->key));
    }
    switch (t->op) {
    case OP_EQ:
        return v && !strcmp(v, t->values);
    case OP_NE:
        return !v || strcmp(v, t->values);
    case OP_IN:
        return v && among(t->values, v);
    case OP_NOT_IN:
        return !v || !among(t->values, v);
    case OP_EXISTS:
        return v;
    case OP_ABSENT:
        return !v;
    }
    return false;
}

bool store_select_matches(const struct store_select *x, const json_t *o) {
    if (x->ns && strcmp(x->ns, js_text(o, "metadata", "namespace", NULL))) {
        return false;
    }
    for (const struct term *t = x->terms; t; t = t->next) {
        if (!term_matches(t, o)) {
            return false;
        }
    }
    return true;
}
