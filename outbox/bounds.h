/* A batch's bounds as text, the header Echora-Batch of the first message of a batch that was
 * published before its bounds were stored:
 *
 *     rows first-id last-id prev-snapshot cur-snapshot
 *
 * The batch's number stands in the message's position, its start is the sequence before the
 * message's. Such a batch has no stragglers. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "outbox/batch.h"

/* With its NUL. Longer bounds (very many open transactions) don't travel. */
#define BOUNDS_MAX 1024

/* False when they are too long, or there are stragglers. */
MUST_CHECK bool bounds_format(const struct outbox_batch *b, char out[static BOUNDS_MAX]);

/* Sets n_rows, first_id, last_id, prev, cur, and no stragglers; all else stays. False, and *ret may
 * be set in part, when the text is not what bounds_format writes, or memory is short. */
MUST_CHECK bool bounds_parse(struct view text, struct outbox_batch *ret);
