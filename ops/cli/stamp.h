/* What a publisher puts on an event: message id, event id, schema, content type, trace (spec
 * subjects.md, "Headers"). */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "contracts/registry.h"
#include "events/bus.h"
#include "events/trace.h"

#define STAMP_MAX_HEADERS 8

/* Nats-Msg-Id is <entity id>-<first 8 hex of the payload's SHA-256>: the same event published twice
 * is stored once. Subjects without an entity take the event id in its place. The message points
 * into the arena; payload is not copied. */
MUST_CHECK int stamp_event(const struct subject_def *def, const ProtobufCMessage *message,
                           struct bytes payload, const struct trace_context *trace,
                           struct arena *arena, struct bus_message *ret, struct err *err);
