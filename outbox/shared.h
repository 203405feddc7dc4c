/* Publishing to a stream with other writers: one acknowledgement per message. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "outbox/relay_lane.h"

/* Publishes the rows of a page and waits for all acknowledgements; what is sent again inside the
 * stream's duplicate window is stored once. Moves lane->after and lane->stored as far as all are
 * there: after a refusal they stand right before the first row that was refused. */
MUST_CHECK int publish_shared(struct relay_lane *lane, struct bus *bus, const PGresult *page,
                              struct err *err);
