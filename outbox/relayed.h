/* A stored message as its relay wrote it: where it comes from. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/buf.h"
#include "events/bus.h"

struct relayed {
    bool kept;         /* there is a message of this sequence (any more) */
    bool has_position; /* and it says where it comes from: batch and id of its row */
    int64_t batch, id;
    struct view event_id, bounds; /* Echora-Event-Id, Echora-Batch; empty when absent */
    struct buf headers;           /* what the views point into */
};

/* relayed_deinit is to be called whatever comes of it. */
MUST_CHECK int relayed_look(struct bus *bus, const char *stream, uint64_t sequence,
                            struct relayed *ret, struct err *err);
void relayed_deinit(struct relayed *r);
