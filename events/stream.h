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
/* timeout_ms 0 = the connection's. */
MUST_CHECK int stream_state_within(struct bus *bus, const char *stream, int64_t timeout_ms,
                                   struct stream_state *ret, struct err *err);

/* Headers of a stored message as the text that it was sent with ("NATS/1.0\r\nName: value\r\n..."),
 * appended to *headers. *ret_found is false when there is no message of this sequence (any more).
 */
MUST_CHECK int stream_headers(struct bus *bus, const char *stream, uint64_t sequence,
                              struct buf *headers, bool *ret_found, struct err *err);
/* A stored message, whole. Everything is the arena's. */
struct stored_message {
    const char *subject;
    uint64_t sequence;
    int64_t stored_us;
    const struct bus_header *headers; /* as stored, in order */
    size_t n_headers;
    struct bytes payload;
};
/* *ret_found is false, and *ret empty, when there is no message of this sequence (any more). */
MUST_CHECK int stream_message(struct bus *bus, const char *stream, uint64_t sequence,
                              struct arena *arena, struct stored_message *ret, bool *ret_found,
                              struct err *err);
/* The same for n messages, read with all requests in flight: found[i] and ret[i] for each. */
MUST_CHECK int stream_messages(struct bus *bus, const char *stream, const uint64_t sequences[],
                               size_t n, struct arena *arena, struct stored_message ret[],
                               bool found[], struct err *err);
/* The same for the first message at or behind this sequence whose subject the filter matches. */
MUST_CHECK int stream_next(struct bus *bus, const char *stream, uint64_t from, const char *filter,
                           struct arena *arena, struct stored_message *ret, bool *ret_found,
                           struct err *err);
/* The value of the first header of this name, NULL when it is absent. */
const char *stored_header(const struct bus_header headers[], size_t n, const char *name);
/* The value of a header in such a text; an empty view when it is absent. */
struct view stream_header(struct view headers, const char *name);
