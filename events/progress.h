/* Progress reports for every event in hand, so that the broker does not hand it to another process
 * while its handler works or its dependency is away.
 *
 * One small thread per process. An event is reported at a third of its consumer's ack wait, from
 * the moment it arrives until it is settled, but only up to a limit (hold-limit, 5 minutes, of one
 * handling): a handler that hangs for longer loses its event to another process. Each report is a
 * Raft proposal on a replicated stream, hence a third and not oftener. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/err.h"

struct progress;

/* One event in hand; embedded in what holds it. */
struct lease {
    struct lease *prev, *next;
    const char *ack_subject; /* the holder's, lives until progress_remove */
    int64_t due_ms, every_ms, until_ms;
};

/* send reports one event; called from the thread, with the lock held: it must not call back. */
typedef void progress_send_fn(void *ctx, const char *ack_subject);

/* limit_ms: how long after its arrival an event is reported unless progress_set_end says otherwise.
 */
MUST_CHECK int progress_start(struct progress **ret, int64_t limit_ms, progress_send_fn *send,
                              void *ctx, struct err *err);
/* Ends the thread; leases must be gone or are forgotten. Takes NULL, returns NULL. */
struct progress *progress_stop(struct progress *p);

/* now_ms is the monotonic time of arrival. */
void progress_add(struct progress *p, struct lease *lease, const char *ack_subject, int64_t now_ms,
                  int64_t ack_wait_ms);
/* Reports go on until then (monotonic), be it sooner or later than before. */
void progress_set_end(struct progress *p, struct lease *lease, int64_t until_ms);
/* After it returns no further report of this event is sent. Harmless when it is not listed. */
void progress_remove(struct progress *p, struct lease *lease);
/* Events in hand now. */
unsigned progress_count(struct progress *p);
