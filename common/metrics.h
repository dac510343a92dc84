// SPDX-License-Identifier: MIT
/*
 * Counters, gauges and histograms, shown as Prometheus text (exposition format 0.0.4).
 *
 * Metrics are made once, at start, and live for ever. Names: chat_<svc>_<noun>_<unit>. Changing one
 * is an atomic operation: any thread, no lock. In standalone all services share the registry;
 * asking for a name with the same labels again returns the same metric.
 */
#pragma once

#include "common/buf.h"

#include <stdint.h>

struct metric;

/* labels: `method="Login",lane="slow"`, or NULL. Both strings are copied. */
struct metric *metrics_counter(const char *name, const char *help, const char *labels);
struct metric *metrics_gauge(const char *name, const char *help, const char *labels);
/* A histogram of microseconds, shown in seconds; buckets from 100 µs to 10 s, four per decade… */
struct metric *metrics_histogram_us(const char *name, const char *help, const char *labels);
/* …and one of counts (batch sizes, queue lengths): powers of two from 1 to 65536. */
struct metric *metrics_histogram_count(const char *name, const char *help, const char *labels);
/* A gauge that is asked when it is shown; read runs on the admin thread. */
void metrics_gauge_fn(const char *name, const char *help, const char *labels,
                      double (*read)(void *arg), void *arg);

void metric_add(struct metric *m, int64_t n); /* counters: n >= 0; gauges: any */
void metric_inc(struct metric *m);
void metric_set(struct metric *m, int64_t value);     /* gauges */
void metric_observe(struct metric *m, int64_t value); /* histograms; in their unit */
int64_t metric_value(const struct metric *m);         /* counters, gauges; histograms: count */
/* The value below which the given share (0 to 1) of observations lies, from the buckets. */
int64_t metric_quantile(const struct metric *m, double share);

void metrics_show(struct buf *out);
