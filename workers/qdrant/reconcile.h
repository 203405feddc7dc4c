/* Drift between the catalogue and the index: counted, and on request enqueued for repair.
 *
 * Pages of the catalogue's revisions and of the index's marks are merged in id order. Neither is a
 * snapshot, so what differs is read again on both sides before it counts. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "workers/qdrant/client.h"
#include "workers/qdrant/source.h"

struct drift {
    int64_t compared; /* living entities of the catalogue */
    int64_t missing;  /* living in the catalogue, absent (or a tombstone) in the index */
    int64_t stale;    /* older in the index */
    int64_t surplus;  /* in the index, but deleted in or unknown to the catalogue, or newer there */
    int64_t pending;  /* without the dense vector that the provider owes */
    int64_t enqueued;
};

enum drift_kind { DRIFT_NONE, DRIFT_MISSING, DRIFT_STALE, DRIFT_SURPLUS, DRIFT_PENDING };
/* One id on both sides. known: the catalogue has it. Pure. */
enum drift_kind drift_of(bool known, int64_t rev, bool deleted, const struct stored *have);

struct reconcile {
    struct source source;
    struct qdrant *qdrant;
    struct arena *arena; /* reset for every page */
    int64_t rate;        /* entities enqueued a second, at most; 0 = as fast as it goes */
    /* Waits; false ends it early, with code stopping. NULL = no rate, and to the end. */
    bool (*pause)(void *ctx, int64_t ms);
    void *pause_ctx;
};
struct id_range {
    bool has_from, has_to;
    struct uuid from, to; /* both included */
};

/* Adds to *drift. */
MUST_CHECK int reconcile_kind(const struct reconcile *r, enum doc_kind kind,
                              const struct id_range *range, bool repair, struct drift *drift,
                              struct err *err);
