/* Bytes to message and back, safely.
 *
 * protobuf-c accepts text that is not UTF-8, forgets the length of text with NUL, recurses as deep
 * as the sender likes and allocates per element. So one pass over the wire, driven by the
 * descriptor, refuses all of that first and computes the decoded size; only then is the message
 * unpacked, into an arena of that size (spec contracts.md). */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <protobuf-c/protobuf-c.h>

#include "events/base/arena.h"
#include "events/base/buf.h"
#include "events/base/err.h"

#define WIRE_MAX_DEPTH 32
#define WIRE_DECODE_MAX_DEFAULT (32u << 20)

/* Codes: decode, too-deep, bad-utf8, text-nul, too-large (all ERR_REJECT).
 * *ret_size: bytes that unpacking will take from an arena, upper bound. */
MUST_CHECK int wire_check(const ProtobufCMessageDescriptor *type, struct bytes payload,
                          size_t decode_max, size_t *ret_size, struct err *err);

/* wire_check, then unpack into the arena. The message lives as long as the arena's content. */
MUST_CHECK int wire_decode(const ProtobufCMessageDescriptor *type, struct bytes payload,
                           size_t decode_max, struct arena *arena, ProtobufCMessage **ret,
                           struct err *err);

/* Packs a message at the end of out. */
MUST_CHECK int wire_encode(const ProtobufCMessage *message, struct buf *out, struct err *err);
