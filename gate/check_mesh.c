/* What the verdict stands on: control planes that answer, agents that are heard, labels that mean something. */
#include <string.h>

#include "../core/decide.h"
#include "../lib/base/json.h"
#include "check_inside.h"

enum { EXPIRES_SOON_MS = 86400000, PATIENCE = 2 /* tests come as often as readings; one may be missed */ };

/* --- control planes --- */

static void check_replicas(const struct check_input *in, uint32_t r, json_t *checks) {
    const struct revision_row *row = &in->seen->revisions[r];
    const char *name = in->names->revisions[r];
    if (row->replicas == 0 || row->ready == 0) {
        check_add(checks, "replicas", CHECK_FAIL, reason_remedy(REASON_NO_READY_REPLICA), "%s: %s", name,
                  row->replicas == 0 ? "has no istiod replica, but an injector or a Service names it"
                                     : "none of its istiod replicas is ready");
    } else {
        check_add(checks, "replicas", row->ready == row->replicas ? CHECK_OK : CHECK_WARN,
                  reason_remedy(REASON_NO_READY_REPLICA), "%s: %u of %u replicas ready", name, row->ready, row->replicas);
    }
    if (row->has_injector) {
        check_add(checks, "injector", CHECK_OK, "", "%s: its injector webhook is there", name);
    } else {
        check_add(checks, "injector", CHECK_FAIL, reason_remedy(REASON_NO_INJECTOR), "%s: has no injector webhook", name);
    }
}

static void add_if_any(json_t *checks, struct check_names *x, const char *name, enum check_result result, const char *hint,
                       const char *before) {
    if (x->n > 0) {
        check_add(checks, name, result, hint, "%s: %s", before, check_names_text(x));
    }
    check_names_done(x);
}

static bool is_fresh(const struct check_input *in, int64_t at_ms) {
    return at_ms != 0 && at_ms <= in->now_ms && at_ms >= in->now_ms - in->max_age_ms;
}

/* Whose pushes, as far as the reader has found out; it may know that while other namespaces answer. */
static void name_blocked(const struct check_input *in, uint32_t replica, struct check_names *x) {
    const char *name = in->names->replicas[replica]->name;
    size_t n;
    const struct blocked_fact *b = evidence_blocked(in->evidence, in->names->replicas[replica]->uid, &n);
    for (size_t i = 0; i < n; i++) {
        bool found = b[i].proxy && b[i].proxy[0];
        check_names_add(x, "%s (%s%s)", name, found ? "proxy " : "namespace ", found ? b[i].proxy : b[i].namespace_);
    }
    if (n == 0 && in->seen->replicas[replica].push_blocked) {
        check_names_add(x, "%s", name);
    }
}

static void check_readings(const struct check_input *in, json_t *checks) {
    struct check_names unread, silent, blocked;
    check_names_init(&unread);
    check_names_init(&silent);
    check_names_init(&blocked);
    uint32_t good = 0, n = in->seen->n_replicas;
    for (uint32_t i = 0; i < n; i++) {
        const struct replica_row *r = &in->seen->replicas[i];
        const struct replica_fact *f = in->names->replica_facts[i];
        const char *name = in->names->replicas[i]->name, *error = f && f->error && f->error[0] ? f->error : NULL;
        if (!r->assigned) {
            check_names_add(&unread, "%s", name);
        } else if (r->failing || !is_fresh(in, r->answered_ms)) {
            check_names_add(&silent, "%s%s%s%s", name, error ? " (" : "", error ? error : "", error ? ")" : "");
        } else {
            good++;
        }
        name_blocked(in, i, &blocked);
    }
    if (good == n && n > 0) {
        check_add(checks, "readings", CHECK_OK, "", "every replica is read and answers");
    }
    add_if_any(checks, &unread, "unread", CHECK_UNKNOWN, reason_remedy(REASON_REPLICA_UNREAD), "no agent reads");
    add_if_any(checks, &silent, "silent", CHECK_UNKNOWN, reason_remedy(REASON_REPLICA_SILENT), "does not answer");
    if (blocked.n == 0 && good == n && n > 0) {
        check_add(checks, "pushes", CHECK_OK, "", "no proxy is locked against pushes");
    }
    add_if_any(checks, &blocked, "pushes", CHECK_FAIL, reason_remedy(REASON_PUSH_BLOCKED),
               "a proxy's pushes are locked on");
}

static void check_builds(const struct check_input *in, uint32_t r, json_t *checks) {
    uint32_t old = in->seen->revisions[r].old_builds;
    if (old > 0) {
        check_add(checks, "builds", CHECK_WARN, reason_remedy(REASON_OLD_BUILD),
                  "%s: %u prox%s of another version than the istiods", in->names->revisions[r], old,
                  old == 1 ? "y is" : "ies are");
    }
}

/* Agents trust one root, the mesh's: whoever reached an istiod by TLS has seen a certificate that it signed. */
static bool shows_our_root(const struct check_input *in, uint32_t r) {
    for (uint32_t i = 0; i < in->seen->n_nodes; i++) {
        const struct reach_fact *f = evidence_reach_fact(in->evidence, in->names->nodes[i], in->names->revisions[r]);
        if (f && f->ok) {
            return true;
        }
    }
    return false;
}

static void check_trust(const struct check_input *in, json_t *checks) {
    struct check_names unseen;
    uint32_t n = 0;
    check_names_init(&unseen);
    for (uint32_t r = 0; r < in->seen->n_revisions; r++) {
        if (in->seen->revisions[r].replicas > 0) {
            n++;
            if (!shows_our_root(in, r)) {
                check_names_add(&unseen, "%s", in->names->revisions[r]);
            }
        }
    }
    if (unseen.n == 0 && n > 0) {
        check_add(checks, "trust", CHECK_OK, "", "the istiods of every revision show a certificate of the mesh's root");
    }
    add_if_any(checks, &unseen, "trust", CHECK_UNKNOWN,
               "see below whether the agents reach it, and at which stage they fail",
               "no agent has seen a certificate of the mesh's root at");
}

void check_control_planes(const struct check_input *in, json_t *checks) {
    for (uint32_t r = 0; r < in->seen->n_revisions; r++) {
        check_replicas(in, r, checks);
        check_builds(in, r, checks);
    }
    check_readings(in, checks);
    check_trust(in, checks);
}

/* --- agents --- */

static void check_nodes(const struct check_input *in, json_t *checks) {
    struct check_names absent, silent, blind, liars;
    check_names_init(&absent);
    check_names_init(&silent);
    check_names_init(&blind);
    check_names_init(&liars);
    uint32_t n = in->seen->n_nodes, bad = 0;
    for (uint32_t i = 0; i < n; i++) {
        const struct node_row *node = &in->seen->nodes[i];
        const char *why = in->names->node_troubles[i], *name = in->names->nodes[i];
        struct check_names *x = node->disbelieved               ? &liars
                                : !node->agent                  ? &absent
                                : !node->witness                ? &blind
                                : !is_fresh(in, node->heard_ms) ? &silent
                                                                : NULL;
        if (x) {
            bad++;
            check_names_add(x, "%s%s%s%s", name, x == &blind && why ? " (" : "", x == &blind && why ? why : "",
                            x == &blind && why ? ")" : "");
        }
    }
    if (bad == 0) {
        check_add(checks, "nodes", n > 0 ? CHECK_OK : CHECK_WARN, "no pod is bound to a node yet",
                  "%u of %u nodes with pods have an agent that is heard and sees its proxies", n, n);
    }
    add_if_any(checks, &absent, "no agent", CHECK_UNKNOWN, in->agent_daemon, "no agent is heard from");
    add_if_any(checks, &silent, "silent", CHECK_UNKNOWN, reason_remedy(REASON_NODE_SILENT), "the agent has gone silent on");
    add_if_any(checks, &blind, "witness", CHECK_UNKNOWN, reason_remedy(REASON_NODE_NO_WITNESS),
               "the agent cannot read the proxies of");
    add_if_any(checks, &liars, "disbelieved", CHECK_UNKNOWN, reason_remedy(REASON_NODE_DISBELIEVED),
               "the agent is not believed on");
}

struct reaching {
    struct check_names cut, untested, expiring;
    uint32_t streams; /* nodes whose latest real ADS stream was answered */
};

static void look_at_reach(const struct check_input *in, const char *node, const char *revision, struct reaching *x) {
    const struct reach_fact *f = evidence_reach_fact(in->evidence, node, revision);
    bool known = f && f->at_ms <= in->now_ms && f->at_ms >= in->now_ms - PATIENCE * in->max_age_ms;
    if (f && !f->ok) {
        check_names_add(&x->cut, "%s (%s: %s)", node, f->stage && f->stage[0] ? f->stage : "?", f->error ? f->error : "?");
    } else if (!known) {
        check_names_add(&x->untested, "%s", node);
    } else {
        x->streams += f->stream_ms != 0 && f->stream_ok;
        if (f->cert_expires_ms != 0 && f->cert_expires_ms < in->now_ms + EXPIRES_SOON_MS) {
            check_names_add(&x->expiring, "%s", node);
        }
    }
}

static void check_reach(const struct check_input *in, uint32_t r, json_t *checks) {
    struct reaching x = {.streams = 0};
    check_names_init(&x.cut);
    check_names_init(&x.untested);
    check_names_init(&x.expiring);
    const char *revision = in->names->revisions[r];
    char before[300];
    uint32_t n = in->seen->n_nodes;
    for (uint32_t i = 0; i < n; i++) {
        look_at_reach(in, in->names->nodes[i], revision, &x);
    }
    if (x.cut.n == 0 && x.untested.n == 0) {
        check_add(checks, "reach", CHECK_OK, "", "every node reaches %s; %u of %u have had a real ADS stream answered",
                  revision, x.streams, n);
    }
    (void)snprintf(before, sizeof before, "cannot reach %s", revision);
    add_if_any(checks, &x.cut, "reach", CHECK_FAIL, "check network policy, DNS and the istiod Service from that node",
               before);
    (void)snprintf(before, sizeof before, "have not tried lately to reach %s", revision);
    add_if_any(checks, &x.untested, "reach", CHECK_UNKNOWN,
               "wait for the agents' first test; look at their log if it lasts", before);
    (void)snprintf(before, sizeof before, "the certificate of %s's istiod expires within a day, as seen from", revision);
    add_if_any(checks, &x.expiring, "certificate", CHECK_WARN, "istiod renews it by itself; look at its log if it does not",
               before);
}

void check_agents(const struct check_input *in, json_t *checks) {
    check_nodes(in, checks);
    for (uint32_t r = 0; r < in->seen->n_revisions; r++) {
        if (in->seen->revisions[r].replicas > 0 && in->seen->n_nodes > 0) {
            check_reach(in, r, checks);
        }
    }
}

/* --- injection --- */

static void check_tags(const struct check_input *in, json_t *checks) {
    struct check_names good, dangling;
    check_names_init(&good);
    check_names_init(&dangling);
    for (const struct inv_revision *r = in->inv->revisions; r; r = r->hh.next) {
        size_t i;
        json_t *tag;
        bool there = false;
        for (uint32_t k = 0; k < in->seen->n_revisions; k++) {
            there |= strcmp(in->names->revisions[k], r->name) == 0 && in->seen->revisions[k].replicas > 0;
        }
        json_array_foreach(r->tags, i, tag) {
            const char *name = json_string_value(tag);
            check_names_add(there ? &good : &dangling, "%s -> %s", name ? name : "?", r->name);
        }
    }
    if (good.n > 0) {
        check_add(checks, "tags", CHECK_OK, "", "tags: %s", check_names_text(&good));
    }
    check_names_done(&good);
    add_if_any(checks, &dangling, "tags", CHECK_FAIL, "istioctl tag set TAG --revision REVISION --overwrite, or tag remove",
               "tags that point to a revision without istiods");
}

void check_injection(const struct check_input *in, json_t *checks) {
    struct check_names nothing, both, no_default;
    check_names_init(&nothing);
    check_names_init(&both);
    check_names_init(&no_default);
    uint32_t labelled = 0;
    check_tags(in, checks);
    for (const struct inv_namespace *ns = in->inv->namespaces; ns; ns = ns->hh.next) {
        const char *rev = js_str(ns->labels, "istio.io/rev", NULL), *old = js_str(ns->labels, "istio-injection", NULL);
        bool on = old && strcmp(old, "enabled") == 0;
        labelled += on || rev != NULL;
        if (rev && old) {
            check_names_add(&both, "%s (istio-injection=%s, istio.io/rev=%s)", ns->name, old, rev);
        } else if (rev && !inventory_resolve(in->inv, rev)) {
            check_names_add(&nothing, "%s (istio.io/rev=%s)", ns->name, rev);
        } else if (on && !inventory_resolve(in->inv, "default")) {
            check_names_add(&no_default, "%s", ns->name);
        }
    }
    if (nothing.n + both.n + no_default.n == 0) {
        check_add(checks, "labels", CHECK_OK, "",
                  "%u namespace%s ask%s for injection, and %s label names what is installed", labelled,
                  labelled == 1 ? "" : "s", labelled == 1 ? "s" : "", labelled == 1 ? "its" : "each");
    }
    add_if_any(checks, &nothing, "labels", CHECK_FAIL, reason_remedy(REASON_NOT_INSTALLED),
               "labels that name nothing installed (pods get no sidecar, and no error)");
    add_if_any(checks, &no_default, "labels", CHECK_FAIL,
               "istioctl tag set default --revision REVISION, or label the namespaces istio.io/rev",
               "istio-injection=enabled without a default injector (pods get no sidecar, and no error)");
    add_if_any(checks, &both, "labels", CHECK_WARN, reason_remedy(REASON_LEFTOVER_LABEL),
               "istio-injection beside istio.io/rev (the old label wins)");
}
