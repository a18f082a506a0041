/*
 * A session: review of the token, Hello, reports. The end of a stream is always asked for from a timer, never from inside a
 * call that came in, so that whoever owns the stream may answer with session_closed() at once.
 */
#include "session.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/base/log.h"
#include "../lib/base/mem.h"
#include "../lib/base/text.h"
#include "review.h"
#include "session_set.h"
#include "utlist.h"

enum {
    MAX_REVIEWS = 64, /* at the API server at a time */
    MAX_EARLY = 4 * 1024 * 1024,
    HELLO_MS = 30 * 1000,
    REVIEW_MS = 10 * 1000,
    LIFE_MS = 60 * 60 * 1000,
    LIFE_JITTER_MS = 6 * 60 * 1000,
    RESYNC_MIN_MS = 5 * 1000,
    RESYNC_MAX_MS = 5 * 60 * 1000,
};

/* gRPC's statuses by number: the gate's logic has no socket and no gRPC. */
enum {
    INVALID_ARGUMENT = 3,
    DEADLINE_EXCEEDED = 4,
    PERMISSION_DENIED = 7,
    RESOURCE_EXHAUSTED = 8,
    UNAVAILABLE = 14,
    UNAUTHENTICATED = 16,
};

/* --- the end --- */

static void wipe(char **secret) {
    if (*secret != NULL) {
        explicit_bzero(*secret, strlen(*secret));
        free(*secret);
        *secret = NULL;
    }
}

static void drop_early(struct session *x) {
    while (x->early != NULL) {
        struct early *next = x->early->next;
        free(x->early);
        x->early = next;
    }
    x->early_last = NULL;
    x->early_bytes = 0;
}

static void on_end(void *ctx) {
    struct session *x = ctx;
    x->ops->end(x->peer, x->end_status, x->end_text);
}

static void say_refusal(struct session *x) {
    Meshgate__V1__Refusal refusal = MESHGATE__V1__REFUSAL__INIT;
    refusal.why = x->end_text;
    Meshgate__V1__GateMessage m = MESHGATE__V1__GATE_MESSAGE__INIT;
    m.body_case = MESHGATE__V1__GATE_MESSAGE__BODY_REFUSAL;
    m.refusal = &refusal;
    struct buf b;
    buf_init(&b, WIRE_MAX_MESSAGE);
    wire_pack(&m.base, &b);
    x->ops->send(x->peer, b.p, b.len);
    buf_done(&b);
}

static void end_with(struct session *x, int status, char *text, bool renewal) {
    if (x->stage == STAGE_ENDED) {
        free(text);
        return;
    }
    x->stage = STAGE_ENDED;
    x->end_status = status;
    x->end_text = text;
    drop_early(x);
    wipe(&x->token);
    if (status != UNAVAILABLE) {
        metric_add(x->set->count.refused, 1);
        log_warn("agent refused", log_s("node", x->node != NULL ? x->node : "unknown"), log_s("why", text),
                 log_i("status", status));
        say_refusal(x);
    }
    session_seat_leave(x, renewal);
    timer_set(x->set->sched, &x->timer, sched_now(x->set->sched), on_end, x);
}

void session_end(struct session *x, int status, const char *fmt, ...) {
    char text[768];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    end_with(x, status, mem_dup(text), false);
}

static void on_deaf(void *ctx) {
    session_end(ctx, UNAVAILABLE, "the agent does not read what it is sent");
}

void session_send(struct session *x, const struct buf *b) {
    if (!x->ops->send(x->peer, b->p, b->len)) {
        timer_set(x->set->sched, &x->timer, sched_now(x->set->sched), on_deaf, x);
    }
}

/* --- reports --- */

static bool local_allowed(void *ctx, const char *pod_uid, const char *node) {
    struct session *x = ctx;
    struct sessions *s = x->set;
    struct inv_pod *pod;
    HASH_FIND_STR(inventory_of(s->opts.inventory)->pods, pod_uid, pod);
    if (pod == NULL || pod->node == NULL) {
        x->unknown_pods++;
        metric_add(s->count.unknown_pod, 1);
        return false;
    }
    if (strcmp(pod->node, node) != 0) {
        x->foreign_pods++;
        metric_add(s->count.foreign_pod, 1);
        return false;
    }
    return true;
}

static bool may_read(void *ctx, const char *replica, const char *node) {
    struct session *x = ctx;
    struct sessions *s = x->set;
    const char *reader = roster_reader(s->roster, replica);
    if (reader == NULL || strcmp(reader, node) != 0) {
        metric_add(s->count.not_reader, 1);
        return false;
    }
    roster_heard(s->roster, replica, sched_now(s->sched));
    return true;
}

static void differs(void *ctx, const char *replica) {
    struct session *x = ctx;
    metric_add(x->set->count.differs, 1);
    log_warn("agent has told more or less than is held of it; it is asked to tell everything again", log_s("node", x->node),
             log_s("replica", replica != NULL ? replica : ""));
    x->resync_owed = true;
}

/* Pods that the API server has not told us of yet are asked for again, less and less often while that does not help. */
static bool want_resync(struct session *x) {
    int64_t now = sched_now(x->set->sched);
    if (x->unknown_pods > 0) {
        x->resync_owed = true;
    }
    if (now < x->resync_ms) {
        return false;
    }
    if (!x->resync_owed) {
        x->resync_wait_ms = RESYNC_MIN_MS;
        return false;
    }
    x->resync_owed = false;
    x->resync_ms = now + x->resync_wait_ms;
    x->resync_wait_ms = x->resync_wait_ms * 2 < RESYNC_MAX_MS ? x->resync_wait_ms * 2 : RESYNC_MAX_MS;
    return true;
}

static void acknowledge(struct session *x, bool resync) {
    Meshgate__V1__Ack ack = MESHGATE__V1__ACK__INIT;
    ack.seq = x->seq;
    ack.resync = resync;
    Meshgate__V1__GateMessage m = MESHGATE__V1__GATE_MESSAGE__INIT;
    m.body_case = MESHGATE__V1__GATE_MESSAGE__BODY_ACK;
    m.ack = &ack;
    struct buf b;
    buf_init(&b, WIRE_MAX_MESSAGE);
    wire_pack(&m.base, &b);
    session_send(x, &b);
    buf_done(&b);
}

/* Entries dropped so far for a reason that the rules gave. */
static double disbelieved(const struct sessions *s) {
    return metric_value(s->count.foreign_pod) + metric_value(s->count.unknown_pod) + metric_value(s->count.not_reader);
}

static void take_report(struct session *x, const Meshgate__V1__Report *r) {
    struct sessions *s = x->set;
    struct evidence_rules rules = {.local_allowed = local_allowed, .may_read = may_read, .differs = differs, .ctx = x};
    x->unknown_pods = x->foreign_pods = 0;
    double known = disbelieved(s);
    uint32_t dropped = evidence_take(s->opts.evidence, x->node, r, &rules, sched_now(s->sched));
    metric_add(s->count.too_many, dropped - (disbelieved(s) - known));
    metric_add(s->count.reports, 1);
    if (x->foreign_pods > 0) {
        evidence_disbelieve(s->opts.evidence, x->node, sched_now(s->sched));
    }
    if (dropped > x->unknown_pods && !x->complained) {
        x->complained = true;
        log_warn("agent spoke of what it has no say in; dropped and counted", log_s("node", x->node),
                 log_i("entries", dropped));
    }
    session_slots_heard(x, r);
    acknowledge(x, want_resync(x));
    s->opts.changed(s->opts.ctx);
}

/* --- messages --- */

static void on_life_over(void *ctx) {
    end_with(ctx, UNAVAILABLE, mem_dup("re-authenticate"), true);
}

static void take_hello(struct session *x, const Meshgate__V1__Hello *h) {
    struct sessions *s = x->set;
    if (strcmp(h->node, x->node) != 0) {
        session_end(x, PERMISSION_DENIED, "this token is bound to node %s, so the Hello must say %s, not %.253s", x->node,
                    x->node, h->node);
        return;
    }
    int64_t now = sched_now(s->sched);
    int64_t jitter = (int64_t)(text_hash(s->opts.gate->seed + (uint64_t)now, x->node, strlen(x->node)) % LIFE_JITTER_MS);
    timer_set(s->sched, &x->timer, now + LIFE_MS - jitter, on_life_over, x);
    x->stage = STAGE_LIVE;
    evidence_hello(s->opts.evidence, x->node, h, now);
    session_seat_take(x);
    log_info("agent connected", log_s("node", x->node), log_s("version", h->version), log_b("witness", h->node_witness));
    session_assign_tell(x);
    session_assign_soon(s);
    s->opts.changed(s->opts.ctx);
}

static void take(struct session *x, const struct piece *pieces, size_t n) {
    struct sessions *s = x->set;
    struct err err = {0};
    Meshgate__V1__AgentMessage *m = wire_agent_message(pieces, n, &err);
    if (m == NULL) {
        metric_add(s->count.garbage, 1);
        session_end(x, INVALID_ARGUMENT, "message %" PRIu64 " cannot be read: %s", x->seq + 1, err.text);
        return;
    }
    bool hello = m->body_case == MESHGATE__V1__AGENT_MESSAGE__BODY_HELLO;
    if (m->seq != x->seq + 1) {
        metric_add(s->count.sequence, 1);
        session_end(x, INVALID_ARGUMENT, "message %" PRIu64 " came where %" PRIu64 " was expected", m->seq, x->seq + 1);
    } else if (hello != (x->stage == STAGE_HELLO)) {
        metric_add(s->count.sequence, 1);
        session_end(x, INVALID_ARGUMENT, hello ? "a second Hello in a session" : "a session begins with a Hello");
    } else {
        x->seq = m->seq;
        if (hello) {
            take_hello(x, m->hello);
        } else {
            take_report(x, m->report);
        }
    }
    wire_agent_free(m);
}

static void keep_early(struct session *x, const struct piece *pieces, size_t n) {
    size_t bytes = 0, at = 0;
    for (size_t i = 0; i < n; i++) {
        bytes += pieces[i].len;
    }
    if (bytes > MAX_EARLY - x->early_bytes) {
        session_end(x, RESOURCE_EXHAUSTED, "more than %d bytes before the token was reviewed", MAX_EARLY);
        return;
    }
    struct early *e = mem_alloc(sizeof *e + bytes);
    e->n = bytes;
    for (size_t i = 0; i < n; i++) {
        if (pieces[i].len > 0) {
            memcpy(e->bytes + at, pieces[i].p, pieces[i].len);
            at += pieces[i].len;
        }
    }
    x->early_bytes += bytes;
    *(x->early_last == NULL ? &x->early : &x->early_last->next) = e;
    x->early_last = e;
}

void session_message(struct session *x, const struct piece *pieces, size_t n) {
    switch (x->stage) {
    case STAGE_ENDED:
        break;
    case STAGE_WAITING:
    case STAGE_REVIEW:
        keep_early(x, pieces, n);
        break;
    case STAGE_HELLO:
    case STAGE_LIVE:
        take(x, pieces, n);
        break;
    }
}

/* --- review --- */

static void on_no_hello(void *ctx) {
    session_end(ctx, DEADLINE_EXCEEDED, "no Hello within %d s", HELLO_MS / 1000);
}

static void take_early(struct session *x) {
    while (x->early != NULL && x->stage != STAGE_ENDED) {
        struct early *e = x->early;
        x->early = e->next;
        struct piece piece = {.p = e->bytes, .len = e->n};
        take(x, &piece, 1);
        free(e);
    }
    x->early_last = x->early == NULL ? NULL : x->early_last;
}

static void review_waiting(struct sessions *s);

static void on_reviewed(void *ctx, const struct kube_response *r) {
    struct session *x = ctx;
    struct sessions *s = x->set;
    x->review = NULL;
    s->reviews--;
    if (x->stage == STAGE_REVIEW) {
        struct review verdict;
        review_read(r, s->opts.gate, &verdict);
        x->node = verdict.node;
        if (x->node == NULL) {
            if (verdict.status == UNAVAILABLE) {
                log_warn("agent's token could not be reviewed", log_s("why", verdict.text));
            }
            session_end(x, verdict.status, "%s", verdict.text);
        } else {
            x->stage = STAGE_HELLO;
            timer_set(s->sched, &x->timer, sched_now(s->sched) + HELLO_MS, on_no_hello, x);
            take_early(x);
        }
    }
    review_waiting(s);
}

static const struct kube_handler on_review = {.done = on_reviewed};

static void begin_review(struct session *x) {
    struct sessions *s = x->set;
    char *body = review_body(x->token, s->opts.gate->audience);
    wipe(&x->token);
    if (body == NULL) {
        session_end(x, UNAUTHENTICATED, "the token is no text");
        return;
    }
    struct kube_request req = {.method = "POST", .path = REVIEW_PATH, .body = body, .timeout_ms = REVIEW_MS};
    x->stage = STAGE_REVIEW;
    x->review = kube_send(s->opts.kube, &req, &on_review, x);
    s->reviews++;
    explicit_bzero(body, strlen(body));
    free(body);
}

static void review_waiting(struct sessions *s) {
    struct session *x;
    DL_FOREACH(s->all, x) {
        if (s->reviews >= MAX_REVIEWS) {
            return;
        }
        if (x->stage == STAGE_WAITING) {
            begin_review(x);
        }
    }
}

/* --- the face --- */

struct session *session_open(struct sessions *s, const char *authorization, const struct session_ops *ops, void *peer) {
    struct session *x = mem_alloc(sizeof *x);
    x->set = s;
    x->ops = ops;
    x->peer = peer;
    x->stage = STAGE_WAITING;
    x->resync_wait_ms = RESYNC_MIN_MS;
    buf_init(&x->assignment, WIRE_MAX_MESSAGE);
    DL_APPEND(s->all, x);
    static const char scheme[] = "Bearer ";
    if (authorization == NULL || strncasecmp(authorization, scheme, sizeof scheme - 1) != 0 ||
        authorization[sizeof scheme - 1] == '\0') {
        session_end(x, UNAUTHENTICATED,
                    "no token: send the header \"authorization: Bearer TOKEN\" with a service account token of audience %s",
                    s->opts.gate->audience);
        return x;
    }
    x->token = mem_dup(authorization + sizeof scheme - 1);
    review_waiting(s);
    return x;
}

static void session_dispose(struct session *x) {
    struct sessions *s = x->set;
    timer_cancel(s->sched, &x->timer);
    if (x->review != NULL) {
        kube_cancel(s->opts.kube, x->review);
        s->reviews--;
    }
    DL_DELETE(s->all, x);
    drop_early(x);
    wipe(&x->token);
    buf_done(&x->assignment);
    free(x->node);
    free(x->end_text);
    free(x);
}

void session_closed(struct session *x) {
    struct sessions *s = x->set;
    if (x->stage == STAGE_LIVE) {
        log_info("agent is gone", log_s("node", x->node));
    }
    session_seat_leave(x, false);
    session_dispose(x);
    review_waiting(s);
}

static struct metric *dropped(struct metrics *m, const char *why) {
    struct buf label;
    buf_init(&label, 128);
    metrics_label(&label, "why", why);
    struct metric *x = metric_get(m, METRIC_COUNTER, "meshgate_gate_dropped_total",
                                  "Messages, streams and entries of reports that were not believed, by reason.", label.p);
    buf_done(&label);
    return x;
}

struct sessions *sessions_new(const struct sessions_opts *opts) {
    struct sessions *s = mem_alloc(sizeof *s);
    struct metrics *m = opts->metrics;
    s->opts = *opts;
    s->sched = opts->kube->sched;
    s->roster = roster_new();
    s->slots = slots_new();
    s->idle = true;
    s->count = (struct session_counters){
        .reports = metric_get(m, METRIC_COUNTER, "meshgate_gate_reports_total", "Reports of agents taken.", NULL),
        .agents = metric_get(m, METRIC_GAUGE, "meshgate_gate_agents", "Nodes whose agent has a session.", NULL),
        .slots = metric_get(m, METRIC_COUNTER, "meshgate_gate_stream_slots_total",
                            "Slots given to agents to open an ADS stream to a revision as a test.", NULL),
        .garbage = dropped(m, "garbage"),
        .sequence = dropped(m, "sequence"),
        .foreign_pod = dropped(m, "foreign_pod"),
        .unknown_pod = dropped(m, "unknown_pod"),
        .not_reader = dropped(m, "not_reader"),
        .too_many = dropped(m, "too_many"),
        .refused = dropped(m, "refused"),
        .differs = metric_get(m, METRIC_COUNTER, "meshgate_gate_digest_mismatches_total",
                              "Readings whose digest was not that of what is held; each asks for everything again.", NULL),
    };
    return s;
}

void sessions_free(struct sessions *s) {
    if (s == NULL) {
        return;
    }
    struct session *x, *next;
    DL_FOREACH_SAFE(s->all, x, next) {
        session_dispose(x);
    }
    session_seat_free_all(s);
    session_assign_done(s);
    timer_cancel(s->sched, &s->slot);
    slots_free(s->slots);
    free(s);
}

size_t sessions_count(const struct sessions *s) {
    size_t n = 0;
    for (const struct seat *seat = s->seats; seat != NULL; seat = seat->hh.next) {
        n += seat->session != NULL;
    }
    return n;
}
