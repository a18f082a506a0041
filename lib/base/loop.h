/*
 * The event loop of a program: libuv, one thread that owns all state. It is a struct sched, and it gives its uv_loop_t
 * to the few modules that have file descriptors (lib/rpc, lib/kube's transport, lib/admin, probes).
 */
#pragma once

#include <uv.h>

#include "sched.h"

struct loop;

struct loop *loop_new(void);
/* All handles of others must be closed. */
void loop_free(struct loop *l);
struct sched *loop_sched(struct loop *l);
uv_loop_t *loop_uv(struct loop *l);
/* Run until loop_stop(). */
void loop_run(struct loop *l);
void loop_stop(struct loop *l);
/* Call fn for SIGTERM and SIGINT, on the loop. */
void loop_on_stop_signal(struct loop *l, void (*fn)(void *ctx), void *ctx);
/* Call fn on the loop thread soon; the only function here that other threads may call. fn must not block. */
void loop_post(struct loop *l, void (*fn)(void *ctx), void *ctx);
