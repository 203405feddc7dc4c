/* Housekeeping of an outbox, in a thread and on a connection of its own, by the active relay:
 * empties slots whose rows are all published and older than the keep time, deletes batches whose
 * rows are gone, and measures what is kept. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/pg.h"
#include "outbox/leader.h"

struct keeper;

struct keeper_options {
    const char *schema;
    int64_t keep_ms;
    int64_t every_ms;
    const struct leader *leader; /* outlives the keeper */
};

MUST_CHECK int keeper_start(struct keeper **ret, const struct pg_options *pg,
                            const struct keeper_options *options, struct err *err);
struct keeper *keeper_stop(struct keeper *k); /* takes NULL */

/* One round, in the caller's thread. *ret_emptied counts slots. */
MUST_CHECK int keeper_round(struct pg *pg, const char *schema, int64_t keep_ms, int *ret_emptied,
                            struct err *err);
