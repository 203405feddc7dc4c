/* What protobuf-c's descriptors do not say: JSON names, which fields are maps, and which messages
 * have a JSON form of their own (google.protobuf.Timestamp, Struct, Value, ListValue). */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <protobuf-c/protobuf-c.h>

#include "events/base/view.h"

/* Most levels of nested messages, the top one included: as on the wire, where a map entry and each
 * of Struct, Value and ListValue are levels too. */
#define JSON_MAX_DEPTH 32
/* Seconds of 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z: the range of Timestamp. */
#define JSON_TIMESTAMP_MIN (-62135596800)
#define JSON_TIMESTAMP_MAX 253402300799

enum json_form {
    JSON_FORM_PLAIN,
    JSON_FORM_TIMESTAMP,
    JSON_FORM_STRUCT,
    JSON_FORM_VALUE,
    JSON_FORM_LIST,
};
enum json_form json_form_of(const ProtobufCMessageDescriptor *type);
/* The enum whose one value is written as JSON null. */
bool json_is_null_enum(const ProtobufCEnumDescriptor *type);

/* The field with this JSON name or proto name; NULL when there is none. guess: index that is tried
 * first, for objects whose members stand in field order. */
const ProtobufCFieldDescriptor *json_find_field(const ProtobufCMessageDescriptor *type,
                                                const char *name, unsigned guess);
