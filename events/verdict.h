/* Verdicts: what a handler says of an event, and what becomes of it (spec dead-letters.md).
 *
 * verdict_decide is pure and is the only place where a verdict turns into ack, nak, dead letter,
 * hold or exit.
 *
 * The budget of deliveries. JetStream counts every delivery, whatever ended it, and tells nobody
 * why; at its max deliver it drops the event for good. So the count alone never says that an event
 * is to blame for the end of a process, and max deliver is out of reach: one delivery for each ack
 * wait (30 s) makes 20,160 in the 7 days that streams keep events. What counts against the event:
 *   - a retry verdict counts; the fifth (give-up-at) is a dead letter. Deliveries 1 and 2 count as
 *     tries whatever they were, later ones when the record (below) shows that they ended with one;
 *     without it each delivery is a try;
 *   - an outage of any length spends one: the breaker is open and nothing is fetched; what was in
 *     hand is kept for its patience, 5 min * 4^(d-1) for delivery d, then goes back by 2 min and is
 *     not delivered before the outage is over. Flapping (answered pings, failed events) ends one
 *     delivery per patience: 2 in an hour, 4 in a day, 6 in the 7 days that streams keep events;
 *   - a fatal exit gives back by 30 s * 4^(d-1), at most 6 h: restarts without end spend 4 in an
 *     hour, 8 in a day, 32 in 7 days;
 *   - a dead letter that can't be stored is held without limit and spends none;
 *   - each orderly end and each kill of the process spends one of what it had in hand;
 *   - a crash is proved by the event's own handlings, which are on record from delivery RECORD_FROM
 *     on (suspect.h). CRASH_HANDLINGS that began and never ended, none that ended between them: a
 *     dead letter of class crash, written before it is handled once more. So a crasher comes 6
 *     times: its first two handlings leave no record, three do, the sixth is not begun;
 *   - without the record (its stream is missing or refuses) a crasher can't be told from what is
 *     in hand beside it: delivery CRASH_LAST_RESORT is the end of both. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/backoff.h"
#include "events/base/err.h"

enum verdict_kind {
    VERDICT_UNSET = 0, /* a handler that forgets one is a bug: treated as retry, logged */
    VERDICT_DONE,
    VERDICT_SKIP, /* duplicate, or not for us */
    VERDICT_RETRY,
    VERDICT_UNCERTAIN,
    VERDICT_REJECT,
    VERDICT_FATAL,
    VERDICT_CRASH, /* the runtime's own: handled again and again without any of the others */
    VERDICT_LATER, /* its work goes on: kept in hand, and the handler is asked again soon */
};

struct verdict {
    enum verdict_kind kind;
    struct err err; /* for the last four kinds */
};

/* The one mapping from errors to verdicts. */
struct verdict verdict_of_err(const struct err *err);
const char *verdict_name(enum verdict_kind kind);

enum settle_action {
    SETTLE_ACK,
    SETTLE_NAK,         /* with delay_ms */
    SETTLE_DEAD_LETTER, /* publish it, await the ack, then term; held when that fails */
    SETTLE_HOLD,        /* a dependency is in trouble: keep with progress until it is back */
    SETTLE_LATER,       /* keep with progress, handle again after delay_ms */
    SETTLE_EXIT,        /* nak with delay_ms, leave the process */
};
struct settlement {
    enum settle_action action;
    int64_t delay_ms;
    const char *dead_letter_class; /* "reject", "retry-exhausted" or "crash" */
};
/* How long a consumer waits between tries, and how often it tries. */
struct retry_pace {
    const int64_t *delays_ms; /* by try; after the last entry the last one stays */
    unsigned n_delays;
    unsigned jitter_percent; /* 20 = +-20 %; 0 = full jitter: anything up to the delay */
    unsigned give_up_at;     /* tries; 0 = the option give-up-at */
};
/* 1 s, 5 s, 30 s, 2 min, full jitter. */
extern const struct retry_pace retry_pace_usual;
/* tries counts from 1: deliveries that count as one. give_up_at is 5 by default. A nak's delay is
 * the pace's, at most longest_ms, or the error's retry_after_ms when that is longer. */
struct settlement verdict_decide(const struct verdict *v, unsigned tries, unsigned give_up_at,
                                 const struct retry_pace *pace, int64_t longest_ms,
                                 struct prng *prng);

/* The server's, for every consumer that does not ask for another. */
#define MAX_DELIVER 100000
#define RECORD_FROM 3
#define CRASH_HANDLINGS 3
#define CRASH_LAST_RESORT 50
/* The event is not handled again: VERDICT_CRASH. begun: its handlings that began and never ended,
 * when they are on record. */
bool verdict_is_crash(unsigned deliveries, bool on_record, unsigned begun);
/* How long an event is kept in hand from its arrival, while what it waits for is away:
 * hold_limit_ms for the first delivery, four times as long for each further one, at most 14 days.
 */
int64_t verdict_patience_ms(unsigned deliveries, int64_t hold_limit_ms);
/* Nak delay of an event that goes back for a trouble which is not its own: after a fatal exit. At
 * most 6 h, so that what was delivered often, beside a crasher, is not kept back until it expires.
 */
int64_t verdict_exit_delay_ms(unsigned deliveries);
/* The same at an orderly end: at once, with a pause from the third delivery on, at most 6 h. */
int64_t verdict_drain_delay_ms(unsigned deliveries);
