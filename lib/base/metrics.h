/*
 * Prometheus metrics: declared once, changed by the loop thread, written as text.
 * Labels are bounded by the caller: never the name of a pod, a proxy or a namespace.
 */
#pragma once

#include "buf.h"

struct metrics;
struct metric; /* one series */

enum metric_type { METRIC_COUNTER, METRIC_GAUGE };

struct metrics *metrics_new(void);
void metrics_free(struct metrics *m);
/*
 * The series of `name` with these labels; made on first use, lives as long as m. `labels` is the text between the
 * braces already escaped by metrics_label(), or NULL. name begins with meshgate_. help and type are taken from the
 * first call for a name. check()s that names are legal.
 */
struct metric *metric_get(struct metrics *m, enum metric_type type, const char *name, const char *help, const char *labels);
void metric_add(struct metric *x, double v);
void metric_set(struct metric *x, double v);
double metric_value(const struct metric *x);
/* Forget all series of a name (a gauge whose set of labels changes). */
void metric_clear(struct metrics *m, const char *name);
/* Append key="value" with the value escaped; puts a comma before it when b is not empty. */
void metrics_label(struct buf *b, const char *key, const char *value);
/* Text format 0.0.4, families sorted by name. */
void metrics_write(const struct metrics *m, struct buf *out);
