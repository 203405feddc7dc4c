/* Where a lane stands: read from the database and the stream's tail, or a refusal. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "outbox/relay_lane.h"

/* Makes the lane know its newest batch, how much of it is stored, and the stream's last sequence.
 * Bounds that only the stream tells are stored. Errors: the final ones of resume_decide, epoch-row,
 * epoch-foreign; codes race and pg-23505 when another relay was quicker. */
MUST_CHECK int relay_lane_recover(struct relay_lane *lane, struct pg *pg, struct bus *bus,
                                  struct err *err);
