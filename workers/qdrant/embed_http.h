/* Embeddings over HTTP: OpenAI-compatible (`/v1/embeddings`), TEI (`/embed`), Ollama
 * (`/api/embed`).
 *
 * A reply with a wrong count, a wrong dimension or a value that is not finite is refused whole. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "workers/qdrant/embed.h"

struct embed_http;

MUST_CHECK int embed_http_open(struct embed_http **ret, const struct embed_options *options,
                               struct err *err);
struct embed_http *embed_http_close(struct embed_http *e);
/* One call. ERR_UNAVAILABLE: out of reach; ERR_REJECT: it refuses these texts, or code
 * embed-reply: what it answered is no set of vectors. Vectors are brought to unit length. */
MUST_CHECK int embed_http_texts(struct embed_http *e, const struct view texts[], size_t n,
                                float *vectors, struct err *err);
/* The parser alone, for tests. api as in embed_options. */
MUST_CHECK int embed_http_parse(const char *api, struct view reply, size_t n, size_t dimension,
                                float *vectors, struct err *err);
