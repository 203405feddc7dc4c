/* The index of dead letters in PostgreSQL, kept from ANIME_DLQ alone (consumer dlq-index).
 *
 * A letter is a row by its identity, so repeats change nothing; the rows may be deleted at any time
 * and come again from a consumer made anew. What cannot be indexed is logged and left in the
 * stream: a dead letter about a dead letter would only repeat the trouble. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "workers/dead_letters/context.h"

#define INDEX_CONSUMER "dlq-index"

handle_fn index_letters;
/* Empties the index when the stream is another one than it was made from, and drops what the
 * stream no longer holds, a part at a time. */
MUST_CHECK int index_follow_stream(struct dead_letters *dl, struct err *err);
