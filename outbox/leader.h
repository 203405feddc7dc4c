/* Which of several relays of one outbox is active: an advisory lock on a connection of its own.
 *
 * A thread asks for the lock every 250 ms, and once it holds it proves itself alive every 500 ms.
 * The server ends the session when it hears nothing for two seconds, so a leader that is stopped,
 * hangs or is cut off loses the lock, and a standby takes over within three. A leader that wakes
 * up late may still believe for a moment: what it publishes is fenced by expected sequences and
 * message ids, what it stores by the batches' primary key and by what the stream holds. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/pg.h"

struct leader;

/* options are copied (statement timeout and set-up are set here). schema: the outbox's. */
MUST_CHECK int leader_start(struct leader **ret, const struct pg_options *options,
                            const char *schema, struct err *err);
struct leader *leader_stop(struct leader *l); /* gives the lock back; takes NULL */
/* Thread-safe. */
bool leader_holds(const struct leader *l);
/* Rises each time the lock is gained. */
unsigned leader_term(const struct leader *l);
