/* The collection, its payload indexes and its alias: made when missing, checked when there.
 *
 * Guards need a server of 1.16 or later: an older one ignores update_filter without a word. What a
 * collection's vectors were made by stands in its metadata; vectors of two makers never mix, so a
 * worker with another provider is refused and told to use a new collection. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "workers/qdrant/client.h"

#define SCHEMA_VERSION "1"

struct schema {
    const char *alias;
    const char *model;
    size_t dimension; /* of dense vectors; 0 = none */
};

/* Idempotent, by any number of processes at once. Codes qdrant-version, qdrant-schema
 * (ERR_FATAL). */
MUST_CHECK int schema_ensure(struct qdrant *q, const struct schema *want, struct err *err);
/* The collection that an alias points to; "" when there is no such alias. */
MUST_CHECK int schema_alias(struct qdrant *q, const char *alias,
                            char ret[static COLLECTION_NAME_MAX], struct err *err);
/* Lets an alias that there is point to q's collection, in one step. */
MUST_CHECK int schema_switch(struct qdrant *q, const char *alias, struct err *err);
/* Is the collection there? One short call, for probes. */
MUST_CHECK int schema_exists(struct qdrant *q, bool *ret, struct err *err);
/* "1.17.1", "1.16.0-dev", "1.17.1-edge0.9.0": at least 1.16? Pure. */
bool version_is_enough(struct view version);
