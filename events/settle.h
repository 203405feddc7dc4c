/* From verdicts to the broker: ack, delayed nak, dead letter and term. The only place that sends
 * them. Acks are ordinary publishes: on their way when these return, not yet received. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/event.h"
#include "events/intake.h"

/* What became of one event of a batch. */
struct settled {
    struct held *held;
    const struct event *event;
    const struct verdict *verdict;
    struct settlement settlement;
    enum outcome outcome;
    bool not_for_us;
};

void settle_ack(struct bus *bus, const char *ack_subject);
void settle_nak(struct bus *bus, const char *ack_subject, int64_t delay_ms);
/* Progress. */
void settle_wpi(struct bus *bus, const char *ack_subject);

/* Sends what items[].settlement says for all but SETTLE_HOLD and SETTLE_LATER (the caller puts
 * those back). Dead letters of the batch go out together; the settlement of one that is not stored
 * becomes SETTLE_HOLD, with held->letter_waits, and the dead-letter stream's breaker is open.
 * Writes outcomes. The arena needs room for the headers of the dead letters. */
void settle_batch(struct lane *lane, struct binding *b, struct settled items[], size_t n,
                  struct arena *arena);
