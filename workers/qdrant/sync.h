/* The heart of the worker: a batch of events in, points that equal the committed state out.
 *
 * Entities are de-duplicated over the batch, read from the catalogue with their revision, compared
 * with what the index holds and written under guards, in steps of a bounded size. An event is done
 * when each of its points, read back, holds that revision or a newer one. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <stdatomic.h>

#include "workers/qdrant/embed.h"
#include "workers/qdrant/items.h"
#include "workers/qdrant/source.h"
#include "workers/qdrant/write.h"

struct sync {
    struct source source;
    struct qdrant *qdrant;
    struct embedder *embedder;
    struct writer *writer;
    size_t step;       /* most entities at once */
    atomic_bool *owed; /* set when a point is written without the vector that it should have */
    /* private */
    struct arena *arena;
    struct items items;
    float *vectors;
};

/* Borrows the members above; step is set by the caller. Code no-memory. */
MUST_CHECK int sync_init(struct sync *s, struct err *err);
void sync_deinit(struct sync *s);
/* Fills every verdict of the batch. */
void sync_batch(struct sync *s, struct batch *batch);
/* The gauge of vectors that are owed. */
void sync_tell_owed(bool owed);
/* Brings these to their committed state outside of any event, whatever the index holds of that or a
 * lower revision. *ret_refused: how many can't be points (their errors are ERR_REJECT). -1: some
 * others are not settled. */
MUST_CHECK int sync_entities(struct sync *s, enum doc_kind kind, const struct uuid ids[], size_t n,
                             size_t *ret_refused, struct err *err);
