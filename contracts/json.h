/* Canonical proto3 JSON over protobuf-c's descriptors, both ways.
 *
 * Rules: lowerCamelCase names (snake_case accepted on input), enum names (numbers accepted, unknown
 * numbers written as numbers), 64-bit integers as strings, bytes as base64, Timestamp as RFC 3339,
 * Struct / Value / ListValue as plain JSON, maps (message <Parent>.<Field>Entry with 1 key, 2
 * value) as objects, unset optional fields left out, plain fields left out when zero. Unknown
 * members are refused with their path. Faults name path, rule and kind of value, never the value.
 */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>

#include "contracts/validate.h"
#include "events/base/arena.h"
#include "events/base/buf.h"
#include "events/base/err.h"

/* Appends the message as one JSON object without white space. */
MUST_CHECK int json_encode(const ProtobufCMessage *message, struct buf *out, struct err *err);
/* Appends the value of one field; "null" when it is not set. */
MUST_CHECK int json_encode_field(const ProtobufCMessage *message,
                                 const ProtobufCFieldDescriptor *field, struct buf *out,
                                 struct err *err);

/* Codes json-syntax, json-unknown-field, json-type, json-range, bad-utf8, text-nul, too-deep,
 * too-large (ERR_REJECT), text with the path. Duplicate members are refused. */
MUST_CHECK int json_decode(const ProtobufCMessageDescriptor *type, struct view json,
                           struct arena *arena, ProtobufCMessage **ret, struct err *err);
MUST_CHECK int json_decode_value(const ProtobufCMessageDescriptor *type, const json_t *json,
                                 struct arena *arena, ProtobufCMessage **ret, struct err *err);
/* As json_decode_value, but reports every fault and goes on; returns how many. *ret_message holds
 * what could be read, NULL when that is nothing. */
unsigned json_decode_report(const ProtobufCMessageDescriptor *type, const json_t *json,
                            struct arena *arena, ProtobufCMessage **ret_message, fault_fn *report,
                            void *ctx);
/* jansson says little of a failed allocation: no text at all, mostly. For an error that was zeroed
 * before. */
static inline bool json_no_memory(const json_error_t *error)
{
    return error->text[0] == '\0' || json_error_code(error) == json_error_out_of_memory;
}
/* Parses one document (any JSON value). The caller owns it: json_decref. */
MUST_CHECK int json_parse(struct view text, json_t **ret, struct err *err);
/* Sets one field of a message from its JSON value (JSON null clears it). */
MUST_CHECK int json_decode_field(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                                 const json_t *value, struct arena *arena, struct err *err);

/* True when the field's type is <Parent>.<Field>Entry with 1 key and 2 value. */
bool json_field_is_map(const ProtobufCFieldDescriptor *field);
/* lowerCamelCase of a snake_case name, into out; false when it does not fit. */
MUST_CHECK bool json_name(const char *field_name, char *out, size_t size);
