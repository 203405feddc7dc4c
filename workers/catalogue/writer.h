/* The catalogue writer of one lane: a batch of operations, one transaction, one result each.
 *
 * In a transaction: skip what the inbox has, load and lock, apply, give revisions, write, announce,
 * note in the inbox. Serialisation failures, deadlocks and races for one new thing are redone in
 * place, costing no delivery. Any other error of a batch is redone by halves, so that one bad
 * operation never fails its neighbours. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/bus.h"
#include "events/event.h"
#include "outbox/append.h"
#include "workers/catalogue/risk.h"
#include "workers/catalogue/store.h"

struct writer {
    struct pg *pg;
    struct bus *bus;     /* for the relay's hint; NULL = none */
    struct arena *arena; /* of one attempt */
    struct store *store;
    struct outbox *outbox;
    struct risk_limits limits;
    unsigned generation;   /* of the connection that has our settings */
    uint64_t transactions; /* on that connection */
    uint64_t committed;    /* transactions that wrote something */
    uint64_t refused;      /* waiting updates that were refused; dead letters are due */
    struct metric *redone, *halved, *outcomes[OUTCOME_REJECTED + 1], *duplicates;
};

/* pg and bus are borrowed. Code no-memory (ERR_FATAL). */
MUST_CHECK int writer_init(struct writer *w, struct pg *pg, struct bus *bus,
                           const struct risk_limits *limits, struct err *err);
void writer_deinit(struct writer *w);

/* Result of one operation. err NONE: committed (or a duplicate: outcome NONE). */
struct written {
    struct op *op;
    struct err err;
};
/* Runs all of it; fills written[i].err. Operations that the inbox or an earlier one of the batch
 * has already keep outcome NONE. Hints the relay when rows were written. */
void writer_run(struct writer *w, struct written written[], size_t n);

/* The events of a batch: operations, run, verdicts. */
void writer_handle(struct writer *w, struct batch *batch);
