/* Updates that waited for their entity. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "workers/catalogue/work.h"

/* Applies the updates that wait for an id or alias which this working set brings, in event-time
 * order, and those that wait for what they bring. An update that is refused now stays where it is
 * and expires with the others. */
MUST_CHECK int pending_apply(struct work *w, struct err *err);
