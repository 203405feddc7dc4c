/* What the catalogue keeps, kind by kind: one row per domain field says where it lives.
 *
 * Rows stand in the order of the message's descriptor, so that a field's index is the same in both
 * and a set of fields is a 64-bit mask. A test holds the table to the descriptor: a field that is
 * added to the contract and not listed here fails it. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <protobuf-c/protobuf-c.h>

#include "events/base/view.h"

enum entity_kind { KIND_ANIME, KIND_CHARACTER, KIND_EPISODE, N_KINDS };

enum field_home {
    HOME_META,   /* canonical JSON in the row's meta */
    HOME_COLUMN, /* a column holds it exactly; an enum number without a name goes to meta, too */
    HOME_KEY,    /* part of the row's identity, given back from there */
    HOME_NONE,   /* deliberately not stored */
};

struct field_row {
    const char *name;
    enum field_home home;
};

struct kind {
    enum entity_kind kind;
    const char *name; /* "anime" */
    const ProtobufCMessageDescriptor *message;
    const struct field_row *fields;
    unsigned n_fields; /* ≤ 63 */
};

extern const struct kind kinds[N_KINDS];

/* Fields that an event may set and that are stored (column or meta). */
uint64_t kind_stored_mask(const struct kind *kind);
/* Index of a field in the message; -1 when there is none of the name. */
int kind_field(const struct kind *kind, struct view name);
static inline uint64_t field_bit(int index)
{
    return index < 0 ? 0 : UINT64_C(1) << index;
}
/* As kind_field for a literal; aborts when it is missing (a fault of the program). */
uint64_t kind_bit(enum entity_kind kind, const char *name);
/* "anime" and so on to the kind; NULL when there is none. */
const struct kind *kind_by_name(struct view name);
