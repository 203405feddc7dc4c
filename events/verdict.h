/* Verdicts: what a handler says of an event, and what becomes of it (spec dead-letters.md).
 *
 * verdict_decide is pure and is the only place where a verdict turns into ack, nak, dead letter,
 * hold or exit. */
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
    SETTLE_DEAD_LETTER, /* publish it, await the ack, then term; nak when that fails */
    SETTLE_HOLD,        /* a dependency is in trouble: keep with progress until it is back */
    SETTLE_EXIT,        /* nak with 30 s, leave the process */
};
struct settlement {
    enum settle_action action;
    int64_t delay_ms;
    const char *dead_letter_class; /* "reject" or "retry-exhausted" */
};
/* deliveries counts from 1; give_up_at is 5 by default. Delays: 1 s, 5 s, 30 s, 2 min, full jitter,
 * or the error's retry_after_ms when that is longer. */
struct settlement verdict_decide(const struct verdict *v, unsigned deliveries, unsigned give_up_at,
                                 struct prng *prng);
