#include "publish.h"

#include <stdlib.h>
#include <string.h>

#include "../core/decide.h"
#include "../lib/base/json.h"
#include "../lib/base/mem.h"
#include "../lib/base/text.h"

#define TEXT_MAX 1000

static json_t *number(uint64_t n) {
    return json_integer((json_int_t)n);
}

/* Text of anybody: cut, and only what JSON can hold. */
static json_t *words(const char *s) {
    size_t n = s ? strnlen(s, TEXT_MAX) : 0;
    while (n > 0 && s[n] && ((unsigned char)s[n] & 0xc0) == 0x80) {
        n--;
    }
    json_t *text = json_stringn(s ? s : "", n);
    return text ? text : json_string("(no readable text)");
}

static json_t *time_of(int64_t wall_ms) {
    char text[40];
    text_rfc3339_format(wall_ms, text, sizeof text);
    return json_string(text);
}

/* What `previous` says under key, or this time. */
static void keep_time(json_t *o, const char *key, const json_t *previous, int64_t wall_ms) {
    const char *said = json_string_value(json_object_get(previous, key));
    json_object_set_new(o, key, said ? json_string(said) : time_of(wall_ms));
}

static const char *severity_name(enum severity s) {
    switch (s) {
    case SEV_FAIL:
        return "Fail";
    case SEV_UNKNOWN:
        return "Unknown";
    case SEV_WAIT:
        return "Wait";
    case SEV_NOTE:
        return "Note";
    }
    return "?";
}

/* --- waves --- */

static const char *wave_state(const struct publication *p, uint32_t i) {
    const struct progress *next = &p->decision->next;
    if (i != next->wave) {
        return i < next->wave ? "Done" : "Pending";
    }
    if (!next->started) {
        return p->decision->phase == PHASE_AWAITING_APPROVAL ? "AwaitingApproval" : "Pending";
    }
    return next->soak_started_ms != 0 ? "Soaking" : "Moving";
}

static const json_t *previous_wave(const struct publication *p, const json_t *previous, uint32_t i) {
    const json_t *w = json_array_get(json_object_get(previous, "waves"), i);
    return strcmp(js_text(w, "name", NULL), p->upgrade->wave_names[i]) == 0 ? w : NULL;
}

/* Rounded up: after a restart the soak may be a second longer, never shorter. */
static int64_t soak_wall(const struct publication *p) {
    int64_t at = p->wall_ms - (p->now_ms - p->decision->next.soak_started_ms);
    return (at + 999) / 1000 * 1000;
}

static void set_soak(const struct publication *p, json_t *o, uint32_t i, const json_t *before) {
    const struct progress *next = &p->decision->next;
    const char *from = js_str(before, "soakStartedAt", NULL);
    if (i < next->wave && from) {
        json_object_set_new(o, "soakStartedAt", json_string(from));
        json_object_set_new(o, "soakUntil", json_string(js_text(before, "soakUntil", NULL)));
    } else if (i == next->wave && next->soak_started_ms != 0) {
        bool same = from && p->upgrade->progress.wave == i && p->upgrade->progress.soak_started_ms == next->soak_started_ms;
        int64_t at = soak_wall(p);
        if (same && !text_rfc3339(from, &at)) {
            at = soak_wall(p);
        }
        json_object_set_new(o, "soakStartedAt", time_of(at));
        json_object_set_new(o, "soakUntil", time_of(at + p->upgrade->waves[i].soak_ms));
    }
}

static json_t *wave_object(const struct publication *p, const json_t *previous, uint32_t i) {
    const struct wave_tally *t = &p->tallies[i];
    const json_t *before = previous_wave(p, previous, i);
    const struct progress *next = &p->decision->next;
    json_t *o = json_object();
    json_object_set_new(o, "name", json_string(p->upgrade->wave_names[i]));
    json_object_set_new(o, "state", json_string(wave_state(p, i)));
    json_object_set_new(o, "namespaces", number(t->namespaces));
    json_object_set_new(o, "relabelled", number(t->relabelled));
    json_object_set_new(o, "expected", number(t->expected));
    json_object_set_new(o, "heard", number(t->heard));
    json_object_set_new(o, "moved", number(t->by_state[STATE_MOVED]));
    if (i < next->wave || (i == next->wave && next->started)) {
        keep_time(o, "startedAt", before, p->wall_ms);
    }
    if (i < next->wave) {
        keep_time(o, "completedAt", before, p->wall_ms);
    }
    set_soak(p, o, i, before);
    return o;
}

static json_t *summary(const struct publication *p) {
    struct wave_tally sum = {0};
    json_t *states = json_object();
    for (uint32_t i = 0; i < p->upgrade->policy.n_waves; i++) {
        const struct wave_tally *t = &p->tallies[i];
        sum.namespaces += t->namespaces;
        sum.relabelled += t->relabelled;
        sum.expected += t->expected;
        sum.heard += t->heard;
        for (unsigned s = 0; s < STATE_COUNT; s++) {
            sum.by_state[s] += t->by_state[s];
        }
    }
    for (unsigned s = 0; s < STATE_COUNT; s++) {
        if (sum.by_state[s] > 0) {
            json_object_set_new(states, state_name((enum proxy_state)s), number(sum.by_state[s]));
        }
    }
    json_t *o = json_object();
    json_object_set_new(o, "namespaces", number(sum.namespaces));
    json_object_set_new(o, "relabelled", number(sum.relabelled));
    json_object_set_new(o, "expected", number(sum.expected));
    json_object_set_new(o, "heard", number(sum.heard));
    json_object_set_new(o, "moved", number(sum.by_state[STATE_MOVED]));
    json_object_set_new(o, "byState", states);
    return o;
}

/* --- reasons --- */

static const char *write_trouble(const struct publication *p, const struct finding *f) {
    const struct join_names *n = join_names(p->join);
    if (!p->execute) {
        return NULL;
    }
    if (f->reason == REASON_RELABEL_PENDING) {
        char *key = mem_printf("ns/%s", n->namespaces[f->object]);
        const char *text = execute_trouble(p->execute, key);
        free(key);
        return text;
    }
    bool restart = f->reason == REASON_RESTART_DUE && f->about == ABOUT_WORKLOAD && n->workloads[f->object];
    return restart ? execute_trouble(p->execute, n->workloads[f->object]->key) : NULL;
}

/* What is known of the object besides, NULL: nothing. */
static const char *message_of(const struct publication *p, const struct finding *f) {
    const struct join_names *n = join_names(p->join);
    switch (f->about) {
    case ABOUT_UPGRADE:
        if (f->reason == REASON_PAUSED_BY_SIGNAL) {
            return reason_name(p->decision->next.hold_reason);
        }
        return f->reason == REASON_INVENTORY_STALE ? n->inventory_trouble : NULL;
    case ABOUT_REPLICA:
        return n->replica_facts[f->object] ? n->replica_facts[f->object]->error : NULL;
    case ABOUT_NODE:
        return n->node_troubles[f->object];
    case ABOUT_NAMESPACE:
        return write_trouble(p, f);
    case ABOUT_WORKLOAD:
        if (n->workloads[f->object] && n->workloads[f->object]->failed_create) {
            return n->workloads[f->object]->failed_create_text;
        }
        return write_trouble(p, f);
    case ABOUT_PROXY:
        if (f->reason == p->seen->proxies[f->object].trouble) {
            return n->pods[f->object]->trouble_text;
        }
        return n->attached[f->object] ? n->attached[f->object]->error : NULL;
    case ABOUT_WAVE:
    case ABOUT_REVISION:
        return NULL;
    }
    return NULL;
}

/* Whom an istiod has locked; NULL: that is not what is told, or nobody knows. To be freed. */
static char *blocked_text(const struct publication *p, const struct finding *f) {
    const struct blocked_fact *b = f->about == ABOUT_REPLICA && f->reason == REASON_PUSH_BLOCKED
                                       ? join_names(p->join)->replica_blocked[f->object]
                                       : NULL;
    if (!b) {
        return NULL;
    }
    return b->proxy[0] ? mem_printf("proxy %s", b->proxy)
                       : mem_printf("a proxy of namespace %s, which one is being looked for", b->namespace_);
}

static json_t *object_of(const struct publication *p, const struct finding *f) {
    struct buf name;
    buf_init(&name, TEXT_MAX);
    join_object_name(p->join, p->upgrade, f->about, f->object, &name);
    json_t *o = json_object();
    json_object_set_new(o, "name", words(name.p));
    char *blocked = blocked_text(p, f);
    const char *message = blocked ? blocked : message_of(p, f);
    if (message && message[0]) {
        json_object_set_new(o, "message", words(message));
    }
    free(blocked);
    buf_done(&name);
    return o;
}

static json_t *reason_object(enum reason r, uint64_t count, json_t *objects) {
    json_t *o = json_object();
    json_object_set_new(o, "reason", json_string(reason_name(r)));
    json_object_set_new(o, "severity", json_string(severity_name(reason_severity(r))));
    json_object_set_new(o, "count", number(count));
    json_object_set_new(o, "sentence", json_string(reason_sentence(r)));
    json_object_set_new(o, "remedy", json_string(reason_remedy(r)));
    json_object_set_new(o, "objects", objects);
    return o;
}

/* A pause is told by its cause, which stands beside it as long as the signal lasts. */
static int order_of(enum reason r) {
    switch (reason_severity(r)) {
    case SEV_FAIL:
        return r == REASON_PAUSED_BY_SIGNAL ? 1 : 0;
    case SEV_UNKNOWN:
        return 2;
    case SEV_WAIT:
        return r == REASON_PAUSED_BY_REQUEST ? 3 : 4;
    case SEV_NOTE:
        break;
    }
    return 5;
}

static json_t *reasons(const struct publication *p) {
    const struct decision *d = p->decision;
    json_t *list = json_array();
    for (int order = 0; order <= 5; order++) {
        for (unsigned r = 0; r < REASON_COUNT; r++) {
            if (d->by_reason[r] == 0 || order_of((enum reason)r) != order) {
                continue;
            }
            json_t *objects = json_array();
            for (uint32_t i = 0; i < d->n_findings; i++) {
                if (d->findings[i].reason == (enum reason)r) {
                    json_array_append_new(objects, object_of(p, &d->findings[i]));
                }
            }
            json_array_append_new(list, reason_object((enum reason)r, d->by_reason[r], objects));
        }
    }
    return list;
}

/* The heaviest reason as one sentence. */
static char *sentence_of(const json_t *list, const char *otherwise) {
    const json_t *r = json_array_get(list, 0);
    const json_t *first = json_array_get(json_object_get(r, "objects"), 0);
    int64_t count = js_int(r, 0, "count", NULL);
    const char *text = js_str(first, "message", NULL);
    if (!r || strcmp(js_text(r, "severity", NULL), "Note") == 0) {
        return mem_dup(otherwise);
    }
    char *more = count > 1 ? mem_printf(" (and %lld more)", (long long)count - 1) : mem_dup("");
    char *out = mem_printf("%s%s%s%s%s%s", js_text(first, "name", NULL), first ? ": " : "", js_text(r, "sentence", NULL),
                           more, text ? ": " : "", text ? text : "");
    free(more);
    return out;
}

/* --- conditions --- */

static json_t *condition(const char *type, const char *status, const char *reason, const char *message, int64_t generation,
                         const json_t *previous, int64_t wall_ms) {
    const json_t *list = json_object_get(previous, "conditions"), *before = NULL;
    for (size_t i = 0; i < json_array_size(list) && !before; i++) {
        const json_t *c = json_array_get(list, i);
        if (strcmp(js_text(c, "type", NULL), type) == 0 && strcmp(js_text(c, "status", NULL), status) == 0) {
            before = c;
        }
    }
    json_t *o = json_object();
    json_object_set_new(o, "type", json_string(type));
    json_object_set_new(o, "status", json_string(status));
    json_object_set_new(o, "reason", json_string(reason));
    json_object_set_new(o, "message", words(message));
    json_object_set_new(o, "observedGeneration", json_integer(generation));
    keep_time(o, "lastTransitionTime", before, wall_ms);
    return o;
}

static void set_conditions(json_t *status, const json_t *previous, int64_t generation, bool followed, int64_t wall_ms) {
    const char *phase = js_text(status, "phase", NULL), *verdict = js_text(status, "verdict", NULL);
    const char *message = js_text(status, "message", NULL);
    const char *reason = js_str(json_array_get(json_object_get(status, "reasons"), 0), "reason", NULL);
    bool moves = strcmp(phase, "Moving") == 0 || strcmp(phase, "Soaking") == 0;
    const char *healthy = strcmp(verdict, "Fail") == 0 ? "False" : strcmp(verdict, "Unknown") == 0 ? "Unknown" : "True";
    reason = reason ? reason : phase;
    json_t *list = json_array();
    json_array_append_new(list, condition("Ready", followed ? "True" : "False", followed ? "Following" : reason, message,
                                          generation, previous, wall_ms));
    json_array_append_new(
        list, condition("Progressing", moves ? "True" : "False", phase, message, generation, previous, wall_ms));
    json_array_append_new(list, condition("Healthy", healthy, strcmp(healthy, "True") == 0 ? "NoBadSignal" : reason,
                                          message, generation, previous, wall_ms));
    json_object_set_new(status, "conditions", list);
}

/* --- the whole --- */

static void set_hold(const struct publication *p, json_t *status, const json_t *previous) {
    const struct progress *next = &p->decision->next;
    const json_t *before = json_object_get(previous, "hold");
    if (next->hold_id == 0) {
        return;
    }
    bool same = js_int(before, 0, "id", NULL) == (int64_t)next->hold_id;
    const char *reason = next->held ? reason_name(next->hold_reason) : same ? js_text(before, "reason", NULL) : "";
    json_t *o = json_object();
    json_object_set_new(o, "id", number(next->hold_id));
    json_object_set_new(o, "active", json_boolean(next->held));
    json_object_set_new(o, "reason", json_string(reason));
    keep_time(o, "since", same ? before : NULL, p->wall_ms);
    json_object_set_new(status, "hold", o);
}

static json_t *progress_object(const struct progress *next) {
    json_t *o = json_object();
    json_object_set_new(o, "wave", number(next->wave));
    json_object_set_new(o, "started", json_boolean(next->started));
    return o;
}

json_t *publish_status(const struct publication *p, const json_t *previous) {
    const struct decision *d = p->decision;
    const struct upgrade *u = p->upgrade;
    json_t *status = json_object(), *waves = json_array();
    json_object_set_new(status, "observedGeneration", json_integer(u->generation));
    json_object_set_new(status, "phase", json_string(phase_name(d->phase)));
    json_object_set_new(status, "verdict", json_string(verdict_name(d->verdict)));
    json_object_set_new(status, "currentWave",
                        json_string(d->next.wave < u->policy.n_waves ? u->wave_names[d->next.wave] : ""));
    keep_time(status, "startedAt", previous, p->wall_ms);
    if (d->phase == PHASE_COMPLETED) {
        keep_time(status, "completedAt", previous, p->wall_ms);
    }
    set_hold(p, status, previous);
    json_object_set_new(status, "summary", summary(p));
    for (uint32_t i = 0; i < u->policy.n_waves; i++) {
        json_array_append_new(waves, wave_object(p, previous, i));
    }
    json_object_set_new(status, "waves", waves);
    json_object_set_new(status, "reasons", reasons(p));
    json_object_set_new(status, "progress", progress_object(&d->next));
    char *message =
        sentence_of(json_object_get(status, "reasons"), d->phase == PHASE_COMPLETED ? "all waves are done" : "goes on");
    json_object_set_new(status, "message", words(message));
    free(message);
    set_conditions(status, previous, u->generation, d->phase != PHASE_HOLD, p->wall_ms);
    return status;
}

json_t *publish_blocked(const char *name, int64_t generation, enum reason reason, const char *object, const char *text,
                        const json_t *previous, int64_t wall_ms) {
    json_t *status = json_is_object(previous) ? json_deep_copy(previous) : json_object();
    json_t *o = json_object(), *list = json_array(), *objects = json_array();
    json_object_set_new(o, "name", words(object ? object : name));
    if (text) {
        json_object_set_new(o, "message", words(text));
    }
    json_array_append_new(objects, o);
    json_array_append_new(list, reason_object(reason, 1, objects));
    bool wait = reason_severity(reason) == SEV_WAIT;
    char *message = mem_printf("%s: %s%s%s", name, reason_sentence(reason), text || object ? ": " : "",
                               text     ? text
                               : object ? object
                                        : "");
    json_object_set_new(status, "observedGeneration", json_integer(generation));
    json_object_set_new(status, "phase", json_string(phase_name(PHASE_HOLD)));
    json_object_set_new(status, "verdict", json_string(verdict_name(wait ? VERDICT_WAIT : VERDICT_UNKNOWN)));
    json_object_set_new(status, "message", words(message));
    json_object_set_new(status, "reasons", list);
    set_conditions(status, previous, generation, false, wall_ms);
    free(message);
    return status;
}
