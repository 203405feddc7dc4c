/* Signed feature hashing: a deterministic vector without a model, for tests, demos and first
 * starts.
 *
 * Lexical only: it finds shared words and letters, no synonyms and nothing across scripts. The same
 * text gives the same bits on every machine: integers are added, then one exact sum of squares, one
 * square root and one division per slot. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "workers/qdrant/document.h"

#define HASH_DIMENSION 1024
#define HASH_MODEL "hash/1"

struct feature_table;
struct feature_table *feature_table_new(void); /* NULL when out of memory */
struct feature_table *feature_table_free(struct feature_table *t);

/* Unit length; an empty text gives the first axis. Code no-memory. */
MUST_CHECK int hash_embed(struct feature_table *t, const struct text_part parts[], size_t n,
                          float vector[static HASH_DIMENSION], struct err *err);
