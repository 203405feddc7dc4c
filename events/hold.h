/* Events that wait in hand for a dependency, kept alive by progress reports.
 *
 * Held three times, an event is handled alone and less often, so that one that only seems to need a
 * dependency's return holds up nobody. Alone again and again, while others of its consumer are done
 * with between its tries, it is in trouble of its own and counts as a retry; but for a full disk,
 * which is no event's fault. What is held three times shows in readyz, though pings are answered.
 *
 * A dead letter that can't be stored is a trouble of the dead-letter stream: its event stays in
 * hand for as long as it takes; any other for its patience (verdict.h). */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/settle.h"

/* Asked once for each verdict that would hold the event, before hold_event: true when it has failed
 * alone for the last time and `cause` may be its own. */
bool hold_is_own_trouble(const struct binding *b, struct held *h, const struct err *cause);
/* Opens the breaker and says until when and how the event of this settlement (SETTLE_HOLD) waits.
 * The caller puts it back into its queue. */
void hold_event(struct intake *in, struct source *s, const struct settled *item);
