/* Which events a consumer has exhausted (the server gave them up at its max deliver), as far as the
 * server and the marks of workers prove it. JetStream lists neither exhausted events nor acked
 * ones.
 *
 * Measured on nats-server 2.9.10 and 2.14.5: an exhausted event leaves num_ack_pending (2.9: at the
 * next pull), stays counted in num_redelivered for good, and holds the acknowledgement floor below
 * itself until an ack comes that leaves nothing in hand; then the floor jumps past it. So with
 * nothing in hand:
 *   - the first event behind the floor is exhausted: acked, it would have moved the floor;
 *   - when as many events were delivered since an earlier look as were exhausted since then, all of
 *     them are.
 * And wherever the floor stands: an event that is no longer in hand, and of which the worker's
 * newest mark (events/suspect.h) says that its last possible delivery ended without an ack.
 * Nothing is concluded from events that are not in the stream any more: one that could have been
 * before the first makes that one's case unclear. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <jansson.h>

#include "events/suspect.h"
#include "workers/dead_letters/context.h"

enum { EXHAUSTED_FILTERS = 8, EXHAUSTED_MAX = 1000 };

/* A consumer as the server tells of it; texts are the JSON's. */
struct consumer_state {
    const char *stream, *name;
    const char *filters[EXHAUSTED_FILTERS];
    size_t n_filters;
    bool gives_all; /* from where it began it leaves no event of its filter out */
    unsigned max_deliver;
    int64_t created_us;
    uint64_t floor, delivered;
    int64_t pending, in_hand, redelivered;
};
/* Pure. False: it exhausts nothing, or is none that can be looked at. */
bool consumer_state_read(const char *stream, const json_t *info, struct consumer_state *ret);
/* Pure: everything up to this sequence is acked or exhausted. */
uint64_t consumer_state_settled(const struct consumer_state *c);

/* Pure: the newest mark of an event, read after the state, proves that it is exhausted. */
bool exhausted_by_mark(const struct consumer_state *c, uint64_t sequence,
                       const struct suspect_mark *mark);

/* What is remembered of a consumer between looks. */
struct consumer_memory {
    char stream[64], name[64];
    int64_t created_us;
    /* At an earlier look nothing was in hand: all up to `clear` was settled, and so many events
     * were exhausted. */
    uint64_t clear;
    int64_t clear_counted;
    bool floor_free; /* nothing exhausted held the floor then, it stood at floor_then */
    uint64_t floor_then;
    uint64_t marks_at; /* where in WORKER_SUSPECTS the next look begins */
    int64_t unexplained;
    bool used;
};
/* Pure: notes where the state says that all is settled. stream_last: the stream's last sequence a
 * while before the state, for a new message is counted as pending a moment after it was stored. */
void consumer_memory_note(struct consumer_memory *memory, const struct consumer_state *c,
                          uint64_t stream_last);
/* Pure: behind which event the floor proves that the next one is exhausted; false: behind none. */
bool consumer_floor_proves(const struct consumer_state *c, const struct consumer_memory *memory,
                           uint64_t *ret_after);

/* Sequences of events that are proved to be exhausted, some perhaps twice, or with their letter
 * written long since. */
MUST_CHECK int exhausted_find(struct dead_letters *dl, const struct consumer_state *c,
                              struct consumer_memory *memory, int64_t stream_created_s,
                              uint64_t out[static EXHAUSTED_MAX], size_t *ret_n, struct err *err);
