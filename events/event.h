/* An event as a handler sees it: decoded, validated, with its context. All memory is the arena's.
 */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "contracts/registry.h"
#include "events/base/arena.h"
#include "events/base/uuid.h"
#include "events/bus.h"
#include "events/trace.h"
#include "events/verdict.h"

struct event {
    const struct subject_def *def;
    const ProtobufCMessage *message; /* cast to the type that def->message names */
    struct bytes payload;            /* the original bytes */
    struct uuid event_id;
    int64_t time_us;       /* the event's own timestamp */
    struct view entity_id; /* as in the message; validated as UUID when the subject names one */
    uint64_t stream_sequence;
    int64_t stored_us;   /* when the broker stored it */
    unsigned deliveries; /* 1 = first */
    struct trace_context
        trace;          /* of the span that handles it: give it to outbox rows and requests */
    const void *native; /* headers; use event_header */
};

/* The subject it came on, also for raw consumers, whose events have no def. */
const char *event_came_on(const struct event *event);
/* A header's value, NULL when absent. Names are case-sensitive (NATS). */
const char *event_header(const struct event *event, const char *name);
/* All headers as they came; the array is the arena's, the texts are the event's. -1 when there is
 * no memory for them. */
MUST_CHECK int event_headers(const struct event *event, struct arena *arena,
                             const struct bus_header **ret, size_t *ret_n);

struct consumer_spec;
/* Events of one consumer, in stream order. The handler fills verdicts[i] for each. */
struct batch {
    const struct consumer_spec *consumer;
    struct event *events;
    struct verdict *verdicts;
    size_t n;
    struct arena *arena; /* reset after the batch is settled */
};

/* Every verdict of the batch that is still unset becomes this one. */
void batch_set_rest(struct batch *batch, struct verdict verdict);
/* Verdict of an error for every event that has none yet. */
void batch_fail_rest(struct batch *batch, const struct err *err);
