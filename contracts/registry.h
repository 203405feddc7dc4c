/* The subject registry: what travels on which subject, in which stream, as which message.
 *
 * One table (registry.c) from which stream definitions, the AsyncAPI document, the reference page,
 * metric labels and tests are made. No request subject lies in a stream: JetStream would answer the
 * request with its own acknowledgement (spec subjects.md). */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <protobuf-c/protobuf-c.h>

#include "events/base/view.h"

enum subject_kind {
    SUBJECT_EVENT,   /* on a stream */
    SUBJECT_REQUEST, /* core NATS, with a reply */
    SUBJECT_HINT,    /* core NATS, may be lost */
};

struct stream_def {
    const char *name;
    const char *description;
    const char *const
        *patterns; /* NULL-terminated wildcards beyond the registered subjects; may be NULL */
    int64_t max_age_s;
    int64_t duplicate_window_s;
    int64_t max_msgs;        /* -1 = no limit */
    int64_t max_per_subject; /* of a stream that refuses; 0 = no limit */
    int64_t max_bytes;       /* always set */
    int32_t max_msg_size;    /* counts headers; -1 = server's max_payload */
    bool discard_old;        /* else discard: new, a full stream refuses loudly */
    bool last_per_subject;   /* keeps the newest message of each subject, no more */
    bool allow_direct;
    bool deny_delete;
    bool sole_writer; /* only a relay publishes here; order is guarded by expected sequences */
};

struct subject_def {
    const char *subject;
    enum subject_kind kind;
    const struct stream_def *stream;           /* NULL unless SUBJECT_EVENT */
    const ProtobufCMessageDescriptor *message; /* event or request; NULL = no body (hints) */
    const ProtobufCMessageDescriptor *reply;   /* requests only */
    const char *schema;                        /* "echora.events.v1.AnimeUpdatedEvent" */
    const char *entity_kind;                   /* "anime", "character", "episode" or NULL */
    const char *entity_id_field;               /* field of message, e.g. "anime_id"; NULL = none */
    bool once;                                 /* takes the header Echora-Idem (events/once.h) */
    const char *published_by;                  /* for people, e.g. "ingestion" */
    const char *description;                   /* one sentence */
};

extern const struct stream_def *const registry_streams[]; /* NULL-terminated */
extern const struct subject_def registry_subjects[];
extern const size_t n_registry_subjects;

/* Exact subject; NULL when it is not registered. */
const struct subject_def *registry_subject(struct view subject);
const struct stream_def *registry_stream(struct view name);
/* As registry_subject for a literal in a table; aborts when it is missing (a fault of the program).
 */
const struct subject_def *registry_must(const char *subject);

/* Subject matching as nats-server does it: '*' is one token, a last '>' one or more. */
bool subject_matches(struct view pattern, struct view subject);
/* Some subject matches both. */
bool subject_overlaps(struct view a, struct view b);

/* The stream that captures a subject, by registered subjects and patterns; NULL when none does. */
const struct stream_def *registry_stream_of(struct view subject);
/* What a stream listens to: its patterns, then its registered subjects that no pattern covers
 * (nats-server refuses overlaps). Fills at most max, returns how many there are. */
size_t registry_stream_subjects(const struct stream_def *stream, const char **ret, size_t max);

/* What every event message carries in fields 1 and 2, and its entity. Views point into the message.
 */
struct envelope {
    struct view event_id; /* as published, not yet checked */
    int64_t time_us;      /* event time, microseconds since 1970 */
    bool has_time;
    struct view entity_id; /* empty when the subject names no entity */
};
void envelope_read(const struct subject_def *def, const ProtobufCMessage *message,
                   struct envelope *ret);
