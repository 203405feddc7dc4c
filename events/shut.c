/* A lane that its own handler has shut: the circuit breaker of one peer among several.
 *
 * Open: nothing is fetched or handled, but for work that goes on. When the pause is over the worker
 * is asked (may_open), then one event is the trial. What the trial's handler does tells: lane_shut
 * again and the pause starts anew, anything else and the lane is open. Only the lane's own thread
 * comes here. */
// SPDX-License-Identifier: Apache-2.0

#include "events/base/clock.h"
#include "events/base/fault.h"
#include "events/log.h"
#include "events/runtime.h"

#define ASK_AGAIN_MS 5000

static void show(struct lane *lane)
{
    struct shut *s = &lane->shut;
    const struct outage outage = {.cause = &s->cause,
                                  .since_us = s->since_us,
                                  .next_probe_ms = s->until_ms,
                                  .failed_probes = s->failures};

    metric_set(s->open, s->shut ? 1 : 0);
    metric_set(s->opened, s->shut ? (double)s->since_us / 1e6 : 0);
    health_set_shut(lane->rt->health, lane->only->spec->durable, s->shut ? &outage : NULL);
}

void lane_shut(struct lane *lane, const struct err *cause, int64_t pause_ms)
{
    struct shut *s = &lane->shut;
    const bool news = !s->shut || strcmp(s->cause.code, cause->code) != 0;

    if (lane->only == NULL || FAULT("lane-never-shut"))
        return;
    s->again = true;
    s->failures = s->shut ? s->failures + 1 : 0;
    s->until_ms = mono_ms() + pause_ms;
    s->cause = *cause;
    if (!s->shut) {
        s->shut = true;
        s->since_us = wall_us();
        metric_add(metric_series(&breaker_trips_def,
                                 (const char *[]){lane->only->spec->durable, cause->code}),
                   1);
    }
    show(lane);
    LOG_AT_(news ? LOG_LEVEL_WARN : LOG_LEVEL_DEBUG, "lane shut, fetching stops",
            LF_STR("consumer", lane->only->spec->durable), LF_STR("code", cause->code),
            LF_STR("op", cause->op), LF_STR("reason", cause->text), LF_I64("pause_ms", pause_ms));
}

bool lane_is_shut(const struct lane *lane)
{
    return lane->shut.shut && !lane->shut.trial;
}

static bool may_open(struct lane *lane)
{
    const struct worker_spec *spec = lane->rt->spec;
    struct err err = ERR_INIT;

    if (spec->may_open == NULL || spec->may_open(lane->context, &err) == 0)
        return true;
    if (err.class == ERR_NONE) {
        lane->shut.shut = true;
        lane->shut.until_ms = mono_ms() + ASK_AGAIN_MS;
        return false;
    }
    if (err.class == ERR_UNAVAILABLE)
        watch_trip(lane->rt->watch, &err);
    lane_shut(lane, &err, err.retry_after_ms > 0 ? err.retry_after_ms : ASK_AGAIN_MS);
    return false;
}

void shut_start(struct lane *lane)
{
    if (lane->only == NULL)
        return;
    const char *const labels[] = {lane->only->spec->durable};

    lane->shut = (struct shut){.open = metric_series(&breaker_open_def, labels),
                               .opened = metric_series(&breaker_opened_def, labels)};
    (void)may_open(lane);
}

bool shut_allows(struct lane *lane, int64_t now_ms, bool *ret_trial)
{
    struct shut *s = &lane->shut;

    *ret_trial = s->trial;
    if (!s->shut || s->trial)
        return true;
    if (now_ms < s->until_ms || !may_open(lane))
        return false;
    s->trial = *ret_trial = true;
    s->again = false;
    return true;
}

void shut_handled(struct lane *lane)
{
    struct shut *s = &lane->shut;

    if (!s->trial)
        return;
    s->trial = false;
    if (s->again)
        return;
    s->shut = false;
    s->failures = 0;
    show(lane);
    log_info("lane open again, fetching goes on", LF_STR("consumer", lane->only->spec->durable),
             LF_STR("code", s->cause.code), LF_I64("shut_ms", (wall_us() - s->since_us) / 1000));
}
