/* Pausing as a step of other verbs. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "ops/cli/cli.h"

/* Pauses all consumers of a worker and waits until nothing is fetched any more; code timeout when
 * that takes longer. The arena is reset. */
MUST_CHECK int pause_worker(struct cli *cli, const char *worker, const char *reason,
                            int64_t wait_limit_ms, struct err *err);
