/* Embedding providers behind one interface: none, hash, http.
 *
 * Vectors have unit length. A provider that is out of reach costs nothing but the vectors: the
 * caller writes the point without (emb "pending"), nothing waits. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/err.h"
#include "events/option.h"
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

/* Rows of an option table for the struct embed_options that is `member` of `type`. */
#define EMBED_OPTION_ROWS(type, member)                                                            \
    {.name = "embed-provider",                                                                     \
     .kind = OPT_ENUM,                                                                             \
     .offset = offsetof(type, member.provider),                                                    \
     .default_text = "hash",                                                                       \
     .choices = "none|hash|http",                                                                  \
     .placeholder = "NAME",                                                                        \
     .help = "Who makes dense vectors: nobody (BM25 alone), feature hashing, or a service."},      \
        {.name = "embed-api",                                                                      \
         .kind = OPT_ENUM,                                                                         \
         .offset = offsetof(type, member.api),                                                     \
         .default_text = "openai",                                                                 \
         .choices = "openai|tei|ollama",                                                           \
         .placeholder = "NAME",                                                                    \
         .help = "What the embedding service speaks."},                                            \
        {.name = "embed-url",                                                                      \
         .kind = OPT_STRING,                                                                       \
         .offset = offsetof(type, member.url),                                                     \
         .default_text = "",                                                                       \
         .placeholder = "URL",                                                                     \
         .help = "The embedding service's address, without the path of the call."},                \
        {.name = "embed-model",                                                                    \
         .kind = OPT_STRING,                                                                       \
         .offset = offsetof(type, member.model),                                                   \
         .default_text = "bge-m3",                                                                 \
         .placeholder = "NAME",                                                                    \
         .help = "Model to ask for; a collection holds the vectors of one model only."},           \
        {.name = "embed-key-file",                                                                 \
         .kind = OPT_SECRET_FILE,                                                                  \
         .offset = offsetof(type, member.key),                                                     \
         .default_text = "",                                                                       \
         .placeholder = "FILE",                                                                    \
         .help = "File that holds the embedding service's bearer token."},                         \
        {.name = "embed-dimension",                                                                \
         .kind = OPT_INT,                                                                          \
         .offset = offsetof(type, member.dimension),                                               \
         .default_text = "1024",                                                                   \
         .min = 1,                                                                                 \
         .max = EMBED_DIMENSION_MAX,                                                               \
         .placeholder = "N",                                                                       \
         .help = "Dimension of the service's vectors; others are refused."},                       \
        {.name = "embed-batch",                                                                    \
         .kind = OPT_INT,                                                                          \
         .offset = offsetof(type, member.batch),                                                   \
         .default_text = "32",                                                                     \
         .min = 1,                                                                                 \
         .max = 256,                                                                               \
         .placeholder = "N",                                                                       \
         .help = "Texts in one call of the embedding service."},                                   \
    {                                                                                              \
        .name = "embed-timeout", .kind = OPT_DURATION,                                             \
        .offset = offsetof(type, member.timeout_ms), .default_text = "10s", .min = 100,            \
        .max = 60000, .placeholder = "DURATION",                                                   \
        .help = "How long one call of the embedding service may take."                             \
    }

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
