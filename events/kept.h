/* What a worker without PostgreSQL keeps of a request with Echora-Idem (once.h): one note for each
 * key, in the stream WORKER_REPLIES, for 30 days.
 *
 * The note is the claim on the effect, says how far it is, and holds its outcome at the end. It is
 * written only where the note before still stands (expected sequence of the subject), so of two who
 * claim a key one learns that it was too late, and so does an owner that another has followed. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/once.h"

#define KEPT_STREAM "WORKER_REPLIES"

struct kept_note {
    uint64_t sequence; /* 0 = there is none */
    int64_t stored_us; /* wall clock of the server */
    struct view text;  /* the arena's */
};
/* Trouble with the bus is ERR_RETRY here and below, whatever it is: a request is refused for it,
 * and the worker goes on. */
MUST_CHECK int kept_read(struct bus *bus, const struct once *once, struct kept_note *ret,
                         struct err *err);
/* Writes text in place of the note at *sequence, which becomes the new one. Code nats-10071 when
 * another note stands there. */
MUST_CHECK int kept_write(struct bus *bus, const struct once *once, struct view text,
                          uint64_t *sequence, struct err *err);
