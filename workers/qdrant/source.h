/* The committed state, read from the catalogue by request. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "contracts/gen/catalog_requests.pb-c.h"
#include "events/base/uuid.h"
#include "events/bus.h"
#include "workers/qdrant/payload.h"

#define SOURCE_IDS_MAX 256

typedef Echora__Catalog__V1__CatalogGetReply CatalogReply;
typedef Echora__Catalog__V1__CatalogEntry CatalogEntry;
typedef Echora__Catalog__V1__CatalogRevisionsReply RevisionsReply;

struct source {
    struct bus *bus;
    int64_t timeout_ms;
};

struct source_query {
    enum doc_kind kind;
    const struct uuid *ids;
    size_t n; /* 1..SOURCE_IDS_MAX */
    bool revisions_only;
    const char *field;  /* only this one field of living things; NULL = everything of all */
    const char *cursor; /* NULL, or next_members of a reply about this one id */
};

/* One request; what had no room is in the reply's `unread`. Neither that nor the entries are more
 * than the ids. Memory is the arena's. */
MUST_CHECK int source_get(const struct source *s, const struct source_query *query,
                          struct arena *arena, const CatalogReply **ret, struct err *err);
/* One page of ids with revisions, in id order. after NULL = from the start. */
MUST_CHECK int source_revisions(const struct source *s, enum doc_kind kind,
                                const struct uuid *after, int32_t limit, struct arena *arena,
                                const RevisionsReply **ret, struct err *err);
/* Fresh outbox rows with Echora-Repair. */
MUST_CHECK int source_enqueue(const struct source *s, enum doc_kind kind, const struct uuid ids[],
                              size_t n, struct arena *arena, int64_t *ret_rows, struct err *err);
/* The content of an entry; NULL when it has none. */
const ProtobufCMessage *source_content(enum doc_kind kind, const CatalogEntry *entry);
