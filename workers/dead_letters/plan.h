/* Plans: exact lists of letters, made from a filter once, then run, stopped and run again.
 *
 * All state stands in schema ops, so any process may go on with a plan after any end of another. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "workers/dead_letters/context.h"

/* Plans for a reply: the one named, or (id NULL) the newest 5. ERR_REJECT no-plan. */
MUST_CHECK int plan_load(struct dead_letters *dl, const struct uuid *id, struct arena *arena,
                         DlqPlan ***ret, size_t *ret_n, struct err *err);
/* Ends a run: state "stopped" or "done". ERR_REJECT no-plan when it could not run anyway. */
MUST_CHECK int plan_end(struct dead_letters *dl, struct uuid id, const char *state,
                        const char *reason, struct arena *arena, struct err *err);
