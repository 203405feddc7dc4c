/* One JSON value to one scalar, by the field's type: numbers (also as text), booleans, enums, text,
 * base64. Pure functions; the reader (json_read.c) turns their outcome into faults with a path. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>

#include "events/base/arena.h"

enum json_scalar_fault {
    JSON_SCALAR_OK,
    JSON_SCALAR_TYPE,  /* *ret_expected says what the field takes */
    JSON_SCALAR_RANGE, /* a number that does not fit */
    JSON_SCALAR_MEMORY,
};

/* Any type but messages. out: room for one element (field_value_size), untouched on a fault. */
enum json_scalar_fault json_read_scalar(const ProtobufCFieldDescriptor *field, const json_t *json,
                                        struct arena *arena, void *out, const char **ret_expected);
/* A map key: text, a decimal integer or "true" / "false", by the field's type. */
enum json_scalar_fault json_read_key(const ProtobufCFieldDescriptor *field, struct view key,
                                     struct arena *arena, void *out, const char **ret_expected);
