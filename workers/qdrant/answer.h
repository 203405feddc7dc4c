/* catalog.reconcile: a comparison that somebody asked for, page by page, to its end.
 *
 * Under an Idempotency-Key (events/once.h) the run has a note with the broker (events/kept.h). The
 * same request again, at the same time too, waits for the run and gets its reply. What a dead
 * worker left half done is taken up where its last page ended; the entities of the page that it was
 * at may be sent once more, which changes nothing in the index. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/worker.h"
#include "workers/qdrant/reconcile.h"

struct answering {
    struct lane *lane;
    struct source source;
    struct qdrant *qdrant;
    struct arena *arena; /* reset for every page */
    int64_t rate;        /* unless the request says another */
};
/* As an answer_fn. */
MUST_CHECK int answer_reconcile(const struct answering *a, const struct request *request,
                                ProtobufCMessage **ret_reply, struct err *err);
