/* The table of spec dead-letters.md as code. */
// SPDX-License-Identifier: Apache-2.0

#include "events/verdict.h"

#include "events/base/fault.h"

#define EXIT_NAK_MS 30000
#define PATIENCE_LONGEST_MS ((int64_t)14 * 24 * 3600 * 1000)
/* Well within the 7 days that streams keep events, however often one has been delivered. */
#define PAUSE_LONGEST_MS ((int64_t)6 * 3600 * 1000)
#define DRAIN_PAUSE_MS 1000

/* When a handler's unfinished work is looked at again, unless it says otherwise. */
#define LATER_MS 100

/* No server-side BackOff: it would replace the ack wait by its first step and add itself to every
 * delayed nak. */
static const int64_t usual_ms[] = {1000, 5000, 30000, 120000};
const struct retry_pace retry_pace_usual = {.delays_ms = usual_ms, .n_delays = ARRAY_LEN(usual_ms)};

struct verdict verdict_of_err(const struct err *err)
{
    struct verdict v = {.err = *err};

    switch (err->class) {
    case ERR_UNCERTAIN:
        v.kind = VERDICT_UNCERTAIN;
        break;
    case ERR_REJECT:
        v.kind = VERDICT_REJECT;
        break;
    case ERR_FATAL:
        v.kind = VERDICT_FATAL;
        break;
    case ERR_NONE: /* a failure without a class: keep the event and show the fault */
    case ERR_RETRY:
    case ERR_UNAVAILABLE:
        v.kind = VERDICT_RETRY;
        break;
    }
    return v;
}

const char *verdict_name(enum verdict_kind kind)
{
    static const char *const names[] = {
        [VERDICT_UNSET] = "unset", [VERDICT_DONE] = "done",           [VERDICT_SKIP] = "skip",
        [VERDICT_RETRY] = "retry", [VERDICT_UNCERTAIN] = "uncertain", [VERDICT_REJECT] = "reject",
        [VERDICT_FATAL] = "fatal", [VERDICT_CRASH] = "crash",         [VERDICT_LATER] = "later",
    };
    return (unsigned)kind < ARRAY_LEN(names) ? names[kind] : "unset";
}

static int64_t with_jitter(int64_t base, unsigned percent, struct prng *prng)
{
    const int64_t spread = percent == 0 ? base : 2 * base * percent / 100;

    return base - (percent == 0 ? base : spread / 2) +
           (int64_t)prng_below(prng, (uint64_t)spread + 1);
}

static int64_t retry_delay(const struct err *err, unsigned tries, const struct retry_pace *pace,
                           int64_t longest_ms, struct prng *prng)
{
    const unsigned step = tries > 0 ? tries - 1 : 0;
    if (FAULT("pace-ignored"))
        return 0;
    const int64_t base = pace->delays_ms[step < pace->n_delays ? step : pace->n_delays - 1];
    const int64_t most = base < longest_ms ? base : longest_ms;
    const int64_t delay = with_jitter(most, pace->jitter_percent, prng);

    if (err->retry_after_ms > delay)
        return err->retry_after_ms;
    return delay > 0 ? delay : 1;
}

/* first_ms, then four times as long each time. */
static int64_t grown(int64_t first_ms, unsigned steps, int64_t longest_ms)
{
    int64_t ms = first_ms;

    while (steps-- > 0 && ms < longest_ms)
        ms *= 4;
    return ms < longest_ms ? ms : longest_ms;
}

bool verdict_is_crash(unsigned deliveries, bool on_record, unsigned begun)
{
    if (FAULT("crash-by-deliveries"))
        return deliveries >= RECORD_FROM + CRASH_HANDLINGS;
    return on_record ? begun >= CRASH_HANDLINGS : deliveries >= CRASH_LAST_RESORT;
}

int64_t verdict_patience_ms(unsigned deliveries, int64_t hold_limit_ms)
{
    return grown(hold_limit_ms, deliveries > 0 ? deliveries - 1 : 0, PATIENCE_LONGEST_MS);
}

int64_t verdict_exit_delay_ms(unsigned deliveries)
{
    return grown(EXIT_NAK_MS, deliveries > 0 ? deliveries - 1 : 0, PAUSE_LONGEST_MS);
}

int64_t verdict_drain_delay_ms(unsigned deliveries)
{
    return deliveries < 3 ? 0 : grown(DRAIN_PAUSE_MS, deliveries - 3, PAUSE_LONGEST_MS);
}

struct settlement verdict_decide(const struct verdict *v, unsigned tries, unsigned give_up_at,
                                 const struct retry_pace *pace, int64_t longest_ms,
                                 struct prng *prng)
{
    switch (v->kind) {
    case VERDICT_DONE:
    case VERDICT_SKIP:
        return (struct settlement){.action = SETTLE_ACK};
    case VERDICT_REJECT:
        return (struct settlement){.action = SETTLE_DEAD_LETTER, .dead_letter_class = "reject"};
    case VERDICT_FATAL:
        return (struct settlement){.action = SETTLE_EXIT, .delay_ms = verdict_exit_delay_ms(tries)};
    case VERDICT_CRASH:
        return (struct settlement){.action = SETTLE_DEAD_LETTER, .dead_letter_class = "crash"};
    case VERDICT_LATER:
        return (struct settlement){.action = SETTLE_LATER,
                                   .delay_ms = v->err.retry_after_ms > 0 ? v->err.retry_after_ms
                                                                         : LATER_MS};
    case VERDICT_UNSET:
    case VERDICT_RETRY:
    case VERDICT_UNCERTAIN:
        break;
    }
    /* Without a name there is nothing to probe, so it counts like any other trouble. */
    if (v->kind == VERDICT_RETRY && v->err.class == ERR_UNAVAILABLE &&
        v->err.dependency != DEP_NONE && !FAULT("outage-counts"))
        return (struct settlement){.action = SETTLE_HOLD, .delay_ms = v->err.retry_after_ms};
    if (tries >= (pace->give_up_at > 0 ? pace->give_up_at : give_up_at))
        return (struct settlement){.action = SETTLE_DEAD_LETTER,
                                   .dead_letter_class = "retry-exhausted"};
    return (struct settlement){.action = SETTLE_NAK,
                               .delay_ms = retry_delay(&v->err, tries, pace, longest_ms, prng)};
}
