/* Qdrant's REST API, as far as sync needs it: one connection, one collection.
 *
 * A write counts only when the answer is 200 and its status is `completed`: `acknowledged` may
 * still fail unseen and `wait_timeout` says that it has not happened yet. Every other trouble of
 * the server is ERR_UNAVAILABLE (also a lost reply: writes are guarded, so they are repeated), 400
 * and 422 are ERR_REJECT of what was written, 401 and 403 ERR_FATAL. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <jansson.h>

#include "workers/qdrant/plan.h"

#define COLLECTION_NAME_MAX 128

struct qdrant_options {
    const char *url;
    const char *api_key;    /* "" = none */
    const char *collection; /* its own name, not the alias */
    int64_t timeout_ms;     /* of one write, on the server */
    int64_t limit_ms;       /* of a whole call; 0 = timeout_ms and a margin */
};

struct qdrant;
/* Does not connect. Code config (ERR_FATAL) for a name that can't stand in a path. */
MUST_CHECK int qdrant_open(struct qdrant **ret, const struct qdrant_options *options,
                           struct err *err);
struct qdrant *qdrant_close(struct qdrant *q); /* takes NULL */
const char *qdrant_collection(const struct qdrant *q);

/* Any call; *ret_result (may be NULL) is the answer's `result`, to be json_decref'ed. */
MUST_CHECK int qdrant_call(struct qdrant *q, const char *method, const char *path, struct view body,
                           json_t **ret_result, struct err *err);
/* GET /, which has no envelope: title and version of the server. */
MUST_CHECK int qdrant_about(struct qdrant *q, json_t **ret, struct err *err);
/* A write to the collection; path as behind its name, "/points". */
MUST_CHECK int qdrant_write(struct qdrant *q, const char *method, const char *path,
                            struct view body, struct err *err);

/* rev, emb and deleted of points, in the order of ids; absent ones have present == false. */
MUST_CHECK int qdrant_read_marks(struct qdrant *q, const struct uuid ids[], size_t n,
                                 struct stored marks[], struct err *err);
/* One page of points; body as Qdrant wants it. *ret_result has an array `points`. */
MUST_CHECK int qdrant_scroll(struct qdrant *q, struct view body, json_t **ret_result,
                             struct err *err);
/* Calls found for every character and episode whose anime_ids hold this anime. */
typedef int found_fn(void *ctx, enum doc_kind kind, struct uuid id, struct err *err);
MUST_CHECK int qdrant_children(struct qdrant *q, struct uuid anime, found_fn *found, void *ctx,
                               struct err *err);
/* What a page of a scroll says of the one behind it: 1 with its first id, 0 when there is none.
 * from: the first id of this page, NULL = it was the first one. -1 (qdrant-reply) when the next
 * page would not lie behind this one: following it would not end. */
MUST_CHECK int qdrant_next_page(const json_t *result, const struct uuid *from, struct uuid *ret,
                                struct err *err);
/* The marks of one point's payload. */
void stored_of_payload(const json_t *payload, struct stored *ret);
