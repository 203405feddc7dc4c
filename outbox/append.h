/* The transactional outbox, for writers: rows in the transaction of the change.
 *
 * Call it after the entities' rows are locked or written, inside the same transaction, so that the
 * order of ids is each entity's order (spec outbox-and-sync.md). One statement for all rows.
 * Headers of a row: Content-Type, Echora-Schema, traceparent and tracestate of the row's trace, and
 * the extra ones; the relay adds Echora-Event-Id and its position. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "contracts/registry.h"
#include "events/base/uuid.h"
#include "events/bus.h"
#include "events/pg.h"
#include "events/trace.h"

struct outbox_row {
    const struct subject_def *def; /* target subject; its stream decides the relay's lane */
    struct uuid event_id;
    struct uuid entity_id;
    const ProtobufCMessage *message;
    struct trace_context trace;
    const struct bus_header *extra; /* Echora-Review, Echora-Repair, Echora-Replay-For, ... */
    size_t n_extra;
};

/* A message of at most this many bytes fits its stream whatever headers its row has. */
#define OUTBOX_PAYLOAD_MAX (8388608 - 65536 - 1024 - 8192)

struct outbox; /* prepared buffers of one lane */
/* NULL when out of memory. schema: the schema whose outbox table is written, e.g. "catalog". */
struct outbox *outbox_new(const char *schema);
struct outbox *outbox_free(struct outbox *o);
/* Ids rise in the order of rows[]. Code too-large (ERR_REJECT) when a message would not fit the
 * stream, header (ERR_REJECT) when an extra header is malformed. The caller rolls back on errors.
 */
MUST_CHECK int outbox_append(struct outbox *o, struct pg *pg, const struct outbox_row rows[],
                             size_t n, struct err *err);
/* After the commit: wakes the relay (core NATS, may be lost; the relay polls behind it). */
void outbox_hint(struct bus *bus);
