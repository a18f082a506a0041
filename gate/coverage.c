#include "coverage.h"

#include <stdlib.h>

#include "../core/decide.h"
#include "../lib/base/mem.h"

struct sum {
    uint32_t expected, heard, control_plane, sync, node;
    int64_t oldest_ms; /* INT64_MAX: nothing was heard */
};

struct sums {
    struct sum cluster, *revisions, *namespaces, *waves;
};

static struct sum *sums_new(uint32_t n) {
    struct sum *s = mem_alloc((n + 1) * sizeof *s);
    for (uint32_t i = 0; i < n; i++) {
        s[i].oldest_ms = INT64_MAX;
    }
    return s;
}

static void add(struct sum *s, const struct hearing *h) {
    s->expected++;
    s->heard += h->all;
    s->control_plane += h->control_plane;
    s->sync += h->sync;
    s->node += h->node;
    if (h->oldest_ms != 0 && h->oldest_ms < s->oldest_ms) {
        s->oldest_ms = h->oldest_ms;
    }
}

static void add_up(const struct snapshot *seen, const struct upgrade *u, int64_t now_ms, struct sums *s) {
    for (uint32_t i = 0; i < seen->n_proxies; i++) {
        const struct proxy_row *p = &seen->proxies[i];
        if (!proxy_counts(p)) {
            continue;
        }
        struct hearing h = proxy_hearing(&u->policy, seen, p, now_ms);
        add(&s->cluster, &h);
        add(&s->namespaces[p->ns], &h);
        uint32_t wave = seen->namespaces[p->ns].wave;
        if (wave < u->policy.n_waves) {
            add(&s->waves[wave], &h);
        }
        if (p->injected < seen->n_revisions) {
            add(&s->revisions[p->injected], &h);
        }
    }
}

static json_t *row(const char *name, const struct sum *s, int64_t now_ms) {
    json_t *o = json_object();
    json_object_set_new(o, "name", json_string(name));
    json_object_set_new(o, "expected", json_integer(s->expected));
    json_object_set_new(o, "heard", json_integer(s->heard));
    json_object_set_new(o, "control_plane", json_integer(s->control_plane));
    json_object_set_new(o, "sync", json_integer(s->sync));
    json_object_set_new(o, "node", json_integer(s->node));
    json_object_set_new(o, "oldest_ms", s->oldest_ms == INT64_MAX ? json_null() : json_integer(now_ms - s->oldest_ms));
    return o;
}

/* Namespaces without any proxy are left out: there is nothing to cover. */
static json_t *rows(const char *const *names, const struct sum *sums, uint32_t n, bool all, int64_t now_ms) {
    json_t *list = json_array();
    for (uint32_t i = 0; i < n; i++) {
        if (all || sums[i].expected > 0) {
            json_array_append_new(list, row(names[i], &sums[i], now_ms));
        }
    }
    return list;
}

json_t *coverage(struct join *j, const struct upgrade *u, const char *cluster, int64_t now_ms) {
    const struct snapshot *seen = join_snapshot(j);
    const struct join_names *names = join_names(j);
    struct sums s = {.cluster = {.oldest_ms = INT64_MAX},
                     .revisions = sums_new(seen->n_revisions),
                     .namespaces = sums_new(seen->n_namespaces),
                     .waves = sums_new(u->policy.n_waves)};
    add_up(seen, u, now_ms, &s);
    json_t *o = json_object();
    json_object_set_new(o, "cluster", row(cluster, &s.cluster, now_ms));
    json_object_set_new(o, "revisions", rows(names->revisions, s.revisions, seen->n_revisions, true, now_ms));
    json_object_set_new(o, "namespaces", rows(names->namespaces, s.namespaces, seen->n_namespaces, false, now_ms));
    json_object_set_new(o, "waves", rows((const char *const *)u->wave_names, s.waves, u->policy.n_waves, true, now_ms));
    free(s.revisions);
    free(s.namespaces);
    free(s.waves);
    return o;
}
