/* Prometheus metrics: a static table per room, updated by atomics, rendered as text.
 *
 * A metric is declared once with METRIC_*; label values are bounded and given when a series is
 * made, at start, never per event. So an update is one atomic addition. The reference page is
 * generated from the same registrations. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/buf.h"

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric_def {
    const char *name; /* "echora_events_total" */
    enum metric_kind kind;
    const char *help;
    const char *labels;    /* comma separated label names, "" = none */
    const double *buckets; /* histograms: upper bounds in seconds, ended by 0; NULL = default
                              latency buckets */
};

struct metric; /* one series */

/* Makes (or finds) the series with these label values, in the order of def->labels. Lives for ever.
 * Never NULL: when memory or the limit of 4,096 series is spent, a dead series that is not
 * rendered. */
struct metric *metric_series(const struct metric_def *def, const char *const label_values[]);
void metric_add(struct metric *m, double amount); /* counters and gauges */
void metric_set(struct metric *m, double value);  /* gauges */
void metric_observe(struct metric *m, double seconds);
double metric_value(const struct metric *m);

/* Every series registered so far, Prometheus text format 0.0.4, with process_* and
 * echora_build_info. */
void metrics_render(struct buf *out);
