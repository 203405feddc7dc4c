/* What publish, validate and import do with one event before it leaves: read it, check it as the
 * workers will, encode it. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "contracts/json.h"
#include "contracts/registry.h"

/* What nats-server takes (max_payload 8 MiB) less room for headers. */
#define EVENT_MAX ((8u << 20) - (64u << 10))

/* A registered event subject, or usage error that proposes the list. */
MUST_CHECK int event_subject(const char *subject, const struct subject_def **ret, struct err *err);
/* Fills an absent eventId (UUIDv7) and timestamp (now) of an event's JSON object. */
void event_complete(json_t *json);
/* Every fault of the JSON form and of the rules, each once; returns how many. *ret (may be NULL)
 * is the message when there are none. */
unsigned event_check_json(const struct subject_def *def, const json_t *json, struct arena *arena,
                          ProtobufCMessage **ret, fault_fn *report, void *ctx);
/* The same for ready bytes. */
unsigned event_check_bytes(const struct subject_def *def, struct bytes payload, struct arena *arena,
                           ProtobufCMessage **ret, fault_fn *report, void *ctx);
/* Encoded into the arena, and small enough for the wire. */
MUST_CHECK int event_encode(const ProtobufCMessage *message, struct arena *arena, struct bytes *ret,
                            struct err *err);
