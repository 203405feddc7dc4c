/* What the index says, as metrics: every few seconds, in the chores. All workers of this kind tell
 * the same of it; replays are counted by the process that works on them. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "workers/dead_letters/audit.h"

struct gauges;
/* NULL: out of memory. */
struct gauges *gauges_new(void);
struct gauges *gauges_free(struct gauges *gauges); /* takes NULL */
MUST_CHECK int gauges_tick(struct dead_letters *dl, struct err *err);
/* Outcomes of a replay or discard that were recorded and committed. */
void gauges_count(DlqAuditItem *const items[], size_t n);
