/* Fields of a message and columns of a row, by descriptor: exact both ways, but for enum numbers
 * without a name, which read UNKNOWN in the column and stand as numbers in meta. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/pg.h"
#include "workers/catalogue/kind.h"

enum pg_array_kind column_array_kind(const ProtobufCFieldDescriptor *field);
/* Appends the field's value; NULL when it has presence and is not set. */
void column_write(struct pg_array *a, const ProtobufCMessage *message,
                  const ProtobufCFieldDescriptor *field);
/* Sets the field from a column that is not NULL, unless it is set already (from meta). Text is
 * copied into the arena. Code internal, no-memory. */
MUST_CHECK int column_read(const PGresult *r, int row, int column, ProtobufCMessage *message,
                           const ProtobufCFieldDescriptor *field, struct arena *arena,
                           struct err *err);
/* True when the field is an enum that is set to a number without a name. */
bool column_is_unknown_enum(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field);

/* Appends the JSON object of everything that meta holds. ret_unknown (may be NULL) counts the enum
 * numbers without a name among the columns. */
MUST_CHECK int meta_encode(const struct kind *kind, const ProtobufCMessage *message,
                           struct buf *out, unsigned *ret_unknown, struct err *err);
