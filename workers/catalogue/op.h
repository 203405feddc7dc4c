/* An operation: what one event (or request) wants of the catalogue, in one form for all consumers.
 *
 * The kinds of events differ only in what stands here: whether an unknown target is made or waited
 * for, which fields count, whether existence is set, whether the risk policy judges. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "contracts/registry.h"
#include "events/base/arena.h"
#include "events/bus.h"
#include "events/trace.h"
#include "workers/catalogue/merge.h"

struct entity;
struct decision;

/* One entity that an operation speaks of. */
struct thing {
    enum entity_kind kind;
    bool has_id;
    struct uuid id;          /* as named */
    const struct view *refs; /* sorted, each once */
    size_t n_refs;
    const ProtobufCMessage *message; /* of the kind; NULL = no fields */
    uint64_t mask;                   /* the fields that count */
    int32_t number;                  /* episodes */
    struct view name;                /* characters */
    const char *role;                /* characters: of this anime */
    int32_t billing;                 /* characters: place in the list */
    struct entity *entity;           /* found or made while it is applied */
};

enum op_outcome {
    OUTCOME_NONE,
    OUTCOME_APPLIED,
    OUTCOME_UNCHANGED,
    OUTCOME_PARKED,  /* some fields wait for a person */
    OUTCOME_PENDING, /* waits for its entity */
    OUTCOME_REJECTED,
};

struct op {
    const struct subject_def *def; /* NULL for requests */
    const char *consumer;
    struct clock clock;
    const struct trace_context *trace;
    const ProtobufCMessage *event; /* the whole message */
    struct bytes payload;
    const char *risk_flag;            /* header Echora-Risk; NULL = absent */
    const struct bus_header *headers; /* all of them, for an update that waits */
    size_t n_headers;
    uint64_t stream_sequence;
    int64_t stored_us;
    bool from_pending;

    struct thing main;
    struct thing *members; /* of the anime in main: characters, then episodes */
    size_t n_members;
    bool creates;        /* an unknown main is made, else waited for */
    bool sets_existence; /* main is an anime; to `deleted` */
    bool deleted;
    bool judged; /* by the risk policy */
    /* Requests. */
    int64_t expected_revision; /* refuse unless main stands there; 0 = any */
    struct uuid merge_into;    /* who takes over main's id and references; nil = nobody */
    struct decision *decision; /* on a parked update, which clock and message are of (review.h) */

    /* Results, of the last attempt. */
    enum op_outcome outcome;
    int64_t revision;  /* main's, 0 = did not change */
    int64_t stands_at; /* main's revision after it, changed or not */
    struct err err;    /* when rejected */
};

/* Fills everything that follows from subject and message; the caller then sets consumer, trace,
 * payload and the like. Codes bad-uuid, missing-required (ERR_REJECT) for what validation should
 * have refused, no-memory. References that can't be read or
 * that name a whole franchise are left out. */
MUST_CHECK int op_init(struct op *op, const struct subject_def *def, const ProtobufCMessage *event,
                       struct arena *arena, struct err *err);
const char *outcome_name(enum op_outcome outcome);
