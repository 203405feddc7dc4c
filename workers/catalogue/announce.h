/* What is announced of a transaction: outbox rows of committed changes, and the flagged copies of
 * risky updates. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "outbox/append.h"
#include "workers/catalogue/work.h"

/* Appends the rows of everything said and parked, in order, after revisions were given. */
MUST_CHECK int announce_all(struct work *w, struct outbox *outbox, size_t *ret_rows,
                            struct err *err);
/* One row about an entity: `<kind>.synced`, or of an anime `anime.created` and `anime.deleted`.
 * changed may be 0. extra headers are the caller's and must live until the append. Rows for
 * `catalog.outbox.enqueue` are made by this, too. -1 = no-memory. */
MUST_CHECK int announce_row(struct arena *arena, enum announcement_kind say, enum entity_kind kind,
                            struct uuid entity, int64_t revision, uint64_t changed,
                            const char *inherited, struct uuid event_id, struct outbox_row *ret,
                            struct err *err);
/* A flagged copy: p's review, copy and reasons, as an event of this id. Headers are arena memory.
 * -1 = no-memory. */
MUST_CHECK int announce_review(struct arena *arena, const struct parked *p, struct uuid anime,
                               struct uuid event_id, struct outbox_row *ret, struct err *err);
