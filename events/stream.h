/* What a stream says of itself: its state, and single messages. For relays and tools. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/err.h"
#include "events/bus.h"

enum { STREAM_CREATED_MAX = 48 };
struct stream_state {
    char created[STREAM_CREATED_MAX]; /* as the server writes it; another text is another stream */
    uint64_t messages, first_sequence, last_sequence;
};

/* Code nats-10059 (ERR_FATAL) when there is no such stream. */
MUST_CHECK int stream_state(struct bus *bus, const char *stream, struct stream_state *ret,
                            struct err *err);

/* Headers of a stored message as the text that it was sent with ("NATS/1.0\r\nName: value\r\n..."),
 * appended to *headers. *ret_found is false when there is no message of this sequence (any more).
 */
MUST_CHECK int stream_headers(struct bus *bus, const char *stream, uint64_t sequence,
                              struct buf *headers, bool *ret_found, struct err *err);
/* The value of a header in such a text; an empty view when it is absent. */
struct view stream_header(struct view headers, const char *name);
