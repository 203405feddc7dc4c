/* What became of events that a replay published: seen from outside, without a word of their
 * consumer.
 *
 * A consumer has settled everything up to its acknowledgement floor, and a worker stores a dead
 * letter before it settles the event. So what lies below the floor is done, unless the index, when
 * it holds all that was stored by then, has a letter of this event. Events of the relay's stream
 * are first searched there by their headers. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "workers/dead_letters/context.h"

/* Settles what can be settled of a plan, until the time (mono_ms) is over. */
MUST_CHECK int outcome_resolve(struct dead_letters *dl, struct uuid plan, int64_t until_ms,
                               struct err *err);
