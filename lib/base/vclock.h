/* A struct sched on virtual time: runs nothing by itself, jumps from timer to timer. */
#pragma once

#include "sched.h"

struct vclock;

/* start_wall_ms: what sched_wall() says at the beginning; sched_now() begins at 1. */
struct vclock *vclock_new(int64_t start_wall_ms);
void vclock_free(struct vclock *v);
struct sched *vclock_sched(struct vclock *v);
/* Run all timers due until until_ms in order of time, then of setting; leaves now at until_ms. */
void vclock_run_until(struct vclock *v, int64_t until_ms);
/* Time of the next timer, -1 when none is set. */
int64_t vclock_next(const struct vclock *v);
