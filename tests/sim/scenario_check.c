/* Conditions of scenarios, judged by the CR and the API server's objects only. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/base/json.h"
#include "../../lib/base/mem.h"
#include "../../probes/injector.h"
#include "scenario.h"

struct scenario_before {
    json_t *namespaces; /* name -> labels */
};

struct check {
    struct store *store; /* NULL: only the form is checked */
    const struct scenario_before *before;
    const json_t *cr;
    char *words[24];
    size_t n;
    struct buf *why;
    struct err *err;
};

static void remember(void *ctx, const json_t *o) {
    json_t *labels = js_at(o, "metadata", "labels", NULL);
    json_object_set_new(ctx, js_text(o, "metadata", "name", NULL), labels ? json_copy(labels) : json_object());
}

struct scenario_before *scenario_before(struct store *s) {
    struct scenario_before *b = mem_alloc(sizeof *b);
    b->namespaces = json_object();
    store_each(s, "namespaces", NULL, remember, b->namespaces);
    return b;
}

void scenario_before_free(struct scenario_before *b) {
    if (b) {
        json_decref(b->namespaces);
        free(b);
    }
}

static int seen(struct check *c, const char *what, const char *instead) {
    if (c->why) {
        buf_printf(c->why, "%s is \"%s\"", what, instead);
    }
    return 0;
}

/* ---- the upgrade's status ---- */

static int check_phase(struct check *c) {
    const char *is = js_text(c->cr, "status", c->words[0], NULL);
    return strcmp(is, c->words[1]) == 0 ? 1 : seen(c, c->words[0], is);
}

static int check_wave(struct check *c) {
    size_t i;
    json_t *w;
    json_array_foreach(js_at(c->cr, "status", "waves", NULL), i, w) {
        if (strcmp(js_text(w, "name", NULL), c->words[1]) == 0) {
            const char *state = js_text(w, "state", NULL);
            return strcmp(state, c->words[3]) == 0 ? 1 : seen(c, "the wave's state", state);
        }
    }
    return seen(c, "the wave", "not in status.waves");
}

static bool about(const json_t *reason, const char *prefix) {
    size_t i;
    json_t *o;
    json_array_foreach(json_object_get(reason, "objects"), i, o) {
        if (strncmp(js_text(o, "name", NULL), prefix, strlen(prefix)) == 0) {
            return true;
        }
    }
    return false;
}

static void tell_reasons(struct check *c) {
    size_t i;
    json_t *r;
    buf_str(c->why, "reasons are");
    json_array_foreach(js_at(c->cr, "status", "reasons", NULL), i, r) {
        const char *name = js_text(json_array_get(json_object_get(r, "objects"), 0), "name", NULL);
        const char *message = js_text(json_array_get(json_object_get(r, "objects"), 0), "message", NULL);
        buf_printf(c->why, " %s(%s%s%s)", js_text(r, "reason", NULL), name, *message ? ": " : "", message);
    }
}

static int check_reason(struct check *c) {
    size_t i;
    json_t *r;
    bool want = strcmp(c->words[0], "reason") == 0, has = false;
    json_array_foreach(js_at(c->cr, "status", "reasons", NULL), i, r) {
        bool it = strcmp(js_text(r, "reason", NULL), c->words[1]) == 0;
        has = has || (it && (c->n < 4 || about(r, c->words[3])));
    }
    if (has != want && c->why) {
        tell_reasons(c);
    }
    return has == want;
}

static int check_text(struct check *c) {
    size_t i, k;
    json_t *r, *o;
    bool has = false;
    json_array_foreach(js_at(c->cr, "status", "reasons", NULL), i, r) {
        has = has || strstr(js_text(r, "sentence", NULL), c->words[1]) || strstr(js_text(r, "remedy", NULL), c->words[1]);
        json_array_foreach(json_object_get(r, "objects"), k, o) {
            has = has || strstr(js_text(o, "message", NULL), c->words[1]);
        }
    }
    if (!has && c->why) {
        tell_reasons(c);
    }
    return has;
}

static int check_moved(struct check *c) {
    int64_t moved = js_int(c->cr, 0, "status", "summary", "moved", NULL),
            all = js_int(c->cr, 0, "status", "summary", "expected", NULL);
    int percent = atoi(c->words[1]);
    if (all > 0 && moved * 100 >= all * percent) {
        return 1;
    }
    if (c->why) {
        buf_printf(c->why, "moved %lld of %lld", (long long)moved, (long long)all);
    }
    return 0;
}

/* ---- objects ---- */

struct owned {
    const char *kind, *name;
    int n;
};

static void count_owned(void *ctx, const json_t *o) {
    struct owned *x = ctx;
    const json_t *owner = json_array_get(json_object_get(js_at(o, "metadata", NULL), "ownerReferences"), 0);
    x->n += strcmp(js_text(owner, "kind", NULL), x->kind) == 0 && strcmp(js_text(owner, "name", NULL), x->name) == 0;
}

/* How many pod templates this workload has had. */
static int templates(struct store *s, const json_t *workload, const char *kind) {
    struct owned x = {.kind = kind, .name = js_text(workload, "metadata", "name", NULL)};
    store_each(s, strcmp(kind, "Deployment") == 0 ? "replicasets" : "controllerrevisions",
               js_text(workload, "metadata", "namespace", NULL), count_owned, &x);
    return x.n;
}

static const struct {
    const char *kind, *resource;
} kinds[] = {{"Deployment", "deployments"}, {"StatefulSet", "statefulsets"}, {"DaemonSet", "daemonsets"}};

struct restarts {
    struct check *c;
    const char *kind;
    const char *to;
    bool fine;
};

static void judge_restarts(void *ctx, const json_t *o) {
    struct restarts *x = ctx;
    const char *ns = js_text(o, "metadata", "namespace", NULL), *name = js_text(o, "metadata", "name", NULL);
    const json_t *space = store_get(x->c->store, "namespaces", NULL, ns);
    bool moved = *x->to && strcmp(js_text(space, "metadata", "labels", "istio.io/rev", NULL), x->to) == 0;
    int n = templates(x->c->store, o, x->kind);
    if (n > (moved ? 2 : 1)) {
        x->fine = false;
        if (x->c->why) {
            buf_printf(x->c->why, "%s/%s/%s has had %d templates%s; ", ns, x->kind, name, n,
                       moved ? "" : " and was not to move");
        }
    }
}

static int check_restarted(struct check *c) {
    struct restarts x = {.c = c, .to = js_text(c->cr, "spec", "to", "revision", NULL), .fine = true};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        x.kind = kinds[i].kind;
        store_each(c->store, kinds[i].resource, NULL, judge_restarts, &x);
    }
    return x.fine;
}

static bool names_take(const json_t *wave, const json_t *labels, const char *ns, bool *any) {
    const json_t *names = js_at(wave, "namespaces", "names", NULL), *selector = js_at(wave, "namespaces", "selector", NULL);
    size_t i;
    json_t *n;
    *any = names || selector || js_at(wave, "namespaces", "percent", NULL);
    json_array_foreach(names, i, n) {
        if (strcmp(json_string_value(n), ns) == 0) {
            return true;
        }
    }
    return selector && selector_matches(selector, labels) == 1;
}

bool scenario_wave_takes(const struct scenario_before *b, const json_t *spec, size_t w, const char *ns) {
    const json_t *labels = json_object_get(b->namespaces, ns), *waves = json_object_get(spec, "waves");
    bool any, in_mesh = json_object_get(labels, "istio-injection") || json_object_get(labels, "istio.io/rev");
    for (size_t i = 0; i < w; i++) {
        if (names_take(json_array_get(waves, i), labels, ns, &any)) {
            return false;
        }
    }
    return names_take(json_array_get(waves, w), labels, ns, &any) || (!any && in_mesh);
}

struct touching {
    struct check *c;
    const json_t *spec;
    size_t wave;
    const char *kind;
    bool fine;
};

static void judge_namespace(void *ctx, const json_t *o) {
    struct touching *x = ctx;
    const char *ns = js_text(o, "metadata", "name", NULL);
    const json_t *was = json_object_get(x->c->before->namespaces, ns), *is = js_at(o, "metadata", "labels", NULL);
    static const char *const keys[] = {"istio.io/rev", "istio-injection"};
    if (!scenario_wave_takes(x->c->before, x->spec, x->wave, ns)) {
        return;
    }
    bool same = js_str(o, "metadata", "annotations", "meshgate.io/moved-by", NULL) == NULL;
    for (size_t i = 0; i < 2; i++) {
        same = same && strcmp(js_text(was, keys[i], NULL), js_text(is, keys[i], NULL)) == 0;
    }
    if (!same) {
        x->fine = false;
        if (x->c->why) {
            buf_printf(x->c->why, "namespace %s was relabelled; ", ns);
        }
    }
}

static void judge_workload(void *ctx, const json_t *o) {
    struct touching *x = ctx;
    const char *ns = js_text(o, "metadata", "namespace", NULL), *name = js_text(o, "metadata", "name", NULL);
    if (scenario_wave_takes(x->c->before, x->spec, x->wave, ns) && templates(x->c->store, o, x->kind) > 1) {
        x->fine = false;
        if (x->c->why) {
            buf_printf(x->c->why, "%s/%s/%s was restarted; ", ns, x->kind, name);
        }
    }
}

static int check_untouched(struct check *c) {
    struct touching x = {.c = c, .spec = js_at(c->cr, "spec", NULL), .fine = true};
    const json_t *waves = json_object_get(x.spec, "waves");
    while (x.wave < json_array_size(waves) &&
           strcmp(js_text(json_array_get(waves, x.wave), "name", NULL), c->words[1]) != 0) {
        x.wave++;
    }
    if (x.wave == json_array_size(waves)) {
        return seen(c, c->words[1], "no wave");
    }
    store_each(c->store, "namespaces", NULL, judge_namespace, &x);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        x.kind = kinds[i].kind;
        store_each(c->store, kinds[i].resource, NULL, judge_workload, &x);
    }
    return x.fine;
}

static int check_label(struct check *c) {
    char key[128];
    size_t n = strcspn(c->words[2], "=");
    snprintf(key, sizeof key, "%.*s", (int)n, c->words[2]);
    const char *is = js_str(store_get(c->store, "namespaces", NULL, c->words[1]), "metadata", "labels", key, NULL);
    bool absent = strcmp(c->words[0], "nolabel") == 0;
    bool fine = absent ? !is : is && c->words[2][n] == '=' && strcmp(is, c->words[2] + n + 1) == 0;
    return fine ? 1 : seen(c, "the label", is ? is : "absent");
}

/* ---- the language ---- */

static const struct {
    const char *name;
    size_t words, most;
    const char *third; /* word that must stand at index 2, NULL any */
    int (*fn)(struct check *c);
} conditions[] = {
    {"phase", 2, 2, NULL, check_phase},
    {"verdict", 2, 2, NULL, check_phase},
    {"wave", 4, 4, "state", check_wave},
    {"reason", 2, 4, "about", check_reason},
    {"noreason", 2, 4, "about", check_reason},
    {"text", 2, 2, NULL, check_text},
    {"moved", 2, 2, NULL, check_moved},
    {"untouched", 2, 2, NULL, check_untouched},
    {"restarted-once", 1, 1, NULL, check_restarted},
    {"label", 3, 3, NULL, check_label},
    {"nolabel", 3, 3, NULL, check_label},
};

static int check_one(struct check *c) {
    for (size_t i = 0; c->n && i < sizeof conditions / sizeof *conditions; i++) {
        if (strcmp(c->words[0], conditions[i].name) != 0) {
            continue;
        }
        bool form = c->n >= conditions[i].words && c->n <= conditions[i].most &&
                    (!conditions[i].third || c->n == 2 || (c->n == 4 && strcmp(c->words[2], conditions[i].third) == 0));
        if (!form) {
            err_set(c->err, ERR_INVALID, "condition %s has another form, see README.md", c->words[0]);
            return -1;
        }
        return c->store ? conditions[i].fn(c) : 1;
    }
    err_set(c->err, ERR_INVALID, "unknown condition \"%s\"", c->n ? c->words[0] : "");
    return -1;
}

/* Words, those in double quotes as one. */
static size_t split(char *text, char **words, size_t max) {
    size_t n = 0;
    for (char *s = text; n < max;) {
        s += strspn(s, " \t");
        if (!*s) {
            break;
        }
        bool quoted = *s == '"';
        words[n++] = s + quoted;
        s += quoted;
        s += strcspn(s, quoted ? "\"" : " \t");
        if (*s) {
            *s++ = 0;
        }
    }
    return n;
}

int scenario_check(struct store *s, const struct scenario_before *b, const char *upgrade, const char *condition,
                   struct buf *why, struct err *err) {
    char *text = mem_dup(condition), *all[96];
    size_t n = split(text, all, 96), from = n && strcmp(all[0], "all") == 0 ? 1 : 0;
    struct check c = {.store = s, .before = b, .why = why, .err = err};
    c.cr = s && upgrade ? store_get(s, "meshupgrades", NULL, upgrade) : NULL;
    int result = 1;
    while (result == 1 && from <= n) {
        c.n = 0;
        for (; from < n && strcmp(all[from], "and") != 0 && c.n < 24; from++) {
            c.words[c.n++] = all[from];
        }
        from++;
        result = check_one(&c);
    }
    free(text);
    return result;
}
