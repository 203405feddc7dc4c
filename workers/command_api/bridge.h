/* Responders that speak protobuf: what they are asked in their words, and their answers in ours.
 *
 * Callers see snake_case members, 64-bit numbers as numbers (all of ours stay below 2^53), every
 * member of a message whether set or not (empty texts, zeros and empty lists as such, messages that
 * are absent as null), and of each answer only what the route promises. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "workers/command_api/call.h"

/* The request's message from the call's members. */
MUST_CHECK bool bridge_request(struct call *call, struct buf *out);
/* A good reply: sets status and reply. */
MUST_CHECK bool bridge_reply(struct call *call, struct bytes reply);
/* An error that a responder told by its stable code and class. Returns false. */
bool bridge_refusal(struct call *call, const char *code, const char *class);
/* What an answer tells of its message, ended by NULL; NULL = all. */
const char *const *bridge_names(enum bridge bridge);
/* A partial record: what is not set was not asked for, and is left out. */
bool bridge_is_sparse(const ProtobufCMessageDescriptor *type);
/* A field that is not set is told as "", 0, false, [] or {}; else as null. */
bool bridge_has_zero(const ProtobufCFieldDescriptor *field);
/* Pure: one message as above; names: which top-level members, ended by NULL; NULL = all. */
void bridge_write(const ProtobufCMessage *message, const char *const names[], struct buf *out);
