/* Filling a collection from the catalogue, without events: for a new collection beside the one that
 * is served. What is there and right already stays, so that a fill which was broken off goes on. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "workers/qdrant/sync.h"

struct refill_page {
    size_t seen;    /* things of the catalogue */
    size_t written; /* of these, what the collection did not have */
    size_t refused; /* what can't be a point, and so is in no collection */
    bool more;
    struct uuid last;
};
/* The next ids in id order; after NULL = from the start. The arena is reset. */
MUST_CHECK int refill_page(struct sync *s, struct arena *arena, enum doc_kind kind,
                           const struct uuid *after, struct refill_page *ret, struct err *err);
