/* One route's events become calls of its receiver.
 *
 * Up to `calls` run at once. A batch does not wait for a call that hangs: what is not over when
 * nothing has moved for a while is left running (VERDICT_LATER), and the next batch uses the other
 * places; the event comes back, its call is found by its id. The verdict is given when the
 * attempt is in the log, so an attempt that could not be recorded keeps its outcome until it is,
 * and the receiver is not called again for it. Whatever ends the process between call and
 * acknowledgement, the event is delivered again under the same webhook-id. */
// SPDX-License-Identifier: Apache-2.0

#include "events/base/clock.h"
#include "events/base/fault.h"
#include "events/log.h"
#include "workers/adapter/adapter.h"

/* A batch stays for its calls while they are this quick. */
#define QUIET_MS 250
#define LATER_MS 100
#define SHUT_LATER_MS 1000
/* A breaker's pause doubles up to so many times the first one; 401 and 403 begin there. */
#define PAUSE_MOST 10
#define DISABLED_PAUSE_MS 2000

static const int64_t delays_ms[] = {5000,    30000,   120000,   600000,  1800000,
                                    3600000, 7200000, 14400000, 28800000};
const struct retry_pace deliver_pace = {.delays_ms = delays_ms,
                                        .n_delays = ARRAY_LEN(delays_ms),
                                        .jitter_percent = 20,
                                        .give_up_at = ARRAY_LEN(delays_ms) + 1};

enum step { NEW, RUNNING, OVER, SETTLED };
struct item {
    enum step step;
    struct uuid id;
    struct http_outcome outcome;
    char answer[EXCERPT_MAX + 1];
};
struct work {
    struct adapter *a;
    struct batch *batch;
    struct item items[ADAPTER_BATCH];
    size_t n_new, n_running;
};

static const char *header_of(const void *ctx, const char *name)
{
    return event_header(ctx, name);
}

static struct original original_of(const struct event *e)
{
    return (struct original){.subject = event_came_on(e),
                             .message = e->message,
                             .time_us = e->time_us,
                             .stored_us = e->stored_us,
                             .sequence = e->stream_sequence,
                             .header = header_of,
                             .ctx = e};
}

static void settle(struct work *w, size_t i, struct verdict verdict)
{
    w->batch->verdicts[i] = verdict;
    w->items[i].step = SETTLED;
}

static void start(struct work *w, size_t i)
{
    struct event *e = &w->batch->events[i];
    const struct original o = original_of(e);
    struct buf body CLEANUP(buf_deinit) = {.max = BODY_MAX};
    struct err err = ERR_INIT;

    w->n_new--;
    if (body_build(w->a->route, &o, w->items[i].id, &body, &err) < 0 ||
        destination_send(w->a->pool, &w->a->secrets, w->items[i].id, buf_view(&body), &e->trace,
                         &err) < 0) {
        settle(w, i, verdict_of_err(&err));
        return;
    }
    KILL_POINT("webhook-started");
    w->items[i].step = RUNNING;
    w->n_running++;
}

/* Rests the route when its receiver fails again and again, or won't have us. */
static void note_failure(struct adapter *a, const struct item *item, const struct err *err)
{
    const struct settings *s = a->settings;
    const bool auth = judge(&item->outcome, s->only_202) == JUDGED_AUTH;

    a->failures++;
    if (!auth && a->failures < s->breaker_after)
        return;
    const int64_t over = (int64_t)a->failures - s->breaker_after;
    const int64_t times = auth || over >= 4 ? PAUSE_MOST : over < 0 ? 1 : (int64_t)1 << over;
    lane_shut(a->lane, err, s->breaker_pause_ms * (times < PAUSE_MOST ? times : PAUSE_MOST));
}

/* Right when the call is seen to be over: later its place may be another's. One whose record failed
 * is seen again, and counts once. */
static void note_outcome(struct adapter *a, struct item *item)
{
    const enum judgement j = judge(&item->outcome, a->settings->only_202);
    struct err err = ERR_INIT;

    if (j != JUDGED_DELIVERED && item->outcome.status != 0)
        destination_answer(a->pool, &a->secrets, item->id, item->answer);
    if (item->outcome.seen)
        return;
    metric_add(a->attempts[j], 1);
    metric_observe(a->seconds, (double)item->outcome.ms / 1000);
    if (j == JUDGED_DELIVERED || j == JUDGED_REFUSED) {
        a->failures = 0;
        return;
    }
    judgement_err(j, &item->outcome, "webhook", lane_config(a->lane)->retry_longest_ms, &err);
    if (j != JUDGED_GONE)
        note_failure(a, item, &err);
}

/* What each event's call is doing, if it has one from before. */
static void begin(struct work *w)
{
    for (size_t i = 0; i < w->batch->n; i++) {
        struct item *item = &w->items[i];
        const struct original o = original_of(&w->batch->events[i]);
        struct err err = ERR_INIT;

        if (body_id(w->a->route, &o, &item->id, &err) < 0) {
            settle(w, i, verdict_of_err(&err));
            continue;
        }
        switch (http_pool_look(w->a->pool, item->id, &item->outcome)) {
        case HTTP_UNKNOWN:
            item->step = NEW;
            w->n_new++;
            break;
        case HTTP_RUNNING:
            item->step = RUNNING;
            w->n_running++;
            break;
        case HTTP_OVER:
            item->step = OVER;
            note_outcome(w->a, item);
            break;
        }
    }
}

/* Of risky updates only the copies that the catalogue made itself are told. */
static void leave_out_forged(struct work *w)
{
    struct uuid ids[ADAPTER_BATCH];
    bool announced[ADAPTER_BATCH];
    struct err err = ERR_INIT;

    if (w->a->route != ROUTE_RISK || w->n_new == 0)
        return;
    for (size_t i = 0; i < w->batch->n; i++)
        ids[i] = w->items[i].id;
    const bool asked = record_announced(w->a->pg, ids, w->batch->n, announced, &err) == 0;
    for (size_t i = 0; i < w->batch->n; i++) {
        if (w->items[i].step != NEW || (asked && announced[i]))
            continue;
        w->n_new--;
        settle(w, i, asked ? (struct verdict){.kind = VERDICT_SKIP} : verdict_of_err(&err));
        if (asked) {
            char event[UUID_TEXT];
            uuid_format(ids[i], event);
            log_warn("not a copy of the catalogue's, in spite of its header: skipped",
                     LF_STR("event", event));
        }
    }
}

/* True when a call has come to an end. */
static bool collect(struct work *w)
{
    bool any = false;

    for (size_t i = 0; i < w->batch->n; i++) {
        struct item *item = &w->items[i];

        if (item->step != RUNNING ||
            http_pool_look(w->a->pool, item->id, &item->outcome) != HTTP_OVER)
            continue;
        item->step = OVER;
        w->n_running--;
        note_outcome(w->a, item);
        any = true;
    }
    return any;
}

static void start_new(struct work *w)
{
    for (size_t i = 0; i < w->batch->n && http_pool_has_room(w->a->pool); i++) {
        if (lane_is_shut(w->a->lane))
            return;
        if (w->items[i].step == NEW)
            start(w, i);
    }
}

static void call_receiver(struct work *w)
{
    int64_t moved_ms = mono_ms();

    for (;;) {
        const size_t waiting = w->n_new;

        start_new(w);
        if (collect(w) || w->n_new != waiting)
            moved_ms = mono_ms();
        const bool stopped = w->n_new > 0 && lane_is_shut(w->a->lane);
        if (w->n_running == 0 && (w->n_new == 0 || stopped))
            return;
        if (mono_ms() - moved_ms >= QUIET_MS)
            return;
        http_pool_wait(w->a->pool, QUIET_MS);
    }
}

/* About when the runtime will try it again: its pace has jitter. */
static int64_t next_try_us(const struct adapter *a, const struct event *e, const struct err *err)
{
    const unsigned n =
        e->deliveries < deliver_pace.n_delays ? e->deliveries : deliver_pace.n_delays;
    const int64_t longest = lane_config(a->lane)->retry_longest_ms;
    const int64_t base = delays_ms[n - 1] < longest ? delays_ms[n - 1] : longest;

    if (err->class == ERR_REJECT || e->deliveries >= deliver_pace.give_up_at)
        return 0;
    return wall_us() + (err->retry_after_ms > base ? err->retry_after_ms : base) * 1000;
}

static int disable(struct adapter *a, struct err *err)
{
    struct err gone = ERR_INIT;
    static const char reason[] = "the receiver answered 410";

    if (record_disable(a->pg, a->route, reason, "echora-adapter", err) < 0)
        return -1;
    metric_set(a->disabled, 1);
    err_set(&gone, ERR_RETRY, "route-disabled", "webhook",
            "%s; `echora webhook enable %s` enables the route", reason, route_name(a->route));
    lane_shut(a->lane, &gone, DISABLED_PAUSE_MS);
    return 0;
}

static struct verdict verdict_of(const struct adapter *a, const struct item *item)
{
    const enum judgement j = judge(&item->outcome, a->settings->only_202);
    struct err err = ERR_INIT;

    if (j == JUDGED_DELIVERED)
        return (struct verdict){.kind = VERDICT_DONE};
    judgement_err(j, &item->outcome, "webhook", lane_config(a->lane)->retry_longest_ms, &err);
    return verdict_of_err(&err);
}

/* The events stay as they are until it works: what PostgreSQL finds wrong with a row of the log is
 * no fault of theirs. */
static void not_recorded(struct adapter *a, struct err *err)
{
    metric_add(a->unrecorded, 1);
    if (err->class == ERR_REJECT)
        err->class = ERR_RETRY;
    log_err(LOG_LEVEL_WARN, "attempts not recorded, they are kept and tried again", err);
}

/* Writes the attempts that are over into the log, then gives their verdicts. */
static void conclude(struct work *w)
{
    struct adapter *a = w->a;
    struct attempt attempts[ADAPTER_BATCH];
    size_t over[ADAPTER_BATCH], n = 0;
    struct err err = ERR_INIT;
    bool gone = false;

    for (size_t i = 0; i < w->batch->n; i++) {
        const struct item *item = &w->items[i];
        const struct event *e = &w->batch->events[i];

        if (item->step != OVER)
            continue;
        const struct verdict v = verdict_of(a, item);
        const enum judgement j = judge(&item->outcome, a->settings->only_202);
        attempts[n] = (struct attempt){
            .webhook_id = item->id,
            .stream_sequence = e->stream_sequence,
            .started_us = wall_us() - item->outcome.ms * 1000,
            .outcome = item->outcome,
            .judgement = j,
            .next_us = j == JUDGED_DELIVERED ? 0 : next_try_us(a, e, &v.err),
            .trigger = "event",
            .asked_by = "",
            .answer = item->answer,
        };
        gone |= j == JUDGED_GONE;
        over[n++] = i;
    }
    KILL_POINT("webhook-over");
    const char *stream = consumer_stream(w->batch->consumer);
    const bool recorded = (n == 0 || FAULT("attempts-unrecorded") ||
                           record_attempts(a->pg, a->route, stream, attempts, n, &err) == 0) &&
                          (!gone || disable(a, &err) == 0);
    KILL_POINT("webhook-recorded");
    if (!recorded)
        not_recorded(a, &err);
    for (size_t k = 0; k < n; k++) {
        const size_t i = over[k];

        if (recorded)
            http_pool_forget(a->pool, w->items[i].id);
        settle(w, i, recorded ? verdict_of(a, &w->items[i]) : verdict_of_err(&err));
    }
}

void deliver_batch(void *context, struct batch *batch)
{
    struct work w = {.a = context, .batch = batch};

    begin(&w);
    leave_out_forged(&w);
    call_receiver(&w);
    conclude(&w);
    const int64_t later = lane_is_shut(w.a->lane) ? SHUT_LATER_MS : LATER_MS;
    batch_set_rest(batch,
                   (struct verdict){.kind = VERDICT_LATER, .err = {.retry_after_ms = later}});
}
