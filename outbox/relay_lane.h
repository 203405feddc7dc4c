/* A lane: one target stream of one outbox, with its own cursor and batches.
 *
 * Guarded lanes publish to a stream that only the relay writes: expected sequences, the stream's
 * tail is the checkpoint. A small batch there is published first and noted in the database behind
 * its acknowledgement, which saves every event a wait for the disk; till then its first message
 * tells its bounds. Shared lanes publish to streams with other writers: Nats-Msg-Id is the
 * event id, each message is acknowledged, the batch is closed in the database when all are; an open
 * batch is published again whole after a restart, inside the stream's duplicate window. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/bus.h"
#include "events/metrics.h"
#include "events/pg.h"
#include "events/pipeline.h"
#include "events/stream.h"
#include "outbox/batch.h"

struct relay_lane_metrics {
    struct metric *published, *acknowledged, *rejected, *batches, *recoveries;
    struct metric *batch_rows, *lag_rows, *lag_seconds;
};

struct relay_lane {
    const char *stream;
    bool guarded;
    int page_rows;
    struct pipeline *pipe; /* guarded lanes, made at the first recovery */
    struct outbox_batch batch;
    int64_t stored; /* rows of the batch that the stream has */
    int64_t after;  /* id of the last of them */
    uint64_t sequence;
    int64_t passed; /* rows of other streams looked at since the batch, or since that was noted */
    bool recovered;
    char created[STREAM_CREATED_MAX]; /* of the stream at the recovery */
    bool gone;                        /* there was no such stream at the last look */
    int64_t heard_ms;    /* monotonic; the stream has answered, or was asked to no avail */
    int64_t retry_at_ms; /* monotonic; after errors */
    unsigned failures;
    struct relay_lane_metrics metrics;
};

/* A relay's wish to stop, or the loss of its leadership, seen between pages. */
typedef bool relay_lane_stop_fn(void *ctx);

void relay_lane_init(struct relay_lane *lane, const char *schema, const char *stream, bool guarded,
                     int page_rows);
void relay_lane_deinit(struct relay_lane *lane);
/* What the lane knows may be wrong (new connection, error, leadership gained): the next step begins
 * by reading the database and the stream's tail. */
void relay_lane_forget(struct relay_lane *lane);

/* Is the stream that the lane recovered from still there? Sets lane->gone; a stream that was made
 * anew is forgotten, so that the next step judges it. Another relay's lane learns of gone only. A
 * request that gets no answer tells nothing. */
void relay_lane_look(struct relay_lane *lane, struct bus *bus);

/* Publishes what there is: the rest of the open batch, or a new one. *ret_rows counts rows
 * published, *ret_others new rows seen of other streams. After an error call relay_lane_forget. The
 * errors of class ERR_FATAL (relay_lane_recover) are final. */
MUST_CHECK int relay_lane_step(struct relay_lane *lane, struct pg *pg, struct bus *bus,
                               relay_lane_stop_fn *stop, void *ctx, int64_t *ret_rows,
                               int64_t *ret_others, struct err *err);
