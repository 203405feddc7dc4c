/* Risky updates that wait for a person: what becomes of them within a writer's transaction.
 *
 * A decision is an operation like any event's: an approval is the parked update again, of the
 * fields that are still open, at the update's own time and id, so that the order rule lets nothing
 * in that a newer value has overtaken. It is committed with its inbox row, its step in the history
 * and its record for the stream AUDIT, or not at all.
 *
 * Who wins. Whoever decides or supersedes holds the lock of the anime's row, then that of the
 * review's; the second one finds what the first has left. A field of a pending review is superseded
 * in the transaction that moves the field's clock past the review's, or parks an update that is old
 * already: what is open is newer than what stands. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/once.h"
#include "outbox/append.h"
#include "workers/catalogue/work.h"

/* What a decision's operation carries (op->decision). */
struct decision {
    struct uuid review;
    struct uuid id;          /* the decision's own */
    struct uuid update;      /* event id of the parked update */
    bool approves;           /* else rejects */
    const char *reviewed_by; /* checked: no control characters */
    const char *note;
    uint64_t fields; /* those parked */
    /* Of a request: its key is taken with the review; reply makes what is answered from what stands
     * in the transaction, to be kept in it. */
    const struct once *once;
    int (*reply)(void *ctx, ProtobufCMessage **ret, struct err *err);
    void *reply_ctx;
    /* Results, of the last attempt. */
    bool taken;               /* the review was pending, and is this decision's */
    ProtobufCMessage *answer; /* kept now, or before; NULL: none was */
    uint64_t superseded;      /* of fields */
};

/* Which events of the batch are our own flagged copies; ret[] has a place for each event. That
 * Echora-Review is among the headers says nothing: whoever publishes may write it. */
MUST_CHECK int review_find_copies(struct pg *pg, const struct batch *batch, bool ret[],
                                  struct err *err);

/* "a,b" of a set of an anime's fields; NULL when the arena is full. */
char *review_names(struct arena *arena, uint64_t fields);
/* As a repeated field has them. NULL when the arena is full. */
char **review_name_list(struct arena *arena, uint64_t fields, size_t *ret_n);
/* From "a,b"; names that this version does not know are left out. */
uint64_t review_fields(struct view names);

/* Locks the reviews that the decisions are about, after their anime, and leaves the decisions out
 * that come too late. */
MUST_CHECK int review_take(struct work *w, struct op *ops[], size_t *n, struct err *err);
/* Stores what was decided, and leaves out of w->parked what was parked before: it is not announced
 * a second time. After revisions were given, before rows are announced. */
MUST_CHECK int review_settle(struct work *w, struct err *err);
/* Keeps what is answered to those who decided, and frees the keys of those who were refused: ops
 * are those that review_take has left. After all that they say of is stored. */
MUST_CHECK int review_keep(struct work *w, struct op *const ops[], size_t n, struct err *err);
/* Supersedes what newer values have overtaken. After parked updates were stored. */
MUST_CHECK int review_supersede(struct work *w, struct err *err);

/* Counts an outcome: "approved", "rejected", "superseded", "expired", "reminded". NULL only makes
 * the series. */
void review_count(const char *outcome, double n);

/* One record for the stream AUDIT. */
struct audit_facts {
    const char *action, *actor, *note;
    struct uuid event, anime, review, update;
    uint64_t fields, superseded;
    int64_t revision;
};
MUST_CHECK int review_audit(struct arena *arena, const struct audit_facts *facts,
                            struct outbox_row *ret, struct err *err);
