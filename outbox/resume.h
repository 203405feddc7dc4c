/* Where a guarded lane goes on, or why it must not: a pure decision from what the database and the
 * stream say.
 *
 * The stream's last message is the checkpoint. Its position names a batch and a row; the number of
 * messages since the batch's start names the same row again, and alone when a purge has taken the
 * message (a purge keeps the last sequence). Whatever contradicts itself is another epoch: a
 * restored database, a recreated stream, a foreign publisher. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/err.h"
#include "events/base/uuid.h"

struct resume_facts {
    /* The newest batch that is stored. */
    bool has_batch;
    int64_t batch, n_rows;
    uint64_t start_sequence;
    /* The stream. */
    uint64_t last_sequence;
    bool has_tail;     /* its last message is still there */
    bool has_position; /* and says where it comes from */
    int64_t tail_batch, tail_id;
};

enum resume_check {
    RESUME_CHECK_NONE,     /* nothing to compare */
    RESUME_CHECK_NTH,      /* row number stored-1 of the batch exists (the tail is gone) */
    RESUME_CHECK_NTH_TAIL, /* ... and it is the tail's row, with its event id */
    RESUME_CHECK_TAIL,     /* the tail's row is of a former batch: exists, with its event id */
};

struct resume {
    int64_t stored; /* rows of the newest batch that the stream has */
    enum resume_check check;
};

/* Errors: ERR_FATAL with code epoch-database (the stream knows more than the database),
 * epoch-stream (the stream has fewer or more messages than noted) or epoch-foreign (a message that
 * no relay wrote). */
MUST_CHECK int resume_decide(const struct resume_facts *facts, struct resume *ret, struct err *err);

/* The position header: "batch:id"; both ≥ 0. */
#define POSITION_MAX 44
void position_format(int64_t batch, int64_t id, char out[static POSITION_MAX]);
MUST_CHECK bool position_parse(struct view text, int64_t *ret_batch, int64_t *ret_id);
