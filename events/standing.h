/* How far a consumer is and how full its stream, as nats-server tells: gauges for /metrics.
 *
 * NaN is what is not known, for an old number would look like a good one. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/bus.h"
#include "events/metrics.h"

struct standing {
    struct metric *pending, *in_hand, *in_hand_limit;
    struct metric *messages, *bytes, *full;
};

/* Makes the series; nothing is known yet. */
void standing_init(struct standing *s, const char *stream, const char *durable);
void standing_unknown(struct standing *s);
/* Two questions to the server; it asks no second one after one that was not answered within
 * timeout_ms. */
void standing_look(struct standing *s, struct bus *bus, const char *stream, const char *durable,
                   int64_t timeout_ms);
