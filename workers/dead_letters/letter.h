/* A dead letter as its headers tell it, and the two forms it has elsewhere: a row of the index and
 * a message.
 *
 * ANIME_DLQ takes what anybody with the right publishes, so nothing is believed: texts are cut and
 * made printable, numbers default to zero, and a letter without an identity is called by its place.
 */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/stream.h"
#include "workers/dead_letters/context.h"

struct letter {
    const char *id, *stream, *consumer, *subject, *class, *code, *reason, *fingerprint, *entity,
        *worker, *replay_id;
    uint64_t sequence; /* in ANIME_DLQ */
    int64_t stream_sequence;
    int32_t hop, deliveries, size, attempts;
    bool parked;
    int64_t first_seen_us, failed_at_us;
    const char *state; /* "" = not known */
};

/* From a stored message of ANIME_DLQ; texts are the arena's. */
MUST_CHECK int letter_read(const struct stored_message *message, struct arena *arena,
                           struct letter *ret, struct err *err);
/* From a row with the columns of list_letters.sql. */
MUST_CHECK int letter_of_row(const PGresult *rows, int row, struct arena *arena, struct letter *ret,
                             struct err *err);
/* NULL when the arena is full. Shares the texts. */
DlqLetter *letter_message(const struct letter *letter, struct arena *arena);
/* NULL when the arena is full. */
Google__Protobuf__Timestamp *timestamp_message(int64_t wall_us, struct arena *arena);
/* The stored letter is not whole: its original was too large for the stream. */
bool letter_is_lean(const struct letter *letter);
