/*
 * Whose pushes are locked on a replica: first the namespace whose syncz has no answer, then the proxy in it whose adsz has
 * none. Says what to ask next and takes what became of it; the reader does the asking, the table of proxies is borrowed.
 *
 * Source: somebody who asks the protobuf syncz can lock a proxy for good (docs/protocol.md). Then the whole syncz, that of
 * the proxy's namespace and its adsz never answer, all else does. Each question that hangs costs istiod a goroutine until
 * the proxy's stream ends: so they are few a round, and a namespace that is known is asked again only every half minute.
 */
#pragma once

#include "agent/replica.h"

/* Deadline of each question of the search. */
#define HUNT_QUESTION_MS 2000
#define HUNT_TEXT 640

struct hunt;

enum hunt_kind {
    HUNT_NOTHING,
    HUNT_NAMESPACE, /* syncz?namespace=; an answer is a reading of it */
    HUNT_PROXY,     /* adsz?proxyID= */
    HUNT_CONTROL,   /* connections: after one that hung, does istiod answer at all? */
};

struct hunt_question {
    enum hunt_kind kind;
    const char *namespace_; /* borrowed until the next call */
    char resource[HUNT_TEXT];
};

enum hunt_result { HUNT_ANSWERED, HUNT_HUNG, HUNT_BROKE };

struct hunt *hunt_new(struct replica *r);
void hunt_free(struct hunt *h);
/* A round begins, `connections` has been read. */
void hunt_round(struct hunt *h);
/* The whole syncz hung: every namespace is to be asked, from this round on. */
void hunt_search(struct hunt *h, int64_t now_ms);
/* A namespace was asked by others than hunt_next(). */
void hunt_namespace(struct hunt *h, const char *namespace_, enum hunt_result x, int64_t now_ms);
/* The next question, HUNT_NOTHING: no more in this round. */
void hunt_next(struct hunt *h, int64_t now_ms, struct hunt_question *q);
/* What became of it. */
void hunt_result(struct hunt *h, enum hunt_result x, int64_t now_ms);
/* The whole syncz has answered: nothing is locked. */
void hunt_clear(struct hunt *h);
/* The whole syncz would hang, or was just found to be slow. */
bool hunt_forbids_syncz(const struct hunt *h, int64_t now_ms);
/* This namespace is known to hang. */
bool hunt_is_blocked(const struct hunt *h, const char *namespace_);
/* What is to be told, proxy "" while it is looked for. */
void hunt_each(const struct hunt *h, void (*fn)(void *ctx, const char *namespace_, const char *proxy, int64_t since_ms),
               void *ctx);
/* Namespaces that were read on their own, and when; only those not told before, unless again. */
void hunt_each_read(struct hunt *h, bool again, void (*fn)(void *ctx, char *namespace_, int64_t read_ms), void *ctx);
