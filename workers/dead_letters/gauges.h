/* What lies in the index and how plans stand, as gauges for /metrics: taken from the tables, so
 * that letters of every writer count, and a restart of a worker changes nothing. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "workers/dead_letters/context.h"

/* Every 10 seconds. */
MUST_CHECK int gauges_tick(struct dead_letters *dl, struct err *err);
