/* The wire of JetStream's pull consumers, as pure functions: request body, control statuses, the
 * ack subject, and how many events the next request asks for.
 *
 * The same on every server from 2.9 on; nothing here needs a connection. Statuses as seen in
 * nats-server's consumer.go (2.9 to 2.14). */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/view.h"

struct pull_request {
    unsigned batch;
    int64_t expires_ms;
    int64_t heartbeat_ms; /* at most half of expires_ms, else the server refuses */
    int64_t max_bytes;    /* 0 = no limit */
};
#define PULL_BODY_MAX 160
/* Returns the length of the JSON text. */
size_t pull_format(const struct pull_request *r, char out[static PULL_BODY_MAX]);

enum pull_status {
    PULL_HEARTBEAT,  /* the request still waits */
    PULL_ENDED,      /* over in an ordinary way: expired, batch completed, bytes full */
    PULL_BUSY,       /* refused for now: ask again after a pause */
    PULL_MOVED,      /* leader change or server stop: ask again at once */
    PULL_GONE,       /* the consumer was deleted or is no pull consumer: look, then stop */
    PULL_NO_SERVICE, /* nobody serves the request: JetStream is away, or the consumer is missing */
    PULL_UNKNOWN,    /* treated as PULL_BUSY, logged */
};
/* status: text of the Status header; description may be NULL. */
enum pull_status pull_classify(const char *status, const char *description);

/* What the ack subject says of a delivery. Views point into the subject. */
struct delivery {
    struct view stream, consumer;
    unsigned deliveries; /* 1 = first */
    uint64_t stream_sequence;
    uint64_t consumer_sequence;
    int64_t stored_us;
    uint64_t pending; /* events behind this one */
};
/* Both forms: $JS.ACK.<stream>.<consumer>.<n>.<sseq>.<cseq>.<ns>.<pending>, and the one with
 * domain and account hash in front and a token behind. */
MUST_CHECK bool delivery_parse(struct view ack_subject, struct delivery *ret);

/* Poison isolation (spec subjects.md): the size of the next fetch. Starts at 1 and doubles while
 * all events are first deliveries; an event delivered before sets it to 1. */
struct ramp {
    unsigned size, max;
};
void ramp_init(struct ramp *r, unsigned max);
/* After a batch was settled. */
void ramp_settled(struct ramp *r, bool all_first_deliveries);
/* Below full size nothing is fetched ahead of the batch in hand. */
bool ramp_is_careful(const struct ramp *r);
