/* Runs plans, page by page, in the chores of the consumer lane.
 *
 * A page is one transaction that holds the plan's row: its letters are taken, published, recorded
 * on audit.dlq and settled in the tables. Whoever is killed in between leaves the page as it was,
 * and the next run does it again with the same message ids. So plans need no owner, and memory
 * holds one page. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "workers/dead_letters/context.h"

/* Works for most of a second at most. */
MUST_CHECK int runner_tick(struct dead_letters *dl, struct err *err);
