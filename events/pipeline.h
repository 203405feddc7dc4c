/* A guarded, pipelined publisher for a stream that nobody else writes.
 *
 * Every message carries Nats-Expected-Last-Sequence, so the stream takes it only behind its
 * predecessor: what is stored is always a prefix of what was sent, without gap, repetition or
 * reordering, whoever else sends the same messages. (A different message that slips in between two
 * of ours takes one's place unnoticed, unless that one asks for an answer: rights must prevent it.)
 * An acknowledgement is asked for every ack_every-th message only; since message n is stored only
 * behind n-1, its acknowledgement vouches for all before it, and a lost or refused one makes every
 * later one fail. At most `window` messages are in flight: newer servers drop publishes silently
 * beyond their ingest queue.
 *
 * After any error nothing is known but what pipeline_acked says: read the stream's tail, then
 * pipeline_start again. Belongs to one thread. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/err.h"
#include "events/base/view.h"
#include "events/bus.h"

struct pipeline;

struct pipeline_options {
    const char *stream;
    unsigned ack_every; /* 1 to window; default 32 */
    unsigned window;    /* default 512 */
    int64_t timeout_ms; /* for an acknowledgement; default 5,000 */
};

struct pipeline_message {
    const char *subject;
    struct view headers; /* lines "Name: value", without a newline at the end */
    const char *event_id;
    const char *position; /* header Echora-Position */
    const char *batch;    /* header Echora-Batch, or NULL */
    struct bytes payload;
};

/* Subscribes to an inbox of its own. The bus should be opened buffered, and outlives it. */
MUST_CHECK int pipeline_new(struct pipeline **ret, struct bus *bus,
                            const struct pipeline_options *options, struct err *err);
struct pipeline *pipeline_free(struct pipeline *p); /* takes NULL */

/* The next message is to be stored behind last_sequence. Forgets what was in flight. */
void pipeline_start(struct pipeline *p, uint64_t last_sequence);
/* Sends, and looks at acknowledgements that are there; waits only when the window is full. ask:
 * asks for an acknowledgement in any case. Errors: code nats-10071 (ERR_UNCERTAIN here: the tail
 * tells what is stored), nats-timeout (ERR_UNCERTAIN), no connection (ERR_UNAVAILABLE), or what the
 * stream answered. */
MUST_CHECK int pipeline_publish(struct pipeline *p, const struct pipeline_message *message,
                                bool ask, struct err *err);
/* Waits until everything that was sent is acknowledged; the last one must have been sent with
 * ask. */
MUST_CHECK int pipeline_finish(struct pipeline *p, struct err *err);
/* Sequences of the stream: of the last message sent, and of the last that is vouched for. */
uint64_t pipeline_sent(const struct pipeline *p);
uint64_t pipeline_acked(const struct pipeline *p);
