/* Waiting updates whose entity never came, or came and would not have them, become dead letters. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/bus.h"
#include "events/pg.h"

/* One page of updates that were refused (class reject, with their own code) or else of those that
 * have waited longer than keep_ms (class expired, code unknown-entity): a dead letter each; those
 * that the broker has stored are forgotten, with their inbox rows. A crash between the two repeats
 * the dead letter under the same identity. Returns how many, or -1. */
MUST_CHECK int expire_pending(struct pg *pg, struct bus *bus, int64_t keep_ms, struct err *err);
