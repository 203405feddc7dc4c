/* What a webhook says: identifiers, field names, codes and counts of an event, and nothing else.
 *
 * A table per route lists the keys of `data`, where each comes from and which form it must have.
 * What has another form becomes null: a value of a field can't get in by any way, whatever a
 * publisher writes. The body is written once; those bytes are signed and sent. Pure. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <protobuf-c/protobuf-c.h>

#include "events/base/arena.h"
#include "events/base/buf.h"
#include "events/base/uuid.h"

#define BODY_MAX 20480

/* Numbers in tables and metrics; names are body_route_name's. */
enum route { ROUTE_DLQ, ROUTE_RISK, ROUTE_REVIEW, ROUTES };
const char *route_name(enum route route); /* "dlq", "risk", "review" */
/* False when there is none of this name. */
MUST_CHECK bool route_find(struct view name, enum route *ret);

/* An event, fetched or read again from its stream. */
struct original {
    const char *subject;             /* that it came on */
    const ProtobufCMessage *message; /* of the route's type; NULL for dead letters */
    int64_t time_us;                 /* the event's own time; 0 = stored_us */
    int64_t stored_us;
    uint64_t sequence; /* in its stream */
    /* The value of a header, NULL when absent. */
    const char *(*header)(const void *ctx, const char *name);
    const void *ctx;
};

/* The webhook-id, the same whenever the event is looked at: the event's id; of a dead letter UUIDv5
 * of its identity. ERR_REJECT bad-uuid when the event has none. */
MUST_CHECK int body_id(enum route route, const struct original *o, struct uuid *ret,
                       struct err *err);
/* Appends the body; out holds BODY_MAX. ERR_REJECT too-large, which no event of a valid form is. */
MUST_CHECK int body_build(enum route route, const struct original *o, struct uuid id,
                          struct buf *out, struct err *err);
/* The body of a test event. */
MUST_CHECK int body_test(enum route route, struct uuid id, int64_t now_us, struct buf *out,
                         struct err *err);
