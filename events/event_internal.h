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
/* Has nats.c parse the headers; *ret_readable is false when it can't, after which it finds none. It
 * says so once: to be called before anything else that looks for a header. Returns false when
 * memory ran out in the middle: what is left of the headers is no use, the message must come again.
 */
bool native_headers_parse(const void *native, bool *ret_readable);
/* ERR_REJECT unreadable-header when what the headers say of the event (Echora-...) can't be told:
 * they did not parse, or a line was taken for another's value. nats.c before 3.11 takes the line
 * behind an empty value for that value, and does not parse an empty one that is the last. */
MUST_CHECK int event_check_headers(const struct event *e, bool parsed, struct err *err);
/* The trace that a publisher (or the outbox) put into the headers; false when there is none. */
bool event_parent(const struct event *e, struct trace_context *ret);
/* Decodes into the arena, validates, reads id, time and entity from the message: a publisher that
 * sends only the payload is served. ERR_REJECT with the contract's code; ERR_RETRY no-memory when
 * the arena is full. */
MUST_CHECK int event_decode(struct event *e, size_t decode_max, int64_t now_us, struct arena *arena,
                            struct err *err);
/* False when Echora-Replay-For names another consumer. */
bool event_is_for(const struct event *e, const char *durable);
