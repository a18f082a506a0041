#include "row_text.h"

#include <stdio.h>
#include <string.h>

static const char *const TYPES[] = {"CDS", "LDS", "EDS", "RDS", "ECDS", "SDS", "NDS", "PCDS", "WDS", "WADS", "others"};
enum { N_TYPES = sizeof TYPES / sizeof *TYPES };

const char *row_revision(const struct join_names *n, const struct snapshot *seen, uint32_t revision) {
    switch (revision) {
    case REV_UNKNOWN:
        return "?";
    case REV_NONE:
        return "-";
    case REV_CONFLICT:
        return "several";
    case REV_FOREIGN:
        return "not installed";
    default:
        return revision < seen->n_revisions ? n->revisions[revision] : "?";
    }
}

const char *row_sync(enum sync_state s) {
    switch (s) {
    case SYNC_UNKNOWN:
        return "?";
    case SYNC_PENDING:
        return "Pending";
    case SYNC_ERROR:
        return "Error";
    case SYNC_SYNCED:
        return "Synced";
    }
    return "?";
}

const char *row_version(enum version_match v) {
    switch (v) {
    case VERSION_UNKNOWN:
        return "?";
    case VERSION_DIFFERS:
        return "Differs";
    case VERSION_MATCHES:
        return "Matches";
    case VERSION_AHEAD:
        return "Ahead";
    }
    return "?";
}

static bool is(const char *a, const char *b) {
    return a && strcmp(a, b) == 0;
}

static const char *type_of_pod(enum pod_type t) {
    switch (t) {
    case POD_SIDECAR:
        return "sidecar";
    case POD_GATEWAY:
        return "gateway";
    case POD_WAYPOINT:
        return "waypoint";
    case POD_ZTUNNEL:
        return "ztunnel";
    }
    return "sidecar";
}

const char *row_type(const struct inv_pod *pod, const struct attach_fact *a) {
    static const char *const types[][2] = {{"router", "gateway"}, {"waypoint", "waypoint"}, {"ztunnel", "ztunnel"}};
    for (size_t i = 0; a && pod->type == POD_SIDECAR && i < sizeof types / sizeof *types; i++) {
        if (is(a->proxy_type, types[i][0])) {
            return types[i][1];
        }
    }
    return type_of_pod(pod->type);
}

struct row_owner row_owner(const struct join_names *n, const struct snapshot *seen, uint32_t i) {
    const struct proxy_row *p = &seen->proxies[i];
    const struct inv_pod *pod = n->pods[i];
    struct row_owner o = {.name = pod->name};
    if (p->workload == IDX_NONE) {
        snprintf(o.kind, sizeof o.kind, "Pod");
        return o;
    }
    const struct inv_workload *w = n->workloads[p->workload];
    const char *kind = w ? w->key : pod->owner_kind ? pod->owner_kind : "?";
    snprintf(o.kind, sizeof o.kind, "%.*s", (int)strcspn(kind, "/"), kind);
    o.name = w ? w->name : pod->owner_name;
    return o;
}

static const char *type_state(char letter) {
    switch (letter) {
    case 'S':
        return "Synced";
    case 'P':
        return "Pending";
    case 'E':
        return "Error";
    case 'N':
        return "NotSent";
    default:
        return NULL;
    }
}

void row_types(struct jtext *t, const struct attach_fact *a) {
    const char *s = a ? a->types : NULL;
    jtext_open(t, "types", '{');
    for (size_t i = 0; s && s[i] && i < N_TYPES; i++) {
        if (type_state(s[i])) {
            jtext_str(t, TYPES[i], type_state(s[i]));
        }
    }
    jtext_close(t, '}');
}

void row_age(struct jtext *t, const char *key, int64_t at_ms, int64_t now_ms) {
    if (at_ms == 0) {
        jtext_str(t, key, NULL);
    } else {
        jtext_int(t, key, at_ms < now_ms ? now_ms - at_ms : 0);
    }
}
