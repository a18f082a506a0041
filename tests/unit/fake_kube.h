/* A transport whose answers the test gives by hand, on virtual time. */
#pragma once

#include "lib/base/vclock.h"
#include "lib/kube/kube.h"

struct kube_call {
    struct fake_kube *owner;
    char *method, *path, *body, *content_type, *accept;
    bool stream;
    int64_t timeout_ms, sent_ms;
    struct kube_handler handler;
    void *ctx;
    struct kube_call *prev, *next;
};

struct fake_kube {
    struct kube kube;
    struct vclock *clock;
    struct kube_call *calls; /* open ones, oldest first */
    uint32_t sent;
};

void fake_kube_init(struct fake_kube *f);
/* check()s that no call is open. */
void fake_kube_done(struct fake_kube *f);
int64_t fake_kube_now(struct fake_kube *f);
void fake_kube_run(struct fake_kube *f, int64_t ms);
/* Oldest open call whose path contains text, NULL none. */
struct kube_call *fake_kube_find(struct fake_kube *f, const char *text);
uint32_t fake_kube_open(const struct fake_kube *f);
/* End a call with a status and a body, the error made as a transport makes it. */
void fake_kube_reply(struct kube_call *c, int status, const char *body);
void fake_kube_reply_after(struct kube_call *c, int status, const char *body, int64_t retry_after_ms);
/* End a call without an answer. */
void fake_kube_break(struct kube_call *c, enum err_code code, const char *text);
void fake_kube_data(struct kube_call *c, const char *text);
