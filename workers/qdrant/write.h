/* Guarded writes: request bodies, their size, and who is to blame when one is refused.
 *
 * Upserts (tombstones too) carry one update_filter for all points of the request: a point without
 * rev may be written, else each id only when its rev is lower (or equal, for repair). An id that
 * was absent has no condition of its own, since the server has to read and try each of them: a
 * point that came meanwhile stays, and the next round, which has read it, decides. Payload
 * writes carry id, emb and rev in their filter, so that one which meets other vectors does nothing.
 * A body stays far below the server's 32 MiB; a refused one is sent again by halves until the point
 * that is to blame stands alone. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/trace.h"
#include "workers/qdrant/client.h"

struct point_write {
    enum plan_action action;
    bool or_equal;
    bool absent; /* no point was there: one that came since is left alone, until it was read */
    enum doc_kind kind;
    struct uuid id;
    int64_t rev;
    const struct document *doc; /* NULL for tombstones */
    const char *emb;            /* "" for tombstones */
    const float *vector;        /* NULL = no dense vector */
    const struct trace_context *trace;
    struct err err; /* result: set when this point was refused */
};

struct writer;
/* dimension of dense vectors, 0 = none. NULL when out of memory. */
struct writer *writer_new(struct qdrant *q, size_t dimension);
struct writer *writer_free(struct writer *w);

/* Sends all of one action's kind: PLAN_UPSERT and PLAN_TOMBSTONE mixed, or PLAN_PAYLOAD alone.
 * -1: the server is in trouble, some may have been written. */
MUST_CHECK int writer_upsert(struct writer *w, struct point_write *const writes[], size_t n,
                             struct err *err);
MUST_CHECK int writer_payload(struct writer *w, struct point_write *const writes[], size_t n,
                              struct err *err);

/* The bodies, for tests. */
void put_upsert_body(struct buf *out, struct point_write *const writes[], size_t n,
                     size_t dimension);
void put_payload_body(struct buf *out, struct point_write *const writes[], size_t n);
/* Unit-length vectors as decimals of eight places: what a 32-bit float of that size holds. */
void put_vector(struct buf *out, const float *vector, size_t n);
