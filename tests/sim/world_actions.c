/* Actions of the scenario language that concern the mesh. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "world_impl.h"

void world_forget_rejection(struct world *w, struct sim_rejection *r) {
    HASH_DEL(w->rejections, r);
    free(r->ns);
    free(r->text);
    free(r);
}

static void split(const char *action, struct words *out) {
    *out = (struct words){.n = 0};
    snprintf(out->text, sizeof out->text, "%s", action);
    for (char *s = out->text; out->n < sizeof out->at / sizeof *out->at;) {
        s += strspn(s, " \t");
        if (!*s) {
            break;
        }
        out->rest[out->n] = action + (s - out->text);
        out->at[out->n++] = s;
        s += strcspn(s, " \t");
        if (*s) {
            *s++ = 0;
        }
    }
}

/* "NS/NAME" in two; false when it is none. */
bool world_pair(char *s, char **ns, char **name) {
    char *slash = strchr(s, '/');
    if (!slash || slash == s || !slash[1]) {
        return false;
    }
    *slash = 0;
    *ns = s;
    *name = slash + 1;
    return true;
}

static bool set_label(struct world *w, const char *ns, const char *key, const char *value, struct err *err) {
    json_t *patch = json_pack("{s:{s:{s:o}}}", "metadata", "labels", key, value ? json_string(value) : json_null());
    bool ok = store_patch(w->store, "namespaces", NULL, ns, patch, false, err);
    json_decref(patch);
    return ok;
}

static bool do_label(struct world *w, struct words *a, struct err *err) {
    char *equals = strchr(a->at[2], '=');
    if (!equals) {
        return err_set(err, ERR_INVALID, "label: \"%s\" is not K=V", a->at[2]);
    }
    *equals = 0;
    return set_label(w, a->at[1], a->at[2], equals + 1, err);
}

static bool do_unlabel(struct world *w, struct words *a, struct err *err) {
    return set_label(w, a->at[1], a->at[2], NULL, err);
}

static bool do_nack(struct world *w, struct words *a, struct err *err) {
    struct sim_rejection *r = NULL;
    HASH_FIND_STR(w->rejections, a->at[1], r);
    if (r) {
        world_forget_rejection(w, r);
    }
    if (!store_get(w->store, "namespaces", NULL, a->at[1])) {
        return err_set(err, ERR_NOT_FOUND, "nack: there is no namespace %s", a->at[1]);
    }
    r = mem_alloc(sizeof *r);
    r->ns = mem_dup(a->at[1]);
    if (a->n > 2) {
        const char *t = a->rest[2];
        size_t n = strlen(t), quoted = n >= 2 && t[0] == '"' && t[n - 1] == '"';
        r->text = mem_printf("%.*s", (int)(n - 2 * quoted), t + quoted);
    }
    HASH_ADD_KEYPTR(hh, w->rejections, r->ns, strlen(r->ns), r);
    world_config_changed(w, true);
    return true;
}

static bool do_ack(struct world *w, struct words *a, struct err *err) {
    struct sim_rejection *r = NULL;
    HASH_FIND_STR(w->rejections, a->at[1], r);
    if (!r) {
        return err_set(err, ERR_INVALID, "ack: nobody in %s rejects", a->at[1]);
    }
    world_forget_rejection(w, r);
    world_config_changed(w, true);
    return true;
}

static bool do_nack_canary(struct world *w, struct words *a, struct err *err) {
    (void)err;
    w->revs[CANARY].bad_config = strcmp(a->at[0], "nack-canary") == 0;
    world_config_changed(w, true);
    return true;
}

static bool do_istiod(struct world *w, struct words *a, struct err *err) {
    char *rev, *n;
    if (!world_pair(a->at[1], &rev, &n) || !world_istiod_ip(w, rev, (uint32_t)atoi(n))) {
        return err_set(err, ERR_INVALID, "istiod: no such replica; it is REVISION/NUMBER");
    }
    return world_istiod_fault(&w->revs[world_revision(rev)].istiods[atoi(n)], a->at[2], err);
}

/* node NODE cut|wrong-name|wrong-root|refuse-token|join REV */
static bool do_way(struct sim_node *node, struct words *a, struct err *err) {
    static const char *const names[] = {"join", "cut", "wrong-name", "wrong-root", "refuse-token"};
    int rev = a->n > 3 ? world_revision(a->at[3]) : -1;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(a->at[2], names[i]) == 0) {
            if (rev < 0) {
                return err_set(err, ERR_INVALID, "node: say which revision behind %s", a->at[2]);
            }
            node->ways[rev] = (enum world_way)i;
            world_way_changed(node, rev);
            return true;
        }
    }
    return err_set(err, ERR_INVALID, "node: dark, back, or cut wrong-name wrong-root refuse-token join REVISION");
}

static bool do_node(struct world *w, struct words *a, struct err *err) {
    for (uint32_t n = 0; n < w->opts.nodes; n++) {
        if (strcmp(w->nodes[n].name, a->at[1]) == 0 && strcmp(a->at[2], "blind") == 0) {
            w->nodes[n].blind = true;
            return true;
        }
        if (strcmp(w->nodes[n].name, a->at[1]) == 0) {
            bool dark = strcmp(a->at[2], "dark") == 0;
            world_note(w, a->at[2], a->at[1]);
            if (!dark && strcmp(a->at[2], "back") != 0) {
                return do_way(&w->nodes[n], a, err);
            }
            w->nodes[n].dark = dark;
            return true;
        }
    }
    return err_set(err, ERR_NOT_FOUND, "node: there is no %s", a->at[1]);
}

/* The shorter words for one of the faults. */
static bool do_withhold(struct world *w, struct words *a, struct err *err) {
    char text[300];
    bool on = strcmp(a->at[0], "withhold") == 0;
    struct words long_form;
    snprintf(text, sizeof text, "%s withhold %s", on ? "fault" : "mend", a->at[1]);
    split(text, &long_form);
    return (on ? world_do_fault : world_do_mend)(w, &long_form, err);
}

/* As a protobuf syncz that met a push leaves it. unlock: the stream is cut, which is what heals it. */
static bool do_lock(struct world *w, struct words *a, struct err *err) {
    bool on = strcmp(a->at[0], "lock") == 0;
    size_t n = strlen(a->at[1]), hits = 0;
    for (struct sim_pod *p = w->pods; p; p = p->hh.next) {
        if (strncmp(p->key, a->at[1], n) == 0 && p->proxy.conn) {
            hits++;
            world_proxy_lock(p, on);
            world_note(w, a->at[0], p->key);
        }
    }
    return hits || err_set(err, ERR_NOT_FOUND, "%s: no pod with a stream begins with %s", a->at[0], a->at[1]);
}

/* A Service changes: istiods push everything to everybody. */
static bool do_touch(struct world *w, struct words *a, struct err *err) {
    char *ns, *name, when[40];
    if (!world_pair(a->at[1], &ns, &name)) {
        return err_set(err, ERR_INVALID, "touch: \"%s\" is not NAMESPACE/SERVICE", a->at[1]);
    }
    snprintf(when, sizeof when, "%lld", (long long)sched_wall(w->sched));
    json_t *patch = json_pack("{s:{s:{s:s}}}", "metadata", "annotations", "touched", when);
    bool ok = store_patch(w->store, "services", ns, name, patch, false, err);
    json_decref(patch);
    return ok;
}

/* As kubectl rollout restart does, of a Deployment. */
static bool do_restart(struct world *w, struct words *a, struct err *err) {
    char *ns, *name;
    if (!world_pair(a->at[1], &ns, &name)) {
        return err_set(err, ERR_INVALID, "restart: \"%s\" is not NAMESPACE/NAME", a->at[1]);
    }
    json_t *patch = json_pack("{s:{s:{s:{s:{s:o}}}}}", "spec", "template", "metadata", "annotations",
                              "kubectl.kubernetes.io/restartedAt", world_time(w));
    bool ok = store_patch(w->store, "deployments", ns, name, patch, false, err);
    json_decref(patch);
    return ok;
}

static bool pause_rollout(struct world *w, const char *ns, const char *name, bool on, struct err *err) {
    json_t *patch = json_pack("{s:{s:o}}", "spec", "paused", on ? json_true() : json_null());
    bool ok = store_patch(w->store, "deployments", ns, name, patch, false, err);
    json_decref(patch);
    return ok;
}

static bool do_delete(struct world *w, struct words *a, struct err *err) {
    size_t n = strlen(a->at[2]), hits = 0;
    bool prefix = n && a->at[2][n - 1] == '*';
    for (struct sim_pod *p = w->pods; p; p = p->hh.next) {
        if (prefix ? strncmp(p->key, a->at[2], n - 1) == 0 : strcmp(p->key, a->at[2]) == 0) {
            world_pod_delete(p);
            hits++;
        }
    }
    return hits || err_set(err, ERR_NOT_FOUND, "delete: there is no pod %s", a->at[2]);
}

static bool do_pause_rollout(struct world *w, struct words *a, struct err *err) {
    char *ns, *name;
    return world_pair(a->at[1], &ns, &name)
               ? pause_rollout(w, ns, name, a->at[0][0] == 'p', err)
               : err_set(err, ERR_INVALID, "%s: \"%s\" is not NAMESPACE/NAME", a->at[0], a->at[1]);
}

bool world_action(struct world *w, const char *action, struct err *err) {
    static const struct {
        const char *name;
        size_t words;
        bool (*fn)(struct world *w, struct words *a, struct err *err);
    } actions[] = {
        {"nack", 2, do_nack},
        {"ack", 2, do_ack},
        {"nack-canary", 1, do_nack_canary},
        {"ack-canary", 1, do_nack_canary},
        {"istiod", 3, do_istiod},
        {"node", 3, do_node},
        {"withhold", 2, do_withhold},
        {"release", 2, do_withhold},
        {"fault", 3, world_do_fault},
        {"mend", 3, world_do_mend},
        {"refuse", 2, world_do_refuse},
        {"lock", 2, do_lock},
        {"unlock", 2, do_lock},
        {"label", 3, do_label},
        {"unlabel", 3, do_unlabel},
        {"create", 3, world_do_create},
        {"uninstall", 2, world_do_uninstall},
        {"finish", 2, world_do_finish},
        {"version", 3, world_do_version},
        {"touch", 2, do_touch},
        {"restart", 2, do_restart},
        {"delete", 3, do_delete},
        {"pause-rollout", 2, do_pause_rollout},
        {"resume-rollout", 2, do_pause_rollout},
    };
    struct words a;
    split(action, &a);
    for (size_t n = 0; a.n && n < sizeof actions / sizeof *actions; n++) {
        if (strcmp(a.at[0], actions[n].name) == 0) {
            return a.n >= actions[n].words ? actions[n].fn(w, &a, err)
                                           : err_set(err, ERR_INVALID, "%s: too few words in \"%s\"", a.at[0], action);
        }
    }
    return err_set(err, ERR_INVALID, "unknown action \"%s\"", action);
}
