/* What a point's payload holds beside rev, emb and trace: one checked list of fields, per kind.
 *
 * The same rows give the payload indexes. A test holds every row to a field of the domain model.
 * Form: snake_case names as in the .proto files, enums by their name without the type's prefix
 * ("FINISHED"), 64-bit integers as numbers, timestamps as RFC 3339, what is not set left out. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <protobuf-c/protobuf-c.h>

#include "events/base/buf.h"

enum doc_kind { DOC_ANIME, DOC_CHARACTER, DOC_EPISODE, N_DOC_KINDS };
/* "anime", "character", "episode". */
const char *doc_kind_name(enum doc_kind kind);
/* N_DOC_KINDS when it is none. */
enum doc_kind doc_kind_of(struct view name);

struct payload_field {
    const char *name;  /* in the payload; "a.b" only in rows that are nothing but an index */
    unsigned kinds;    /* bit set of 1u << enum doc_kind */
    const char *path;  /* field of the domain message, "aired_dates.aired_from" for inner ones;
                          NULL = not from the message (entity_type, rev, ...) */
    bool names;        /* a list of messages, of which only `name` is kept */
    bool index_only;   /* names a part of what another row wrote */
    const char *index; /* payload index type; NULL = none */
};
extern const struct payload_field payload_fields[];
extern const size_t n_payload_fields;

/* Appends `"name":value,` for every field of this kind that is set in the message. */
void payload_put(struct buf *out, enum doc_kind kind, const ProtobufCMessage *message);
