/* From a broker's message to what a handler sees. For the consumer loop only. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/event.h"
#include "events/pull.h"
#include "events/worker.h"

/* A header of a nats.c message, NULL when absent. */
const char *native_header(const void *native, const char *name);

/* Fills everything that needs no decoding: payload, sequence, deliveries, times, headers. native is
 * a natsMsg that must outlive the event. */
void event_take(struct event *e, const struct subject_def *def, const void *native,
                const struct delivery *delivery);
/* ERR_REJECT unreadable-header when what the headers say of the event (Echora-...) can't be told.
 * nats.c before 3.11 takes the line behind an empty value for that value, and no header at all when
 * the empty one is the last: a flag would be overlooked. */
MUST_CHECK int event_check_headers(const struct event *e, struct err *err);
/* The trace that a publisher (or the outbox) put into the headers; false when there is none. */
bool event_parent(const struct event *e, struct trace_context *ret);
/* Decodes into the arena, validates, reads id, time and entity from the message: a publisher that
 * sends only the payload is served. ERR_REJECT with the contract's code; ERR_RETRY no-memory when
 * the arena is full. */
MUST_CHECK int event_decode(struct event *e, size_t decode_max, int64_t now_us, struct arena *arena,
                            struct err *err);
/* False when Echora-Replay-For names another consumer. */
bool event_is_for(const struct event *e, const char *durable);
