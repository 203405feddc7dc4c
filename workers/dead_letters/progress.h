/* How far consumers are, as the server tells. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/bus.h"

struct consumer_progress {
    uint64_t settled_up_to; /* everything up to this sequence is acked or terminated */
    uint64_t delivered_up_to;
    int64_t pending, in_hand;
};

MUST_CHECK int progress_of(struct bus *bus, const char *stream, const char *consumer,
                           struct consumer_progress *ret, struct err *err);
MUST_CHECK int progress_of_index(struct bus *bus, struct consumer_progress *ret, struct err *err);
/* Everything that ANIME_DLQ held when this was called is in the index. */
MUST_CHECK int progress_index_complete(struct bus *bus, bool *ret, struct err *err);
