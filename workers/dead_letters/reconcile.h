/* The third net: events that a consumer has exhausted without anybody knowing, for the stream
 * ANIME_ADVISORY was missing or full when the server said so. At the start and then every
 * reconcile-interval all consumers are looked at; what is proved to be exhausted (exhausted.h) and
 * has no letter gets one. What the server counts and nothing explains is told by log and metric. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "workers/dead_letters/context.h"

/* NULL: out of memory. */
struct reconcile *reconcile_new(void);
struct reconcile *reconcile_free(struct reconcile *r); /* takes NULL */
/* Looks when it is time. */
MUST_CHECK int reconcile_tick(struct dead_letters *dl, struct err *err);
