// SPDX-License-Identifier: Apache-2.0
#include "events/hold.h"

#include "events/base/clock.h"
#include "events/base/fault.h"

/* So often is an event held together with others; then alone, with pauses. */
#define HOLDS_TOGETHER 3
#define HOLD_PAUSE_MS 500
#define HOLD_PAUSE_MAX_MS 30000
/* So often it fails alone, while others are done with, until the trouble is its own. */
#define OWN_TROUBLE 3

/* A disk may be full for one event and not for the next, which needs no new page; no event is to
 * blame for it, nor for connections that ran out. Nor for an index that acknowledges a write and
 * does not do it: Qdrant's engine, killed while it wrote, did so for some points for minutes. */
static bool is_never_own(const struct err *err)
{
    static const char *const codes[] = {"pg-53100", "pg-53300", "qdrant-acknowledged",
                                        "not-settled"};

    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        if (strcmp(err->code, codes[i]) == 0)
            return !FAULT("full-is-own-trouble");
    }
    return false;
}

bool hold_is_own_trouble(const struct binding *b, struct held *h, const struct err *cause)
{
    const uint64_t done = atomic_load(&b->done);

    if (is_never_own(cause))
        return false;
    h->failed_alone = h->alone && h->holds > 0 && done != h->done_then ? h->failed_alone + 1 : 0;
    h->done_then = done;
    return h->failed_alone >= OWN_TROUBLE && !FAULT("own-trouble-held");
}

/* A dependency that answers pings and fails this event again and again: the event may be the cause.
 * Handled alone and less often, it holds up nobody else; what is innocent passes. */
static void note_hold(struct runtime *rt, struct held *h, const struct err *cause)
{
    h->holds++;
    if (h->holds < HOLDS_TOGETHER && !h->alone)
        return;
    if (h->holds >= HOLDS_TOGETHER && h->stuck == DEP_NONE && !FAULT("stuck-unseen")) {
        h->stuck = cause->dependency;
        watch_stuck(rt->watch, cause);
    }
    h->alone = true;
    const int64_t pause = (int64_t)h->holds * HOLD_PAUSE_MS;
    h->not_before_ms = mono_ms() + (pause < HOLD_PAUSE_MAX_MS ? pause : HOLD_PAUSE_MAX_MS);
}

/* A peer asked for a pause (Retry-After). A peer that asks for more than hold-limit gets that, then
 * it is asked again. */
static void pause_source(const struct runtime *rt, struct source *s, int64_t delay_ms)
{
    const int64_t most_ms = rt->config->hold_limit_ms;

    s->handle_after_ms = mono_ms() + (delay_ms < most_ms ? delay_ms : most_ms);
}

void hold_event(struct intake *in, struct source *s, const struct settled *item)
{
    struct runtime *rt = in->lane->rt;
    struct held *h = item->held;

    if (!FAULT("held-event-blocks"))
        intake_clear_suspect(in, h);
    h->until_ms = INT64_MAX;
    if (!h->letter_waits) {
        watch_trip(rt->watch, &item->verdict->err);
        if (item->settlement.delay_ms > 0)
            pause_source(rt, s, item->settlement.delay_ms);
        note_hold(rt, h, &item->verdict->err);
        h->until_ms =
            h->received_ms + verdict_patience_ms(h->delivery.deliveries, rt->config->hold_limit_ms);
    }
    progress_set_end(rt->progress, &h->lease, h->until_ms);
}
