/* A row of catalog.review in memory, and as the message that requests answer. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "contracts/gen/catalog_requests.pb-c.h"
#include "events/pg.h"
#include "events/trace.h"
#include "workers/catalogue/types.h"

struct catalogue;

/* Texts are arena memory; no id or time = nil and 0. */
struct review {
    struct uuid id, update, anime, superseded_by, decision;
    int64_t event_us, created_us, decided_us;
    uint64_t fields, superseded;
    const char *reasons; /* separated by the record separator, 0x1e */
    const char *state, *reviewed_by, *note, *title;
    int64_t revision;           /* of the anime after the decision; 0 = undecided */
    int64_t stands_at;          /* of the anime now */
    struct bytes payload;       /* the flagged copy */
    struct trace_context trace; /* of the update; not set when it had none */
    bool decision_reused;       /* the decision's id that was asked about is another review's */
};

/* By review, update or reminder. 1 = found. */
MUST_CHECK int review_find(struct catalogue *c, struct uuid id, struct uuid decision,
                           struct arena *arena, struct review *ret, struct err *err);
/* From columns in the order of list_reviews.sql. Code no-memory. */
MUST_CHECK int review_row(const PGresult *r, int row, struct arena *arena, struct review *ret,
                          struct err *err);
/* The parked update as it was published. Code decode when it is not what was stored. */
MUST_CHECK int review_update(const struct review *review, struct arena *arena,
                             Echora__Events__V1__AnimeUpdatedEvent **ret, struct err *err);

/* Without values and history. expire_ms: option review-expire. NULL when the arena is full. */
Echora__Catalog__V1__CatalogReview *review_message(const struct review *review, int64_t expire_ms,
                                                   struct arena *arena);
/* NULL when the arena is full. */
Google__Protobuf__Timestamp *review_time(struct arena *arena, int64_t us);
