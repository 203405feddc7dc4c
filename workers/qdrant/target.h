/* One step of sync: a few entities, read, compared and written together. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "workers/qdrant/sync.h"

struct target {
    size_t item; /* index; the list may move */
    struct committed want;
    struct document doc; /* unused when want.deleted */
    struct stored have;
    bool open; /* not settled yet */
    struct point_write write;
};

/* From what the catalogue says of an item. Reads more pages of members, the inherited nsfw and so
 * on; adds the members of what is covered to the items. An item that can't be a target (older than
 * its event) gets its error instead. */
MUST_CHECK int targets_make(struct sync *s, enum doc_kind kind, const CatalogReply *reply,
                            struct target targets[], size_t *ret_n, struct err *err);
/* Brings the index to what the targets want. Items are settled or get their own error. */
MUST_CHECK int targets_apply(struct sync *s, struct target targets[], size_t n, struct err *err);
