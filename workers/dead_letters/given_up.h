/* The dead letter of an event that the server gave up delivering, with nobody alive to write it:
 * what the sweeper and reconciliation have in common. It has the identity that the worker's own
 * would have, so there is one, whoever is first. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "workers/dead_letters/context.h"

struct given_up {
    char stream[64], consumer[64];
    uint64_t sequence;
    unsigned deliveries;
};

/* Streams whose consumers are this worker's own: a letter about a letter helps nobody. */
bool given_up_is_own(const char *stream);
/* How it became known. */
enum given_up_by { GIVEN_UP_ADVISORY, GIVEN_UP_RECONCILED };
/* decode: for the entity's id; not when decoding it may be what ended us. An event that is no
 * longer in its stream gets no letter. *ret_new: one was stored, and there was none. */
MUST_CHECK int given_up_write(struct dead_letters *dl, const struct given_up *event,
                              enum given_up_by by, bool decode, struct arena *arena, bool *ret_new,
                              struct err *err);
