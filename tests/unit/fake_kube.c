#include "fake_kube.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "lib/base/mem.h"

static void call_free(struct kube_call *c) {
    DL_DELETE(c->owner->calls, c);
    free(c->method);
    free(c->path);
    free(c->body);
    free(c->content_type);
    free(c->accept);
    free(c);
}

static struct kube_call *fake_send(void *self, const struct kube_request *req, const struct kube_handler *h, void *ctx) {
    struct fake_kube *f = self;
    struct kube_call *c = mem_alloc(sizeof *c);
    c->owner = f;
    c->method = mem_dup(req->method);
    c->path = mem_dup(req->path);
    c->body = mem_dup(req->body);
    c->content_type = mem_dup(req->content_type);
    c->accept = mem_dup(req->accept);
    c->stream = req->stream;
    c->timeout_ms = req->timeout_ms;
    c->sent_ms = fake_kube_now(f);
    c->handler = *h;
    c->ctx = ctx;
    DL_APPEND(f->calls, c);
    f->sent++;
    return c;
}

static void fake_cancel(void *self, struct kube_call *c) {
    check(c->owner == self);
    call_free(c);
}

static const struct kube_ops fake_ops = {fake_send, fake_cancel};

void fake_kube_init(struct fake_kube *f) {
    *f = (struct fake_kube){.clock = vclock_new(1790000000000)};
    f->kube = (struct kube){&fake_ops, f, vclock_sched(f->clock)};
}

void fake_kube_done(struct fake_kube *f) {
    check(f->calls == NULL);
    check(vclock_next(f->clock) == -1);
    vclock_free(f->clock);
}

int64_t fake_kube_now(struct fake_kube *f) {
    return sched_now(f->kube.sched);
}

void fake_kube_run(struct fake_kube *f, int64_t ms) {
    vclock_run_until(f->clock, fake_kube_now(f) + ms);
}

struct kube_call *fake_kube_find(struct fake_kube *f, const char *text) {
    struct kube_call *c;
    DL_FOREACH(f->calls, c) {
        if (strstr(c->path, text)) {
            return c;
        }
    }
    return NULL;
}

uint32_t fake_kube_open(const struct fake_kube *f) {
    uint32_t n = 0;
    const struct kube_call *c;
    DL_COUNT(f->calls, c, n);
    return n;
}

static void finish(struct kube_call *c, const struct kube_response *r) {
    struct kube_handler handler = c->handler;
    void *ctx = c->ctx;
    call_free(c);
    if (handler.done) {
        handler.done(ctx, r);
    }
}

void fake_kube_reply_after(struct kube_call *c, int status, const char *body, int64_t retry_after_ms) {
    struct kube_response r = {.status = status, .body = body, .len = strlen(body), .retry_after_ms = retry_after_ms};
    kube_status_error(status, body, r.len, c->method, c->path, &r.err);
    finish(c, &r);
}

void fake_kube_reply(struct kube_call *c, int status, const char *body) {
    fake_kube_reply_after(c, status, body, 0);
}

void fake_kube_break(struct kube_call *c, enum err_code code, const char *text) {
    struct kube_response r = {.body = ""};
    err_set(&r.err, code, "%s %s: %s", c->method, c->path, text);
    finish(c, &r);
}

void fake_kube_data(struct kube_call *c, const char *text) {
    c->handler.data(c->ctx, text, strlen(text));
}
