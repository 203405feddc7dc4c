/* What to write for one point: committed state against what the index holds. Pure.
 *
 * Revisions order everything. A point that is newer than what was committed when it was read has an
 * event of its own on the way, so it is left alone. A tombstone is written also where no point is:
 * it is what a late, stale upsert meets. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "workers/qdrant/document.h"

/* What the index holds for an id. */
struct stored {
    bool present;
    bool has_rev;
    int64_t rev;
    char emb[EMB_TEXT]; /* "" = none */
    bool deleted;       /* a tombstone */
};

/* What the catalogue answered. */
struct committed {
    int64_t rev;
    bool deleted;
    char emb[EMB_TEXT]; /* of the search text; unused when deleted */
};

enum plan_action {
    PLAN_NOTHING,
    PLAN_TOMBSTONE,
    PLAN_PAYLOAD, /* same search text: payload alone, vectors stay */
    PLAN_UPSERT,  /* vectors and payload */
};

struct plan {
    enum plan_action action;
    bool or_equal; /* the guard lets an equal revision through: rev <= n instead of rev < n */
};

/* repair: the event asks for a rewrite at the same revision. */
struct plan plan_point(const struct committed *want, const struct stored *have, bool repair);
/* Read back after the write: does the point hold this revision as it should, or a newer one? */
bool plan_settled(const struct committed *want, const struct stored *have);
