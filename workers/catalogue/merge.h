/* The order rule: each field keeps the event time (then event id) that last set it, and an older
 * event never overwrites a newer value, field by field (spec catalog.md, "Order").
 *
 * Pure. A field whose clock moves takes the value of the newest event that set it, so the result is
 * the same in whatever order events come, how often, and through how many writers. Existence is one
 * more such value. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/arena.h"
#include "events/base/buf.h"
#include "events/base/err.h"
#include "events/base/uuid.h"
#include "workers/catalogue/kind.h"

struct clock {
    int64_t time_us; /* CLOCK_NEVER = no event has set it */
    struct uuid event;
};
#define CLOCK_NEVER INT64_MIN
int clock_cmp(struct clock a, struct clock b);

/* The merged state of one entity. Message and values are arena memory, shared with the events that
 * set them, and never changed in place. */
struct fields {
    const struct kind *kind;
    ProtobufCMessage *message;
    struct clock *clocks; /* per field of the message, then one for existence */
    bool deleted;
};

/* Empty, alive, never set. -1 = the arena is full (no-memory). */
MUST_CHECK int fields_init(struct fields *f, const struct kind *kind, struct arena *arena,
                           struct err *err);
struct clock fields_existence_clock(const struct fields *f);

/* The stored fields that are on the wire: what anime.enriched sets. */
uint64_t merge_mask_present(const struct kind *kind, const ProtobufCMessage *message);
/* The stored fields that a sparse event lists; other names are left out. */
uint64_t merge_mask_listed(const struct kind *kind, char *const names[], size_t n);

/* Of the fields in mask, those that this event would really change. */
uint64_t merge_would_change(const struct fields *to, const ProtobufCMessage *from, uint64_t mask,
                            struct clock at);
struct merged {
    uint64_t changed; /* fields with another value now */
    uint64_t set;     /* fields whose clock moved */
    bool moved;       /* some clock moved: the row is to be written, even when nothing changed */
};
/* Sets the fields in mask that the event is newer for; a field that from has not is cleared. Adds
 * to *result. */
void merge_fields(struct fields *to, const ProtobufCMessage *from, uint64_t mask, struct clock at,
                  struct merged *result);
/* True when existence changed. */
bool merge_existence(struct fields *to, bool deleted, struct clock at, struct merged *result);

/* The stored form of the clocks: *ret_base is the one that most of the set fields have (the newest
 * of several), out gets a JSON object of the fields that differ from it, or stays empty. Canonical:
 * equal values and clocks give equal text. */
void clocks_encode(const struct fields *f, struct clock *ret_base, struct buf *out);
/* After the message is complete. text empty = no field differs. Code internal. */
MUST_CHECK int clocks_decode(struct fields *f, struct clock base, struct view text,
                             struct err *err);
