/* Generic access to fields of a protobuf-c message by descriptor: presence, clearing, equality,
 * copying. The rules of merging (catalogue writer) and of sparse events stand on these. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <protobuf-c/protobuf-c.h>

#include "events/base/arena.h"
#include "events/base/view.h"

/* Optional and message fields: set; plain ones: not zero / not empty; repeated and maps: not empty.
 */
bool field_is_set(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field);
/* Plain ones to zero, optional ones to absent, repeated ones to empty. Frees nothing (arena
 * memory). */
void field_clear(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field);
/* Deep equality of one field; maps compare without order, lists with. Floats by bits. */
bool field_equal(const ProtobufCMessage *a, const ProtobufCMessage *b,
                 const ProtobufCFieldDescriptor *field);
/* to.field = from.field, sharing the memory (both live as long as the arena). Same message type. */
void field_share(ProtobufCMessage *to, const ProtobufCMessage *from,
                 const ProtobufCFieldDescriptor *field);
const ProtobufCFieldDescriptor *field_by_name(const ProtobufCMessageDescriptor *type,
                                              struct view snake_case_name);
/* Deep equality, field by field; unknown fields don't count. Two NULLs are equal. */
bool message_equal(const ProtobufCMessage *a, const ProtobufCMessage *b);
/* protobuf-c knows no maps: a repeated message <Parent>.<Field>Entry with 1 key, 2 value is one. */
bool field_is_map(const ProtobufCFieldDescriptor *field);
/* Bytes of one value in a struct or an array; 0 for a type that protobuf-c doesn't have. */
size_t field_value_size(const ProtobufCFieldDescriptor *field);
/* A fresh, empty message of the type. NULL when the arena is full. */
ProtobufCMessage *message_new(const ProtobufCMessageDescriptor *type, struct arena *arena);
