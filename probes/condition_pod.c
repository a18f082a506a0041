/* What a matchCondition can know of a pod that exists already. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "match_condition_inside.h"

/* --- values --- */

struct value condition_truth(bool b) {
    return (struct value){.kind = TRUTH, .truth = b};
}

struct value condition_text(const char *s, size_t len) {
    return (struct value){.kind = TEXT, .text = s, .len = len};
}

struct value condition_refuse(struct eval *e, const char *what) {
    if (!e->refused) {
        snprintf(e->why, CONDITION_WHY, "%s at \"%.40s\" is not evaluated", what, e->at);
    }
    e->refused = true;
    return (struct value){.kind = UNKNOWN};
}

struct value condition_unknown(struct eval *e, const char *what) {
    if (!e->refused) {
        snprintf(e->why, CONDITION_WHY, "%.100s cannot be known afterwards", what);
    }
    return (struct value){.kind = UNKNOWN};
}

struct value condition_fails(struct eval *e, const char *what) {
    if (!e->refused) {
        snprintf(e->why, CONDITION_WHY, "no such key: %.100s", what);
    }
    return (struct value){.kind = FAILS};
}

/* --- what is known of the object --- */

static bool one_of(const char *key, const char *const *list) {
    for (; *list != NULL; list++) {
        size_t len = strlen(*list);
        if (strncmp(key, *list, len) == 0 && ((*list)[len - 1] == '/' || key[len] == '\0')) {
            return true;
        }
    }
    return false;
}

/* Keys that injector, CNI or scheduler may have written after the API server asked. */
static bool written_later(const char *key, bool annotation) {
    static const char *const labels[] = {
        "security.istio.io/tlsMode",  "service.istio.io/canonical-name", "service.istio.io/canonical-revision",
        "networking.istio.io/tunnel", "topology.kubernetes.io/",         NULL};
    static const char *const annotations[] = {"istio.io/rev",
                                              "sidecar.istio.io/status",
                                              "sidecar.istio.io/interceptionMode",
                                              "traffic.sidecar.istio.io/",
                                              "ambient.istio.io/",
                                              NULL};
    return one_of(key, annotation ? annotations : labels) || (annotation && strstr(key, "istio.io/") == NULL);
}

struct value condition_lookup(struct eval *e, const struct value *map, const char *key, size_t len, bool only_whether) {
    char name[320];
    if (len >= sizeof(name) || memchr(key, '\0', len) != NULL) {
        return condition_refuse(e, "a key of that length");
    }
    snprintf(name, sizeof(name), "%.*s", (int)len, key);
    if (written_later(name, map->partial)) {
        return condition_unknown(e, name);
    }
    const char *value = json_string_value(json_object_get(map->map, name));
    if (only_whether) {
        return condition_truth(value != NULL);
    }
    return value != NULL ? condition_text(value, strlen(value)) : condition_fails(e, name);
}

/* Value of a path without its maps' keys. */
static bool known(struct eval *e, const char *path, struct value *out, bool only_whether) {
    static const struct {
        const char *path, *text;
    } fixed[] = {
        {"object.kind", "Pod"},         {"object.apiVersion", "v1"},        {"request.operation", "CREATE"},
        {"request.kind.group", ""},     {"request.kind.version", "v1"},     {"request.kind.kind", "Pod"},
        {"request.resource.group", ""}, {"request.resource.version", "v1"}, {"request.resource.resource", "pods"},
    };
    for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
        if (strcmp(path, fixed[i].path) == 0) {
            *out = only_whether ? condition_truth(true) : condition_text(fixed[i].text, strlen(fixed[i].text));
            return true;
        }
    }
    bool namespace_ = strcmp(path, "object.metadata.namespace") == 0 || strcmp(path, "request.namespace") == 0;
    if (namespace_) {
        *out = only_whether ? condition_truth(true) : condition_text(e->pod->namespace_, strlen(e->pod->namespace_));
    }
    return namespace_;
}

static struct value whole_map(struct eval *e, bool annotations, bool only_whether) {
    bool there = annotations ? e->annotations : e->labels;
    if (only_whether) {
        return condition_truth(there);
    }
    if (!there) {
        return condition_fails(e, annotations ? "annotations" : "labels");
    }
    return (struct value){.kind = MAP, .map = annotations ? e->pod->annotations : e->pod->labels, .partial = annotations};
}

static struct value refuse_path(struct eval *e, const char *path) {
    if (!e->refused) {
        snprintf(e->why, CONDITION_WHY, "%.100s is not evaluated", path);
    }
    e->refused = true;
    return (struct value){.kind = UNKNOWN};
}

struct value condition_resolve(struct eval *e, const char *path, bool only_whether) {
    static const char labels[] = "object.metadata.labels", annotations[] = "object.metadata.annotations";
    struct value v;
    if (known(e, path, &v, only_whether)) {
        return v;
    }
    if (strcmp(path, "object.spec.hostNetwork") == 0) { /* false is left out of the object */
        return only_whether || e->pod->host_network ? condition_truth(e->pod->host_network)
                                                    : condition_fails(e, "hostNetwork");
    }
    if (strncmp(path, labels, sizeof(labels) - 1) != 0 && strncmp(path, annotations, sizeof(annotations) - 1) != 0) {
        return refuse_path(e, path);
    }
    bool of_annotations = path[sizeof("object.metadata.") - 1] == 'a';
    const char *rest = path + (of_annotations ? sizeof(annotations) : sizeof(labels)) - 1;
    if (*rest == '\0') {
        return whole_map(e, of_annotations, only_whether);
    }
    if (*rest != '.' || strchr(rest + 1, '.') != NULL) {
        return refuse_path(e, path);
    }
    struct value map = whole_map(e, of_annotations, false);
    return map.kind == MAP ? condition_lookup(e, &map, rest + 1, strlen(rest + 1), only_whether) : map;
}

int condition_presence(const json_t *map, bool annotations) {
    json_t *o = (json_t *)(uintptr_t)map; /* jansson's iterators take no const */
    for (void *i = json_object_iter(o); i != NULL; i = json_object_iter_next(o, i)) {
        if (!written_later(json_object_iter_key(i), annotations)) {
            return 2;
        }
    }
    return annotations || json_object_size(map) > 0 ? 3 : 1;
}
