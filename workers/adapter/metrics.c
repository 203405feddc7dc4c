/* What is counted of a route's calls. How long events wait: waiting.c. */
// SPDX-License-Identifier: Apache-2.0

#include "workers/adapter/adapter.h"

/* Beyond the longest call-timeout, so that a call that was cut off has a place of its own. */
static const double seconds_buckets[] = {0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1,  2.5, 5,
                                         7.5,  10,    15,   20,  30,   45,  60, 0};

static const struct metric_def attempts_def = {"echora_webhook_attempts_total", METRIC_COUNTER,
                                               "Calls of receivers by what their answer means.",
                                               "route,class", NULL};
static const struct metric_def seconds_def = {"echora_webhook_seconds", METRIC_HISTOGRAM,
                                              "Time of one call.", "route", seconds_buckets};
static const struct metric_def limit_def = {
    "echora_webhook_time_limit_seconds", METRIC_GAUGE,
    "Longest time of one call (call-timeout); then it has failed.", "route", NULL};
static const struct metric_def unrecorded_def = {
    "echora_webhook_unrecorded_total", METRIC_COUNTER,
    "Times that the log in PostgreSQL did not take attempts; they are kept and tried again.",
    "route", NULL};
static const struct metric_def disabled_def = {
    "echora_webhook_route_disabled", METRIC_GAUGE,
    "1 while nothing is sent because the receiver answered 410; a person enables the route.",
    "route", NULL};

void adapter_make_metrics(struct adapter *a)
{
    const char *const route[] = {route_name(a->route)};

    for (enum judgement j = JUDGED_DELIVERED; j < JUDGED_MAX; j++)
        a->attempts[j] = metric_series(&attempts_def, (const char *[]){*route, judgement_name(j)});
    a->seconds = metric_series(&seconds_def, route);
    a->unrecorded = metric_series(&unrecorded_def, route);
    a->disabled = metric_series(&disabled_def, route);
    metric_set(metric_series(&limit_def, route), (double)a->settings->call_timeout_ms / 1000);
}
