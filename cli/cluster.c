#include "cluster.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../lib/base/mem.h"

enum { ANSWER_MAX = 64 << 20, TRIES = 5, TRY_PAUSE_MS = 50 };

static const char upgrades_path[] = "/apis/meshgate.io/v1alpha1/meshupgrades";

static json_t *get_json(struct cluster *c, const char *path, struct err *err) {
    struct buf out;
    buf_init(&out, ANSWER_MAX);
    json_t *o = NULL;
    if (kubectl_get(&c->kubectl, path, &out, err)) {
        o = js_parse(out.p, out.len, ANSWER_MAX, err);
        if (!o) {
            err_wrap(err, "answer to kubectl get --raw %s", path);
        }
    }
    buf_done(&out);
    return o;
}

static json_t *list_upgrades(struct cluster *c, struct err *err) {
    json_t *list = get_json(c, upgrades_path, err);
    if (!list) {
        err_wrap(err, err->code == ERR_NOT_FOUND
                          ? "MeshUpgrade is not installed in this cluster (kubectl apply -k deploy/crd)"
                          : "can't list MeshUpgrades");
        return NULL;
    }
    if (!json_is_array(js_at(list, "items", NULL))) {
        err_set(err, ERR_PROTOCOL, "the list of MeshUpgrades has no items");
        json_decref(list);
        return NULL;
    }
    return list;
}

/* "a (Moving), b (Completed)" */
static void name_all(const json_t *list, struct buf *out) {
    size_t i;
    json_t *u;
    json_array_foreach(js_at(list, "items", NULL), i, u) {
        const char *phase = js_str(u, "status", "phase", NULL);
        buf_printf(out, "%s%s (%s)", i ? ", " : "", js_text(u, "metadata", "name", NULL), phase ? phase : "not begun");
    }
}

static json_t *only_upgrade(struct cluster *c, struct err *err) {
    json_t *list = list_upgrades(c, err), *found = NULL;
    if (!list) {
        return NULL;
    }
    const json_t *items = js_at(list, "items", NULL);
    if (json_array_size(items) == 1) {
        found = json_incref(json_array_get(items, 0));
    } else if (json_array_size(items) == 0) {
        err_set(err, ERR_NOT_FOUND, "there is no MeshUpgrade in this cluster");
    } else {
        struct buf names;
        buf_init(&names, sizeof(err->text));
        name_all(list, &names);
        err_set(err, ERR_INVALID, "there are several MeshUpgrades, name one: %s", names.p);
        buf_done(&names);
    }
    json_decref(list);
    return found;
}

/* After NotFound: say which there are. */
static void explain_not_found(struct cluster *c, const char *name, struct err *err) {
    struct err second = {0};
    json_t *list = list_upgrades(c, &second);
    if (!list) {
        *err = second;
        return;
    }
    struct buf names;
    buf_init(&names, sizeof(err->text));
    name_all(list, &names);
    err_set(err, ERR_NOT_FOUND, "there is no MeshUpgrade \"%s\"; %s%s", name,
            names.len ? "there is: " : "there is none at all", names.len ? names.p : "");
    buf_done(&names);
    json_decref(list);
}

json_t *cluster_upgrade(struct cluster *c, const char *name, struct err *err) {
    if (!name) {
        return only_upgrade(c, err);
    }
    char *path = mem_printf("%s/%s", upgrades_path, name);
    json_t *o = get_json(c, path, err);
    free(path);
    if (!o && err->code == ERR_NOT_FOUND) {
        explain_not_found(c, name, err);
    } else if (!o) {
        err_wrap(err, "can't read MeshUpgrade %s", name);
    }
    return o;
}

bool cluster_ask(struct cluster *c, const char *what, const char *query, struct buf *out, struct err *err) {
    char *path =
        mem_printf("/api/v1/namespaces/%s/services/http:meshgate:8080/proxy/api/v1/%s%s", c->gate_namespace, what, query);
    buf_init(out, ANSWER_MAX);
    bool ok = kubectl_get(&c->kubectl, path, out, err);
    free(path);
    if (!ok) {
        err_wrap(err, "can't ask the gate (Service meshgate in namespace %s, see --gate-namespace)", c->gate_namespace);
    }
    return ok;
}

json_t *cluster_gate(struct cluster *c, const char *what, const char *query, const char *key, struct err *err) {
    struct buf answer;
    json_t *o = NULL;
    if (cluster_ask(c, what, query, &answer, err)) {
        o = js_parse(answer.p, answer.len, ANSWER_MAX, err);
        if (!o) {
            err_wrap(err, "the gate's answer about %s", what);
        }
    }
    buf_done(&answer);
    if (o && !js_at(o, key, NULL)) {
        err_set(err, ERR_PROTOCOL, "the gate's answer about %s has no \"%s\"; is the gate of another version?", what, key);
        json_decref(o);
        o = NULL;
    }
    return o;
}

static bool put_upgrade(struct cluster *c, const json_t *o, json_t **out, struct err *err) {
    const char *name = js_text(o, "metadata", "name", NULL);
    char *path = mem_printf("%s/%s", upgrades_path, name), *body = js_dump(o);
    struct buf answer;
    buf_init(&answer, ANSWER_MAX);
    bool ok = kubectl_put(&c->kubectl, path, body, &answer, err);
    if (ok) {
        *out = js_parse(answer.p, answer.len, ANSWER_MAX, err);
        ok = *out != NULL;
    }
    if (!ok) {
        err_wrap(err, "can't write MeshUpgrade %s", name);
    }
    buf_done(&answer);
    free(body);
    free(path);
    return ok;
}

enum change_result cluster_change(struct cluster *c, const char *name, change_fn change, const void *arg, json_t **out,
                                  struct err *err) {
    for (int i = 0; i < TRIES; i++) {
        json_t *o = cluster_upgrade(c, name, err);
        if (!o) {
            return CHANGE_BAD;
        }
        enum change_result r = change(o, arg, err);
        if (r == CHANGE_NONE) {
            *out = o;
            return r;
        }
        bool ok = r == CHANGE_MADE && put_upgrade(c, o, out, err);
        json_decref(o);
        if (ok || r == CHANGE_BAD) {
            return r;
        }
        if (err->code != ERR_CONFLICT) {
            return CHANGE_BAD;
        }
        nanosleep(&(struct timespec){0, (TRY_PAUSE_MS << i) * 1000000L}, NULL);
    }
    err_set(err, ERR_CONFLICT, "somebody else changes the MeshUpgrade all the time: gave up after %d tries", TRIES);
    return CHANGE_BAD;
}
