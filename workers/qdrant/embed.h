/* Embedding providers behind one interface: none, hash, http.
 *
 * Vectors have unit length. A provider that is out of reach costs nothing but the vectors: the
 * caller writes the point without (emb "pending"), nothing waits. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/err.h"
#include "workers/qdrant/document.h"

#define EMBED_DIMENSION_MAX 4096

struct embed_options {
    const char *provider; /* "none", "hash", "http" */
    const char *api;      /* http: "openai", "tei", "ollama" */
    const char *url;
    const char *model;
    const char *key; /* bearer; "" = none */
    int64_t dimension;
    int64_t batch; /* texts in one call */
    int64_t timeout_ms;
};

struct embedder;

/* Codes config (ERR_FATAL), no-memory. */
MUST_CHECK int embedder_open(struct embedder **ret, const struct embed_options *options,
                             struct err *err);
struct embedder *embedder_close(struct embedder *e); /* takes NULL */
/* Names what vectors are made by: part of `emb` and of the collection's metadata. */
const char *embedder_model(const struct embedder *e);
/* 0: this provider makes no dense vectors. */
size_t embedder_dimension(const struct embedder *e);

/* Whether a text would be embedded now; asks the provider, unless it failed a moment ago. */
bool embedder_answers(struct embedder *e);

/* vectors: n * dimension floats. done[i] tells which were made; -1 when one is missing, with the
 * reason. ERR_UNAVAILABLE (the provider is out) or ERR_REJECT (it refuses the text or answers
 * nonsense). */
MUST_CHECK int embed_documents(struct embedder *e, const struct document *const docs[], size_t n,
                               float *vectors, bool *done, struct err *err);
