/* Updates that waited for their entity. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "workers/catalogue/work.h"

/* Applies the updates that wait for an id or alias which this working set brings, in event-time
 * order, and those that wait for what they bring. One that is refused changes nothing and is listed
 * in w->refused; its row says so from this transaction on, and becomes a dead letter (expire.h). */
MUST_CHECK int pending_apply(struct work *w, struct err *err);
