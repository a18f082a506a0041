/*
 * One agent's stream: identity by TokenReview, limits, sequence, acknowledgement -> evidence or a counted drop.
 * And the assignment of istiod replicas to reader agents (rendezvous hashing over live agents, same zone preferred).
 */
#pragma once

#include "../lib/base/metrics.h"
#include "evidence.h"
#include "gate.h"
#include "inventory.h"

struct sessions;

struct sessions_opts {
    const struct gate_opts *gate;
    struct kube *kube;
    struct metrics *metrics;
    struct evidence *evidence;
    struct inventory_watch *inventory;
    void (*changed)(void *ctx); /* evidence or the set of agents changed */
    void *ctx;
};

struct sessions *sessions_new(const struct sessions_opts *opts);
void sessions_free(struct sessions *s);
struct session *session_open(struct sessions *s, const char *authorization, const struct session_ops *ops, void *peer);
void session_message(struct session *x, const struct piece *pieces, size_t n);
void session_closed(struct session *x);
/* Recompute who reads what and tell those for whom it changed. focus: namespaces that move or soak (borrowed). */
void sessions_assign(struct sessions *s, const char *const *focus, size_t n_focus, bool idle);
/* Have the whole syncz of a replica read soon. */
void sessions_audit(struct sessions *s, const char *replica);
/* Node of the live reader of a replica, or NULL. */
const char *sessions_reader(const struct sessions *s, const char *replica);
/* Node that takes over when the reader brings no word, or NULL. */
const char *sessions_standby(const struct sessions *s, const char *replica);
size_t sessions_count(const struct sessions *s);
