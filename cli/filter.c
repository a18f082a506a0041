#include "filter.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "../core/decide.h"

enum { ITEM_MAX = 100 };

/* "not-started" is NotStarted; the n bytes of a against the whole of b. */
static bool same_word(const char *a, size_t n, const char *b) {
    size_t i = 0;
    for (;; i++, b++) {
        while (i < n && (a[i] == '-' || a[i] == '_')) {
            i++;
        }
        b += strspn(b, "-_");
        if (i == n || !*b) {
            return i == n && !*b;
        }
        if (tolower((unsigned char)a[i]) != tolower((unsigned char)*b)) {
            return false;
        }
    }
}

static bool same_name(const char *a, size_t n, const char *b) {
    return strlen(b) == n && memcmp(a, b, n) == 0;
}

/* What a list's item may be called: for a revision also "none". */
static bool same_revision(const char *a, size_t n, const char *b) {
    return same_name(a, n, b) || (same_word(a, n, "none") && strcmp(b, "-") == 0);
}

typedef bool (*same_fn)(const char *item, size_t n, const char *value);

static bool list_has(const char *list, const char *value, same_fn same) {
    for (const char *s = list; s;) {
        size_t n = strcspn(s, ",");
        if (same(s, n, value)) {
            return true;
        }
        s = s[n] ? s + n + 1 : NULL;
    }
    return list == NULL;
}

/* ---- owners ---- */

static const char *kind_of(const char *kind, size_t n) {
    static const char *const shorts[][2] = {{"deploy", "Deployment"},
                                            {"deployments", "Deployment"},
                                            {"sts", "StatefulSet"},
                                            {"statefulsets", "StatefulSet"},
                                            {"ds", "DaemonSet"},
                                            {"daemonsets", "DaemonSet"},
                                            {"rs", "ReplicaSet"},
                                            {"cj", "CronJob"},
                                            {"jobs", "Job"},
                                            {"ro", "Rollout"},
                                            {"po", "Pod"},
                                            {"pods", "Pod"},
                                            {"gtw", "Gateway"}};
    for (size_t i = 0; i < sizeof(shorts) / sizeof(*shorts); i++) {
        if (strlen(shorts[i][0]) == n && strncasecmp(kind, shorts[i][0], n) == 0) {
            return shorts[i][1];
        }
    }
    return NULL;
}

static bool same_kind(const char *item, size_t n, const char *kind) {
    const char *full = kind_of(item, n);
    return full ? strcasecmp(full, kind) == 0 : same_word(item, n, kind);
}

static bool owner_passes(const char *list, const char *kind, const char *name) {
    for (const char *s = list; s;) {
        size_t n = strcspn(s, ","), k = strcspn(s, "/,");
        bool with_kind = k < n;
        if (with_kind ? same_kind(s, k, kind) && same_name(s + k + 1, n - k - 1, name) : same_name(s, n, name)) {
            return true;
        }
        s = s[n] ? s + n + 1 : NULL;
    }
    return list == NULL;
}

/* ---- what there is ---- */

static const char *nth_state(unsigned i) {
    return i < STATE_COUNT ? state_name((enum proxy_state)i) : NULL;
}

static const char *nth_reason(unsigned i) {
    return i + 1 < REASON_COUNT ? reason_name((enum reason)(i + 1)) : NULL; /* without None */
}

static const char *nth_type(unsigned i) {
    static const char *const types[] = {"sidecar", "gateway", "waypoint", "ztunnel"};
    return i < sizeof(types) / sizeof(*types) ? types[i] : NULL;
}

static bool check_item(const char *flag, const char *item, size_t n, const char *(*nth)(unsigned), struct err *err) {
    if (n == 0) {
        return err_set(err, ERR_INVALID, "--%s: the list has an empty item", flag);
    }
    for (unsigned i = 0; nth && nth(i); i++) {
        if (same_word(item, n, nth(i))) {
            return true;
        }
    }
    return !nth ||
           err_set(err, ERR_INVALID, "--%s: there is no %s \"%.*s\"", flag, flag, (int)(n < ITEM_MAX ? n : ITEM_MAX), item);
}

static const struct {
    const char *flag;
    size_t list; /* offset of the text */
    const char *(*nth)(unsigned);
} lists[] = {{"state", offsetof(struct filter, state), nth_state}, {"reason", offsetof(struct filter, reason), nth_reason},
             {"type", offsetof(struct filter, type), nth_type},    {"namespace", offsetof(struct filter, namespace_), NULL},
             {"node", offsetof(struct filter, node), NULL},        {"revision", offsetof(struct filter, revision), NULL},
             {"owner", offsetof(struct filter, owner), NULL}};
enum { N_LISTS = sizeof(lists) / sizeof(*lists) };

bool filter_check(const struct filter *f, const char **unknown, struct err *err) {
    for (size_t i = 0; i < N_LISTS; i++) {
        for (const char *s = *(const char *const *)(const void *)((const char *)f + lists[i].list); s;) {
            size_t n = strcspn(s, ",");
            if (!check_item(lists[i].flag, s, n, lists[i].nth, err)) {
                *unknown = n > 0 ? lists[i].flag : NULL;
                return false;
            }
            s = s[n] ? s + n + 1 : NULL;
        }
    }
    return true;
}

void filter_known(const char *flag, struct buf *out) {
    for (size_t i = 0; i < N_LISTS; i++) {
        for (unsigned k = 0; strcmp(lists[i].flag, flag) == 0 && lists[i].nth && lists[i].nth(k); k++) {
            buf_printf(out, "%s%s", k ? ", " : "", lists[i].nth(k));
        }
    }
}

/* ---- one proxy ---- */

bool filter_is_calm(const json_t *p) {
    const char *state = js_text(p, "state", NULL), *reason = js_text(p, "reason", NULL);
    enum reason r = reason_from_name(reason);
    bool well = strcmp(state, "Moved") == 0 || strcmp(state, "NotStarted") == 0 || strcmp(state, "Settled") == 0;
    return well || (r != REASON_NONE && reason_severity(r) == SEV_NOTE);
}

bool filter_passes(const struct filter *f, const json_t *p) {
    return !(f->stuck && filter_is_calm(p)) && list_has(f->state, js_text(p, "state", NULL), same_word) &&
           list_has(f->reason, js_text(p, "reason", NULL), same_word) &&
           list_has(f->type, js_text(p, "type", NULL), same_word) &&
           list_has(f->namespace_, js_text(p, "namespace", NULL), same_name) &&
           list_has(f->node, js_text(p, "node", NULL), same_name) &&
           list_has(f->revision, js_text(p, "attached", NULL), same_revision) &&
           owner_passes(f->owner, js_text(p, "owner_kind", NULL), js_text(p, "owner", NULL));
}

bool filter_is_plain(const struct filter *f) {
    return !f->state && !f->namespace_ && !f->node && !f->revision && !f->reason && !f->type && !f->owner;
}
