/* Where an event or an entity stands in the chain: received, written, in the outbox, relayed,
 * indexed. From PostgreSQL, the streams and Qdrant alone; no worker is asked. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <jansson.h>

#include "events/base/uuid.h"
#include "ops/cli/cli.h"

/* What events of an entity did, newest first, as a JSON array. Caller owns. */
MUST_CHECK int chain_history(struct cli *cli, struct uuid entity, json_t **ret, struct err *err);

struct chain_entity {
    bool found, deleted;
    char kind[16];
    struct uuid id; /* its own, when an alias was asked for */
    int64_t revision;
    char title[160];
};
MUST_CHECK int chain_entity(struct cli *cli, struct uuid id, struct chain_entity *ret,
                            struct err *err);

struct chain_handled {
    bool found;
    char consumer[64], outcome[32];
    int64_t revision;
    uint64_t sequence; /* in ANIME_EVENTS */
    struct uuid entity;
    int64_t handled_us;
};
/* What a consumer did with an event. */
MUST_CHECK int chain_handled(struct cli *cli, struct uuid event, struct chain_handled *ret,
                             struct err *err);

struct chain_waiting {
    bool found;
    struct uuid event;
    char outcome[32]; /* "pending": for its entity; "parked": for a person */
};
/* The newest update of an entity that waits. */
MUST_CHECK int chain_waiting(struct cli *cli, struct uuid entity, struct chain_waiting *ret,
                             struct err *err);

/* A risky update and what became of it; texts are cut to what a line can show. */
struct chain_review {
    bool found;
    struct uuid review, update, anime;
    struct uuid reminder, superseded_by; /* nil = none */
    char state[16], fields[160], superseded[160], reasons[160], reviewed_by[128];
    int64_t created_us, decided_us;
    int64_t revision; /* of the anime after the decision; 0 = undecided */
    bool has_row;     /* its flagged copy's outbox row is still kept */
};
/* By the id of the review, its update, its reminder or its decision. */
MUST_CHECK int chain_review(struct cli *cli, struct uuid id, struct chain_review *ret,
                            struct err *err);

/* The newest attempt to tell a receiver of it. */
struct chain_delivery {
    bool has_adapter; /* else there is no event adapter, and no table of attempts */
    bool found;
    char route[48], error[80], class[32];
    int64_t attempt, status, started_us;
    bool goes_on; /* another attempt is due */
};
MUST_CHECK int chain_delivery(struct cli *cli, const struct chain_review *review,
                              struct chain_delivery *ret, struct err *err);

struct chain_row {
    struct uuid event_id;
    char stream[64], subject[128];
    int64_t created_us;
    char trace_id[33];
    int64_t batch;     /* 0 = in none yet */
    uint64_t sequence; /* where it belongs in its stream; 0 = not known */
};
#define CHAIN_ROWS 5
/* Newest outbox rows of an entity; *ret_n of them. */
MUST_CHECK int chain_rows(struct cli *cli, struct uuid entity, struct chain_row ret[CHAIN_ROWS],
                          size_t *ret_n, struct err *err);

struct chain_message {
    bool found;
    uint64_t sequence;
    int64_t stored_us;
    char subject[128];
    char event_id[40];
    char message_id[80]; /* begins with the entity's id in ANIME_EVENTS */
    char trace_id[33];
    char entity[40]; /* this and the next two: dead letters */
    char code[64];
    char reason[256];
};
/* One message of a stream by its sequence, headers only. Not found is no error. */
MUST_CHECK int chain_message(struct cli *cli, const char *stream, uint64_t sequence,
                             struct chain_message *ret, struct err *err);
/* The newest message of the stream with this event or entity id among the newest `within`. */
MUST_CHECK int chain_search(struct cli *cli, const char *stream, struct uuid id, uint64_t within,
                            struct chain_message *ret, struct err *err);

struct chain_point {
    bool found, deleted;
    int64_t rev;
    char emb[80];
    char trace_id[33];
};
MUST_CHECK int chain_point(struct cli *cli, struct uuid id, struct chain_point *ret,
                           struct err *err);
/* Points that are not tombstones, of one entity_type. */
MUST_CHECK int chain_count(struct cli *cli, const char *entity_type, int64_t *ret, struct err *err);

/* Rows that are not in their stream yet and the age of the oldest, over all streams. Those of an
 * open batch count as far as its stream's last sequence does not show them stored; where others
 * write to the stream too, or NATS does not answer, all of them. */
struct chain_lag {
    int64_t rows;
    double seconds;
};
MUST_CHECK int chain_lag(struct cli *cli, struct chain_lag *ret, struct err *err);

struct chain_stream {
    uint64_t messages, bytes, first, last;
    uint64_t max_messages, max_bytes; /* of a stream that refuses when it is full; 0 = no limit */
};
/* Percent of the limit that is nearer, 0 to 100. */
unsigned chain_stream_full(const struct chain_stream *stream);
MUST_CHECK int chain_stream(struct cli *cli, const char *stream, struct chain_stream *ret,
                            struct err *err);
struct chain_consumer {
    uint64_t pending, ack_pending, redelivered;
    uint64_t waiting;   /* requests of workers that the server has not answered in full */
    uint64_t delivered; /* deliveries so far */
    uint64_t ack_floor; /* stream sequence: everything up to here is settled */
};
MUST_CHECK int chain_consumer(struct cli *cli, const char *stream, const char *durable,
                              struct chain_consumer *ret, struct err *err);
