/* Dead letters: the original bytes with headers that a person can read (spec dead-letters.md).
 *
 * Building is pure; the dead-letter sweeper writes the same identity from the same facts, so there
 * is one dead letter per failure, whoever is first. The Echora-Dlq-* headers stay within 2 KiB
 * together; original headers are kept but for NATS' own, those of an earlier dead letter and those
 * whose name is none, up to DEAD_LETTER_HEADERS_MAX (JetStream refuses header blocks of 64 KiB). */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/arena.h"
#include "events/bus.h"

#define DEAD_LETTER_OWN_MAX 2048
#define DEAD_LETTER_HEADERS_MAX (60 * 1024)
#define DEAD_LETTER_REASON_MAX 512
/* Replays so far from which on a failure is parked. */
#define DEAD_LETTER_PARK_HOPS 3

struct dead_letter {
    const char *stream;
    int64_t stream_created_s; /* Unix seconds: tells a recreated stream's sequences apart */
    const char *consumer;
    bool parks;
    const char *subject; /* original */
    uint64_t sequence;
    unsigned deliveries;
    const char *class; /* reject, retry-exhausted, crash, expired */
    const char *code;
    const char *reason;    /* no field values */
    struct view entity;    /* may be empty; of untrusted content */
    int64_t first_seen_us; /* when the broker stored the original */
    int64_t failed_at_us;
    const char *worker; /* who wrote it */
    unsigned hop;       /* replays so far */
    struct bytes payload;
    const struct bus_header *original; /* as they came, controls included */
    size_t n_original;
};

/* Everything in the arena. ERR_RETRY no-memory when it is full. */
MUST_CHECK int dead_letter_build(const struct dead_letter *facts, struct arena *arena,
                                 struct bus_message *ret, struct err *err);
/* Groups equal failures: consumer, code and the reason without its numbers and ids. 16 hex
 * characters. */
void dead_letter_fingerprint(const char *consumer, const char *code, const char *reason,
                             char out[static 17]);
/* What the failure is called, the letter's Nats-Msg-Id. NULL when the arena is full. */
char *dead_letter_identity(const char *stream, int64_t stream_created_s, const char *consumer,
                           uint64_t sequence, struct arena *arena);
/* Printable ASCII of at most max bytes: what a publisher wrote may be anything. NULL when the arena
 * is full. */
char *dead_letter_text(struct view text, size_t max, struct arena *arena);
/* Headers that NATS gives a meaning: never copied. */
bool dead_letter_strips(const char *header_name);
