/* What the reader takes from istiod's answers. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "agent/reader_inside.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "probes/istiod_status.h"
#include "probes/promtext.h"

static Meshgate__V1__ReadStatus status_of(enum io_status s) {
    switch (s) {
    case IO_OK:
        return MESHGATE__V1__READ_STATUS__READ_OK;
    case IO_TIMEOUT:
        return MESHGATE__V1__READ_STATUS__READ_TIMEOUT;
    case IO_UNREACHABLE:
        return MESHGATE__V1__READ_STATUS__READ_UNREACHABLE;
    case IO_DENIED:
        return MESHGATE__V1__READ_STATUS__READ_DENIED;
    case IO_REFUSED:
        return MESHGATE__V1__READ_STATUS__READ_REFUSED;
    case IO_GARBLED:
        return MESHGATE__V1__READ_STATUS__READ_GARBLED;
    case IO_BUSY:
        return MESHGATE__V1__READ_STATUS__READ_BUSY;
    }
    return MESHGATE__V1__READ_STATUS__READ_UNKNOWN;
}

static const char *status_name(enum io_status s) {
    static const char *const names[] = {"ok", "timeout", "unreachable", "denied", "refused", "garbled", "busy"};
    return (size_t)s < sizeof names / sizeof *names ? names[s] : "?";
}

static void set_status(struct reader *r, Meshgate__V1__ReadStatus *slot, enum io_status s, const char *error) {
    Meshgate__V1__ReadStatus now = status_of(s);
    bool first_ok = s == IO_OK && *slot == MESHGATE__V1__READ_STATUS__READ_UNKNOWN;
    if (*slot != now && !first_ok) {
        log_info("istiod replica answers differently", log_s("replica", r->name), log_s("status", status_name(s)),
                 log_s("error", error ? error : ""));
    }
    *slot = now;
    mem_set(&r->error, s == IO_OK ? NULL : error);
    if (s != IO_OK) {
        metric_add(r->env->failures, 1);
    }
}

struct sums {
    struct reader *r;
    struct rung0 x;
    bool seen;
};

static void on_sample(void *ctx, const struct prom_sample *s) {
    struct sums *x = ctx;
    double value = isfinite(s->value) && s->value > 0 ? s->value : 0;
    if (strcmp(s->name, "pilot_total_xds_rejects") == 0) {
        x->x.rejects += value;
    } else if (strcmp(s->name, "pilot_xds") == 0) {
        x->x.streams += value;
    } else if (strcmp(s->name, "pilot_xds_expired_nonce") == 0) {
        x->x.expired_nonces += value;
    } else if (strcmp(s->name, "istiod_uptime_seconds") == 0) {
        x->x.uptime_s = value;
    } else if (strcmp(s->name, "istio_build") == 0) {
        if (!prom_label(s->labels, "tag", x->r->version, sizeof x->r->version)) {
            x->r->version[0] = '\0';
        }
    }
    x->seen = true;
}

/* Rung 0 decides nothing by itself: rejects that rose ask for the whole syncz. A silent /metrics is no reason to stop. */
void reader_take_metrics(struct reader *r, const struct io_answer *a) {
    struct sums x = {.r = r};
    struct err err;
    r->metrics_ok = false;
    if (a->status != IO_OK) {
        return;
    }
    char *text = io_text(a);
    if (prom_parse(text, a->bytes, on_sample, &x, &err) >= 0 && x.seen) {
        r->metrics_ok = true;
        r->now = x.x;
        r->want_syncz |= r->has_metrics && r->now.rejects > r->at_syncz.rejects;
        r->has_metrics = true;
        replica_drift(r->replica, r->version);
    }
    free(text);
}

/* An answer that could not be read: what it says in plain text is a refusal. */
static enum io_status unread(struct reader *r, const struct err *err) {
    replica_drop(r->replica);
    return err->code == ERR_DENIED ? IO_REFUSED : IO_GARBLED;
}

static enum io_status noted(struct reader *r, Meshgate__V1__ReadStatus *slot, enum io_status s, const struct err *err,
                            const struct io_answer *a) {
    set_status(r, slot, s, s == IO_OK ? NULL : err->text[0] ? err->text : a->error);
    return s;
}

enum io_status reader_take_connections(struct reader *r, const struct io_answer *a) {
    enum io_status status = a->status;
    struct err err = {0};
    if (status == IO_OK) {
        replica_begin(r->replica);
        if (istiod_connections(a->body, a->pieces, replica_conn, r->replica, &err) >= 0) {
            replica_commit_connections(r->replica);
            r->connections_ms = r->asked_ms;
            r->at_connections = r->now;
        } else {
            status = unread(r, &err);
        }
    }
    return noted(r, &r->connections, status, &err, a);
}

enum io_status reader_take_syncz(struct reader *r, const struct io_answer *a, const char *namespace_) {
    struct err err = {0};
    enum io_status status = a->status;
    if (status == IO_OK) {
        replica_begin(r->replica);
        if (istiod_syncz(a->body, a->pieces, replica_sync, r->replica, &err) >= 0) {
            replica_commit_syncz(r->replica, namespace_, r->asked_ms);
            r->status_only = false;
            r->refused_ms = 0;
        } else {
            status = unread(r, &err);
        }
    }
    if (status == IO_OK && !namespace_) {
        r->syncz_ms = r->asked_ms;
        r->at_syncz = r->now;
        r->want_syncz = false;
    }
    r->refused_ms = status == IO_REFUSED ? r->asked_ms : r->refused_ms;
    return noted(r, &r->syncz, status, &err, a);
}

/* Who may not see it gets an empty list instead of a refusal; one of the streams is ours. */
static bool is_hidden(const struct reader *r, int64_t listed) {
    return listed == 0 && r->has_metrics && r->now.streams > 1;
}

/* Where `connections` is refused too the list of who is in sync stands for it: it has one entry for each stream. */
enum io_status reader_take_status(struct reader *r, const struct io_answer *a) {
    struct err err = {0};
    enum io_status status = a->status;
    bool alone = r->connections == MESHGATE__V1__READ_STATUS__READ_REFUSED;
    if (status == IO_OK) {
        replica_begin(r->replica);
        int64_t listed = istiod_status(a->body, a->pieces, replica_sync, r->replica, &err);
        if (listed < 0) {
            status = unread(r, &err);
        } else if (is_hidden(r, listed)) {
            err_set(&err, ERR_DENIED, "istiod lists no proxy although it counts %.0f streams: who asks may not see them",
                    r->now.streams);
            status = unread(r, &err);
        } else if (alone) {
            replica_commit_status(r->replica, r->asked_ms);
            r->connections_ms = r->asked_ms;
        } else {
            replica_commit_syncz(r->replica, NULL, r->asked_ms);
        }
    }
    if (status == IO_OK) {
        r->syncz_ms = r->asked_ms;
        r->at_syncz = r->now;
        r->want_syncz = false;
        r->status_only = true;
    }
    return noted(r, &r->syncz, status, &err, a);
}
