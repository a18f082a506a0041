#include "check.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "../core/decide.h"
#include "../lib/base/json.h"
#include "check_inside.h"

enum { TEXT_MAX = 4096, NAMES_SHOWN = 5, EXAMPLES = 3 };

/* --- lines --- */

static const char *result_name(enum check_result r) {
    switch (r) {
    case CHECK_UNKNOWN:
        return "unknown";
    case CHECK_OK:
        return "ok";
    case CHECK_WARN:
        return "warn";
    case CHECK_FAIL:
        return "fail";
    }
    return "unknown";
}

static void add_text(struct buf *b, const char *fmt, va_list ap) {
    char text[TEXT_MAX];
    (void)vsnprintf(text, sizeof text, fmt, ap);
    buf_str(b, text);
}

void check_add(json_t *checks, const char *name, enum check_result result, const char *hint, const char *fmt, ...) {
    struct buf b;
    va_list ap;
    buf_init(&b, TEXT_MAX);
    va_start(ap, fmt);
    add_text(&b, fmt, ap);
    va_end(ap);
    json_t *text = json_string(b.len ? b.p : ""), *o = json_object();
    json_object_set_new(o, "name", json_string(name));
    json_object_set_new(o, "result", json_string(result_name(result)));
    json_object_set_new(o, "text", text ? text : json_string("?"));
    json_object_set_new(o, "hint", json_string(result == CHECK_OK ? "" : hint));
    json_array_append_new(checks, o);
    buf_done(&b);
}

void check_names_init(struct check_names *x) {
    *x = (struct check_names){.n = 0};
    buf_init(&x->text, TEXT_MAX);
}

void check_names_done(struct check_names *x) {
    buf_done(&x->text);
}

void check_names_add(struct check_names *x, const char *fmt, ...) {
    if (x->n++ >= NAMES_SHOWN) {
        return;
    }
    va_list ap;
    buf_str(&x->text, x->shown++ ? ", " : "");
    va_start(ap, fmt);
    add_text(&x->text, fmt, ap);
    va_end(ap);
}

const char *check_names_text(struct check_names *x) {
    if (x->n > x->shown) {
        buf_printf(&x->text, " and %u more", x->n - x->shown);
        x->shown = x->n;
    }
    return x->text.len ? x->text.p : "";
}

/* --- kubernetes --- */

static void check_kubernetes(const struct check_input *in, json_t *checks) {
    const char *trouble = in->names->inventory_trouble;
    if (in->seen->inventory_fresh) {
        check_add(checks, "objects", CHECK_OK, "", "all watches of the API server are in sync: %u namespaces, %u pods",
                  HASH_COUNT(in->inv->namespaces), HASH_COUNT(in->inv->pods));
    } else {
        check_add(checks, "objects", CHECK_UNKNOWN, reason_remedy(REASON_INVENTORY_STALE),
                  "the API server's objects cannot be read: %s", trouble ? trouble : "the first lists have not come yet");
    }
    uint32_t replicas = in->seen->n_replicas;
    if (replicas > 0) {
        check_add(checks, "installed", CHECK_OK, "", "%u revision%s with %u istiod replica%s", in->seen->n_revisions,
                  in->seen->n_revisions == 1 ? "" : "s", replicas, replicas == 1 ? "" : "s");
    } else {
        check_add(checks, "installed", CHECK_FAIL, "install Istio; istiod's Service carries the label app=istiod",
                  "no istiod replica is to be found");
    }
}

/* --- proxies --- */

struct group {
    enum reason reason;
    enum proxy_state state; /* for those without a reason */
    uint32_t count;
    struct check_names examples;
};

static enum check_result weight(enum reason r) {
    switch (reason_severity(r)) {
    case SEV_FAIL:
        return CHECK_FAIL;
    case SEV_UNKNOWN:
        return CHECK_UNKNOWN;
    case SEV_WAIT:
        return reason_whose(r) == WHOSE_NOBODY ? CHECK_OK : CHECK_WARN;
    case SEV_NOTE:
        return CHECK_OK;
    }
    return CHECK_UNKNOWN;
}

static bool is_well(const struct proxy_row *p) {
    switch (p->state) {
    case STATE_MOVED:
    case STATE_SETTLED:
        return true;
    case STATE_NOT_STARTED:
        return weight(p->reason) == CHECK_OK;
    case STATE_UNKNOWN:
    case STATE_RESTART_PENDING:
    case STATE_SYNCING:
    case STATE_STALE:
    case STATE_NACKING:
    case STATE_DETACHED:
    case STATE_MISPLACED:
    case STATE_UNINJECTED:
    case STATE_CONFLICT:
    case STATE_COUNT:
        break;
    }
    return false;
}

static void add_group(json_t *checks, struct group *g) {
    char name[128];
    (void)snprintf(name, sizeof name, "%s", reason_name(g->reason));
    check_add(checks, name, weight(g->reason), reason_remedy(g->reason), "%s: %u prox%s: %s (%s)", reason_name(g->reason),
              g->count, g->count == 1 ? "y" : "ies", reason_sentence(g->reason), check_names_text(&g->examples));
}

static void check_proxies(const struct check_input *in, json_t *checks) {
    static struct group groups[REASON_COUNT]; /* too large for a stack; cleared on the way out */
    uint32_t counted = 0, well = 0;
    for (uint32_t i = 0; i < in->seen->n_proxies; i++) {
        const struct proxy_row *p = &in->seen->proxies[i];
        counted += proxy_counts(p);
        well += proxy_counts(p) && is_well(p);
        if (!proxy_counts(p) || is_well(p) || (unsigned)p->reason >= REASON_COUNT) {
            continue;
        }
        struct group *g = &groups[p->reason];
        if (g->count++ == 0) {
            g->reason = p->reason;
            check_names_init(&g->examples);
        }
        if (g->count <= EXAMPLES) {
            check_names_add(&g->examples, "%s/%s", in->names->pods[i]->namespace_, in->names->pods[i]->name);
        }
    }
    if (well > 0 || counted == 0) {
        check_add(checks, "well", CHECK_OK, "", "%u of %u proxies are well", well, counted);
    }
    for (unsigned r = 0; r < REASON_COUNT; r++) {
        if (groups[r].count > 0) {
            groups[r].examples.n = groups[r].count;
            add_group(checks, &groups[r]);
            check_names_done(&groups[r].examples);
            groups[r] = (struct group){.count = 0};
        }
    }
}

/* --- coverage --- */

static void check_row(json_t *checks, const json_t *row, const char *key, enum check_result missing, const char *what) {
    int64_t expected = js_int(row, 0, "expected", NULL), heard = js_int(row, 0, key, NULL);
    if (heard >= expected) {
        check_add(checks, key, CHECK_OK, "", "%s of all %lld proxies", what, (long long)expected);
    } else {
        check_add(checks, key, missing, "kubectl meshgate coverage shows where it is missing", "%s of %lld of %lld proxies",
                  what, (long long)heard, (long long)expected);
    }
}

/* What decides is whether every witness that is demanded is heard; then what else is missing is only told. istiods are
 * asked for acknowledgements all the time only where an upgrade moves something. */
static void check_coverage(const struct check_input *in, json_t *checks) {
    const json_t *row = js_at(in->coverage, "cluster", NULL);
    if (!row) {
        check_add(checks, "coverage", CHECK_UNKNOWN, "look again in a moment", "nothing has been counted yet");
        return;
    }
    bool whole = js_int(row, 0, "heard", NULL) >= js_int(row, 0, "expected", NULL);
    check_row(checks, row, "heard", CHECK_UNKNOWN, "every witness that is asked for has fresh word");
    check_row(checks, row, "control_plane", CHECK_UNKNOWN, "istiods have lately said who holds the stream");
    check_row(checks, row, "sync", CHECK_OK, "istiods have lately said what was acknowledged");
    check_row(checks, row, "node", whole ? CHECK_WARN : CHECK_UNKNOWN, "nodes have fresh word");
}

/* --- the whole --- */

json_t *check_view(const struct check_input *in) {
    static const struct {
        const char *name;
        void (*fn)(const struct check_input *in, json_t *checks);
    } sections[] = {
        {"kubernetes", check_kubernetes}, {"control planes", check_control_planes},
        {"agents", check_agents},         {"injection", check_injection},
        {"proxies", check_proxies},       {"coverage", check_coverage},
    };
    json_t *list = json_array();
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
        json_t *checks = json_array();
        sections[i].fn(in, checks);
        json_array_append_new(list, json_pack("{s:s, s:o}", "name", sections[i].name, "checks", checks));
    }
    return json_pack("{s:o}", "sections", list);
}
